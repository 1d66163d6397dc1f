//! Upgrade and rollback of this node.
//!
//! In: an image, or what is in the other slot. Out: a trial that the next boot begins; until then, and
//! whatever happens on the way, the node boots what it booted before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;

use anyhow::Context as _;
use uuid::Uuid;

use super::record::{self, Left, Move, MoveKind, MoveState, SlotVersion};
use super::running::{Access, Running};
use super::{health, source, verify};
use crate::config::{Severity, Source, SourceKind, check_sources};
use crate::disk::target::Target;
use crate::failure::{Failure, Kind};
use crate::image::set::ImageSet;
use crate::image::source::Place;
use crate::install::engine::{self, Inputs};
use crate::install::grubenv::{TRIES, Trial};
use crate::install::plan::Plan;
use crate::install::report::{Report, ReportFile};
use crate::install::upgrade::{Downgrade, plan_upgrade};
use crate::sys::cmd::Cmd;
use crate::sys::console::Printer;
use crate::sys::net::remote::Limits;

/// What happens when the trial is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The node restarts into it.
    Reboot,
    /// It begins with whatever boot comes next.
    Wait,
}

/// What the command line said.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder, ISO or URL with the image set.
    pub image: PathBuf,
    /// How long a bad line to the image's server is put up with.
    pub limits: Limits,
    /// Whether it may be an older version.
    pub downgrade: Downgrade,
    /// What comes after.
    pub then: Then,
    /// Events as JSON lines.
    pub json: bool,
}

/// Writes an image into the other slot and begins its trial.
pub fn upgrade(options: &Options, printer: &Printer) -> anyhow::Result<()> {
    let running = Running::open(Access::Look)?;
    let image = ImageSet::open_at(&Place::of(&options.image), options.limits)?;
    let config = source::read_config(Path::new(source::OEM_DIR))?;
    let facts = running.facts(&image, var_free()?)?;
    let downgrade = options.downgrade;
    let plan = plan_upgrade(&config, facts, &image.manifest, downgrade, Uuid::new_v4())?;
    if !options.json {
        for problem in config_problems()? {
            printer.line(format!("Warning: the config on OEM: {problem}"));
        }
        printer.line(&plan);
    }
    let to = SlotVersion {
        slot: running.slot.other(),
        version: Some(image.manifest.version.clone()),
    };
    let mut this = begin(&running, MoveKind::Upgrade, to, MoveState::Writing)?;
    // What is said of the other slot is not about what comes into it.
    if Left::read().is_some_and(|left| left.slot == this.to.slot) {
        Left::forget();
    }
    drop(running);
    if let Err(error) = execute(&plan, &image, options.json, printer) {
        let failed = MoveState::Failed {
            error: format!("{error:#}"),
        };
        this.enter(failed)
            .unwrap_or_else(|e| tracing::warn!("{e:#}"));
        return Err(error.context("this node still boots what it booted before"));
    }
    this.enter(MoveState::Trial)?;
    if !options.json {
        printer.line(ready(&this));
    }
    after(options.then)
}

/// Begins a trial of what is in the other slot, or ends the one that runs.
pub fn rollback(then: Then, printer: &Printer) -> anyhow::Result<()> {
    let running = Running::open(Access::Change)?;
    let env = running.esp()?.env()?;
    if env.trial.is_some_and(|trial| trial.slot == running.slot) {
        running.change_env(|env| env.trial = None)?;
        if let Some(mut last) = Move::read() {
            last.enter(MoveState::Ended)?;
        }
        printer.line(format!(
            "the trial of slot {} is over; the next boot is that of slot {}",
            running.slot, env.slot
        ));
        return after(then);
    }
    let slot = env.slot.other();
    printer.line(format!("reading slot {slot} to see whether it is whole"));
    if let Some(why) = running.damage_of(slot)? {
        return Err(Failure::error(
            Kind::UpgradeRefused,
            format!("slot {slot} can't be booted: {why}"),
            "`harrow upgrade --image` writes a good one into it, also an older one",
        ));
    }
    let entry = running.esp()?.entry(slot)?;
    let to = SlotVersion {
        slot,
        version: entry.map(|entry| entry.version),
    };
    // First what it means, then the one write that makes it happen.
    let this = begin(&running, MoveKind::Rollback, to, MoveState::Trial)?;
    running.change_env(|env| {
        env.trial = Some(Trial { slot, tries: TRIES });
        env.boots = 0;
        env.left = None;
    })?;
    drop(running);
    printer.line(ready(&this));
    after(then)
}

fn begin(
    running: &Running,
    kind: MoveKind,
    to: SlotVersion,
    state: MoveState,
) -> anyhow::Result<Move> {
    health::forget_logs();
    let entry = running.esp()?.entry(running.slot)?;
    let this = Move {
        kind,
        from: SlotVersion {
            slot: running.slot,
            version: entry.map(|entry| entry.version),
        },
        to,
        started: record::now(),
        boot_id: record::boot_id(),
        failed_units: verify::failed_units()?,
        state,
        since: record::now(),
        failed_boots: Vec::new(),
    };
    this.write()?;
    Ok(this)
}

fn ready(this: &Move) -> String {
    format!(
        "{} is ready: it has {TRIES} boots to get healthy, else {} runs again",
        this.to, this.from
    )
}

fn after(then: Then) -> anyhow::Result<()> {
    match then {
        Then::Reboot => Cmd::new("systemctl").arg("reboot").run().map(drop),
        Then::Wait => Ok(()),
    }
}

fn execute(plan: &Plan, image: &ImageSet, json: bool, printer: &Printer) -> anyhow::Result<()> {
    let path = Path::new(record::DIR).join(record::REPORT);
    let report = ReportFile::reserve(&path, &[])?;
    let half_made = AtomicBool::new(false);
    let inputs = Inputs {
        image,
        origins: &BTreeMap::new(),
        config: Vec::new(),
        half_made: &half_made,
        open: &Target::open_running,
        keep: &|now: &Report| {
            // An upgrade that works matters more than its report.
            report
                .write(now)
                .unwrap_or_else(|e| tracing::warn!("{e:#}"));
        },
    };
    let (events, incoming) = channel();
    std::thread::scope(|scope| {
        let lines = printer.lines();
        scope.spawn(move || {
            for event in incoming {
                match serde_json::to_string(&event) {
                    Ok(line) if json => lines.line(line),
                    _ => lines.line(event),
                }
            }
        });
        let (_, result) = engine::execute(plan, &inputs, &events);
        drop(events);
        result
    })
}

/// What this version says of the config that the next one will read. A node that runs with it is
/// no worse off with the next version, so nothing of it is a reason to stop.
fn config_problems() -> anyhow::Result<Vec<String>> {
    let path = Path::new(source::OEM_DIR).join(source::CONFIG_NAME);
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let name = path.display().to_string();
    let checked = check_sources(&[Source::yaml(SourceKind::Oem, &name, bytes)]);
    let errors = checked.problems.only(Severity::Error).0;
    Ok(errors
        .iter()
        .map(|p| format!("{}: {}", p.field, p.message))
        .collect())
}

/// What VAR has free, in bytes.
fn var_free() -> anyhow::Result<u64> {
    let stat = rustix::fs::statvfs("/var").context("looking for free space in /var")?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
