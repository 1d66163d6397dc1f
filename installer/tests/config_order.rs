//! The whole order of sources: each says all keys of the weaker ones and one of its own, so that
//! every value shows who won, and its origin where.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

mod common;
#[path = "common/server.rs"]
mod server;

use std::fs;

use common::harrow;
use harrow::config::{Source, SourceKind, check_sources, cmdline};
use harrow::sys::cmd::Cmd;
use harrow::sys::cmdline::Cmdline;
use server::{good, serve};

/// Keys of a map, one for each source, weakest first.
const KEYS: [&str; 10] = [
    "defaults", "seed", "metadata", "url", "oem", "first", "second", "third", "line", "set",
];

/// What the source at `rank` says: its own key and those of all weaker ones. A list and a plain
/// key are in dispute too.
fn yaml(rank: usize) -> String {
    let keys: String = KEYS[..=rank]
        .iter()
        .map(|key| format!("    {key}: {rank}\n"))
        .collect();
    format!("os:\n  hostname: node-{rank}\n  ntp_servers: [10.0.0.{rank}]\n  sysctls:\n{keys}")
}

/// The same as assignments.
fn words(rank: usize) -> Vec<String> {
    let keys = KEYS[..=rank].iter();
    let keys = keys.map(|key| format!("os.sysctls.{key}={rank}"));
    let more = [
        format!("os.hostname=node-{rank}"),
        format!("os.ntp_servers=10.0.0.{rank}"),
    ];
    keys.chain(more).collect()
}

/// A source of each rank, weakest first; of `--config` three.
fn sources() -> Vec<Source> {
    use SourceKind::{CommandLine, ConfigUrl, File, ImageDefaults, Metadata, Oem, SeedDisk, Set};
    let kinds = [
        ImageDefaults,
        SeedDisk,
        Metadata,
        ConfigUrl,
        Oem,
        File,
        File,
        File,
        CommandLine,
        Set,
    ];
    let source = |(rank, kind): (usize, SourceKind)| match kind {
        CommandLine => {
            let line: Vec<String> = words(rank).iter().map(|w| format!("harrow.{w}")).collect();
            Source {
                name: KEYS[rank].into(),
                ..cmdline::source(&Cmdline::parse(&line.join(" "))).unwrap()
            }
        }
        Set => {
            let set = words(rank);
            let set = set.iter().zip(1..).map(|(word, number)| {
                let mut assignment = cmdline::parse_set(word).unwrap();
                assignment.word = number;
                assignment
            });
            Source::words(kind, KEYS[rank], set.collect())
        }
        _ => Source::yaml(kind, KEYS[rank], yaml(rank)),
    };
    kinds.into_iter().enumerate().map(source).collect()
}

/// The source at `top` is the strongest: all that it says is its own, and no more is said.
fn strongest_has_its_way(sources: &[Source], top: usize) {
    let checked = check_sources(sources);
    assert!(checked.readable, "{}", checked.problems);
    let origin = |field: &str| checked.place_of(field).source.to_string();
    let os = &checked.answers.os;
    assert_eq!(os.hostname, Some(format!("node-{top}")));
    assert_eq!(origin("os.hostname"), KEYS[top]);
    assert_eq!(os.ntp_servers, [format!("10.0.0.{top}")]);
    assert_eq!(origin("os.ntp_servers[0]"), KEYS[top]);
    for (rank, key) in KEYS.iter().enumerate() {
        let value = os.sysctls.get(*key).map(ToString::to_string);
        assert_eq!(value, (rank <= top).then(|| top.to_string()), "{key}");
        if rank <= top {
            assert_eq!(origin(&format!("os.sysctls.{key}")), KEYS[top], "{key}");
        }
    }
}

/// The strongest source is taken away again and again; the slice comes in many orders, in which
/// only the three files keep theirs.
#[test]
fn sources_are_merged_in_their_order_whatever_order_they_come_in() {
    let all = sources();
    for top in 0..all.len() {
        for step in [1, 3, 7, 9] {
            // All of 0..10 in another order, since 10 has no factor in common with these.
            let mut order: Vec<usize> = (0..10).map(|i| (i * step + 4) % 10).collect();
            order.retain(|rank| *rank <= top);
            let mut files = (5..=7).filter(|rank| *rank <= top);
            for rank in order.iter_mut().filter(|rank| is_file(**rank)) {
                *rank = files.next().unwrap();
            }
            let shuffled: Vec<Source> = order.iter().map(|rank| all[*rank].clone()).collect();
            strongest_has_its_way(&shuffled, top);
        }
    }
}

