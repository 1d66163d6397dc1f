//! Executes a plan: one exhaustive `match` over its steps.
//!
//! In: a [`Plan`], the image set, the files for OEM, a channel for events. Out: a [`Report`],
//! also when a step fails. Until the last step the disk does not boot.

mod boot;
mod prepare;
mod told;
mod upgrade;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Instant;

use anyhow::Context as _;

use super::event::Event;
use super::plan::Plan;
use super::readback;
use super::report::{Entry, Outcome, Report};
use super::slot::{self, Before, Slot};
use super::step::{OnFailure, Step};
use crate::disk::block::Block;
use crate::disk::ext4::{self, SmallFile};
use crate::disk::journal::Unfinished;
use crate::disk::layout::{ALIGN, Role, derive};
use crate::disk::target::Target;
use crate::disk::window::Window;
use crate::failure::Failure;
use crate::image::set::ImageSet;
use crate::node::source::CONFIG_NAME;

/// Name of the report on the OEM partition.
pub const REPORT_NAME: &str = "report.json";

/// Opens a target for writing.
pub type Open = dyn Fn(&Target) -> anyhow::Result<Box<dyn Block>>;

/// What an install needs besides its plan.
pub struct Inputs<'a> {
    /// What is installed.
    pub image: &'a ImageSet,
    /// Which source won for each key of the config; for the report.
    pub origins: &'a BTreeMap<String, String>,
    /// The node's config as it will lie on OEM, secrets hashed where they can be.
    pub config: Vec<u8>,
    /// True from the moment when the target was opened until the last step is done.
    pub half_made: &'a AtomicBool,
    /// Opens the targets: [`Target::open`], or in a test something that fails.
    pub open: &'a Open,
    /// Keeps the report as it is after each step, on the installer's own storage.
    pub keep: &'a dyn Fn(&Report),
}

impl fmt::Debug for Inputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs").finish_non_exhaustive()
    }
}

/// Executes `plan`. The error of a failed step is in the second part, the report always there.
pub fn execute(
    plan: &Plan,
    inputs: &Inputs<'_>,
    events: &Sender<Event>,
) -> (Report, anyhow::Result<()>) {
    let begun = Instant::now();
    let manifest = &inputs.image.manifest;
    let mut run = Run {
        plan,
        inputs,
        events,
        blocks: Vec::new(),
        journal: None,
        number: 0,
        slot_checked: false,
        report: Report {
            installer: env!("CARGO_PKG_VERSION").into(),
            version: manifest.version.clone(),
            root_hash: manifest.slot.verity.root_hash.clone(),
            started: jiff::Timestamp::now().to_string(),
            outcome: Outcome::Running,
            peak_memory_kib: None,
            config_origins: inputs.origins.clone(),
            journal: Vec::new(),
            plan: plan.clone(),
        },
    };
    let result = run.all_steps();
    if result.is_ok() {
        inputs.half_made.store(false, Ordering::SeqCst);
    }
    run.report.peak_memory_kib = peak_memory_kib();
    run.report.outcome = match &result {
        Ok(()) => Outcome::Done {
            milliseconds: milliseconds(begun),
        },
        Err(error) => Outcome::Failed {
            error: format!("{error:#}"),
        },
    };
    (inputs.keep)(&run.report);
    (run.report, result)
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// `VmHWM` of proc_pid_status(5).
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

struct Run<'a> {
    plan: &'a Plan,
    inputs: &'a Inputs<'a>,
    events: &'a Sender<Event>,
    /// The opened disks in the plan's order; nothing for one that could not be and is not needed.
    blocks: Vec<Option<Box<dyn Block>>>,
    /// The last record of the install disk's journal, once it was begun.
    journal: Option<(u64, Unfinished)>,
    number: usize,
    /// The slot was read and is what it should be.
    slot_checked: bool,
    report: Report,
}

