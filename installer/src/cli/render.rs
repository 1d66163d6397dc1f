//! `harrow config render`: every file that a node will get, on any machine.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use harrow::cluster::Charts;
use harrow::config::{self, Look};
use harrow::failure::{Failure, Kind};
use harrow::live;
use harrow::node::machine::{self, MachineSize};
use harrow::node::{charts, export};
use harrow::sys::random;

use super::config::{More, invalid, read_facts};

/// `harrow config render`
#[derive(Debug, ClapArgs)]
pub struct RenderArgs {
    /// Config files of one node; the later is stronger
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    more: More,
    /// A new or empty folder for the files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The machine, as harrow facts printed it there: some files depend on its size
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// Threads of the machine's CPUs; stronger than --facts [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8192))]
    cpus: Option<u32>,
    /// Memory of the machine, such as 64Gi; stronger than --facts [default: 32Gi]
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    memory: Option<u64>,
    /// A payload, whose charts go into the manifests; without, a marker stands for each
    #[arg(long, value_name = "DIR")]
    payload: Option<PathBuf>,
}

fn parse_memory(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 256 << 20;
    config::formats::size(text, LEAST).map_err(|wrong| format!("{}: {}", wrong.message, wrong.hint))
}

impl RenderArgs {
    /// The size of the machine that the files are for.
    fn size(&self) -> anyhow::Result<MachineSize> {
        let mut size = machine::UNKNOWN;
        if let Some(path) = &self.facts {
            let facts = read_facts(path)?;
            size = MachineSize {
                cpus: facts.cpus,
                memory: facts.memory,
            };
        } else if self.cpus.is_none() || self.memory.is_none() {
            let (cpus, memory) = (size.cpus, size.memory >> 30);
            eprintln!(
                "for a machine of {} CPUs and {}Gi of memory; --facts, --cpus and --memory say otherwise",
                self.cpus.unwrap_or(cpus),
                self.memory.map_or(memory, |memory| memory >> 30)
            );
        }
        Ok(MachineSize {
            cpus: self.cpus.unwrap_or(size.cpus),
            memory: self.memory.unwrap_or(size.memory),
        })
    }
}

/// Writes the files, and says their paths.
pub fn render(args: &RenderArgs) -> anyhow::Result<()> {
    let sources = args.more.sources(&args.files)?;
    let checked = config::read_sources(&sources, random::salt());
    eprint!("{}", checked.problems.render(Look::Plain));
    if checked.config.is_none() {
        return Err(invalid(&checked.problems));
    }
    for user in live::people(&checked.answers) {
        eprintln!(
            "os.ssh_authorized_keys: the keys of github:{user} are fetched at an install, and are not among these files"
        );
    }
    let charts = match &args.payload {
        None => Charts::Marked,
        Some(payload) => charts::read(payload).map_err(|e| {
            let hint = "the folder with payload.json, charts/ and images/ in it";
            Failure::error(Kind::ConfigMissing, format!("{e:#}"), hint)
        })?,
    };
    let missing = checked.config.iter().flat_map(|c| charts.missing(c));
    for chart in missing {
        eprintln!("the payload has no chart {chart}: what needs it is left out");
    }
    let written = export::write_node(&checked.answers, args.size()?, &charts, &args.out);
    let paths = written.map_err(|e| match Failure::of(&e) {
        Some(_) => e,
        None => Failure::error(
            Kind::OutputUnwritable,
            format!("{}: {e:#}", args.out.display()),
            "name a folder with --out where files can be written",
        ),
    })?;
    for path in paths {
        println!("{path}");
    }
    Ok(())
}
