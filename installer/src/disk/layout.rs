//! The layout of an installed disk: which partitions, where, how large, under which names.
//!
//! In: the disk's size, the image's size, the configured sizes, ids. Out: [`Layout`], plain
//! data. Pure. The labels and numbers here are the contract with grub.cfg, the initrd, `apply`
//! and every later version.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::Sizes;
use crate::failure::{Failure, Kind};

/// Partitions start and end on multiples of this; fits every sector size and erase block.
pub const ALIGN: u64 = 1 << 20;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const BIOS_BOOT_SIZE: u64 = MIB;
const ESP_SIZE: u64 = GIB;
const OEM_SIZE: u64 = 64 * MIB;
const MIN_SLOT_SIZE: u64 = 4 * GIB;
/// Below this, Longhorn has nothing to work with.
const MIN_DATA_SIZE: u64 = 10 * GIB;

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

/// The whole disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Size of the disk in bytes.
    pub disk_size: u64,
    /// Logical sector size in bytes, 512 or 4096.
    pub sector_size: u32,
    /// GUID of the partition table.
    pub disk_guid: Uuid,
    /// The partitions in order.
    pub partitions: Vec<Partition>,
}

/// The smallest disk, in bytes, that a layout with these sizes and the smallest slots fits on.
pub fn least_disk(sizes: Sizes) -> u64 {
    let partitions = BIOS_BOOT_SIZE + ESP_SIZE + OEM_SIZE + 2 * MIN_SLOT_SIZE + MIN_DATA_SIZE;
    // One MiB in front, one for the backup table, one for a disk that ends within a MiB.
    (partitions + 3 * ALIGN).saturating_add(sizes.var)
}

impl Layout {
    /// Where everything goes on a disk of `disk_size` bytes. `install_id` is the one random
    /// value of an install: every GUID is derived from it.
    pub fn compute(
        disk_size: u64,
        sector_size: u32,
        image_size: u64,
        sizes: Sizes,
        install_id: Uuid,
    ) -> anyhow::Result<Self> {
        if ![512, 4096].contains(&sector_size) {
            return Err(Failure::error(
                Kind::DeviceUnknown,
                format!("the disk has sectors of {sector_size} bytes, only 512 and 4096 are known"),
                "take another disk, or format it to one of these sizes (`nvme format`, `sg_format`)",
            ));
        }
        let slot = slot_size(image_size);
        let var = sizes.var.div_ceil(ALIGN).saturating_mul(ALIGN);
        let before_data = (ALIGN + BIOS_BOOT_SIZE + ESP_SIZE + OEM_SIZE)
            .saturating_add(slot.saturating_mul(2))
            .saturating_add(var);
        // The last MiB is for the backup table.
        let end = (disk_size / ALIGN).saturating_sub(1) * ALIGN;
        let needed = before_data.saturating_add(MIN_DATA_SIZE + ALIGN);
        let data = end.saturating_sub(before_data);
        if data < MIN_DATA_SIZE {
            return Err(Failure::error(
                Kind::DeviceTooSmall,
                format!(
                    "the disk has {}, this layout needs {}: ESP 1 GiB, OEM 64 MiB, two slots of {}, /var {}, data at least {}",
                    show(disk_size),
                    show_up(needed),
                    show(slot),
                    show(sizes.var),
                    show(MIN_DATA_SIZE)
                ),
                "take a larger disk, or set install.persistent_partition_size to less (20Gi at least)",
            ));
        }
        let mut start = ALIGN;
        let mut partitions = Vec::new();
        for (number, role) in (1..).zip(Role::ALL) {
            let size = match role {
                Role::BiosBoot => BIOS_BOOT_SIZE,
                Role::Esp => ESP_SIZE,
                Role::Oem => OEM_SIZE,
                Role::SlotA | Role::SlotB => slot,
                Role::Var => var,
                Role::Data => end - start,
            };
            partitions.push(Partition {
                role,
                number,
                start,
                size,
                guid: derive(install_id, role.name()),
            });
            start += size;
        }
        Ok(Self {
            disk_size,
            sector_size,
            disk_guid: derive(install_id, "disk"),
            partitions,
        })
    }

