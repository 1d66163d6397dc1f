//! An install from the command line: from the config's text to the finished disk.
//!
//! In: [`Options`]. Out: lines on a printer, a report file, an error that says what to do.
//! Everything that can be found out without writing is found out before the plan is run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use uuid::Uuid;

use super::engine::{self, Inputs};
use super::plan::{Plan, plan_install};
use super::report::{Outcome, ReportFile};
use super::signals;
use crate::config::{Answers, Config, resolve};
use crate::disk::ext4;
use crate::disk::target::Target;
use crate::failure::{Failure, Kind};
use crate::image::set::ImageSet;
use crate::live::{self, Found};
use crate::sys::console::Printer;
use crate::sys::wait;

/// Room for file system structures on a file target, beyond the files themselves.
const OVERHEAD: u64 = 512 << 20;
/// How often a disk is looked for.
const PAUSE: Duration = Duration::from_millis(500);

/// What the command line said.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Folder with the image set; the medium's when `None`.
    pub image: Option<PathBuf>,
    /// Stronger than `install.device`.
    pub device: Option<PathBuf>,
    /// Size of a file target, in bytes.
    pub size: Option<u64>,
    /// Where the report goes.
    pub report: Option<PathBuf>,
    /// Events as JSON lines.
    pub json: bool,
    /// Consoles of the node when the config does not say.
    pub consoles: Vec<String>,
    /// How long a disk is waited for that is not there yet, as on a machine that is starting.
    pub patience: Duration,
}

/// A plan with what is needed to run it.
#[derive(Debug)]
pub struct Prepared {
    /// What will be done.
    pub plan: Plan,
    /// The resolved config.
    pub config: Config,
    answers: Answers,
    image: ImageSet,
    /// Where the config came from.
    source: String,
}

/// Reads a config file.
pub fn read_config(path: &Path) -> anyhow::Result<Found> {
    let source = path.display().to_string();
    match live::read_some(path) {
        Ok(bytes) => live::found(source, bytes),
        Err(e) => Err(Failure::error(
            Kind::ConfigMissing,
            format!("can't read the config {source}: {e}"),
            "give the path of a config file with --config",
        )),
    }
}

/// Checks a config without a machine.
pub fn check_config(found: &Found) -> anyhow::Result<(Answers, Config)> {
    let answers = Answers::parse(&found.text, &found.source)?;
    let config = resolve(&answers).map_err(|problems| {
        Failure::error(
            Kind::ConfigInvalid,
            format!("{}: {problems}", found.source),
            "correct the config; nothing was changed on any disk",
        )
    })?;
    Ok((answers, config))
}

/// Decides everything; writes nothing.
pub fn prepare(found: &Found, options: &Options) -> anyhow::Result<Prepared> {
    let (answers, config) = check_config(found)?;
    let device = options
        .device
        .clone()
        .or_else(|| config.storage.device.clone().map(PathBuf::from));
    let device = device.ok_or_else(|| {
        Failure::error(
            Kind::ConfigInvalid,
            format!("{}: install.device is missing", found.source),
            "name the disk to install on, such as /dev/disk/by-id/..., or give --device",
        )
    })?;
    let image = ImageSet::open(
        options
            .image
            .as_deref()
            .unwrap_or(Path::new(live::MEDIUM_IMAGE)),
    )?;
    if !options.patience.is_zero() {
        // Only to give it time: whatever is wrong with the device, the probe says it best.
        let appeared = || Ok(device.exists().then_some(()));
        wait::until("the disk", options.patience, PAUSE, appeared).ok();
    }
    let target = Target::probe(&device, options.size)?;
    let plan = plan_install(
        &config,
        target,
        &image.manifest,
        &options.consoles,
        Uuid::new_v4(),
    )?;
    plan.target.check_room(plan.bytes + OVERHEAD)?;
    ext4::check_tools()?;
    Ok(Prepared {
        plan,
        config,
        answers,
        image,
        source: found.source.clone(),
    })
}

/// Runs a plan.
pub fn run(prepared: &Prepared, options: &Options, printer: &Printer) -> anyhow::Result<()> {
    let salt = Uuid::new_v4().into_bytes();
    let mut short = [0; 12];
    short.copy_from_slice(&salt[..12]);
    let target = &prepared.plan.target;
    let report_file = match &options.report {
        Some(path) => Some(ReportFile::reserve(
            path,
            &[target.path(), Path::new(&prepared.source)],
        )?),
        None => None,
    };
    let half_made = Arc::new(AtomicBool::new(false));
    signals::end_cleanly(target.clone(), Arc::clone(&half_made))?;
    let inputs = Inputs {
        image: &prepared.image,
        config: prepared.answers.to_node_yaml(short)?.into_bytes(),
        half_made: &half_made,
    };
    let (events, incoming) = channel();
    let (report, result) = std::thread::scope(|scope| {
        let (json, lines) = (options.json, printer.lines());
        scope.spawn(move || {
            for event in incoming {
                match serde_json::to_string(&event) {
                    Ok(line) if json => lines.line(line),
                    _ => lines.line(event),
                }
            }
        });
        let outcome = engine::execute(&prepared.plan, &inputs, &events);
        drop(events);
        outcome
    });
    if half_made.load(Ordering::SeqCst) {
        target.discard();
    }
    if let Some(file) = report_file {
        let written = file.write(&report);
        // A failed install matters more than its report.
        if result.is_ok() {
            written?;
        }
    }
    result?;
    if let Outcome::Done { milliseconds } = report.outcome {
        let (seconds, tenths) = (milliseconds / 1000, milliseconds % 1000 / 100);
        if !options.json {
            printer.line(format!(
                "installed in {seconds}.{tenths} s onto {}",
                prepared.plan.target.describe()
            ));
        }
    }
    Ok(())
}
