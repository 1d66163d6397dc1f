//! Where the partitions of a disk lie.
//!
//! In: the shape of the disk, what is asked of the layout. Out: [`Layout`], or an error that says
//! what fits. Pure.

use uuid::Uuid;

use super::{
    ALIGN, DataPlace, GIB, Layout, MIB, Partition, Role, Shape, TableKind, Wish, derive,
    journal_start, show, show_up,
};
use crate::config::Sizes;
use crate::failure::{Failure, Kind};

const BIOS_BOOT_SIZE: u64 = MIB;
const ESP_SIZE: u64 = GIB;
const OEM_SIZE: u64 = 64 * MIB;
const MIN_SLOT_SIZE: u64 = 4 * GIB;
/// Below this, Longhorn has nothing to work with.
const MIN_DATA_SIZE: u64 = 10 * GIB;

/// The smallest disk, in bytes, that a layout with these sizes and the smallest slots fits on.
pub fn least_disk(sizes: Sizes, data: DataPlace) -> u64 {
    let data = if data == DataPlace::Here {
        MIN_DATA_SIZE
    } else {
        0
    };
    let partitions = BIOS_BOOT_SIZE + ESP_SIZE + OEM_SIZE + 2 * MIN_SLOT_SIZE + data;
    // One MiB in front, one for the backup table, one for a disk that ends within a MiB.
    (partitions + 3 * ALIGN).saturating_add(sizes.var)
}

/// The smallest disk for Longhorn's data alone, in bytes.
pub fn least_data_disk() -> u64 {
    MIN_DATA_SIZE + 3 * ALIGN
}

impl Layout {
    /// Where everything goes on an install disk. `install_id` is the one random value of an
    /// install: every GUID is derived from it.
    pub fn of_install(shape: Shape, wish: Wish, install_id: Uuid) -> anyhow::Result<Self> {
        check_sectors(shape.sector_size, wish.table)?;
        let slot = slot_size(wish.image_size);
        let var = wish.sizes.var.div_ceil(ALIGN).saturating_mul(ALIGN);
        let end = end_of(shape, wish.table);
        let mut room = Room::new(shape, wish.table);
        let mut partitions = Vec::new();
        for role in roles(wish) {
            let start = room.start_of(role);
            let rest = end.saturating_sub(start);
            let size = match role {
                Role::BiosBoot => BIOS_BOOT_SIZE,
                Role::Esp => ESP_SIZE,
                Role::Oem => OEM_SIZE,
                Role::SlotA | Role::SlotB => slot,
                Role::Var if wish.data == DataPlace::Here => var,
                Role::Var => var.max(rest),
                Role::Data => MIN_DATA_SIZE.max(rest),
            };
            room.at = start.saturating_add(size);
            partitions.push(Partition {
                role,
                number: number_of(role, wish.table),
                start,
                size,
                guid: derive(install_id, role.name()),
            });
        }
        if room.at > end {
            // The backup table and what the disk has beyond its last whole MiB.
            let needed = room.at.saturating_add(ALIGN);
            return Err(too_small(shape.size, needed, wish, slot));
        }
        Ok(Self {
            disk_size: shape.size,
            sector_size: shape.sector_size,
            table: wish.table,
            disk_guid: derive(install_id, "disk"),
            partitions,
        })
    }

    /// A disk that holds Longhorn's data alone.
    pub fn of_data(shape: Shape, install_id: Uuid) -> anyhow::Result<Self> {
        check_sectors(shape.sector_size, TableKind::Gpt)?;
        let start = Room::new(shape, TableKind::Gpt).start_of(Role::Data);
        let size = end_of(shape, TableKind::Gpt).saturating_sub(start);
        if size < MIN_DATA_SIZE {
            return Err(Failure::error(
                Kind::DeviceTooSmall,
                format!(
                    "the data disk has {}, it needs {}",
                    show(shape.size),
                    show_up(start + MIN_DATA_SIZE + ALIGN)
                ),
                "take a larger disk, or leave install.data_disk out",
            ));
        }
        Ok(Self {
            disk_size: shape.size,
            sector_size: shape.sector_size,
            table: TableKind::Gpt,
            disk_guid: derive(install_id, "data-disk"),
            partitions: vec![Partition {
                role: Role::Data,
                number: 1,
                start,
                size,
                guid: derive(install_id, Role::Data.name()),
            }],
        })
    }
}

/// The partitions of an install disk, in the order in which they lie there.
fn roles(wish: Wish) -> Vec<Role> {
    let mut roles = Role::ALL.to_vec();
    if wish.table == TableKind::Mbr {
        // The core image lies between the MBR and the first partition.
        roles.retain(|role| *role != Role::BiosBoot);
    }
    if wish.data != DataPlace::Here {
        roles.retain(|role| *role != Role::Data);
    }
    roles
}