    /// The partition of a role. Every layout has one of each.
    pub fn of(&self, role: Role) -> anyhow::Result<&Partition> {
        let found = self.partitions.iter().find(|p| p.role == role);
        found.ok_or_else(|| anyhow::anyhow!("the layout has no partition {}", role.name()))
    }
}

/// A UUID that belongs to an install and a purpose.
pub fn derive(install_id: Uuid, purpose: &str) -> Uuid {
    Uuid::new_v5(&install_id, purpose.as_bytes())
}

/// Slots must take the next version too: at least 4 GiB and 1.5 times the image, in whole GiB.
fn slot_size(image_size: u64) -> u64 {
    let room = image_size.saturating_add(image_size / 2);
    room.max(MIN_SLOT_SIZE).div_ceil(GIB).saturating_mul(GIB)
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
fn show_up(bytes: u64) -> String {
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
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn layout(disk_size: u64, image_size: u64) -> anyhow::Result<Layout> {
        Layout::compute(disk_size, 512, image_size, Sizes { var: 150 * GIB }, ID)
    }

    #[test]
    fn partitions_touch_each_other_and_leave_room_for_both_tables() {
        let layout = layout(300 * GIB + 12345, 250 * MIB).unwrap();
        let mut next = ALIGN;
        for partition in &layout.partitions {
            assert_eq!(partition.start, next, "{:?}", partition.role);
            assert_eq!(partition.start % ALIGN, 0);
            assert_eq!(partition.size % ALIGN, 0);
            next += partition.size;
        }
        assert!(next + ALIGN <= layout.disk_size);
        assert!(layout.disk_size - next < 3 * ALIGN);
        assert_eq!(layout.of(Role::SlotA).unwrap().number, 4);
        assert_eq!(layout.of(Role::SlotA).unwrap().size, 4 * GIB);
        assert_eq!(
            layout.of(Role::SlotA).unwrap().size,
            layout.of(Role::SlotB).unwrap().size
        );
    }

    #[test]
    fn slots_grow_with_the_image() {
        for (image, slot) in [(1, 4), (2 * GIB, 4), (2731 * MIB, 5), (8 * GIB, 12)] {
            assert_eq!(slot_size(image), slot * GIB, "{image}");
        }
    }

    #[test]
    fn the_smallest_disk_is_accepted_and_a_byte_less_refused() {
        let least = ALIGN + MIB + GIB + 64 * MIB + 8 * GIB + 150 * GIB + MIN_DATA_SIZE + ALIGN;
        assert!(layout(least, 1).is_ok());
        for size in [least - 1, 8 * GIB, 0] {
            let error = layout(size, 1).unwrap_err();
            assert_eq!(Failure::of(&error).unwrap().kind, Kind::DeviceTooSmall);
            assert!(error.to_string().contains("170 GiB"), "{error}");
        }
    }

    #[test]
    fn absurd_sizes_are_too_large_and_odd_sectors_unknown() {
        let kind = |var, image, sector| {
            let error = Layout::compute(1 << 40, sector, image, Sizes { var }, ID).unwrap_err();
            Failure::of(&error).unwrap().kind
        };
        for size in [u64::MAX, u64::MAX - ALIGN, u64::MAX / 2] {
            assert_eq!(kind(size, 1, 512), Kind::DeviceTooSmall);
            assert_eq!(kind(1, size, 512), Kind::DeviceTooSmall);
        }
        assert_eq!(kind(GIB, 1, 520), Kind::DeviceUnknown);
    }

    #[test]
    fn guids_differ_and_are_the_same_for_the_same_install() {
        let (a, b) = (layout(300 * GIB, 1).unwrap(), layout(300 * GIB, 1).unwrap());
        assert_eq!(a, b);
        let mut guids: Vec<_> = a.partitions.iter().map(|p| p.guid).collect();
        guids.push(a.disk_guid);
        guids.sort_unstable();
        guids.dedup();
        assert_eq!(guids.len(), 8);
    }

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
