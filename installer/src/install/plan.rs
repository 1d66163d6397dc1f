//! What an install will do, as data: disks, layouts and a list of steps.
//!
//! In: config, probed targets, image manifest, the install's id. Out: [`Plan`]. Pure; printing a
//! plan and executing it show the same lines. It holds no secrets.

mod kept;

use std::fmt;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::grub::{self, BootMenu, SlotBoot};
use super::step::Step;
use crate::config::Config;
use crate::disk::bios;
use crate::disk::coverage;
use crate::disk::journal::Unfinished;
use crate::disk::layout::{ALIGN, DataPlace, Layout, Role, TableKind, Wish, show};
use crate::disk::release::Action;
use crate::disk::target::Target;
use crate::facts::{DiskFacts, may_have_paths, user};
use crate::failure::{Failure, Kind};
use crate::image::manifest::ImageManifest;

/// Everything an install will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "kept::KeptPlan")]
pub struct Plan {
    /// Names this install; every UUID on the disks is derived from it.
    pub install_id: Uuid,
    /// What is written to. The first one is the install disk.
    pub disks: Vec<PlannedDisk>,
    /// The boot menu.
    pub menu: BootMenu,
    /// Size of the data that is written, in bytes, without file system structures.
    pub bytes: u64,
    /// What an install that did not end left on the install disk and this one keeps.
    pub resumed: Option<Resumed>,
    /// What is worth knowing about disks, such as those that should be wiped and can't.
    pub warnings: Vec<String>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// A disk and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedDisk {
    /// The disk, pinned by its identity.
    pub target: Target,
    /// What it is for.
    pub purpose: Purpose,
    /// What of it is lost, by name and size.
    #[serde(default)]
    pub lost: Vec<String>,
    /// What it will hold; nothing when it is only wiped.
    pub layout: Option<Layout>,
}

/// What a disk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// The system.
    Install,
    /// Longhorn's data.
    Data,
    /// Nothing: it is only emptied.
    Wipe,
    /// The system, which it has already: its other slot is written.
    Upgrade,
}

/// An install that is gone on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// When it began, RFC 3339.
    pub started: String,
    /// Slot A holds this image already.
    pub slot_kept: bool,
}

/// What a plan is made from besides the config.
#[derive(Debug)]
pub struct PlanInputs<'a> {
    /// The install disk.
    pub target: Target,
    /// The disk for Longhorn's data, when it is another one.
    pub data: Option<Target>,
    /// Further disks to be emptied.
    pub wipe: Vec<Target>,
    /// What keeps disks busy and is taken down, by the disk's path.
    pub release: Vec<(PathBuf, Vec<Action>)>,
    /// What is worth knowing about disks.
    pub warnings: Vec<String>,
    /// What is installed.
    pub manifest: &'a ImageManifest,
    /// Consoles of the kernel, the last one the main one.
    pub consoles: &'a [String],
    /// The id of the install, unless one is gone on with.
    pub install_id: Uuid,
    /// The install that the install disk is in the middle of, with the number of its record.
    pub unfinished: Option<(u64, Unfinished)>,
}

/// Makes the plan of an install.
pub fn plan_install(config: &Config, inputs: PlanInputs<'_>) -> anyhow::Result<Plan> {
    let manifest = inputs.manifest;
    let wish = Wish {
        image_size: manifest.slot.file.size,
        sizes: config.storage.sizes,
        table: config.storage.table,
        data: match (&inputs.data, config.storage.data) {
            (Some(_), _) => DataPlace::OtherDisk,
            (None, DataPlace::Nowhere) => DataPlace::Nowhere,
            (None, _) => DataPlace::Here,
        },
    };
    let (layout, resumed) = lay_out(&inputs, wish)?;
    let install_id = match (&resumed, &inputs.unfinished) {
        (Some(_), Some((_, unfinished))) => unfinished.install_id,
        _ => inputs.install_id,
    };
    let all: u64 = manifest.files().map(|file| file.size).sum();
    let esp = check_boot_files(manifest, &layout, all)?;
    let data_layout = match &inputs.data {
        Some(target) => Some(Layout::of_data(target.shape(), install_id)?),
        None => None,
    };
    let consoles = consoles_of(config, inputs.consoles);
    let warnings = several_paths(config, &inputs);
    let menu = BootMenu {
        consoles,
        arguments: config.os.kernel_arguments.clone(),
        multipath: match config.os.multipath {
            Some(_) => disks_of(&inputs).filter_map(wwid_for_boot).collect(),
            None => Vec::new(),
        },
        slot: SlotBoot::new(
            Role::SlotA,
            &layout,
            data_layout.as_ref(),
            &manifest.slot.verity,
            &manifest.version,
        )?,
    };
    grub::render_slot(&menu)?;
    let mut disks = vec![PlannedDisk::new(
        inputs.target,
        Purpose::Install,
        Some(layout),
    )];
    let data = inputs.data;
    disks.extend(data.map(|target| PlannedDisk::new(target, Purpose::Data, data_layout)));
    let wipe = inputs.wipe.into_iter();
    disks.extend(wipe.map(|target| PlannedDisk::new(target, Purpose::Wipe, None)));
    let mut plan = Plan {
        install_id,
        disks,
        menu,
        bytes: all,
        resumed,
        warnings,
        steps: Vec::new(),
    };
    plan.steps = steps_of(&plan, &inputs.release, manifest, esp)?;
    Ok(plan)
}

