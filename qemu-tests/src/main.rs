//! `qemu-tests`: runs the scenarios and sums up; not 0 if any fails.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use qemu_tests::accel::Accel;
use qemu_tests::boot;
use qemu_tests::report::render_figures;
use qemu_tests::scenarios::{ALL, Scenario};
use qemu_tests::stage::{Figure, Settings, Stage};
use qemu_tests::tools::check_tools;
use qemu_tests::vm::WhenDropped;

/// Boots Harrow's media in QEMU and checks the nodes that they install.
///
/// With KEEP=1 in the environment, the run ends with the first failure and leaves its machine
/// running.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the scenarios.
    List,
    /// Say whether guests run on KVM here, by running one.
    Accel,
    /// Run scenarios.
    Run {
        #[command(flatten)]
        place: Place,
        /// Which ones; all when absent.
        scenarios: Vec<String>,
    },
    /// Boot the ISO with an empty disk on this terminal, for a person.
    Boot {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Args)]
struct Place {
    /// Folder of `make iso`; logs go to its subfolder qemu-tests, and on failure the disks.
    #[arg(long, default_value = "out")]
    out: PathBuf,
    /// The ISO under test; the newest in the folder when absent.
    #[arg(long)]
    iso: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::List => {
            for scenario in ALL {
                println!("{:<20} {}", scenario.name, scenario.about);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Accel => {
            println!("{}", Accel::detect()?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Run { place, scenarios } => {
            let scenarios = select(&scenarios)?;
            run_all(&settings(place)?, &scenarios)
        }
        Command::Boot { place } => {
            boot::run(&mut Stage::new(settings(place)?, "boot")?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn settings(place: Place) -> anyhow::Result<Settings> {
    check_tools()?;
    Ok(Settings {
        iso: match place.iso {
            Some(iso) => Some(iso),
            None => newest_iso(&place.out)?,
        },
        out: place.out.join("qemu-tests"),
        accel: Accel::detect()?,
        when_failed: when_failed(),
    })
}

#[allow(clippy::disallowed_methods)] // main reads the environment
fn when_failed() -> WhenDropped {
    match std::env::var("KEEP").as_deref() {
        Ok("1") => WhenDropped::Keep,
        _ => WhenDropped::SwitchOff,
    }
}

fn select(names: &[String]) -> anyhow::Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            ALL.iter()
                .find(|scenario| scenario.name == name)
                .with_context(|| format!("no scenario {name:?}; see `qemu-tests list`"))
        })
        .collect()
}

fn newest_iso(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(None);
    };
    let mut newest = None;
    for entry in entries {
        let path = entry.context("looking for an ISO")?.path();
        if path.extension().is_some_and(|extension| extension == "iso") {
            let changed = path.metadata().and_then(|meta| meta.modified());
            let changed = changed.with_context(|| format!("looking at {}", path.display()))?;
            newest = newest.max(Some((changed, path)));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

fn run_all(settings: &Settings, scenarios: &[&'static Scenario]) -> anyhow::Result<ExitCode> {
    println!("guests run on: {}", settings.accel);
    if let Some(iso) = &settings.iso {
        println!("ISO: {}", iso.display());
    }
    let mut figures: Vec<(&str, Figure)> = Vec::new();
    let mut failed = Vec::new();
    for scenario in scenarios {
        println!("{}: {}", scenario.name, scenario.about);
        let start = Instant::now();
        let mut stage = Stage::new(settings.clone(), scenario.name)?;
        let mut result = (scenario.run)(&mut stage).and_then(|()| stage.clear());
        if let Err(error) = &result
            && settings.accel.is_at_fault(&format!("{error:#}"))
        {
            println!("  QEMU's translator failed, once more from the start: {error:#}");
            stage = Stage::new(settings.clone(), scenario.name)?;
            result = (scenario.run)(&mut stage).and_then(|()| stage.clear());
        }
        let took = start.elapsed().as_secs();
        figures.extend(
            stage
                .figures
                .drain(..)
                .map(|figure| (scenario.name, figure)),
        );
        match result {
            Ok(()) => println!("  passed, in {took} s"),
            Err(error) => {
                println!("  FAILED after {took} s: {error:#}");
                stage.collect_evidence();
                failed.push(scenario.name);
                if settings.when_failed == WhenDropped::Keep {
                    break;
                }
            }
        }
    }
    println!(
        "\n{}",
        render_figures(figures.iter().map(|(name, figure)| (*name, figure)))
    );
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    println!("{} passed", scenarios.len());
    Ok(ExitCode::SUCCESS)
}
