//! The layout of a disk that was installed before, as its own table says it.
//!
//! In: an open disk. Out: [`Layout`], or why this is no disk of ours. A GPT names its partitions; those
//! of an MBR are known by their numbers, which are a contract.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail, ensure};
use gpt::disk::LogicalBlockSize;
use uuid::Uuid;

use super::{Layout, Partition, Role, TableKind};
use crate::disk::block::Block;
use crate::disk::former;
use crate::disk::window::Window;

/// More than any GPT has; a damaged one may claim more than there is memory.
const BUDGET: u64 = 16 << 20;
/// Links of a chain of logical partitions that are followed.
const MOST: u64 = 16;
const SECTOR: u64 = 512;

impl Layout {
    /// Reads the layout of an install disk of this size and sector size.
    pub fn find(disk: &dyn Block, size: u64, sector_size: u32) -> anyhow::Result<Self> {
        let primary = former::entries(disk, 0);
        ensure!(!primary.is_empty(), "it has no partition table");
        let layout = if primary.iter().any(|(kind, _, _)| *kind == 0xee) {
            find_gpt(disk, size, sector_size)?
        } else {
            find_mbr(disk, size)?
        };
        layout.check()?;
        Ok(layout)
    }

    /// What a node can't do without is there once, and nothing lies over anything else.
    fn check(&self) -> anyhow::Result<()> {
        for role in [Role::Esp, Role::Oem, Role::SlotA, Role::SlotB, Role::Var] {
            self.of(role)?;
        }
        let roles: BTreeSet<Role> = self.partitions.iter().map(|p| p.role).collect();
        ensure!(
            roles.len() == self.partitions.len(),
            "a partition is there twice"
        );
        let mut ranges: Vec<_> = self.partitions.iter().map(Partition::range).collect();
        ranges.sort_by_key(|range| range.start);
        let apart = ranges.windows(2).all(|two| two[0].end <= two[1].start);
        let inside = ranges
            .iter()
            .all(|r| r.start < r.end && r.end <= self.disk_size);
        ensure!(apart && inside, "its partitions lie over each other");
        Ok(())
    }
}

fn find_gpt(disk: &dyn Block, size: u64, sector_size: u32) -> anyhow::Result<Layout> {
    let block_size = match sector_size {
        512 => LogicalBlockSize::Lb512,
        4096 => LogicalBlockSize::Lb4096,
        other => bail!("sectors of {other} bytes are not known"),
    };
    let table = gpt::GptConfig::new()
        .writable(false)
        .only_valid_headers(false)
        .logical_block_size(block_size)
        .open_from_device(Window::new(disk, 0, size).with_budget(BUDGET))
        .context("reading the partition table")?;
    let sector = u64::from(sector_size);
    let mut partitions = Vec::new();
    for (number, entry) in table.partitions().iter().filter(|(_, p)| p.is_used()) {
        let Some(role) = Role::ALL.into_iter().find(|r| r.name() == entry.name) else {
            continue;
        };
        let bytes = || {
            let end = entry.last_lba.checked_add(1)?.checked_mul(sector)?;
            let start = entry.first_lba.checked_mul(sector)?;
            Some((start, end.checked_sub(start)?))
        };
        let (start, size) = bytes().context("a partition beyond all disks")?;
        partitions.push(Partition {
            role,
            number: *number,
            start,
            size,
            guid: entry.part_guid,
        });
    }
    Ok(Layout {
        disk_size: size,
        sector_size,
        table: TableKind::Gpt,
        disk_guid: *table.guid(),
        partitions,
    })
}

fn find_mbr(disk: &dyn Block, size: u64) -> anyhow::Result<Layout> {
    let mut signature = [0; 4];
    disk.fill(&mut signature, 440)
        .context("reading the partition table")?;
    let mut partitions = Vec::new();
    let mut add = |role: Role, number: u32, start: u64, length: u64| {
        partitions.push(Partition {
            role,
            number,
            start: start * SECTOR,
            size: length * SECTOR,
            guid: Uuid::nil(),
        });
    };
    let primary = former::entries(disk, 0);
    let [oem, esp, slot, extended] = primary[..] else {
        bail!("its table is none of ours");
    };
    for ((_, start, length), role, number) in [
        (oem, Role::Oem, 1),
        (esp, Role::Esp, 2),
        (slot, Role::SlotA, 3),
    ] {
        add(role, number, start, length);
    }
    let base = extended.1;
    let mut offset = 0;
    let rest = [Role::SlotB, Role::Var, Role::Data];
    for (number, role) in (5..).zip(rest).take(MOST as usize) {
        let here = base + offset;
        let entries = former::entries(disk, here * SECTOR);
        let Some((_, first, length)) = entries.first() else {
            break;
        };
        add(role, number, here + first, *length);
        match entries.get(1) {
            Some((_, next, _)) => offset = *next,
            None => break,
        }
    }
    Ok(Layout {
        disk_size: size,
        sector_size: 512,
        table: TableKind::Mbr,
        disk_guid: Uuid::from_fields(u32::from_le_bytes(signature), 0, 0, &[0; 8]),
        partitions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::bios::BOOT_CODE_SIZE;
    use crate::disk::layout::DataPlace;
    use crate::disk::table::render_table;

    fn disk_of(layout: &Layout) -> std::fs::File {
        let table = render_table(layout, &[0; BOOT_CODE_SIZE]).unwrap();
        let file = tempfile::tempfile().unwrap();
        file.set_len(layout.disk_size).unwrap();
        for (at, bytes) in &table.parts {
            file.write_bytes(bytes, *at).unwrap();
        }
        file.write_bytes(&table.mbr, 0).unwrap();
        file
    }

    #[test]
    fn every_layout_is_found_again() {
        for (sector_size, table) in [
            (512, TableKind::Gpt),
            (4096, TableKind::Gpt),
            (512, TableKind::Mbr),
        ] {
            for data in [DataPlace::Here, DataPlace::OtherDisk, DataPlace::Nowhere] {
                let layout = Layout::sample(sector_size, table, data);
                let disk = disk_of(&layout);
                let found = Layout::find(&disk, layout.disk_size, sector_size).unwrap();
                assert_eq!(found.table, table);
                for wanted in &layout.partitions {
                    let (role, what) = (wanted.role, format!("{table:?} {wanted:?}"));
                    assert_eq!(found.of(role).unwrap().range(), wanted.range(), "{what}");
                    assert_eq!(
                        found.partuuid(role).unwrap(),
                        layout.partuuid(role).unwrap()
                    );
                }
                assert_eq!(found.partitions.len(), layout.partitions.len());
            }
        }
    }

    #[test]
    fn other_disks_are_not_ours() {
        let empty = tempfile::tempfile().unwrap();
        empty.set_len(1 << 30).unwrap();
        assert!(Layout::find(&empty, 1 << 30, 512).is_err());
        let mut layout = Layout::sample(512, TableKind::Gpt, DataPlace::Here);
        layout.partitions.retain(|p| p.role != Role::SlotB);
        let disk = disk_of(&layout);
        let error = Layout::find(&disk, layout.disk_size, 512).unwrap_err();
        assert!(error.to_string().contains("harrow-slot-b"), "{error}");
    }
}
