//! `qemu-tests`: runs the scenarios and sums up; not 0 if any fails.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use qemu_tests::accel::Accel;
use qemu_tests::base::Bases;
use qemu_tests::boot;
use qemu_tests::double::pack;
use qemu_tests::medium::newest_iso;
use qemu_tests::output::Output;
use qemu_tests::report::{render_figures, render_results};
use qemu_tests::runner::run_scenarios;
use qemu_tests::scenarios::{ALL, BY_NAME, Scenario, find};
use qemu_tests::schedule::{Memory, Room};
use qemu_tests::stage::{Settings, Stage};
use qemu_tests::tools::check_tools;
use qemu_tests::vm::WhenDropped;

/// Boots Harrow's media in QEMU and checks the nodes that they install.
///
/// With KEEP=1 in the environment, nothing new starts after the first failure, and its machine
/// is left running.
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
        /// How many at once; 2 when absent, but 1 on a machine with one core or less than 8 GiB.
        /// Those whose times are figures run alone in any case.
        #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
        jobs: Option<u8>,
        /// Which ones; all when absent.
        scenarios: Vec<String>,
    },
    /// Make doubles of a bundle's artifacts: a bundle and a lock of their own, and a mirror of both.
    Double {
        /// The bundle whose artifacts are doubled.
        #[arg(long, default_value = "image-builder/bundle.toml")]
        bundle: PathBuf,
        /// Where they go.
        #[arg(long, default_value = "out/double")]
        out: PathBuf,
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
            for scenario in BY_NAME {
                println!("{:<20} {} (only when named)", scenario.name, scenario.about);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Accel => {
            println!("{}", Accel::detect()?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Run {
            place,
            jobs,
            scenarios,
        } => {
            let scenarios = select(&scenarios)?;
            run_all(&settings(place)?, &scenarios, jobs.map(usize::from))
        }
        Command::Double { bundle, out } => {
            make_doubles(&bundle, &out)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Boot { place } => {
            boot::run(&mut Stage::new(settings(place)?, "boot")?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn make_doubles(bundle: &Path, out: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(bundle)
        .with_context(|| format!("reading the bundle {}", bundle.display()))?;
    let program = std::env::current_exe().context("finding the program")?;
    let program = program.with_file_name("rke2-double");
    if !program.exists() {
        let path = program.display();
        bail!("{path} is missing: build it with `cargo build -p qemu-tests`");
    }
    let folder = tempfile::tempdir().context("making a folder")?;
    let stripped = folder.path().join("rke2-double");
    pack::strip(&program, &stripped)?;
    let doubles = pack::Doubles::make(&text, &stripped, pack::NOWHERE)?;
    doubles.write(out)?;
    for (name, bytes) in &doubles.files {
        println!("{:>10}  {name} (a double)", bytes.len());
    }
    println!(
        "{}: bundle.toml, bundle.lock, {}",
        out.display(),
        pack::MIRROR
    );
    Ok(())
}

fn settings(place: Place) -> anyhow::Result<Settings> {
    check_tools()?;
    let out = place.out.join("qemu-tests");
    Ok(Settings {
        iso: match place.iso {
            Some(iso) => Some(iso),
            None => newest_iso(&place.out)?,
        },
        bases: Arc::new(Bases::new(&out.join("base"))),
        doubles: place.out.join("double"),
        out,
        accel: Accel::detect()?,
        when_failed: when_failed(),
        output: Output::stdout(),
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
            find(name).with_context(|| format!("no scenario {name:?}; see `qemu-tests list`"))
        })
        .collect()
}

fn run_all(
    settings: &Settings,
    scenarios: &[&'static Scenario],
    jobs: Option<usize>,
) -> anyhow::Result<ExitCode> {
    let room = room(jobs)?;
    let say = |line: String| settings.output.say(line);
    say(format!("guests run on: {}", settings.accel));
    if let Some(iso) = &settings.iso {
        say(format!("ISO: {}", iso.display()));
    }
    say(format!("scenarios at once: {}", room.jobs));
    let outcomes = run_scenarios(settings, scenarios, room);
    let names = scenarios.iter().map(|scenario| scenario.name);
    let results: Vec<_> = names.clone().zip(&outcomes).collect();
    say(format!("\n{}", render_figures(outcomes.iter().flatten())));
    say(render_results(&results));
    let failed: Vec<&str> = results
        .iter()
        .filter(|(_, outcome)| outcome.as_ref().is_none_or(|it| it.error.is_some()))
        .map(|(name, _)| *name)
        .collect();
    if !failed.is_empty() {
        bail!("not passed: {}", failed.join(", "));
    }
    settings.bases.clear()?;
    Ok(ExitCode::SUCCESS)
}

/// What this machine has for scenarios.
fn room(jobs: Option<usize>) -> anyhow::Result<Room> {
    let cores = std::thread::available_parallelism().context("counting processors")?;
    let memory = Memory::read()?;
    Ok(Room {
        jobs: jobs.unwrap_or(Room::default_jobs(cores.get(), memory.total_mib)),
        memory_mib: memory.available_mib,
    })
}
