//! An install from the command line: from the sources of the config to the finished disk.
//!
//! In: [`Options`]. Out: lines on a printer, a report file, an error that says what to do.
//! Everything that can be found out without writing is found out before the plan is run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use uuid::Uuid;

use super::claim::claim;
use super::content;
use super::engine::{self, Inputs};
use super::pin;
use super::plan::{Plan, PlanInputs, plan_install};
use super::report::{Outcome, ReportFile};
use super::signals;
use super::targets::{Chosen, choose_targets};
use crate::config::{
    Answers, Config, Problems, Severity, Source, SourceKind, check_sources, origins, read_sources,
};
use crate::disk::target::Target;
use crate::disk::{ext4, release};
use crate::failure::{Failure, Kind};
use crate::image::set::ImageSet;
use crate::image::source::Place;
use crate::live::{self, Reach};
use crate::sys::console::Printer;
use crate::sys::net::remote::Limits;
use crate::sys::random;

/// Room for file system structures on a file target, beyond the files themselves.
const OVERHEAD: u64 = 512 << 20;

/// What the command line said.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Folder, ISO or URL with the image set; the medium's, else that of `install.iso_url`, when
    /// `None`.
    pub image: Option<PathBuf>,
    /// How long a bad line to the image's server is put up with.
    pub limits: Limits,
    /// Stronger than `install.device`.
    pub device: Option<PathBuf>,
    /// The install disk may hold data, whatever the config says.
    pub allow_overwrite: bool,
    /// Size of a file target, in bytes.
    pub size: Option<u64>,
    /// Where the report goes.
    pub report: Option<PathBuf>,
    /// Files that are read or written otherwise, so that the report must not take their place.
    pub others: Vec<PathBuf>,
    /// Events as JSON lines.
    pub json: bool,
    /// Consoles of the node when the config does not say.
    pub consoles: Vec<String>,
    /// How far what the config names is followed.
    pub reach: Reach,
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
    /// What is worth knowing about the config.
    pub warnings: Problems,
    /// Which source won for each key of the config.
    pub origins: BTreeMap<String, String>,
    answers: Answers,
    image: ImageSet,
    /// Where the config came from, the files among them by their paths.
    sources: Vec<String>,
}

/// Reads a config file.
pub fn read_config(path: &Path) -> anyhow::Result<Source> {
    let name = path.display().to_string();
    match live::read_some(path) {
        Ok(bytes) => Ok(Source::yaml(SourceKind::File, &name, bytes)),
        Err(e) => Err(Failure::error(
            Kind::ConfigMissing,
            format!("can't read the config {name}: {e}"),
            "give the path of a config file with --config",
        )),
    }
}

/// Checks a config without a machine.
pub fn check_config(source: &Source) -> anyhow::Result<()> {
    let problems = check_sources(std::slice::from_ref(source)).problems;
    if problems.has_errors() {
        return Err(Failure::error(
            Kind::ConfigInvalid,
            problems.only(Severity::Error).to_string(),
            "correct the config",
        ));
    }
    Ok(())
}

/// Writes down that an install was refused before it was begun, where its report would be.
pub fn refuse(options: &Options, error: &anyhow::Error) {
    let Some(path) = &options.report else { return };
    let mut others: Vec<&Path> = options.others.iter().map(PathBuf::as_path).collect();
    others.extend(options.image.as_deref());
    others.extend(options.device.as_deref());
    // The refusal itself matters more than what is written down of it.
    let written = ReportFile::reserve(path, &others).and_then(|file| file.refuse(error));
    if let Err(error) = written {
        tracing::warn!("{error:#}");
    }
}

