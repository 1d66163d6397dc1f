//! What an install will do, as data: target, layout and a list of steps.
//!
//! In: config, probed target, image manifest, the install's id. Out: [`Plan`]. Pure; printing a
//! plan and executing it show the same lines. It holds no secrets.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::grub::{self, BootMenu, SlotBoot};
use crate::config::Config;
use crate::disk::bios;
use crate::disk::layout::{Layout, Role, show};
use crate::disk::target::Target;
use crate::failure::{Failure, Kind};
use crate::image::manifest::ImageManifest;

/// Everything an install will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Names this install; every UUID on the disk is derived from it.
    pub install_id: Uuid,
    /// What is written to.
    pub target: Target,
    /// Where everything goes.
    pub layout: Layout,
    /// The boot menu.
    pub menu: BootMenu,
    /// Size of the data that is written, in bytes, without file system structures.
    pub bytes: u64,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// One step. `Display` is the line that people see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Step {
    /// Reads the boot files of the image set and checks their digests. The slot image is checked
    /// while it is written.
    CheckImage {
        /// Bytes to read.
        bytes: u64,
    },
    /// Locks the disk, or creates the file.
    OpenTarget,
    /// Clears the start and the end of the disk: from here on it does not boot.
    MakeUnbootable,
    /// Makes an empty ext4 file system.
    MakeFilesystem {
        /// Which one.
        role: Role,
        /// Its size in bytes.
        size: u64,
    },
    /// Streams the slot image into a slot.
    WriteSlot {
        /// Which slot.
        role: Role,
        /// Bytes to write.
        bytes: u64,
    },
    /// Reads a slot back from the disk and checks it against its hash tree.
    ReadBack {
        /// Which slot.
        role: Role,
        /// Bytes to read.
        bytes: u64,
    },
    /// Makes a slot empty.
    ClearSlot {
        /// Which slot.
        role: Role,
    },
    /// Makes the EFI system partition with boot loaders, kernel, initrd and menu.
    WriteEsp {
        /// Bytes of its files.
        bytes: u64,
    },
    /// Writes GRUB's core image for BIOS.
    WriteBiosCore,
    /// Makes the OEM file system with the config and the report.
    WriteOem,
    /// Writes the partition table and the boot code: from here on the disk boots.
    WriteTable,
}

impl Step {
    /// Bytes that this step reports progress on; 0 when it does not.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::CheckImage { bytes }
            | Self::WriteSlot { bytes, .. }
            | Self::ReadBack { bytes, .. }
            | Self::WriteEsp { bytes } => *bytes,
            _ => 0,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CheckImage { bytes } => write!(f, "check the boot files ({})", show(*bytes)),
            Self::OpenTarget => f.write_str("open the target and lock it"),
            Self::MakeUnbootable => f.write_str("clear what the target held"),
            Self::MakeFilesystem { role, size } => {
                write!(f, "make the file system {} ({})", role.name(), show(*size))
            }
            Self::WriteSlot { role, bytes } => {
                write!(f, "write the system to {} ({})", role.name(), show(*bytes))
            }
            Self::ReadBack { role, bytes } => {
                write!(
                    f,
                    "read {} back and check it ({})",
                    role.name(),
                    show(*bytes)
                )
            }
            Self::ClearSlot { role } => write!(f, "leave {} empty", role.name()),
            Self::WriteEsp { bytes } => {
                write!(f, "write boot loaders and kernel ({})", show(*bytes))
            }
            Self::WriteBiosCore => f.write_str("write the boot loader for BIOS"),
            Self::WriteOem => f.write_str("write the config"),
            Self::WriteTable => {
                f.write_str("write the partition table, which makes the disk bootable")
            }
        }
    }
}

/// Makes the plan of a new install. `consoles` are the kernel's, the last one the main one.
pub fn plan_install(
    config: &Config,
    target: Target,
    manifest: &ImageManifest,
    consoles: &[String],
    install_id: Uuid,
) -> anyhow::Result<Plan> {
    let layout = Layout::compute(
        target.size(),
        target.sector_size(),
        manifest.slot.file.size,
        config.storage.sizes,
        install_id,
    )?;
    let slot = manifest.slot.file.size;
    let all: u64 = manifest.files().map(|file| file.size).sum();
    let boot = &manifest.boot;
    bios::check_sizes(
        boot.bios_boot.size,
        boot.bios_core.size,
        layout.of(Role::BiosBoot)?.size,
    )
    .map_err(|e| {
        Failure::error(
            Kind::ImageDamaged,
            format!("the image's boot loader for BIOS: {e}"),
            "the image was put together wrongly; take another build",
        )
    })?;
    let esp = all - slot - boot.bios_boot.size - boot.bios_core.size;
    if esp > layout.of(Role::Esp)?.size * 9 / 10 {
        return Err(Failure::error(
            Kind::ImageDamaged,
            format!("the image's boot files have {}, more than fits", show(esp)),
            "build the image with a smaller initrd",
        ));
    }
    let consoles = match &config.os.tty {
        Some(tty) if tty.starts_with("tty0") => vec![tty.clone()],
        Some(tty) => vec!["tty0".to_owned(), tty.clone()],
        None => consoles.to_vec(),
    };
    let menu = BootMenu {
        consoles,
        arguments: config.os.kernel_arguments.clone(),
        slot: SlotBoot::new(
            Role::SlotA,
            &layout,
            &manifest.slot.verity,
            &manifest.version,
        )?,
    };
    grub::render_slot(&menu)?;
    let size_of = |role| layout.of(role).map(|p| p.size);
    let make = |role| -> anyhow::Result<Step> {
        Ok(Step::MakeFilesystem {
            role,
            size: size_of(role)?,
        })
    };
    let steps = vec![
        Step::CheckImage { bytes: all - slot },
        Step::OpenTarget,
        Step::MakeUnbootable,
        make(Role::Var)?,
        make(Role::Data)?,
        Step::WriteSlot {
            role: Role::SlotA,
            bytes: slot,
        },
        Step::ReadBack {
            role: Role::SlotA,
            bytes: slot,
        },
        Step::ClearSlot { role: Role::SlotB },
        Step::WriteEsp { bytes: esp },
        Step::WriteBiosCore,
        Step::WriteOem,
        Step::WriteTable,
    ];
    Ok(Plan {
        install_id,
        target,
        layout,
        menu,
        bytes: all,
        steps,
    })
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Target: {}", self.target.describe())?;
        match self.target {
            Target::Disk(_) => writeln!(f, "Everything on it will be lost. It will hold:")?,
            Target::File { .. } => writeln!(f, "It will hold:")?,
        }
        for p in &self.layout.partitions {
            let (name, label) = (p.role.name(), p.role.label());
            let line = format!("  {}  {name:<14} {:>10}  {label}", p.number, show(p.size));
            writeln!(f, "{}", line.trim_end())?;
        }
        writeln!(f, "Steps:")?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {:>2}. {step}", number + 1)?;
        }
        Ok(())
    }
}
