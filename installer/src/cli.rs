//! The command line of `harrow`: what can be said, and one call for each verb.

mod apply;
mod config;
mod disks;
mod node;
mod render;
mod said;
mod unattended;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args as ClapArgs, Parser, Subcommand};
use harrow::config::{Look, Source};
use harrow::failure::{Failure, Kind};
use harrow::install::leftover;
use harrow::install::run::{self as install, Options, Prepared};
use harrow::live::{self, Places};
use harrow::node::apply::{self as node_apply, ApplyOptions};
use harrow::node::verify::{self, VerifyOptions};
use harrow::node::{address, devices, first, health, payload};
use harrow::sys::cmdline::Cmdline;
use harrow::sys::console::{self, Printer};
use harrow::sys::net::remote::Limits;

use said::Said;

/// Where the live system keeps what an install leaves behind.
const RUN_DIR: &str = "/run/harrow";

/// Installs and configures nodes of a hyperconverged Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 80, after_help = exit_codes())]
pub struct Args {
    /// Write a log with every command that is run to this file
    #[arg(long, global = true, value_name = "FILE")]
    pub log: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install onto a disk, or onto a new file
    ///
    /// EVERYTHING ON THE DISK IS LOST. Nothing is written before the config, the disk and the
    /// image's boot files have been checked; the system itself is checked while it is written
    /// and once more on the disk, which boots only after the last step.
    Install(InstallArgs),
    /// Show what an install would do, and change nothing
    Plan(PlanArgs),
    /// Check, show, convert and explain configs
    #[command(subcommand)]
    Config(config::Verb),
    /// Print what this machine is, as JSON (for config check --facts, and for bug reports)
    Facts(config::FactsArgs),
    /// Show the disks of this machine, what they hold, and which can be installed on
    Disks(disks::DisksArgs),
    /// Configure this machine from its config (runs by itself at every boot)
    Apply(ApplyArgs),
    /// Fetch what of the cluster is missing, and put all of it where RKE2 looks (runs by itself at
    /// every boot, before RKE2)
    Payload,
    /// Tell RKE2 which address of a DHCP server is this node's own (runs by itself, before RKE2)
    Address,
    /// Make the virtual functions of the config's devices, and take those that are for virtual
    /// machines from their drivers (runs by itself at every boot of a node that has some)
    Devices,
    /// Run the commands of os.after_install_chroot_commands that were not run yet
    #[command(hide = true)]
    FirstCommands,
    /// Compare this running node with its config, and change nothing
    Verify(VerifyArgs),
    /// Show what this node runs: its slots, its health, what became of the last upgrade
    Status(node::StatusArgs),
    /// Write a new image into the slot that does not run, and reboot into it
    ///
    /// What runs is not touched. The new slot has three boots to get healthy; a boot that does not
    /// restarts the machine, and after the third the old slot runs again.
    Upgrade(node::UpgradeArgs),
    /// Reboot into what is in the other slot, on trial as an upgrade is
    Rollback(node::RollbackArgs),
    /// Wait until this boot is healthy, and decide about its slot (runs by itself at every boot)
    Health,
}

#[derive(Debug, ClapArgs)]
struct InstallArgs {
    #[command(flatten)]
    said: Said,
    #[command(flatten)]
    what: What,
    /// Take the config from what this machine brings, show progress on all consoles, and reboot
    /// or power off at the end (what the medium runs by itself)
    #[arg(long, conflicts_with_all = ["config", "set", "alone"])]
    unattended: bool,
    /// Server that has the keys of github:USER, as USER.keys [default: https://github.com]
    #[arg(long, value_name = "URL")]
    key_server: Option<String>,
    /// Write a report of what was done, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print progress as JSON, one event per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
struct PlanArgs {
    #[command(flatten)]
    said: Said,
    #[command(flatten)]
    what: What,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
struct What {
    /// The disk, or a new file (with --size); stronger than install.device
    #[arg(long, value_name = "PATH")]
    device: Option<PathBuf>,
    /// Install onto a new sparse file of this size, such as 300G
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: Option<u64>,
    /// Overwrite the disk although it holds data, as install.allow_overwrite: true does
    #[arg(long)]
    allow_overwrite: bool,
    /// Folder or ISO with the image, or a URL of one; that of a folder ends with /
    /// [default: that of the medium, else install.iso_url]
    #[arg(long, value_name = "PLACE")]
    image: Option<PathBuf>,
    /// Faults in a row after which an image's server is given up
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().retries)]
    retries: u32,
    /// Seconds without a byte after which a connection counts as broken
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().stall.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    stall_limit: u64,
}