/// The consoles that the config names, else those given.
pub(super) fn consoles_of(config: &Config, given: &[String]) -> Vec<String> {
    match &config.os.tty {
        Some(tty) if tty.starts_with("tty0") => vec![tty.clone()],
        Some(tty) => vec!["tty0".to_owned(), tty.clone()],
        None => given.to_vec(),
    }
}

/// The disks that the node will use.
fn disks_of<'a>(inputs: &'a PlanInputs<'_>) -> impl Iterator<Item = &'a DiskFacts> {
    let needed = std::iter::once(&inputs.target).chain(&inputs.data);
    needed.filter_map(Target::facts)
}

/// What the initrd is told of a multipath disk: nothing that the kernel or GRUB could take for
/// something else.
fn wwid_for_boot(disk: &DiskFacts) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._:+=@-".contains(c);
    let wwid = disk.multipath.clone()?;
    wwid.chars().all(is_plain).then_some(wwid)
}

/// The warnings, and those about disks with several paths of which the node will use one.
fn several_paths(config: &Config, inputs: &PlanInputs<'_>) -> Vec<String> {
    let mut warnings = inputs.warnings.clone();
    for disk in disks_of(inputs) {
        let (path, count) = (disk.path.display(), disk.paths.len());
        if count > 1 && config.os.multipath.is_none() {
            warnings.push(format!(
                "{path} is reached over {count} paths, and the node will use one of them: \
                 os.external_storage_config.enabled makes it use all"
            ));
        } else if count > 1 && disk.multipath.is_none() {
            warnings.push(format!(
                "{path} is reached over {count} paths, and multipath does not run here: the node \
                 will use one of them. Install from Harrow's medium, or start multipathd before"
            ));
        } else if config.os.multipath.is_some() && may_have_paths(disk) && disk.multipath.is_none()
        {
            warnings.push(format!(
                "{path} has one path now, so the node will use that one alone: when it is meant to \
                 have several, see to them and install again"
            ));
        } else if config.os.multipath.is_some()
            && disk.multipath.is_some()
            && wwid_for_boot(disk).is_none()
        {
            warnings.push(format!(
                "{path} has a name that can't be told to a starting node, {:?}: it will use one path",
                disk.multipath.as_deref().unwrap_or_default()
            ));
        }
    }
    warnings
}

/// The layout, and what of an unfinished install can be kept: one of the same image for which
/// the same layout comes out.
fn lay_out(inputs: &PlanInputs<'_>, wish: Wish) -> anyhow::Result<(Layout, Option<Resumed>)> {
    let shape = inputs.target.shape();
    if let Some((_, unfinished)) = &inputs.unfinished {
        let layout = Layout::of_install(shape, wish, unfinished.install_id)?;
        let same_image = unfinished.root_hash == inputs.manifest.slot.verity.root_hash;
        if layout == unfinished.layout && same_image {
            let resumed = Resumed {
                started: unfinished.started.clone(),
                slot_kept: unfinished.slot_kept,
            };
            return Ok((layout, Some(resumed)));
        }
    }
    Ok((Layout::of_install(shape, wish, inputs.install_id)?, None))
}

/// The boot files must fit where they go. Their size on the ESP comes back.
fn check_boot_files(manifest: &ImageManifest, layout: &Layout, all: u64) -> anyhow::Result<u64> {
    let boot = &manifest.boot;
    let room = match layout.table {
        TableKind::Gpt => layout.of(Role::BiosBoot)?.size,
        TableKind::Mbr => ALIGN - u64::from(layout.sector_size),
    };
    bios::check_sizes(boot.bios_boot.size, boot.bios_core.size, room).map_err(|e| {
        Failure::error(
            Kind::ImageDamaged,
            format!("the image's boot loader for BIOS: {e}"),
            "the image was put together wrongly; take another build",
        )
    })?;
    let esp = all - manifest.slot.file.size - boot.bios_boot.size - boot.bios_core.size;
    if esp > layout.of(Role::Esp)?.size * 9 / 10 {
        return Err(Failure::error(
            Kind::ImageDamaged,
            format!("the image's boot files have {}, more than fits", show(esp)),
            "build the image with a smaller initrd",
        ));
    }
    Ok(esp)
}