fn is_file(rank: usize) -> bool {
    (5..=7).contains(&rank)
}

/// Each says a key that nobody else says.
#[test]
fn no_source_is_lost() {
    let own = |rank: usize| format!("os:\n  sysctls:\n    {}: {rank}\n", KEYS[rank]);
    let all: Vec<Source> = sources()
        .into_iter()
        .enumerate()
        .rev()
        .map(|(rank, source)| Source::yaml(source.kind, KEYS[rank], own(rank)))
        .collect();
    let checked = check_sources(&all);
    for (rank, key) in KEYS.iter().enumerate() {
        assert_eq!(
            checked.answers.os.sysctls[*key].to_string(),
            rank.to_string()
        );
        let place = checked.place_of(&format!("os.sysctls.{key}"));
        assert_eq!(&*place.source, *key);
    }
}

/// The same through the binary, with all sources that `config show` can be given: a seed disk,
/// metadata, a URL, files, the kernel's command line, `--set`.
#[test]
fn the_binary_merges_them_in_the_same_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    // Says all keys from its own on, so that each key shows one source.
    let text = |rank: usize| {
        let keys: String = KEYS[rank..]
            .iter()
            .map(|key| format!("    {key}: {rank}\n"))
            .collect();
        format!("os:\n  hostname: node-{rank}\n  ntp_servers: [10.0.0.{rank}]\n  sysctls:\n{keys}")
    };
    fs::create_dir(path("seed")).unwrap();
    fs::write(path("seed/user-data"), text(1)).unwrap();
    Cmd::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-r", "-V", "cidata", "-o"])
        .args([path("seed.iso"), path("seed")])
        .run()
        .unwrap();
    let (metadata, _) = serve(vec![good(text(2))]);
    let (url, _) = serve(vec![good(text(3))]);
    for rank in 5..=7 {
        fs::write(path(&format!("{rank}.yaml")), text(rank)).unwrap();
    }
    let mut line = vec![format!("\"ds=nocloud;s={metadata}/\"")];
    line.extend(
        KEYS[8..]
            .iter()
            .map(|key| format!("harrow.os.sysctls.{key}=8")),
    );
    line.push(format!("harvester.install.config_url={url}/x"));
    let output = harrow("config")
        .args(["show", "--json", "--follow", "--wait", "5"])
        .args(["--set", "os.sysctls.set=9"])
        .args(["--cmdline", &line.join(" ")])
        .args(["--seed", &path("seed.iso")])
        .args([path("5.yaml"), path("6.yaml"), path("7.yaml")])
        .run_any()
        .unwrap();
    let shown: serde_json::Value = serde_json::from_str(&output.text()).unwrap();
    let values = shown["values"].as_array().unwrap();
    let metadata = format!("{metadata}/user-data");
    for (rank, key, origin) in [
        (1, "seed", "user-data of the NoCloud disk"),
        (2, "metadata", &metadata),
        (3, "url", &url),
        (3, "oem", &url),
        (5, "first", "5.yaml"),
        (6, "second", "6.yaml"),
        (7, "third", "7.yaml"),
        (8, "line", "kernel command line"),
        (9, "set", "--set"),
    ] {
        let field = format!("os.sysctls.{key}");
        let found = values.iter().find(|v| v["key"] == *field);
        let found = found.unwrap_or_else(|| panic!("{key} is not in {shown:#}"));
        assert_eq!(found["value"], rank.to_string(), "{found}");
        let place = found["source"].as_str().unwrap();
        assert!(place.contains(origin), "{found}");
    }
    let of = |field: &str| values.iter().find(|v| v["key"] == field).unwrap();
    assert_eq!(of("os.hostname")["value"], "node-7");
    assert_eq!(of("os.ntp_servers[0]")["value"], "10.0.0.7");
}