#[derive(Debug, ClapArgs)]
struct ApplyArgs {
    /// Mount everything too; in the initrd, in the new root
    #[arg(long)]
    initrd: bool,
}

#[derive(Debug, ClapArgs)]
struct VerifyArgs {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

fn exit_codes() -> String {
    let mut text = String::from(
        "Exit codes:\n   0  done\n   1  a bug in harrow\n   2  wrong use of the command line\n",
    );
    for (_, code, meaning) in Kind::TABLE {
        text += &format!("  {code:>2}  {meaning}\n");
    }
    text
}

/// Sizes on the command line are binary, as truncate(1) and qemu-img(1) have them.
fn parse_size(text: &str) -> Result<u64, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let factor = match unit {
        "M" | "Mi" | "MiB" => 1 << 20,
        "G" | "Gi" | "GiB" => 1 << 30,
        "T" | "Ti" | "TiB" => 1u64 << 40,
        _ => return Err("a size is a number with M, G or T, such as 300G".into()),
    };
    let number = text[..text.len() - unit.len()].parse::<u64>();
    let bytes = number.ok().and_then(|n| n.checked_mul(factor));
    bytes.ok_or_else(|| format!("{text} is too large"))
}

/// Runs what was asked for. `look` is for what is printed on standard output.
pub fn run(args: Args, look: Look) -> anyhow::Result<()> {
    start_log(args.log.as_deref())?;
    match args.verb {
        Verb::Install(args) if args.unattended => unattended::run(&args),
        Verb::Install(args) => install_by_hand(&args),
        Verb::Apply(args) => node_apply::run(&ApplyOptions {
            initrd: args.initrd,
        }),
        Verb::Payload => prepare_payload(),
        Verb::Address => address::run(),
        Verb::Devices => devices::run(),
        Verb::FirstCommands => first::run(),
        Verb::Verify(args) => verify_node(&args),
        Verb::Status(args) => node::status(&args),
        Verb::Upgrade(args) => node::upgrade(args),
        Verb::Rollback(args) => node::rollback(&args),
        Verb::Health => health::run(),
        Verb::Config(verb) => config::run(verb, look),
        Verb::Facts(args) => config::facts(&args),
        Verb::Disks(args) => disks::run(&args),
        Verb::Plan(args) => {
            let prepared = prepare(&args.said, &args.what, &options_of(&args.what))?;
            eprint!("{}", prepared.warnings.brief().render(Look::Plain));
            if args.json {
                let json = serde_json::to_string_pretty(&prepared.plan);
                console::print(json.context("writing the plan")? + "\n")
            } else {
                console::print(&prepared.plan)
            }
        }
    }
}

/// What takes long is said on the consoles, where somebody waits for the cluster.
fn prepare_payload() -> anyhow::Result<()> {
    let printer = Printer::consoles();
    let result = payload::prepare(&printer);
    if let Err(error) = &result {
        printer.line(format!("the cluster can't start: {error:#}"));
        if let Some(failure) = Failure::of(error).filter(|f| !f.hint.is_empty()) {
            printer.line(format!("hint: {}", failure.hint));
        }
    }
    printer.finish();
    result
}

fn verify_node(args: &VerifyArgs) -> anyhow::Result<()> {
    let report = verify::run(&VerifyOptions)?;
    if args.json {
        let json = serde_json::to_string_pretty(&report);
        console::print(json.context("writing the report")? + "\n")?;
    } else {
        console::print(format!("{report}\n"))?;
    }
    if report.is_ok() {
        return Ok(());
    }
    Err(Failure::error(
        Kind::NodeDiffers,
        "this node differs from its config",
        "a reboot applies the config again; what still differs then is said on the console",
    ))
}

