//! How fast configs are checked: `make bench`. It fails when a goal is missed.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use harrow::config::{Checked, check_fleet, render_docs};

#[path = "../tests/common/fleet.rs"]
mod fleet;

const NODES: usize = 1000;
/// What a single config may take, with the schema that each program makes once.
const ONE: Duration = Duration::from_millis(50);
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
    let mut verdict = ExitCode::SUCCESS;
    for (what, took, most) in [("one config", one, ONE), ("the cluster", all, ALL)] {
        if took > most {
            eprintln!("error: {what} took {took:?}, and may take {most:?}");
            verdict = ExitCode::FAILURE;
        }
    }
    verdict
}
