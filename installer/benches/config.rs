//! How fast configs are checked: `make bench`. Figures, no verdicts.

use std::time::Instant;

use harrow::config::{Checked, Source, SourceKind, check_fleet, check_sources, render_docs};

const NODES: usize = 1000;

/// A whole crypt(3) hash.
const HASH: &str = "$6$salt$3aEJgflnzWuw1O3tr0IYSmhUY0cZ7iBQeBP392T7RXjLP3TKKu3ddIapQaCpbD4p9ioeGaVIjOHaym7HvCuUm0";

fn main() {
    // The schema is made once in a program; this is what a single check pays.
    let started = Instant::now();
    let docs = render_docs().len();
    println!("schema and docs ({docs} bytes): {:?}", started.elapsed());
    let started = Instant::now();
    let nodes: Vec<Checked> = (0..NODES).map(node).collect();
    println!("{NODES} configs: {:?}", started.elapsed());
    let started = Instant::now();
    let problems = check_fleet(&nodes);
    println!(
        "{NODES} configs as one cluster ({}): {:?}",
        problems.summary(),
        started.elapsed()
    );
}

fn node(i: usize) -> Checked {
    let (head, mode) = if i == 0 {
        ("", "create")
    } else {
        ("server_url: https://10.0.0.5:443\n", "join")
    };
    let text = format!(
        "{head}token: secret\nos:\n  hostname: node-{i}\n  password: {HASH}\n  dns_nameservers: [10.0.0.2]\n\
         install:\n  mode: {mode}\n  device: /dev/sda\n  management_interface:\n    method: static\n    \
         ip: 10.0.{}.{}\n    subnet_mask: 255.255.0.0\n    gateway: 10.0.0.1\n",
        10 + i / 250,
        1 + i % 250,
    );
    let name = format!("node-{i}.yaml");
    check_sources(&[Source::yaml(SourceKind::File, &name, text)])
}
