//! Everything by which a program could recognise what a disk held, cleared.
//!
//! In: an open disk, the partitions that its old table names. Out: zeros where file systems, RAIDs,
//! volume managers and partition tables keep what they are found by, and a discarded rest where the
//! disk offers that.
//!
//! An old signature that stays is found by the next program that looks: a RAID that comes to life on
//! a partition which happens to begin in the same place, a pool that imports itself.

use std::io;
use std::ops::Range;

use super::block::Block;

/// What is cleared at both ends of the disk and of each former partition. The farthest signatures
/// known: at the start the second LUKS2 header (at 4 MiB, LUKS2 on-disk format, 2.1) and VMFS (2 MiB);
/// at the end Promise's RAIDs (1.6 MiB), ZFS (512 KiB, from an end rounded to 256 KiB), MD 0.90
/// (128 KiB), the backup GPT.
pub const EDGE: u64 = 8 << 20;
/// Copies of a superblock of btrfs (its on-disk format, "Superblock"): the file system is mounted from
/// them when asked for.
const COPIES: [u64; 2] = [64 << 20, 256 << 30];
/// Room of such a copy.
const COPY: u64 = 4096;

/// What of a disk is not touched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spared(pub Vec<Range<u64>>);

impl Spared {
    /// The parts of `range` that are not spared, in order.
    pub fn rest_of(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut rest = vec![range];
        for hole in self.0.iter().filter(|hole| hole.start < hole.end) {
            let cut = |part: Range<u64>| {
                let before = part.start..part.end.min(hole.start);
                let after = part.start.max(hole.end)..part.end;
                [before, after]
            };
            rest = rest.into_iter().flat_map(cut).collect();
            rest.retain(|part| part.start < part.end);
        }
        rest
    }
}

/// Clears a disk of `size` bytes, whose table named the partitions `former`
/// ([`super::former::partitions`], read before the table was cleared), but for what is spared.
/// What is about to be `overwritten` is not discarded first.
///
/// The end with the backup table goes last: until then a power cut leaves a disk of which the next
/// run can still read where its partitions were.
pub fn clear(
    disk: &dyn Block,
    size: u64,
    former: &[Range<u64>],
    spared: &Spared,
    overwritten: Range<u64>,
) -> Result<(), ClearError> {
    let tail = size.saturating_sub(EDGE)..size;
    // Before the zeros: a discarded block may read as anything, also as what was there before.
    let mut needed = spared.clone();
    needed.0.push(overwritten);
    for part in needed.rest_of(0..tail.start) {
        if !disk.discard(part).unwrap_or(false) {
            break;
        }
    }
    for range in places(size, former) {
        zero(disk, range, spared)?;
    }
    disk.sync().map_err(|error| ClearError { at: 0, error })?;
    zero(disk, tail, spared)
}

/// A write that failed.
#[derive(Debug)]
pub struct ClearError {
    /// Where, in bytes.
    pub at: u64,
    /// Why.
    pub error: io::Error,
}

fn zero(disk: &dyn Block, range: Range<u64>, spared: &Spared) -> Result<(), ClearError> {
    for part in spared.rest_of(range) {
        let at = part.start;
        disk.zero(part).map_err(|error| ClearError { at, error })?;
    }
    Ok(())
}

