//! Executes a plan: one exhaustive `match` over its steps.
//!
//! In: a [`Plan`], the image set, the files for OEM, a channel for events. Out: a [`Report`],
//! also when a step fails. Until the last step the disk does not boot.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::event::Event;
use super::grub;
use super::plan::{Plan, Step};
use super::readback;
use super::report::{Entry, Outcome, Report};
use super::slot::{self, Before, Slot};
use crate::disk::block::Block;
use crate::disk::ext4::{self, SmallFile};
use crate::disk::fat::Fat;
use crate::disk::layout::{ALIGN, Role, derive};
use crate::disk::target::Target;
use crate::disk::window::Window;
use crate::disk::{bios, table};
use crate::failure::Failure;
use crate::image::manifest::FileEntry;
use crate::image::set::{ImageSet, from_io};
use crate::node::source::CONFIG_NAME;

/// How often progress is told.
const PROGRESS_PAUSE: Duration = Duration::from_secs(2);
/// Name of the report on the OEM partition.
pub const REPORT_NAME: &str = "report.json";

/// What an install needs besides its plan.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// What is installed.
    pub image: &'a ImageSet,
    /// Which source won for each key of the config; for the report.
    pub origins: &'a BTreeMap<String, String>,
    /// The node's config as it will lie on OEM, secrets hashed where they can be.
    pub config: Vec<u8>,
    /// True from the moment when the target was opened until the last step is done.
    pub half_made: &'a AtomicBool,
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
        target: None,
        number: 0,
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
    target: Option<Box<dyn Block>>,
    number: usize,
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
            });
            let begun = Instant::now();
            self.one_step(step).with_context(|| {
                format!(
                    "step {number} of {of}, {step}, on {}",
                    plan.target.path().display()
                )
            })?;
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
        match step {
            Step::CheckImage { .. } => self.check_image(),
            Step::OpenTarget => {
                self.target = Some(Box::new(self.plan.target.open()?));
                self.inputs.half_made.store(true, Ordering::SeqCst);
                Ok(())
            }
            Step::MakeUnbootable => self.make_unbootable(),
            Step::MakeFilesystem { role, .. } => {
                let partition = self.plan.layout.of(*role)?;
                let id = derive(self.plan.install_id, role.label());
                ext4::make_in_place(self.target()?, partition, id)
            }
            Step::WriteSlot { role, .. } => self.write_slot(*role),
            Step::ReadBack { role, .. } => {
                let image = &self.inputs.image.manifest.slot;
                readback::read_back(&self.slot(*role)?, image, &mut self.pace(image.file.size))
            }
            Step::ClearSlot { role } => self.zero(self.plan.layout.of(*role)?.start, ALIGN),
            Step::WriteEsp { .. } => self.write_esp(),
            Step::WriteBiosCore => self.write_bios_core(),
            Step::WriteOem => self.write_oem(),
            Step::WriteTable => self.write_table(),
        }
    }

    /// A watcher that is gone is no reason to stop.
    fn tell(&self, event: Event) {
        self.events.send(event).ok();
    }

    fn target(&self) -> anyhow::Result<&dyn Block> {
        self.target
            .as_deref()
            .context("the plan writes before it opens its target")
    }

    fn window(&self, role: Role) -> anyhow::Result<Window<'_>> {
        let partition = self.plan.layout.of(role)?;
        Ok(Window::new(self.target()?, partition.start, partition.size))
    }

    fn progress<R: Read>(&self, inner: R, before: u64, total: u64) -> Told<'_, R> {
        Told {
            inner,
            done: before,
            total,
            number: self.number,
            of: self.plan.steps.len(),
            events: self.events,
            last: Instant::now(),
        }
    }

    /// Reads the boot files, so that what is damaged is found while the disk still holds what it
    /// held. The slot image is large: it is checked while it is written.
    fn check_image(&self) -> anyhow::Result<()> {
        let image = self.inputs.image;
        let manifest = &image.manifest;
        let total = self.plan.bytes - manifest.slot.file.size;
        let mut done = 0;
        for entry in manifest.files().skip(1) {
            let mut reader = self.progress(image.reader(entry)?, done, total);
            io::copy(&mut reader, &mut io::sink()).map_err(from_io)?;
            done += entry.size;
        }
        Ok(())
    }

    fn zero(&self, start: u64, length: u64) -> anyhow::Result<()> {
        let zeroed = self.target()?.zero(start..start + length);
        zeroed.map_err(|e| self.write_failed(e))
    }

    fn make_unbootable(&self) -> anyhow::Result<()> {
        let size = self.plan.layout.disk_size;
        self.zero(0, ALIGN)?;
        self.zero(size - ALIGN, ALIGN)?;
        self.sync()
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> anyhow::Result<()> {
        let written = self.target()?.write_bytes(bytes, at);
        written.map_err(|e| self.write_failed(e))
    }

    fn sync(&self) -> anyhow::Result<()> {
        let synced = self.target()?.sync();
        synced.map_err(|e| self.write_failed(e))
    }

    fn write_failed(&self, error: io::Error) -> anyhow::Error {
        Failure::of_write(
            error,
            format!("writing to {}", self.plan.target.path().display()),
        )
    }

    fn slot(&self, role: Role) -> anyhow::Result<Slot<'_>> {
        let partition = self.plan.layout.of(role)?;
        let before = match self.plan.target {
            Target::File { .. } => Before::Zeros,
            Target::Disk(_) => Before::Anything,
        };
        Ok(Slot {
            block: self.target()?,
            name: self.plan.target.path().display().to_string(),
            range: partition.start..partition.start + partition.size,
            before,
        })
    }

    fn write_slot(&self, role: Role) -> anyhow::Result<()> {
        let file = &self.inputs.image.manifest.slot.file;
        let reader = self.inputs.image.reader(file)?;
        slot::write_slot(&self.slot(role)?, reader, &mut self.pace(file.size)).map(drop)
    }

    /// Tells how far a step is, now and then.
    fn pace(&self, total: u64) -> impl FnMut(u64) {
        let mut last = Instant::now();
        let (number, of) = (self.number, self.plan.steps.len());
        move |done| {
            if last.elapsed() < PROGRESS_PAUSE {
                return;
            }
            last = Instant::now();
            self.tell(Event::Progress {
                number,
                of,
                done,
                total,
            });
        }
    }

    fn write_esp(&self) -> anyhow::Result<()> {
        let partition = self.plan.layout.of(Role::Esp)?;
        let id = derive(self.plan.install_id, Role::Esp.label());
        let fat = Fat::format(
            self.window(Role::Esp)?,
            partition.size,
            self.plan.layout.sector_size,
            Role::Esp.label(),
            id.as_fields().0,
        )?;
        let menu = &self.plan.menu;
        let slot_dir = grub::slot_dir(menu.slot.role);
        let boot = &self.inputs.image.manifest.boot;
        let mut done = 0;
        for (path, entry) in [
            ("EFI/BOOT/BOOTX64.EFI".to_owned(), &boot.shim),
            ("EFI/BOOT/grubx64.efi".to_owned(), &boot.grub),
            ("EFI/BOOT/mmx64.efi".to_owned(), &boot.mok_manager),
            (format!("{slot_dir}/vmlinuz"), &boot.kernel),
            (format!("{slot_dir}/initrd.img"), &boot.initrd),
        ] {
            self.copy_to_fat(&fat, &path, entry, done)?;
            done += entry.size;
        }
        let slot_cfg = grub::render_slot(menu)?;
        fat.write(&format!("{slot_dir}/slot.cfg"), &mut slot_cfg.as_bytes())?;
        let env = grub::render_env(&[("slot", menu.slot.letter())]);
        fat.write(&format!("{}/grubenv", grub::GRUB_DIR), &mut &env[..])?;
        let cfg = grub::render_grub_cfg(&menu.consoles);
        fat.write(&format!("{}/grub.cfg", grub::GRUB_DIR), &mut cfg.as_bytes())?;
        fat.close()
    }

    fn copy_to_fat(
        &self,
        fat: &Fat<'_>,
        path: &str,
        entry: &FileEntry,
        done: u64,
    ) -> anyhow::Result<()> {
        let total = self.plan.steps[self.number - 1].bytes();
        let mut reader = self.progress(self.inputs.image.reader(entry)?, done, total);
        fat.write(path, &mut reader)
    }

    fn write_bios_core(&self) -> anyhow::Result<()> {
        let partition = self.plan.layout.of(Role::BiosBoot)?;
        let core = self
            .inputs
            .image
            .read(&self.inputs.image.manifest.boot.bios_core)?;
        let mut bytes = bios::core_image(&core, partition.start / 512, partition.size)?;
        bytes.resize(usize::try_from(partition.size)?, 0);
        self.write_at(&bytes, partition.start)
    }

    fn write_oem(&self) -> anyhow::Result<()> {
        let partition = self.plan.layout.of(Role::Oem)?;
        let id = derive(self.plan.install_id, Role::Oem.label());
        let small = |name: &str, bytes: Vec<u8>| SmallFile {
            name: name.into(),
            bytes,
            mode: 0o600,
        };
        let report = serde_json::to_vec_pretty(&self.report).context("writing the report")?;
        let files = [
            small(CONFIG_NAME, self.inputs.config.clone()),
            small(REPORT_NAME, report),
        ];
        ext4::make_with_files(self.target()?, partition, id, &files)
    }

    /// Everything else must be on the disk before the table, and the table before the MBR.
    fn write_table(&self) -> anyhow::Result<()> {
        let boot_img = self
            .inputs
            .image
            .read(&self.inputs.image.manifest.boot.bios_boot)?;
        let core_lba = self.plan.layout.of(Role::BiosBoot)?.start / 512;
        let code = bios::boot_code(&boot_img, core_lba)?;
        let table = table::render_table(&self.plan.layout, &code)?;
        self.sync()?;
        self.write_at(&table.backup, table.backup_start)?;
        self.write_at(&table.primary, u64::from(self.plan.layout.sector_size))?;
        self.sync()?;
        self.write_at(&table.mbr, 0)?;
        self.sync()
    }
}

/// A reader that tells how far it is, now and then.
struct Told<'a, R> {
    inner: R,
    done: u64,
    total: u64,
    number: usize,
    of: usize,
    events: &'a Sender<Event>,
    last: Instant,
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.done += count as u64;
        if self.last.elapsed() >= PROGRESS_PAUSE {
            self.last = Instant::now();
            let event = Event::Progress {
                number: self.number,
                of: self.of,
                done: self.done,
                total: self.total,
            };
            self.events.send(event).ok();
        }
        Ok(count)
    }
}