/// Decides everything; changes no disk.
pub fn prepare(sources: &[Source], options: &Options) -> anyhow::Result<Prepared> {
    let checked = read_sources(sources, random::salt());
    let origins = origins(&checked);
    let warnings = checked.problems.only(Severity::Warning);
    let Some(config) = checked.config else {
        return Err(Failure::error(
            Kind::ConfigInvalid,
            checked.problems.only(Severity::Error).to_string(),
            "correct the config; nothing was changed on any disk",
        ));
    };
    let iso_url = checked.answers.install.iso_url.as_deref();
    let multipath = config.os.multipath.as_ref();
    let multipath = multipath.filter(|_| options.size.is_none());
    let maps = multipath.map_or(Ok(false), live::start_multipath)?;
    let place = place_of_image(options.image.as_deref(), iso_url);
    let image = ImageSet::open_at(&place, options.limits)?;
    content::check(&config, &image.manifest)?;
    let mut word = config.storage.overwrite.clone();
    word.allowed |= options.allow_overwrite;
    let Chosen {
        target,
        data,
        machine,
    } = choose_targets(&config, &word, options, &checked.main, maps)?;
    let needed: Vec<&Target> = std::iter::once(&target).chain(&data).collect();
    let unfinished = target.unfinished();
    let ours = unfinished.as_ref().map(|(_, u)| u.install_id);
    let mut claimed = claim(&word, &needed, &machine, ours)?;
    let actions = claimed.release.iter().flat_map(|(_, actions)| actions);
    release::check_tools(actions)?;
    if options.size.is_none() {
        // A file is not this machine's disk, and this network not its network.
        claimed.warnings.extend(live::check_vip(&config)?);
    }
    let plan = plan_install(
        &config,
        PlanInputs {
            target,
            data,
            wipe: claimed.wipe,
            release: claimed.release,
            warnings: claimed.warnings,
            manifest: &image.manifest,
            consoles: &options.consoles,
            install_id: Uuid::new_v4(),
            unfinished,
        },
    )?;
    for disk in &plan.disks {
        disk.target.check_room(plan.bytes + OVERHEAD)?;
    }
    ext4::check_tools()?;
    Ok(Prepared {
        plan,
        config,
        warnings,
        origins,
        answers: checked.answers,
        image,
        sources: sources.iter().map(|s| s.name.to_string()).collect(),
    })
}

/// Where the image is: where the person says, else on the medium, else where the config says.
fn place_of_image(given: Option<&Path>, iso_url: Option<&str>) -> Place {
    let medium = Path::new(live::MEDIUM_IMAGE);
    let iso_url = iso_url.filter(|url| !url.is_empty() && !medium.exists());
    Place::of(given.or(iso_url.map(Path::new)).unwrap_or(medium))
}

/// Runs a plan.
pub fn run(prepared: &Prepared, options: &Options, printer: &Printer) -> anyhow::Result<()> {
    let target = prepared.plan.target()?;
    let report_file = match &options.report {
        Some(path) => {
            let mut others = vec![target.path()];
            others.extend(prepared.sources.iter().map(Path::new));
            others.extend(options.others.iter().map(PathBuf::as_path));
            others.extend(options.image.as_deref());
            Some(ReportFile::reserve(path, &others)?)
        }
        None => None,
    };
    let mut answers = prepared.answers.clone();
    let half_made = Arc::new(AtomicBool::new(false));
    let ready = live::fetch_keys(&mut answers, &options.reach, &|line| match options.json {
        true => tracing::warn!("{line}"),
        false => printer.line(line),
    });
    let mut origins = prepared.origins.clone();
    // A file target is for any machine.
    if options.size.is_none() {
        for key in pin::pin(&mut answers, &pin::Known::probe()) {
            origins.insert(key, "this machine, at its install".to_owned());
        }
    }
    let ready = ready
        .and_then(|()| signals::end_cleanly(target.clone(), Arc::clone(&half_made)))
        .and_then(|()| answers.to_node_yaml());
    let config = ready.inspect_err(|error| refuse(options, error))?;
    let inputs = Inputs {
        image: &prepared.image,
        origins: &origins,
        config: config.into_bytes(),
        half_made: &half_made,
        open: &Target::open,
        keep: &|report| {
            // A failed install matters more than its report.
            if let Some(Err(error)) = report_file.as_ref().map(|file| file.write(report)) {
                tracing::warn!("{error:#}");
            }
        },
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
    result?;
    if let Some(file) = report_file {
        file.write(&report)?;
    }
    if let Outcome::Done { milliseconds } = report.outcome {
        let (seconds, tenths) = (milliseconds / 1000, milliseconds % 1000 / 100);
        if !options.json {
            printer.line(format!(
                "installed in {seconds}.{tenths} s onto {}",
                target.describe()
            ));
        }
    }
    Ok(())
}