/// Everything goes into the log file; without one, warnings go to stderr.
fn start_log(path: Option<&Path>) -> anyhow::Result<()> {
    use tracing_subscriber::fmt;
    let Some(path) = path else {
        fmt()
            .with_max_level(tracing::Level::WARN)
            .with_writer(std::io::stderr)
            .without_time()
            .init();
        return Ok(());
    };
    let mut options = File::options();
    let file = options.create(true).append(true).open(path).map_err(|e| {
        Failure::error(
            Kind::OutputUnwritable,
            format!("can't open the log {}: {e}", path.display()),
            "give --log a file in a folder that you may write to",
        )
    })?;
    fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(file)
        .init();
    Ok(())
}

/// The options of an install.
fn install_options(args: &InstallArgs) -> Options {
    let mut options = options_of(&args.what);
    options.reach = args.said.far.reach();
    if let Some(server) = &args.key_server {
        options.reach.key_server.clone_from(server);
    }
    // On the live system a report is kept whoever installs.
    let kept = || Path::new(RUN_DIR).join("report.json");
    options.report = args
        .report
        .clone()
        .or_else(|| is_live(&args.what).then(kept));
    options.others.clone_from(&args.said.config);
    options.json = args.json;
    options
}

fn this_cmdline() -> Cmdline {
    Cmdline::parse(&std::fs::read_to_string("/proc/cmdline").unwrap_or_default())
}

/// Whether this is the live medium, about to install onto a disk of this machine.
fn is_live(what: &What) -> bool {
    Path::new(live::MEDIUM_IMAGE).exists() && what.size.is_none()
}

/// A node takes over the consoles of the live system; a file is installed for any machine.
fn options_of(what: &What) -> Options {
    Options {
        image: what.image.clone(),
        limits: Limits {
            retries: what.retries,
            stall: Duration::from_secs(what.stall_limit),
        },
        device: what.device.clone(),
        size: what.size,
        allow_overwrite: what.allow_overwrite,
        consoles: if is_live(what) {
            live::consoles(&this_cmdline())
        } else {
            live::default_consoles()
        },
        ..Options::default()
    }
}

/// On the live medium, what the machine brings has a say too.
fn prepare(said: &Said, what: &What, options: &Options) -> anyhow::Result<Prepared> {
    let machine = (is_live(what) && !said.alone).then(Places::of_this_machine);
    let mut sources = said.sources(machine.as_ref(), &|line| eprintln!("{line}"))?;
    let mut options = options.clone();
    go_on(&mut sources, &mut options, &|line| eprintln!("{line}"));
    if machine.is_some() {
        for source in &sources {
            eprintln!("config from {}", source.name);
        }
    }
    if !live::is_said(&sources) {
        return Err(Failure::error(
            Kind::ConfigMissing,
            "no config was given",
            "give one with --config FILE; harrow config example prints one to begin with",
        ));
    }
    install::prepare(&sources, &options)
}

/// Without a config, an install that did not end is gone on with: everything was answered then.
fn go_on(sources: &mut Vec<Source>, options: &mut Options, tell: &dyn Fn(String)) {
    if live::is_said(sources) {
        return;
    }
    let mut found = leftover::find(options.device.as_deref());
    if found.len() > 1 {
        let paths: Vec<String> = found.iter().map(|l| l.path.display().to_string()).collect();
        let several = paths.join(", ");
        tell(format!(
            "several installs did not end, on {several}: name one with --device"
        ));
        return;
    }
    if let Some(leftover) = found.pop() {
        let path = leftover.path;
        tell(format!(
            "going on with the install of {} that did not end on {}",
            leftover.started,
            path.display()
        ));
        options.device = Some(path);
        options.size = options.size.or(leftover.file_size);
        sources.push(leftover.source);
    }
}

fn install_by_hand(args: &InstallArgs) -> anyhow::Result<()> {
    let options = install_options(args);
    let prepared = prepare(&args.said, &args.what, &options);
    let prepared = prepared.inspect_err(|error| install::refuse(&options, error))?;
    eprint!("{}", prepared.warnings.brief().render(Look::Plain));
    let printer = Printer::stdout();
    if !args.json {
        printer.line(format!(
            "harrow {}\n{}",
            env!("CARGO_PKG_VERSION"),
            prepared.plan
        ));
    }
    let result = install::run(&prepared, &options, &printer);
    printer.finish();
    result
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("300G"), Ok(300 << 30));
        assert_eq!(parse_size("1TiB"), Ok(1 << 40));
        for bad in ["", "G", "3GiBiB", "300", "1.5G", "-1G", "99999999999T"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_size("20M"), Ok(20 << 20));
    }
}
