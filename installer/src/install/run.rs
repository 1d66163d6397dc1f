//! An install from the command line: from the config's text to the finished disk.
//!
//! In: [`Options`]. Out: lines on a printer, a report file, an error that says what to do.
//! Everything that can be found out without writing is found out before the plan is run.

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use anyhow::Context as _;
use uuid::Uuid;

use super::engine::{self, Inputs};
use super::plan::{Plan, plan_install};
use super::report::Outcome;
use crate::config::{Answers, Config, resolve};
use crate::disk::ext4;
use crate::disk::target::Target;
use crate::failure::{Failure, Kind};
use crate::image::set::ImageSet;
use crate::live::{self, Found};
use crate::sys::console::Printer;

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
}

/// Reads a config file.
pub fn read_config(path: &Path) -> anyhow::Result<Found> {
    let source = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Found { source, text }),
        Err(e) => Err(Failure::error(
            Kind::ConfigMissing,
            format!("can't read the config {source}: {e}"),
            "give the path of a config file with --config",
        )),
    }
}

/// Decides everything; writes nothing.
pub fn prepare(found: &Found, options: &Options) -> anyhow::Result<Prepared> {
    let answers = Answers::parse(&found.text, &found.source)?;
    let config = resolve(&answers).map_err(|problems| {
        Failure::error(
            Kind::ConfigInvalid,
            format!("{}: {problems}", found.source),
            "correct the config; nothing was changed on any disk",
        )
    })?;
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
    let target = Target::probe(&device, options.size)?;
    let plan = plan_install(
        &config,
        target,
        &image.manifest,
        &options.consoles,
        Uuid::new_v4(),
    )?;
    ext4::check_tools()?;
    Ok(Prepared {
        plan,
        config,
        answers,
        image,
    })
}

/// Runs a plan.
pub fn run(prepared: &Prepared, options: &Options, printer: &Printer) -> anyhow::Result<()> {
    let salt = Uuid::new_v4().into_bytes();
    let mut short = [0; 12];
    short.copy_from_slice(&salt[..12]);
    let inputs = Inputs {
        image: &prepared.image,
        config: prepared.answers.to_node_yaml(short)?.into_bytes(),
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
    if let Some(path) = &options.report {
        let bytes = serde_json::to_vec_pretty(&report).context("writing the report")?;
        let written = std::fs::write(path, bytes)
            .with_context(|| format!("writing the report {}", path.display()));
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
