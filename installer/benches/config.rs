//! How fast configs are checked and rendered: `make bench`. It fails when a goal is missed.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use harrow::config::{Checked, check_fleet, render_docs};

#[path = "../tests/common/cluster.rs"]
mod cluster;
#[path = "../tests/common/fleet.rs"]
mod fleet;
#[path = "../tests/common/golden.rs"]
mod golden;

const NODES: usize = 1000;
/// What a single config may take, with the schema that each program makes once.
const ONE: Duration = Duration::from_millis(50);
/// What all files of a node and its cluster may take.
const RENDERED: Duration = Duration::from_millis(20);
/// What a cluster of [`NODES`] may take, from the files to the verdict.
const ALL: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let started = Instant::now();
    let first = fleet::node(0);
    let one = started.elapsed();
    println!("one config ({}): {one:?}", first.problems.summary());
    let started = Instant::now();
    let docs = render_docs().len();
    println!("docs ({docs} bytes): {:?}", started.elapsed());
    let started = Instant::now();
    let nodes: Vec<Checked> = (0..NODES).map(fleet::node).collect();
    println!("{NODES} configs: {:?}", started.elapsed());
    let problems = check_fleet(&nodes);
    let all = started.elapsed();
    println!(
        "{NODES} configs as one cluster ({}): {all:?}",
        problems.summary()
    );
    let mut slowest = Duration::ZERO;
    for case in golden::cases("cluster", 8) {
        let config = cluster::config_of(&case);
        let started = Instant::now();
        let files = cluster::files_of(&config).len();
        let took = started.elapsed();
        let name = case.file_name().unwrap_or_default().display();
        println!("{files} files of {name}: {took:?}");
        slowest = slowest.max(took);
    }
    let mut verdict = ExitCode::SUCCESS;
    for (what, took, most) in [
        ("one config", one, ONE),
        ("the cluster", all, ALL),
        ("rendering a node", slowest, RENDERED),
    ] {
        if took > most {
            eprintln!("error: {what} took {took:?}, and may take {most:?}");
            verdict = ExitCode::FAILURE;
        }
    }
    verdict
}