/// What is done, in which order: nothing boots before the last step.
fn steps_of(
    plan: &Plan,
    release: &[(PathBuf, Vec<Action>)],
    manifest: &ImageManifest,
    esp: u64,
) -> anyhow::Result<Vec<Step>> {
    let slot = manifest.slot.file.size;
    let slot_kept = plan.resumed.as_ref().is_some_and(|r| r.slot_kept);
    let mut steps = vec![Step::CheckImage {
        bytes: plan.bytes - slot,
    }];
    let numbered = || plan.disks.iter().enumerate();
    let is_needed = |planned: &PlannedDisk| planned.purpose != Purpose::Wipe;
    steps.extend(numbered().filter_map(|(disk, planned)| {
        let mut of_disk = release.iter().filter(|(p, _)| p == planned.target.path());
        of_disk.next().map(|(_, actions)| Step::ReleaseDisk {
            disk,
            needed: is_needed(planned),
            actions: actions.clone(),
        })
    }));
    steps.extend(numbered().map(|(disk, planned)| Step::OpenTarget {
        disk,
        needed: is_needed(planned),
    }));
    steps.extend(numbered().map(|(disk, planned)| match planned.purpose {
        Purpose::Install | Purpose::Data => Step::ClearDisk {
            disk,
            slot_kept: disk == 0 && slot_kept,
        },
        Purpose::Wipe => Step::WipeDisk { disk },
        Purpose::Upgrade => Step::OpenTarget { disk, needed: true },
    }));
    steps.push(Step::WriteOem);
    steps.push(Step::WriteSlot {
        role: Role::SlotA,
        bytes: slot,
        kept: slot_kept,
    });
    steps.push(Step::ReadBack {
        role: Role::SlotA,
        bytes: slot,
    });
    for (disk, planned) in numbered() {
        for role in [Role::Var, Role::Data] {
            if let Some(found) = planned.layout.as_ref().and_then(|l| l.of(role).ok()) {
                let size = found.size;
                steps.push(Step::MakeFilesystem { disk, role, size });
            }
        }
    }
    steps.push(Step::ClearSlot { role: Role::SlotB });
    steps.push(Step::WriteEsp { bytes: esp });
    steps.push(Step::WriteBiosCore);
    steps.push(Step::FinishOem);
    // The install disk comes last: it boots then, and everything else must be there.
    let with_table = numbered().rev().filter(|(_, d)| d.layout.is_some());
    steps.extend(with_table.map(|(disk, _)| Step::WriteTable { disk }));
    Ok(steps)
}

impl Plan {
    /// The install disk's layout.
    pub fn layout(&self) -> anyhow::Result<&Layout> {
        self.layout_of(0)
    }

    /// The layout of a disk.
    pub fn layout_of(&self, disk: usize) -> anyhow::Result<&Layout> {
        let planned = self.disks.get(disk).and_then(|d| d.layout.as_ref());
        planned.with_context(|| format!("the plan has no layout for disk {disk}"))
    }

    /// What the system goes onto.
    pub fn target(&self) -> anyhow::Result<&Target> {
        let first = self.disks.first().map(|d| &d.target);
        first.context("the plan has no disk")
    }
}

impl PlannedDisk {
    fn new(target: Target, purpose: Purpose, layout: Option<Layout>) -> Self {
        Self {
            lost: target.facts().map(coverage::losses).unwrap_or_default(),
            target,
            purpose,
            layout,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "Warning: {warning}.")?;
        }
        for disk in &self.disks {
            write!(f, "{disk}")?;
        }
        if let Some(resumed) = &self.resumed {
            let started = &resumed.started;
            let kept = if resumed.slot_kept {
                "the system on it is kept when it reads back well"
            } else {
                "nothing on it can be kept"
            };
            writeln!(f, "An install of {started} did not end on it: {kept}.")?;
        }
        writeln!(f, "Steps:")?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {:>2}. {step}", number + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for PlannedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let purpose = match self.purpose {
            Purpose::Install => "Target",
            Purpose::Data => "Data disk",
            Purpose::Wipe => "Wiped disk",
            Purpose::Upgrade => return writeln!(f, "This node's disk: {}", self.target.describe()),
        };
        writeln!(f, "{purpose}: {}", self.target.describe())?;
        if let Some(facts) = self.target.facts().filter(|f| !f.users.is_empty()) {
            let users = user::in_words(&facts.users);
            writeln!(f, "It is in use, which is ended first: {users}.")?;
        }
        match (&self.target, self.lost.is_empty()) {
            (Target::Disk(_), true) => writeln!(f, "It holds nothing that is known.")?,
            (Target::Disk(_), false) => writeln!(f, "Everything on it will be lost:")?,
            (Target::File { .. }, _) => {}
        }
        for lost in &self.lost {
            writeln!(f, "  {lost}")?;
        }
        if self.layout.is_some() {
            writeln!(f, "It will hold:")?;
        }
        for p in self.layout.iter().flat_map(|layout| &layout.partitions) {
            let (name, label) = (p.role.name(), p.role.label());
            let line = format!("  {}  {name:<14} {:>10}  {label}", p.number, show(p.size));
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
