//! Golden folders: every `tests/golden/node/<case>/config.yaml` renders to its `expected.txt`.
//!
//! `make bless` rewrites the expectations; the diff is then what a reviewer looks at.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

use std::fs;
use std::path::{Path, PathBuf};

use harrow::config::{Answers, resolve};
use harrow::node::accounts::Accounts;
use harrow::node::files::render_tree;
use harrow::node::render::{self, NodeInputs};

const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";

fn accounts() -> Accounts {
    Accounts {
        passwd: "root:x:0:0:root:/root:/bin/bash\nsshd:x:989:65534::/run/sshd:/usr/sbin/nologin\n"
            .into(),
        shadow: "root:*:20000:0:99999:7:::\nsshd:!*:20000::::::\n".into(),
        group: "root:x:0:\nshadow:x:42:\n".into(),
        gshadow: "root:*::\nshadow:*::\n".into(),
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/node")
}

/// Compares with the file, or rewrites it when `BLESS` is set.
#[allow(clippy::disallowed_methods)] // a test's own switch
fn check(path: &Path, actual: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} differs (`make bless` rewrites it); this is what came out:\n{actual}",
        path.display()
    );
}

#[test]
fn configs_render_to_their_files() {
    let mut cases: Vec<PathBuf> = fs::read_dir(golden())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    assert!(
        cases.len() >= 5,
        "the golden folder is incomplete: {cases:?}"
    );
    for case in cases {
        let path = case.join("config.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let answers = Answers::parse(&text, &path.display().to_string(), [7; 12]).unwrap();
        let config = resolve(&answers).unwrap();
        let files = render::render_node(&NodeInputs {
            config: &config,
            accounts: &accounts(),
            machine_id: MACHINE_ID,
            data: Some(Path::new("/dev/disk/by-partuuid/11-22")),
        });
        let mut paths: Vec<&str> = files.iter().map(|f| f.path.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(
            paths.len(),
            files.len(),
            "a path is there twice in {}",
            case.display()
        );
        check(&case.join("expected.txt"), &render_tree(&files));
    }
}

#[test]
fn the_live_system_and_a_node_without_config() {
    let live = render::render_live(MACHINE_ID);
    check(&golden().join("live.txt"), &render_tree(&live));
    let files = render::render_node(&NodeInputs {
        config: &render::fallback_config(),
        accounts: &accounts(),
        machine_id: MACHINE_ID,
        data: None,
    });
    check(&golden().join("no-config.txt"), &render_tree(&files));
}
