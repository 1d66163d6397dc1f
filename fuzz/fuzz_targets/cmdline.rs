//! A kernel command line that anybody wrote: its words, and the config that they make.
#![no_main]

use harrow::config::{Source, SourceKind, check_sources, cmdline};
use harrow::sys::cmdline::Cmdline;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    harrow_fuzz::limited(data, || {
        let line = Cmdline::parse(text);
        let count = line.words().count();
        let mut words = cmdline::parse_words(&line);
        assert!(words.len() <= count);
        assert!(words.iter().all(|w| (1..=count).contains(&(w.word as usize))));
        words.extend(cmdline::parse_set(text));
        let checked = check_sources(&[Source::words(SourceKind::CommandLine, "line", words)]);
        assert!(checked.config.is_none() || !checked.problems.has_errors());
    });
});
