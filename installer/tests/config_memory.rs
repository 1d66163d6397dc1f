//! What large nonsense may cost in memory: 100 times its size at once, at most. The fuzzer
//! measures small inputs; these have 128 KiB to 1 MiB.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

#[path = "common/nonsense.rs"]
mod nonsense;

use harrow::config::{
    Source, SourceKind, check_fleet, check_sources, cmdline, convert, render_docs, render_text,
};
use harrow::sys::cmdline::Cmdline;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Bytes of memory for each byte of input.
const RATIO: usize = 100;

fn limited(what: &str, input: usize, read: impl FnOnce()) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    read();
    let taken = MEMORY.peak_usage().saturating_sub(before);
    eprintln!(
        "{what}: {:.1} times {input} bytes",
        taken as f64 / input as f64
    );
    assert!(
        taken <= input * RATIO,
        "{what}: {taken} bytes of memory for {input} of input"
    );
}

/// The only test of this program: the memory of all threads is counted together.
#[test]
fn large_nonsense_takes_no_more_than_a_hundred_times_its_size() {
    // The schema is read once in a process, whatever the input.
    assert!(!render_docs().is_empty());
    let mut texts = nonsense::texts();
    texts.extend(nonsense::texts_of_the_schema());
    let lists = "[a, b, c],".repeat(60_000);
    let maps = "{a: {b: c}},".repeat(60_000);
    let words = "a,".repeat(250_000);
    for inner in [lists, maps, words] {
        texts.push(format!("os: {{ntp_servers: [{inner}]}}"));
        texts.push(format!(
            "install: {{management_interface: {{interfaces: [{inner}]}}}}"
        ));
    }
    texts.push("os:\n".repeat(200_000));
    texts.push(format!(
        "a: &a [{}]\nb: [{}]",
        "x,".repeat(1000),
        "*a,".repeat(100_000)
    ));
    let other = nonsense::many_keys();
    for (i, text) in texts.iter_mut().enumerate() {
        // Of the smallest, more.
        while text.len() < 128 << 10 {
            text.push_str("# and more\n");
        }
        assert!(text.len() <= 1 << 20, "{}", text.len());
        let start: String = text.chars().take(40).collect();
        let what = |how: &str| format!("{start:?} {how}");
        let source = |kind, text: &str| Source::yaml(kind, "nonsense", text);
        let (strong, weak) = (
            source(SourceKind::File, text),
            source(SourceKind::Oem, &other),
        );
        limited(&what("checked"), text.len(), || {
            let checked = check_sources(std::slice::from_ref(&strong));
            assert!(checked.problems.has_errors(), "{start:?}");
            render_text(&checked);
        });
        limited(&what("converted"), text.len(), || {
            convert(text.as_bytes(), "nonsense", [7; 12]).ok();
        });
        // Two at once are slow, and cost little more: some will do.
        if i % 4 != 0 {
            continue;
        }
        limited(&what("merged"), text.len() + other.len(), || {
            check_sources(&[strong.clone(), weak.clone()]);
        });
        limited(&what("as a cluster"), text.len() + other.len(), || {
            let alone = |source: &Source| check_sources(std::slice::from_ref(source));
            check_fleet(&[alone(&strong), alone(&weak)]);
        });
    }
    for word in [
        "harrow.os.ntp_servers=a ",
        "harrow.install.management_interface.interfaces=hwAddr:x,name:y ",
        "harrow.nonsense ",
        "harrow.os.labels={a:b} ",
        "\"harrow.os.sysctls.a.b=c d\" ",
        "x=y ",
    ] {
        let line = word.repeat((256 << 10) / word.len());
        limited(word, line.len(), || {
            let source = cmdline::source(&Cmdline::parse(&line));
            check_sources(&Vec::from_iter(source));
        });
    }
}