impl Run<'_> {
    fn all_steps(&mut self) -> anyhow::Result<()> {
        let plan = self.plan;
        for step in &plan.steps {
            self.number += 1;
            let (number, of) = (self.number, plan.steps.len());
            self.tell(Event::Begin {
                number,
                of,
                step: step.to_string(),
            });
            tracing::info!("step {number}/{of}: {step}");
            self.report.journal.push(Entry {
                step: step.clone(),
                milliseconds: None,
                failed: None,
            });
            (self.inputs.keep)(&self.report);
            let begun = Instant::now();
            let result = self.one_step(step).with_context(|| {
                format!(
                    "step {number} of {of}, {step}, on {}",
                    self.name(step.disk())
                )
            });
            match (result, step.on_failure()) {
                (Err(error), OnFailure::Stop) => return Err(error),
                (Err(error), OnFailure::GoOn) => self.complain(&error),
                (Ok(()), _) => {}
            }
            let milliseconds = milliseconds(begun);
            if let Some(entry) = self.report.journal.last_mut() {
                entry.milliseconds = Some(milliseconds);
            }
            self.tell(Event::End {
                number,
                of,
                milliseconds,
            });
        }
        Ok(())
    }

    fn one_step(&mut self, step: &Step) -> anyhow::Result<()> {
        self.check_identity(step.disk())?;
        match step {
            Step::CheckImage { .. } => self.check_image(),
            Step::ReleaseDisk { disk, actions, .. } => self.release_disk(*disk, actions),
            Step::OpenTarget { disk, .. } => self.open_target(*disk),
            Step::ClearDisk { disk, slot_kept } => self.clear_disk(*disk, *slot_kept),
            Step::WipeDisk { disk } => self.wipe_disk(*disk),
            Step::MakeFilesystem { disk, role, .. } => {
                let partition = self.plan.layout_of(*disk)?.of(*role)?;
                let id = derive(self.plan.install_id, role.label());
                ext4::make_in_place(self.block(*disk)?, partition, id)
            }
            Step::WriteSlot { role, kept, .. } => self.write_slot(*role, *kept),
            Step::ClearSlot { role } => {
                let start = self.plan.layout()?.of(*role)?.start;
                self.zero(0, start..start + ALIGN)
            }
            Step::ReadBack { role, .. } => self.read_back(*role),
            Step::WriteEsp { .. } => self.write_esp(),
            Step::WriteBiosCore => self.write_bios_core(),
            Step::WriteOem => self.write_oem(),
            Step::FinishOem => self.finish_oem(),
            Step::WriteTable { disk } => self.write_table(*disk),
            Step::RetireSlot { role } => self.retire_slot(*role),
            Step::WriteKernel { role, .. } => self.write_kernel(*role),
            Step::WriteLoaders { .. } => self.write_loaders(),
            Step::WriteMenu { role } => self.write_menu(*role),
            Step::StartTrial { role } => self.start_trial(*role),
        }
    }

    /// A watcher that is gone is no reason to stop.
    fn tell(&self, event: Event) {
        self.events.send(event).ok();
    }

    /// Says and writes down what went wrong and is no reason to stop.
    fn complain(&mut self, error: &anyhow::Error) {
        let message = format!("{error:#}");
        tracing::warn!("{message}");
        self.tell(Event::Complaint {
            number: self.number,
            of: self.plan.steps.len(),
            message: message.clone(),
        });
        if let Some(entry) = self.report.journal.last_mut() {
            entry.failed = Some(message);
        }
    }

    /// An opened disk.
    fn block(&self, disk: usize) -> anyhow::Result<&dyn Block> {
        let block = self.blocks.get(disk).and_then(Option::as_deref);
        block.with_context(|| format!("disk {disk} is not open"))
    }

    /// Compares an open disk once more with what was planned, before something is written to it.
    fn check_identity(&self, disk: usize) -> anyhow::Result<()> {
        match self.blocks.get(disk).and_then(Option::as_deref) {
            Some(block) => block.check_identity(),
            None => Ok(()),
        }
    }

    /// What a disk is called in messages.
    fn name(&self, disk: usize) -> String {
        let planned = self.plan.disks.get(disk).map(|d| d.target.path());
        planned.unwrap_or(Path::new("?")).display().to_string()
    }

    fn size(&self, disk: usize) -> anyhow::Result<u64> {
        let planned = self.plan.disks.get(disk);
        let planned = planned.with_context(|| format!("the plan has no disk {disk}"))?;
        Ok(planned.target.size())
    }

    fn window(&self, role: Role) -> anyhow::Result<Window<'_>> {
        let partition = self.plan.layout()?.of(role)?;
        Ok(Window::new(self.block(0)?, partition.start, partition.size))
    }

    fn zero(&self, disk: usize, range: Range<u64>) -> anyhow::Result<()> {
        let at = range.start;
        let zeroed = self.block(disk)?.zero(range);
        zeroed.map_err(|e| self.write_failed(disk, at, e))
    }

    fn write_at(&self, disk: usize, bytes: &[u8], at: u64) -> anyhow::Result<()> {
        let written = self.block(disk)?.write_bytes(bytes, at);
        written.map_err(|e| self.write_failed(disk, at, e))
    }

    fn sync(&self, disk: usize) -> anyhow::Result<()> {
        let synced = self.block(disk)?.sync();
        synced.map_err(|e| {
            let doing = format!("waiting until {} has what was written", self.name(disk));
            Failure::of_write(e, doing)
        })
    }

    fn sync_all(&self) -> anyhow::Result<()> {
        let open = self.blocks.iter().enumerate().filter(|(_, b)| b.is_some());
        open.map(|(disk, _)| disk)
            .try_for_each(|disk| self.sync(disk))
    }

    fn write_failed(&self, disk: usize, at: u64, error: io::Error) -> anyhow::Error {
        let doing = format!("writing to {} at byte {at}", self.name(disk));
        Failure::of_write(error, doing)
    }

    fn read_failed(&self, disk: usize, at: u64, error: io::Error) -> anyhow::Error {
        let doing = format!("reading {} at byte {at}", self.name(disk));
        Failure::of_write(error, doing)
    }

    fn slot(&self, role: Role) -> anyhow::Result<Slot<'_>> {
        let before = match self.plan.target()? {
            Target::File { begun: false, .. } => Before::Zeros,
            Target::File { .. } | Target::Disk(_) => Before::Anything,
        };
        Ok(Slot {
            block: self.block(0)?,
            name: self.name(0),
            range: self.plan.layout()?.of(role)?.range(),
            before,
        })
    }

    fn write_slot(&mut self, role: Role, kept: bool) -> anyhow::Result<()> {
        let image = &self.inputs.image.manifest.slot;
        if kept {
            match readback::read_back(&self.slot(role)?, image, &mut self.pace()) {
                Ok(_) => {
                    self.slot_checked = true;
                    return Ok(());
                }
                Err(error) => self.complain(&error.context("it is written again")),
            }
            self.note(|unfinished| unfinished.slot_kept = false)?;
        }
        let reader = self.inputs.image.reader(&image.file)?;
        slot::write_slot(&self.slot(role)?, reader, &mut self.pace()).map(drop)
    }

    fn read_back(&mut self, role: Role) -> anyhow::Result<()> {
        if !self.slot_checked {
            let image = &self.inputs.image.manifest.slot;
            readback::read_back(&self.slot(role)?, image, &mut self.pace())?;
        }
        self.note(|unfinished| unfinished.slot_kept = true)
    }

    /// Changes the journal on the disk.
    fn note(&mut self, change: impl FnOnce(&mut Unfinished)) -> anyhow::Result<()> {
        if let Some((_, unfinished)) = &mut self.journal {
            change(unfinished);
        }
        self.sync(0)?;
        self.write_journal()
    }

    fn write_oem(&mut self) -> anyhow::Result<()> {
        let report = self.report_bytes()?;
        let files = [
            small(CONFIG_NAME, self.inputs.config.clone()),
            small(REPORT_NAME, report),
        ];
        let partition = self.plan.layout()?.of(Role::Oem)?;
        let id = derive(self.plan.install_id, Role::Oem.label());
        ext4::make_with_files(self.block(0)?, partition, id, &files)?;
        self.note(|unfinished| unfinished.config_kept = true)
    }

    fn finish_oem(&self) -> anyhow::Result<()> {
        let partition = self.plan.layout()?.of(Role::Oem)?;
        let report = small(REPORT_NAME, self.report_bytes()?);
        ext4::replace_files(self.block(0)?, partition, &[report])
    }

    fn report_bytes(&self) -> anyhow::Result<Vec<u8>> {
        serde_json::to_vec_pretty(&self.report).context("writing the report")
    }
}

fn small(name: &str, bytes: Vec<u8>) -> SmallFile {
    SmallFile {
        name: name.into(),
        bytes,
        mode: 0o600,
    }
}