/// Where signatures can be, on the disk itself and on its former partitions, without overlaps.
fn places(size: u64, former: &[Range<u64>]) -> Vec<Range<u64>> {
    let whole = 0..size;
    let mut places: Vec<Range<u64>> = std::iter::once(&whole)
        .chain(former)
        .flat_map(|part| {
            let edges = [
                part.start..part.start.saturating_add(EDGE),
                part.end.saturating_sub(EDGE)..part.end,
            ];
            let copies = COPIES.map(|at| {
                let start = part.start.saturating_add(at);
                start..start.saturating_add(COPY)
            });
            let inside = |place: Range<u64>| place.start.max(part.start)..place.end.min(part.end);
            edges.into_iter().chain(copies).map(inside)
        })
        .map(|place| place.start..place.end.min(size))
        .filter(|place| place.start < place.end)
        .collect();
    places.sort_by_key(|place| place.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for place in places {
        match merged.last_mut() {
            Some(last) if place.start <= last.end => last.end = last.end.max(place.end),
            _ => merged.push(place),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::disk::former;
    use crate::sys::cmd::Cmd;

    const MIB: u64 = 1 << 20;
    const SIZE: u64 = 200 * MIB;

    #[test]
    fn what_is_spared_is_cut_out() {
        let spared = Spared(vec![10..20, 5..5, 30..40]);
        assert_eq!(spared.rest_of(0..50), [0..10, 20..30, 40..50]);
        assert_eq!(spared.rest_of(12..18), []);
        assert_eq!(spared.rest_of(15..35), vec![20..30; 1]);
        assert_eq!(Spared::default().rest_of(3..4), vec![3..4; 1]);
    }

    #[test]
    fn places_stay_on_the_disk_and_do_not_overlap() {
        let former = [MIB..2 * MIB, 50 * MIB..160 * MIB, 190 * MIB..u64::MAX];
        let places = places(SIZE, &former);
        assert!(places.is_sorted_by(|a, b| a.end < b.start), "{places:?}");
        assert_eq!(places.first().unwrap().start, 0);
        assert_eq!(places.last().unwrap().end, SIZE);
        assert!(places.contains(&(50 * MIB..58 * MIB)), "{places:?}");
        // The copy of a btrfs at 50 MiB.
        assert!(places.contains(&(114 * MIB..114 * MIB + COPY)));
    }

    struct Disk {
        _dir: tempfile::TempDir,
        path: PathBuf,
        file: File,
    }

    impl Disk {
        fn new(size: u64) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("disk");
            let file = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path)
                .unwrap();
            file.set_len(size).unwrap();
            Self {
                _dir: dir,
                path,
                file,
            }
        }

        fn clear(&self, spared: &Spared) {
            let size = self.file.metadata().unwrap().len();
            let former = former::partitions(&self.file, size);
            clear(&self.file, size, &former, spared, 0..0).unwrap();
        }

        /// What other programs see on the whole and on a part of it.
        fn seen(&self, part: &Range<u64>) -> String {
            let low = |offset: u64, size: u64| {
                let output = Cmd::new("blkid").arg("-p").arg("-o").arg("export");
                let output = output.arg("-O").arg(offset.to_string());
                let output = output.arg("-S").arg(size.to_string()).arg(&self.path);
                output.run_any().unwrap().text()
            };
            let wiped = Cmd::new("wipefs").arg("-n").arg(&self.path).run().unwrap();
            wiped.text() + &low(0, part.end) + &low(part.start, part.end - part.start)
        }

        fn put(&self, part: &Range<u64>, what: What) {
            let at = |offset: u64| part.start + offset;
            let write = |bytes: &[u8], offset: u64| self.file.write_all_at(bytes, offset).unwrap();
            match what {
                What::Ext4 => self.run_on_part(part, "mkfs.ext4", &["-q", "-F"]),
                What::Swap => self.run_on_part(part, "mkswap", &["-q"]),
                What::Lvm => {
                    // lvm2, lib/format_text/layout.h: struct label_header at sector 1.
                    let mut label = b"LABELONE".to_vec();
                    label.extend(1u64.to_le_bytes());
                    label.resize(512, 0);
                    label[20..24].copy_from_slice(&32u32.to_le_bytes());
                    label[24..32].copy_from_slice(b"LVM2 001");
                    label[32..64].copy_from_slice(b"0123456789abcdefghijABCDEFGHIJ01");
                    let sum = lvm_crc(&label[20..]);
                    label[16..20].copy_from_slice(&sum.to_le_bytes());
                    write(&label, at(512));
                }
                What::Md => {
                    // md(4): a 0.90 superblock in the last whole 64 KiB but one.
                    let offset = (part.end - part.start) / 65536 * 65536 - 65536;
                    let mut block = 0xa92b_4efcu32.to_le_bytes().to_vec();
                    block.extend([0u32, 90, 0].map(u32::to_le_bytes).concat());
                    block.resize(4096, 1);
                    block[32..36].copy_from_slice(&1024u32.to_le_bytes());
                    write(&block, at(offset));
                }
                What::Zfs => {
                    // ZFS On-Disk Specification: the uberblocks fill the second half of each label.
                    let end = (part.end - part.start) / (256 << 10) * (256 << 10);
                    for label in [0, 256 << 10, end - (512 << 10), end - (256 << 10)] {
                        for slot in 0..128 {
                            let magic = 0x00ba_b10cu64.to_le_bytes();
                            write(&magic, at(label + (128 << 10) + slot * 1024));
                        }
                    }
                }
            }
        }

        fn run_on_part(&self, part: &Range<u64>, program: &str, args: &[&str]) {
            // The programs know no offset: made beside, copied in.
            let beside = self.path.with_extension("part");
            let file = File::create(&beside).unwrap();
            file.set_len(part.end - part.start).unwrap();
            Cmd::new(program).args(args).arg(&beside).run().unwrap();
            let bytes = std::fs::read(&beside).unwrap();
            self.file.write_all_at(&bytes, part.start).unwrap();
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum What {
        Ext4,
        Swap,
        Lvm,
        Md,
        Zfs,
    }

    const ALL: [What; 5] = [What::Ext4, What::Swap, What::Lvm, What::Md, What::Zfs];

    /// lvm2, lib/misc/crc.c: CRC-32 without the last inversion.
    fn lvm_crc(bytes: &[u8]) -> u32 {
        bytes.iter().fold(0xf597_a6cf, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |c: u32, _| {
                if c & 1 == 1 {
                    (c >> 1) ^ 0xedb8_8320
                } else {
                    c >> 1
                }
            })
        })
    }

    fn sgdisk(path: &Path, args: &[&str]) {
        Cmd::new("sgdisk").args(args).arg(path).run().unwrap();
    }

    #[test]
    fn a_whole_disk_forgets_what_it_was() {
        for what in ALL {
            let disk = Disk::new(SIZE);
            let whole = 0..SIZE;
            disk.put(&whole, what);
            let before = disk.seen(&whole);
            assert!(!before.is_empty(), "{what:?} was not made well");
            disk.clear(&Spared::default());
            assert_eq!(disk.seen(&whole), "", "{what:?}");
        }
    }

    #[test]
    fn former_partitions_forget_what_they_were() {
        for what in ALL {
            let disk = Disk::new(SIZE);
            let part = 64 * MIB..128 * MIB;
            disk.put(&part, what);
            sgdisk(&disk.path, &["-n", "1:131072:262143", "-n", "2:262144:0"]);
            assert!(!disk.seen(&part).is_empty());
            disk.clear(&Spared::default());
            assert_eq!(disk.seen(&part), "", "{what:?}");
        }
    }

    #[test]
    fn a_disk_that_only_has_its_backup_table_left_is_cleared_too() {
        let disk = Disk::new(SIZE);
        let part = 64 * MIB..128 * MIB;
        disk.put(&part, What::Ext4);
        sgdisk(&disk.path, &["-n", "1:131072:262143"]);
        disk.file.zero(0..MIB).unwrap();
        disk.clear(&Spared::default());
        assert_eq!(disk.seen(&part), "");
    }

    #[test]
    fn what_is_spared_stays_as_it_is() {
        let disk = Disk::new(SIZE);
        sgdisk(&disk.path, &["-n", "1:131072:262143"]);
        let kept = 60 * MIB..70 * MIB;
        let journal = SIZE - MIB..SIZE - MIB + (128 << 10);
        let spared = Spared(vec![kept.clone(), journal.clone()]);
        for range in &spared.0 {
            let length = usize::try_from(range.end - range.start).unwrap();
            let bytes = vec![0x5a; length];
            disk.file.write_all_at(&bytes, range.start).unwrap();
        }
        disk.clear(&spared);
        for range in &spared.0 {
            let length = usize::try_from(range.end - range.start).unwrap();
            let mut bytes = vec![0; length];
            disk.file.read_exact_at(&mut bytes, range.start).unwrap();
            assert!(bytes.iter().all(|b| *b == 0x5a), "{range:?}");
        }
        let mut byte = [1];
        disk.file.read_exact_at(&mut byte, kept.end).unwrap();
        assert_eq!(byte, [0]);
    }
}
