//! The steps of an install, as data.
//!
//! In: nothing; a plan is made of them. Out: [`Step`], whose `Display` is the line that people
//! see, and what happens when one fails.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::disk::layout::{Role, show};
use crate::disk::release::Action;

/// One step. Disks are numbered as in the plan; the first is the install disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Step {
    /// Reads the boot files and checks their digests, before anything is written.
    CheckImage {
        /// Bytes to read.
        bytes: u64,
    },
    /// Takes down what of a disk's former life keeps it busy.
    ReleaseDisk {
        /// Which disk.
        disk: usize,
        /// Whether the install needs it.
        needed: bool,
        /// What is taken down, in this order.
        #[serde(default)]
        actions: Vec<Action>,
    },
    /// Locks the disk, or creates the file.
    OpenTarget {
        /// Which disk.
        #[serde(default)]
        disk: usize,
        /// Whether the install needs it.
        #[serde(default = "is_needed")]
        needed: bool,
    },
    /// Clears what a disk held, so that it does not boot, and begins the journal.
    #[serde(alias = "make-unbootable")]
    ClearDisk {
        /// Which disk.
        #[serde(default)]
        disk: usize,
        /// Leaves slot A as it is.
        #[serde(default)]
        slot_kept: bool,
    },
    /// Clears a disk that nothing is put on.
    WipeDisk {
        /// Which disk.
        disk: usize,
    },
    /// Makes an empty ext4 file system.
    MakeFilesystem {
        /// On which disk.
        #[serde(default)]
        disk: usize,
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
        /// It should be there already: it is read first, and only written when it is not.
        #[serde(default)]
        kept: bool,
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
    /// Makes the OEM file system with the config and the report so far.
    WriteOem,
    /// Brings the report on OEM up to date.
    FinishOem,
    /// Writes the partition table, and on the install disk the boot code: from here on it boots.
    WriteTable {
        /// Which disk.
        #[serde(default)]
        disk: usize,
    },
    /// Takes a slot out of the boot menu and makes it empty: half of a new image can't be booted.
    RetireSlot {
        /// Which slot.
        role: Role,
    },
    /// Writes kernel and initrd of a slot, and reads them back.
    WriteKernel {
        /// Which slot.
        role: Role,
        /// Bytes to write.
        bytes: u64,
    },
    /// Puts other boot loaders for UEFI in the place of those that are there.
    WriteLoaders {
        /// Bytes to write.
        bytes: u64,
    },
    /// Puts a slot into the boot menu.
    WriteMenu {
        /// Which slot.
        role: Role,
    },
    /// Makes the next boots those of a slot on trial. The last thing that an upgrade writes.
    StartTrial {
        /// Which slot.
        role: Role,
    },
}

/// Reports of before there were others.
fn is_needed() -> bool {
    true
}

/// What happens when a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The install ends there.
    Stop,
    /// It is said and written down, and the install goes on.
    GoOn,
}

impl Step {
    /// Bytes that this step reports progress on; 0 when it does not.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::CheckImage { bytes }
            | Self::WriteSlot { bytes, .. }
            | Self::ReadBack { bytes, .. }
            | Self::WriteEsp { bytes }
            | Self::WriteKernel { bytes, .. }
            | Self::WriteLoaders { bytes } => *bytes,
            _ => 0,
        }
    }

    /// The disk that it is about.
    pub fn disk(&self) -> usize {
        match self {
            Self::ReleaseDisk { disk, .. }
            | Self::OpenTarget { disk, .. }
            | Self::ClearDisk { disk, .. }
            | Self::WipeDisk { disk }
            | Self::MakeFilesystem { disk, .. }
            | Self::WriteTable { disk } => *disk,
            _ => 0,
        }
    }

    /// A disk that is only wiped is not needed: its failure is no reason to stop.
    pub fn on_failure(&self) -> OnFailure {
        match self {
            Self::WipeDisk { .. }
            | Self::ReleaseDisk { needed: false, .. }
            | Self::OpenTarget { needed: false, .. } => OnFailure::GoOn,
            _ => OnFailure::Stop,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CheckImage { bytes } => write!(f, "check the boot files ({})", show(*bytes)),
            Self::ReleaseDisk { disk, actions, .. } => {
                let which = if *disk == 0 {
                    "the target"
                } else {
                    "a further disk"
                };
                write!(f, "take down what keeps {which} busy")?;
                let actions: Vec<String> = actions.iter().map(ToString::to_string).collect();
                match actions.is_empty() {
                    true => Ok(()),
                    false => write!(f, ": {}", actions.join(", ")),
                }
            }
            Self::OpenTarget { disk: 0, .. } => f.write_str("open the target and lock it"),
            Self::OpenTarget { .. } => f.write_str("open a further disk and lock it"),
            Self::ClearDisk {
                disk: 0,
                slot_kept: false,
            } => f.write_str("clear what the target held"),
            Self::ClearDisk { disk: 0, .. } => {
                f.write_str("clear what the target held but for the system")
            }
            Self::ClearDisk { .. } => f.write_str("clear what the data disk held"),
            Self::WipeDisk { .. } => f.write_str("clear what a further disk held"),
            Self::MakeFilesystem { role, size, .. } => {
                write!(f, "make the file system {} ({})", role.name(), show(*size))
            }
            Self::WriteSlot {
                role,
                bytes,
                kept: false,
            } => {
                write!(f, "write the system to {} ({})", role.name(), show(*bytes))
            }
            Self::WriteSlot { role, bytes, .. } => {
                let (name, size) = (role.name(), show(*bytes));
                write!(f, "keep the system that is in {name} ({size})")
            }
            Self::ReadBack { role, bytes } => {
                let (name, size) = (role.name(), show(*bytes));
                write!(f, "read {name} back and check it ({size})")
            }
            Self::ClearSlot { role } => write!(f, "leave {} empty", role.name()),
            Self::WriteEsp { bytes } => {
                write!(f, "write boot loaders and kernel ({})", show(*bytes))
            }
            Self::WriteBiosCore => f.write_str("write the boot loader for BIOS"),
            Self::WriteOem => f.write_str("write the config"),
            Self::FinishOem => f.write_str("write the report"),
            Self::WriteTable { disk: 0 } => {
                f.write_str("write the partition table, which makes the disk bootable")
            }
            Self::WriteTable { .. } => f.write_str("write the partition table of the data disk"),
            Self::RetireSlot { role } => {
                write!(f, "take {} out of the boot menu and empty it", role.name())
            }
            Self::WriteKernel { role, bytes } => {
                write!(f, "write the kernel of {} ({})", role.name(), show(*bytes))
            }
            Self::WriteLoaders { bytes } => {
                write!(f, "replace the boot loaders ({})", show(*bytes))
            }
            Self::WriteMenu { role } => write!(f, "put {} into the boot menu", role.name()),
            Self::StartTrial { role } => {
                write!(f, "begin the trial of {} with the next boot", role.name())
            }
        }
    }
}
