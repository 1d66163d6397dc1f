//! Where the partitions of a disk are that another system made: enough to clear them.
//!
//! In: an open disk. Out: ranges of bytes, inside the disk. Reads GPTs for either sector size,
//! whichever the table was written for, also one whose backup alone is left, and MBRs with their
//! chains of logical partitions. What can't be read names no partitions.

use std::ops::Range;

use gpt::disk::LogicalBlockSize;

use super::block::Block;
use super::window::Window;

/// More logical partitions than this are a chain that goes in circles.
const MOST: usize = 128;

/// More than any GPT has; a damaged one may claim more than there is memory.
const BUDGET: u64 = 16 << 20;

/// The partitions that a disk's tables name.
pub fn partitions(disk: &dyn Block, size: u64) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    for sector in [512, 4096] {
        found.extend(gpt(disk, size, sector));
        found.extend(mbr(disk, sector));
    }
    found.retain_mut(|range| {
        range.end = range.end.min(size);
        range.start < range.end
    });
    found.sort_by_key(|range| (range.start, range.end));
    found.dedup();
    found
}

fn gpt(disk: &dyn Block, size: u64, sector: u64) -> Vec<Range<u64>> {
    let block_size = match sector {
        4096 => LogicalBlockSize::Lb4096,
        _ => LogicalBlockSize::Lb512,
    };
    let table = gpt::GptConfig::new()
        .writable(false)
        .only_valid_headers(false)
        .logical_block_size(block_size)
        .open_from_device(Window::new(disk, 0, size).with_budget(BUDGET));
    let Ok(table) = table else {
        return Vec::new();
    };
    let partitions = table.partitions().values().filter(|p| p.is_used());
    let bytes = |p: &gpt::partition::Partition| {
        let end = p.last_lba.checked_add(1)?.checked_mul(sector)?;
        Some(p.first_lba.checked_mul(sector)?..end)
    };
    partitions.filter_map(bytes).collect()
}

/// An entry of an MBR: its type, its start and length in sectors.
pub(super) fn entries(disk: &dyn Block, at: u64) -> Vec<(u8, u64, u64)> {
    let mut sector = [0; 512];
    let whole = disk.read_bytes(&mut sector, at).is_ok_and(|n| n == 512);
    if !whole || sector[510..] != [0x55, 0xaa] {
        return Vec::new();
    }
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
    let entry = |entry: &[u8]| (entry[4], number(&entry[8..12]), number(&entry[12..16]));
    let all = sector[446..510].chunks_exact(16).map(entry);
    all.filter(|(kind, _, length)| *kind != 0 && *length != 0)
        .collect()
}

fn mbr(disk: &dyn Block, sector: u64) -> Vec<Range<u64>> {
    let is_chain = |kind: u8| matches!(kind, 0x05 | 0x0f | 0x85);
    let range = |start: u64, length: u64| start * sector..(start + length) * sector;
    let mut found = Vec::new();
    for (kind, start, length) in entries(disk, 0) {
        match kind {
            // The whole disk, in the name of a GPT.
            0xee => {}
            kind if is_chain(kind) => {
                found.push(range(start, length));
                let mut next = Some(0);
                for _ in 0..MOST {
                    let Some(offset) = next.take() else { break };
                    let here = start + offset;
                    for (kind, first, length) in entries(disk, here * sector) {
                        if is_chain(kind) {
                            next = Some(first);
                        } else {
                            found.push(range(here + first, length));
                        }
                    }
                }
            }
            _ => found.push(range(start, length)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTOR: u64 = 512;

    fn put(disk: &std::fs::File, at: u64, entries: &[(u8, u32, u32)]) {
        let mut sector = [0; 512];
        for (entry, (kind, start, length)) in sector[446..].chunks_exact_mut(16).zip(entries) {
            entry[4] = *kind;
            entry[8..12].copy_from_slice(&start.to_le_bytes());
            entry[12..16].copy_from_slice(&length.to_le_bytes());
        }
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        disk.write_bytes(&sector, at).unwrap();
    }

    #[test]
    fn logical_partitions_are_found_and_circles_end() {
        let disk = tempfile::tempfile().unwrap();
        let size = 1 << 30;
        disk.set_len(size).unwrap();
        put(&disk, 0, &[(0x83, 2048, 2048), (0x0f, 8192, 65536)]);
        put(
            &disk,
            8192 * SECTOR,
            &[(0x83, 64, 1000), (0x05, 4096, 4096)],
        );
        put(
            &disk,
            (8192 + 4096) * SECTOR,
            &[(0x8e, 64, 500), (0x05, 0, 4096)],
        );
        let found = partitions(&disk, size);
        for (start, length) in [(2048, 2048), (8256, 1000), (12352, 500)] {
            let range = start * SECTOR..(start + length) * SECTOR;
            assert!(found.contains(&range), "{range:?} in {found:?}");
        }
        assert!(found.iter().all(|r| r.end <= size), "{found:?}");
        // Cut off at the end of a smaller disk; nothing on none.
        assert!(partitions(&disk, 2 << 20).iter().all(|r| r.end <= 2 << 20));
        assert_eq!(partitions(&tempfile::tempfile().unwrap(), 0), []);
    }
}
