//! Golden folders: every `tests/golden/node/<case>/config.yaml` renders to its `expected.txt`.
//!
//! `make bless` rewrites the expectations; the diff is then what a reviewer looks at.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

#[path = "common/golden.rs"]
mod golden;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use golden::{cases, check, folder};
use harrow::config::{Source, SourceKind, read_sources};
use harrow::node::accounts::Accounts;
use harrow::node::files::render_tree;
use harrow::node::machine;
use harrow::node::network::{self, NetworkInputs};
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

#[test]
fn configs_render_to_their_files() {
    for case in cases("node", 5) {
        let path = case.join("config.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let source = Source::yaml(SourceKind::File, &path.display().to_string(), text);
        let config = read_sources(&[source], [7; 12]).config.unwrap();
        let files = render::render_node(&NodeInputs {
            config: &config,
            accounts: &accounts(),
            machine_id: MACHINE_ID,
            data: Some(Path::new("/dev/disk/by-partuuid/11-22")),
            size: machine::UNKNOWN,
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

/// Only the files of networks, so that each case is about one thing.
#[test]
fn networks_render_to_their_files() {
    for case in cases("network", 20) {
        let path = case.join("config.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let source = Source::yaml(SourceKind::File, &path.display().to_string(), text);
        let checked = read_sources(&[source], [7; 12]);
        let config = checked.config.ok_or(checked.problems).unwrap();
        let mut files = network::render_network(&NetworkInputs::of(&config));
        files.extend(render::render_names(&config.os));
        check(&case.join("expected.txt"), &render_tree(&files));
    }
}

#[test]
fn the_live_system_and_a_node_without_config() {
    let live = render::render_live(MACHINE_ID, None);
    check(&folder("node").join("live.txt"), &render_tree(&live));
    // With a config, the node's own networks and the same DHCP for what is left.
    let path = folder("network").join("vlan-dhcp/config.yaml");
    let source = Source::yaml(SourceKind::File, "c", fs::read_to_string(path).unwrap());
    let config = read_sources(&[source], [7; 12]).config.unwrap();
    let paths = |config| {
        let files = render::render_live(MACHINE_ID, config);
        files.into_iter().map(|f| f.path).collect::<BTreeSet<_>>()
    };
    let (with, without) = (paths(Some(&config)), paths(None));
    assert!(with.is_superset(&without));
    for file in network::render_network(&NetworkInputs::of(&config)) {
        assert!(with.contains(&file.path) && !without.contains(&file.path));
    }
    let files = render::render_node(&NodeInputs {
        config: &render::fallback_config(),
        accounts: &accounts(),
        machine_id: MACHINE_ID,
        data: None,
        size: machine::UNKNOWN,
    });
    check(&folder("node").join("no-config.txt"), &render_tree(&files));
}