/// The ESP is number 2 in both tables: GRUB's core image looks there. The fourth of an MBR is the
/// extended partition, which holds those from number 5 on.
fn number_of(role: Role, table: TableKind) -> u32 {
    match (table, role) {
        (TableKind::Gpt, Role::BiosBoot) | (TableKind::Mbr, Role::Oem) => 1,
        (_, Role::Esp) => 2,
        (TableKind::Gpt, Role::Oem) | (TableKind::Mbr, Role::SlotA | Role::BiosBoot) => 3,
        (TableKind::Gpt, Role::SlotA) => 4,
        (_, Role::SlotB) => 5,
        (_, Role::Var) => 6,
        (_, Role::Data) => 7,
    }
}

/// The next free place of a disk.
struct Room {
    at: u64,
    align: u64,
    table: TableKind,
}

impl Room {
    fn new(shape: Shape, table: TableKind) -> Self {
        Self {
            at: ALIGN,
            align: alignment(shape),
            table,
        }
    }

    /// Small partitions need no more than [`ALIGN`]; a logical one has its own table in front.
    fn start_of(&self, role: Role) -> u64 {
        let logical = self.table == TableKind::Mbr && number_of(role, self.table) > 4;
        let least = self.at.saturating_add(if logical { ALIGN } else { 0 });
        match role {
            Role::BiosBoot | Role::Oem => least,
            _ => least.div_ceil(self.align).saturating_mul(self.align),
        }
    }
}

/// Multiples of a MiB that are also multiples of the optimal I/O size. Sizes that no RAID
/// has, as some bridges report, are passed over.
fn alignment(shape: Shape) -> u64 {
    let optimal = shape.optimal_io;
    if optimal == 0 || !optimal.is_multiple_of(4096) || optimal > GIB {
        return ALIGN;
    }
    let mut align = ALIGN;
    while !align.is_multiple_of(optimal) {
        align += ALIGN;
        if align > GIB {
            return ALIGN;
        }
    }
    align
}

/// Partitions end here: the last MiB is for the journal and the backup table, and an MBR can't
/// name what lies beyond 2^32 sectors.
fn end_of(shape: Shape, table: TableKind) -> u64 {
    let end = journal_start(shape.size);
    match table {
        TableKind::Gpt => end,
        TableKind::Mbr => end.min(u64::from(u32::MAX) / 2048 * ALIGN),
    }
}

fn check_sectors(sector_size: u32, table: TableKind) -> anyhow::Result<()> {
    if ![512, 4096].contains(&sector_size) {
        return Err(Failure::error(
            Kind::DeviceUnknown,
            format!("the disk has sectors of {sector_size} bytes, only 512 and 4096 are known"),
            "take another disk, or format it to one of these sizes (`nvme format`, `sg_format`)",
        ));
    }
    if table == TableKind::Mbr && sector_size != 512 {
        return Err(Failure::error(
            Kind::DeviceUnknown,
            "install.force_mbr: no firmware boots an MBR from a disk with sectors of 4096 bytes",
            "leave install.force_mbr out, or take a disk with sectors of 512 bytes",
        ));
    }
    Ok(())
}

fn too_small(has: u64, needed: u64, wish: Wish, slot: u64) -> anyhow::Error {
    let data = match wish.data {
        DataPlace::Here => format!(", data at least {}", show(MIN_DATA_SIZE)),
        DataPlace::OtherDisk | DataPlace::Nowhere => String::new(),
    };
    let message = format!(
        "the disk has {}, this layout needs {}: ESP 1 GiB, OEM 64 MiB, two slots of {}, /var {}{data}",
        show(has),
        show_up(needed),
        show(slot),
        show(wish.sizes.var),
    );
    if wish.table == TableKind::Mbr && has >= needed {
        return Failure::error(
            Kind::DeviceTooSmall,
            format!("{message}; with install.force_mbr it must lie within the first 2 TiB"),
            "set install.persistent_partition_size to less, or leave install.force_mbr out",
        );
    }
    Failure::error(
        Kind::DeviceTooSmall,
        message,
        "take a larger disk, or set install.persistent_partition_size to less (20Gi at least)",
    )
}

