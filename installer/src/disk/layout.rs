//! The layout of an installed disk: which partitions, where, how large, under which names.
//!
//! In: the disk's size, the image's size, the configured sizes, ids. Out: [`Layout`], plain
//! data. Pure. The labels and numbers here are the contract with grub.cfg, the initrd, `apply`
//! and every later version.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::Sizes;

mod found;
mod place;

pub use place::{least_data_disk, least_disk};

/// Partitions start and end on multiples of this; fits every sector size and erase block.
pub const ALIGN: u64 = 1 << 20;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// GRUB's core image for BIOS.
    BiosBoot,
    /// EFI system partition: boot loaders, kernels, initrds.
    Esp,
    /// The node's config.
    Oem,
    /// Slot image A.
    SlotA,
    /// Slot image B.
    SlotB,
    /// `/var`
    Var,
    /// Longhorn's disk.
    Data,
}

impl Role {
    /// All roles in the order of their partition numbers, which begin at 1.
    pub const ALL: [Self; 7] = [
        Self::BiosBoot,
        Self::Esp,
        Self::Oem,
        Self::SlotA,
        Self::SlotB,
        Self::Var,
        Self::Data,
    ];

    /// The partition's name in the GPT.
    pub fn name(self) -> &'static str {
        match self {
            Self::BiosBoot => "harrow-bios",
            Self::Esp => "harrow-esp",
            Self::Oem => "harrow-oem",
            Self::SlotA => "harrow-slot-a",
            Self::SlotB => "harrow-slot-b",
            Self::Var => "harrow-var",
            Self::Data => "harrow-data",
        }
    }

    /// The label of its file system, for people; nothing at boot looks for it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Esp => "HARROW_ESP",
            Self::Oem => "HARROW_OEM",
            Self::Var => "HARROW_VAR",
            Self::Data => "HARROW_DATA",
            Self::BiosBoot | Self::SlotA | Self::SlotB => "",
        }
    }
}

/// How the table of a disk is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// GPT, with a protective MBR.
    #[default]
    Gpt,
    /// A plain MBR, for firmware that does not boot from a GPT (`install.force_mbr`).
    Mbr,
}

/// Where Longhorn's data lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataPlace {
    /// On the install disk, after `/var`.
    #[default]
    Here,
    /// On a disk of its own.
    OtherDisk,
    /// Nowhere: this node keeps no volumes, as a witness.
    Nowhere,
}

/// What of a disk decides where partitions can lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Size in bytes.
    pub size: u64,
    /// Logical sector size in bytes.
    pub sector_size: u32,
    /// Optimal I/O size in bytes, such as the stripe of a RAID; 0 when it does not say.
    pub optimal_io: u64,
}

/// What is asked of the layout of an install disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Size of the slot image in bytes.
    pub image_size: u64,
    /// Sizes that the config decides.
    pub sizes: Sizes,
    /// Which table.
    pub table: TableKind,
    /// Where Longhorn's data lies.
    pub data: DataPlace,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// What it is for.
    pub role: Role,
    /// Number in the partition table, from 1.
    pub number: u32,
    /// First byte on the disk.
    pub start: u64,
    /// Size in bytes.
    pub size: u64,
    /// Its GUID in the partition table, made by this install.
    pub guid: Uuid,
}

impl Partition {
    /// The bytes that are its.
    pub fn range(&self) -> Range<u64> {
        self.start..self.start + self.size
    }
}

/// The whole disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Size of the disk in bytes.
    pub disk_size: u64,
    /// Logical sector size in bytes, 512 or 4096.
    pub sector_size: u32,
    /// How the table is written.
    #[serde(default)]
    pub table: TableKind,
    /// GUID of the partition table; of an MBR its first four bytes are the disk's signature.
    pub disk_guid: Uuid,
    /// The partitions in order.
    pub partitions: Vec<Partition>,
}

impl Layout {
    /// The partition of a role.
    pub fn of(&self, role: Role) -> anyhow::Result<&Partition> {
        let found = self.partitions.iter().find(|p| p.role == role);
        found.ok_or_else(|| anyhow::anyhow!("the layout has no partition {}", role.name()))
    }

    /// What the kernel and udev call a partition: its GUID, or for an MBR the disk's signature and
    /// its number (`Documentation/admin-guide/kernel-parameters.txt`, "PARTUUID").
    pub fn partuuid(&self, role: Role) -> anyhow::Result<String> {
        let partition = self.of(role)?;
        Ok(match self.table {
            TableKind::Gpt => partition.guid.to_string(),
            TableKind::Mbr => format!("{:08x}-{:02x}", self.signature(), partition.number),
        })
    }

    /// The disk signature of an MBR.
    pub fn signature(&self) -> u32 {
        self.disk_guid.as_fields().0
    }

    /// Where the journal of an unfinished install lies: after the last partition, before the
    /// backup table.
    pub fn journal_start(&self) -> u64 {
        journal_start(self.disk_size)
    }
}

/// The same, for a disk whose layout is not known.
pub fn journal_start(disk_size: u64) -> u64 {
    (disk_size / ALIGN).saturating_sub(1) * ALIGN
}

/// A UUID that belongs to an install and a purpose.
pub fn derive(install_id: Uuid, purpose: &str) -> Uuid {
    Uuid::new_v5(&install_id, purpose.as_bytes())
}

/// A size for people: exact in its unit where it can be, else with one digit after the point.
pub fn show(bytes: u64) -> String {
    let (unit, name) = unit_of(bytes);
    if bytes.is_multiple_of(unit) {
        return format!("{} {name}", bytes / unit);
    }
    let tenths = u128::from(bytes) * 10 / u128::from(unit);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// Like [`show`], rounded up to a whole unit: for what is needed.
pub(crate) fn show_up(bytes: u64) -> String {
    let (unit, name) = unit_of(bytes);
    format!("{} {name}", bytes.div_ceil(unit))
}

fn unit_of(bytes: u64) -> (u64, &'static str) {
    [
        (1 << 40, "TiB"),
        (GIB, "GiB"),
        (MIB, "MiB"),
        (1 << 10, "KiB"),
    ]
    .into_iter()
    .find(|(unit, _)| bytes >= *unit)
    .unwrap_or((1, "bytes"))
}

#[cfg(test)]
impl Layout {
    /// A layout for tests: on a disk of 64 GiB, with 20 GiB for VAR.
    pub(crate) fn sample(sector_size: u32, table: TableKind, data: DataPlace) -> Self {
        let shape = Shape {
            size: 64 << 30,
            sector_size,
            optimal_io: 0,
        };
        let wish = Wish {
            image_size: 1,
            sizes: Sizes { var: 20 << 30 },
            table,
            data,
        };
        Self::of_install(shape, wish, Uuid::from_u128(5)).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1024, "1 KiB"),
            (1536 * MIB, "1.5 GiB"),
            (100 * GIB - 1, "99.9 GiB"),
        ] {
            assert_eq!(show(bytes), text);
        }
    }
}
