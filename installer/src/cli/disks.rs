//! `harrow disks`: the disks of a machine, for a person who has to choose one.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args as ClapArgs;
use harrow::facts::{self, Roots, show};
use harrow::sys::console;

use super::config::read_facts;

#[derive(Debug, ClapArgs)]
pub struct DisksArgs {
    /// Show the disks of another machine, as harrow facts printed them there
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// Print all that is known of them as JSON
    #[arg(long)]
    json: bool,
}

/// `harrow disks`
pub fn run(args: &DisksArgs) -> anyhow::Result<()> {
    let facts = match &args.facts {
        Some(path) => read_facts(path)?,
        None => facts::probe(&Roots::default()),
    };
    if args.json {
        let json = serde_json::to_string_pretty(&show::with_verdicts(&facts.disks));
        return console::print(json.context("writing the disks")? + "\n");
    }
    console::print(show::render_table(&facts.disks))
}
