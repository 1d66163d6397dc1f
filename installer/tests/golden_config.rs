//! Golden folders: the configs of every `tests/golden/config/<case>` have exactly the problems
//! of its `expected.txt`. Several configs are the nodes of one cluster; `facts.json`, when it
//! is there, is the machine, and `cmdline.txt` the kernel command line of each, or alone the
//! only source; `merged.txt` then has every value and its origin. Cases that begin with `good-`
//! have no errors, all others have.
//!
//! `make bless` rewrites the expectations, and docs/config.md; the diff is then what a reviewer
//! looks at.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

#[path = "common/fleet.rs"]
mod fleet;
#[path = "common/golden.rs"]
mod golden;
#[path = "common/nonsense.rs"]
mod nonsense;

use std::fs;
use std::path::{Path, PathBuf};

use golden::{cases, check, entries};
use harrow::config::{
    self, Checked, Code, Look, Problems, Salt, Source, SourceKind, check_fleet, check_machine,
    check_sources, cmdline, read_sources, render_text,
};
use harrow::sys::cmdline::Cmdline;

/// Stands in the cases wherever a value is secret.
const SECRET: &str = "golden-secret";

const SALT: Salt = [7; 12];

fn nodes_of(case: &Path) -> Vec<Checked> {
    let is_config = |p: &PathBuf| p.extension().is_some_and(|e| e == "yaml");
    let words = fs::read_to_string(case.join("cmdline.txt")).ok();
    let words = words.and_then(|text| cmdline::source(&Cmdline::parse(&text)));
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = fs::read(path).unwrap();
        let mut sources = vec![Source::yaml(SourceKind::File, &name, bytes)];
        sources.extend(words.clone());
        read_sources(&sources, SALT)
    };
    let files = entries(case).into_iter().filter(is_config);
    let mut nodes: Vec<Checked> = files.map(read).collect();
    if nodes.is_empty() {
        nodes.extend(words.map(|words| read_sources(&[words], SALT)));
    }
    if let Ok(facts) = fs::read(case.join("facts.json")) {
        let facts = serde_json::from_slice(&facts).unwrap();
        for node in &mut nodes {
            node.add(check_machine(&node.answers, &facts));
        }
    }
    nodes
}

#[test]
fn configs_have_exactly_their_problems() {
    let cases = cases("config", 60);
    let mut seen: Vec<Code> = Vec::new();
    for case in &cases {
        let name = case.file_name().unwrap().to_str().unwrap();
        let nodes = nodes_of(case);
        assert!(!nodes.is_empty(), "{name} has no config");
        let mut problems = Problems(check_fleet(&nodes).0);
        for node in &nodes {
            problems.0.extend(node.problems.0.clone());
            let shown = render_text(node);
            assert!(!shown.contains(SECRET), "{name} shows a secret:\n{shown}");
            let debug = format!("{:?} {:?}", node.answers, node.config);
            assert!(!debug.contains(SECRET), "{name} debugs a secret: {debug}");
        }
        if let ([node], true) = (nodes.as_slice(), name.starts_with("good-")) {
            stored_says_the_same(node);
            if case.join("cmdline.txt").exists() {
                check(&case.join("merged.txt"), &render_text(node));
            }
        }
        problems.sort();
        seen.extend(problems.0.iter().map(|p| p.code));
        let text = problems.render(Look::Plain);
        assert!(!text.contains(SECRET), "{name} has a secret:\n{text}");
        assert_eq!(
            problems.has_errors(),
            !name.starts_with("good-"),
            "{name}:\n{text}"
        );
        check(&case.join("expected.txt"), &text);
    }
    assert!(!seen.contains(&Code::Bug));
}

/// What is stored on a node is read back as what was said.
fn stored_says_the_same(node: &Checked) {
    let stored = node.answers.to_node_yaml().unwrap();
    let source = Source::yaml(SourceKind::Oem, "stored", stored.clone());
    let again = read_sources(&[source], [9; 12]);
    assert!(!again.problems.has_errors(), "{}\n{stored}", again.problems);
    assert_eq!(again.answers, node.answers);
}

/// What a hostile source may cost.
#[test]
fn large_nonsense_is_refused_quickly() {
    for text in nonsense::texts() {
        let start: String = text.chars().take(20).collect();
        let started = std::time::Instant::now();
        let strong = Source::yaml(SourceKind::File, "strong", text.as_str());
        let weak = Source::yaml(SourceKind::Oem, "weak", nonsense::many_keys());
        let alone = check_sources(std::slice::from_ref(&strong));
        assert!(alone.problems.has_errors(), "{start:?}");
        assert!(check_sources(&[weak, strong]).problems.has_errors());
        eprintln!("{start:?}: {:?}", started.elapsed());
        assert!(
            started.elapsed().as_secs() < 20,
            "{start:?}: {:?}",
            started.elapsed()
        );
    }
}

/// Nonsense of which every item gets past the schema. Before suggestions had a budget and
/// duplicates a set, each of these took several times as long as it may.
#[test]
fn many_free_keys_and_items_take_no_longer() {
    for (text, seconds) in nonsense::texts_of_the_schema().into_iter().zip([6, 6, 3]) {
        let start: String = text.chars().take(30).collect();
        let started = std::time::Instant::now();
        let source = Source::yaml(SourceKind::File, "many", text);
        assert!(check_sources(&[source]).problems.has_errors());
        let elapsed = started.elapsed();
        eprintln!("{start:?}: {elapsed:?}");
        assert!(elapsed.as_secs() < seconds, "{start:?}: {elapsed:?}");
    }
}

#[test]
fn the_documentation_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.md");
    check(&path, &config::render_docs());
}

/// The goal is 2 s for a build with optimisations (`make bench` measures it); what this test
/// would see is work that grows with the square of the number of nodes.
#[test]
fn a_thousand_nodes_are_one_cluster() {
    let started = std::time::Instant::now();
    let nodes: Vec<Checked> = (0..1000).map(fleet::node).collect();
    let problems = check_fleet(&nodes);
    assert_eq!(problems.0, []);
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    eprintln!("a thousand configs: {:?}", started.elapsed());
}