/// Slots must take the next version too: at least 4 GiB and 1.5 times the image, in whole GiB.
fn slot_size(image_size: u64) -> u64 {
    let room = image_size.saturating_add(image_size / 2);
    room.max(MIN_SLOT_SIZE).div_ceil(GIB).saturating_mul(GIB)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    const ID: Uuid = Uuid::from_u128(7);

    const WISH: Wish = Wish {
        image_size: 1,
        sizes: Sizes { var: 150 * GIB },
        table: TableKind::Gpt,
        data: DataPlace::Here,
    };

    fn shape(size: u64) -> Shape {
        Shape {
            size,
            sector_size: 512,
            optimal_io: 0,
        }
    }

    fn layout(disk_size: u64, image_size: u64) -> anyhow::Result<Layout> {
        Layout::of_install(shape(disk_size), Wish { image_size, ..WISH }, ID)
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
            let disk = Shape {
                sector_size: sector,
                ..shape(1 << 40)
            };
            let wish = Wish {
                image_size: image,
                sizes: Sizes { var },
                ..WISH
            };
            let error = Layout::of_install(disk, wish, ID).unwrap_err();
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
    fn every_shape_gets_partitions_that_fit_and_do_not_overlap() {
        let mut tried = 0;
        for size in [200 * GIB + 1, 2 << 40, 3 << 40, 64 << 40] {
            for optimal_io in [
                0,
                4096,
                512,
                768 << 10,
                3 << 20,
                33_553_920,
                16 << 20,
                7 << 40,
            ] {
                for (sector_size, table) in [
                    (512, TableKind::Gpt),
                    (4096, TableKind::Gpt),
                    (512, TableKind::Mbr),
                ] {
                    for data in [DataPlace::Here, DataPlace::OtherDisk, DataPlace::Nowhere] {
                        let shape = Shape {
                            size,
                            sector_size,
                            optimal_io,
                        };
                        let wish = Wish {
                            table,
                            data,
                            ..WISH
                        };
                        check(shape, wish);
                        tried += 1;
                    }
                }
            }
        }
        assert_eq!(tried, 288);
    }

    fn check(shape: Shape, wish: Wish) {
        let layout = Layout::of_install(shape, wish, ID).unwrap();
        let mut next = ALIGN;
        for p in &layout.partitions {
            assert!(p.start >= next, "{p:?} of {shape:?}");
            assert!(p.start.is_multiple_of(ALIGN) && p.size.is_multiple_of(ALIGN));
            let logical = wish.table == TableKind::Mbr && p.number > 4;
            assert!(
                !logical || p.start - next >= ALIGN,
                "room for its own table"
            );
            if [3 << 20, 16 << 20].contains(&shape.optimal_io) && p.size > 64 * MIB {
                assert!(p.start.is_multiple_of(shape.optimal_io), "{p:?}");
            }
            next = p.start + p.size;
        }
        assert!(next <= layout.journal_start());
        assert!(layout.journal_start() + ALIGN <= shape.size);
        if wish.table == TableKind::Mbr {
            assert!(next <= 2 << 40);
        } else {
            assert!(
                layout.journal_start() - next < 2 * ALIGN,
                "nothing is left over"
            );
        }
        assert_eq!(layout.of(Role::Esp).unwrap().number, 2);
        assert_eq!(layout.of(Role::Data).is_ok(), wish.data == DataPlace::Here);
    }

    #[test]
    fn data_may_have_a_disk_of_its_own() {
        let layout = Layout::of_data(shape(64 << 40), ID).unwrap();
        assert_eq!(layout.partitions.len(), 1);
        let data = layout.of(Role::Data).unwrap();
        assert_eq!((data.number, data.start), (1, ALIGN));
        assert!(Layout::of_data(shape(least_data_disk()), ID).is_ok());
        let error = Layout::of_data(shape(10 * GIB), ID).unwrap_err();
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::DeviceTooSmall);
        let least = least_disk(WISH.sizes, DataPlace::OtherDisk);
        let wish = Wish {
            data: DataPlace::OtherDisk,
            ..WISH
        };
        assert!(Layout::of_install(shape(least), wish, ID).is_ok());
    }

    #[test]
    fn an_mbr_names_partitions_by_signature_and_number() {
        let wish = Wish {
            table: TableKind::Mbr,
            ..WISH
        };
        let layout = Layout::of_install(shape(300 * GIB), wish, ID).unwrap();
        let signature = format!("{:08x}", layout.signature());
        assert_eq!(
            layout.partuuid(Role::Var).unwrap(),
            format!("{signature}-06")
        );
        let wish = Wish {
            sizes: Sizes { var: 3 << 40 },
            ..wish
        };
        let error = Layout::of_install(shape(8 << 40), wish, ID).unwrap_err();
        assert!(error.to_string().contains("first 2 TiB"), "{error}");
    }
}
