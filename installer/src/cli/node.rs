//! The verbs that are about this node's slots: upgrade, rollback, status, health.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args as ClapArgs;
use harrow::failure::{Failure, Kind};
use harrow::install::upgrade::Downgrade;
use harrow::node::status;
use harrow::node::upgrade::{self, Options, Then};
use harrow::sys::console::{self, Printer};
use harrow::sys::net::remote::Limits;

#[derive(Debug, ClapArgs)]
pub struct UpgradeArgs {
    /// Folder or ISO with the image, or a URL of one; that of a folder ends with /
    #[arg(long, value_name = "PLACE")]
    image: PathBuf,
    /// Don't reboot: the trial begins with whatever boot comes next
    #[arg(long)]
    stage: bool,
    /// Take the image also when it is older than what runs
    #[arg(long)]
    allow_downgrade: bool,
    /// Faults in a row after which an image's server is given up
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().retries)]
    retries: u32,
    /// Seconds without a byte after which a connection counts as broken
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().stall.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    stall_limit: u64,
    /// Print progress as JSON, one event per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct RollbackArgs {
    /// Don't reboot: the other slot is booted whenever the next boot comes
    #[arg(long)]
    stage: bool,
}

#[derive(Debug, ClapArgs)]
pub struct StatusArgs {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

fn then(stage: bool) -> Then {
    match stage {
        true => Then::Wait,
        false => Then::Reboot,
    }
}

/// `harrow upgrade`
pub fn upgrade(args: UpgradeArgs) -> anyhow::Result<()> {
    let options = Options {
        image: args.image,
        limits: Limits {
            retries: args.retries,
            stall: Duration::from_secs(args.stall_limit),
        },
        downgrade: match args.allow_downgrade {
            true => Downgrade::Allow,
            false => Downgrade::Refuse,
        },
        then: then(args.stage),
        json: args.json,
    };
    let printer = Printer::stdout();
    let result = upgrade::upgrade(&options, &printer);
    printer.finish();
    result
}

/// `harrow rollback`
pub fn rollback(args: &RollbackArgs) -> anyhow::Result<()> {
    let printer = Printer::stdout();
    let result = upgrade::rollback(then(args.stage), &printer);
    printer.finish();
    result
}

/// `harrow status`
pub fn status(args: &StatusArgs) -> anyhow::Result<()> {
    let status = status::look()?;
    if args.json {
        let json = serde_json::to_string_pretty(&status).context("writing the status")?;
        console::print(json + "\n")?;
    } else {
        console::print(&status)?;
    }
    if status.healthy {
        return Ok(());
    }
    Err(Failure::error(
        Kind::NodeUnhealthy,
        "this node is not healthy",
        "`harrow verify` compares all of it with its config; `journalctl -b -p err` has what went wrong",
    ))
}
