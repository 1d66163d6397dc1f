//! The partition table: a GPT with a protective MBR that may carry boot code, or a plain MBR.
//!
//! In: a [`Layout`]. Out: [`Table`], runs of bytes to be written in an order that makes the disk
//! bootable only with the last one. A GPT is made in memory by the `gpt` crate.

mod mbr;

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use anyhow::Context as _;
use gpt::disk::LogicalBlockSize;
use gpt::partition_types::{self, Type};

use super::bios::BOOT_CODE_SIZE;
use super::layout::{Layout, Role, TableKind};
use super::window::place_of;

/// The bytes of a partition table.
#[derive(Debug)]
pub struct Table {
    /// What is written first, in this order: where it goes on the disk, in bytes, and what. Of a
    /// GPT the backup and then the primary, of an MBR the tables of the logical partitions.
    pub parts: Vec<(u64, Vec<u8>)>,
    /// Sector 0, with boot code. Without it the others mean nothing.
    pub mbr: Vec<u8>,
}

/// Makes the table of a layout.
pub fn render_table(layout: &Layout, boot_code: &[u8; BOOT_CODE_SIZE]) -> anyhow::Result<Table> {
    match layout.table {
        TableKind::Gpt => render_gpt(layout, boot_code),
        TableKind::Mbr => mbr::render(layout, boot_code),
    }
}

fn render_gpt(layout: &Layout, boot_code: &[u8; BOOT_CODE_SIZE]) -> anyhow::Result<Table> {
    let sector = u64::from(layout.sector_size);
    let block_size = match layout.sector_size {
        512 => LogicalBlockSize::Lb512,
        4096 => LogicalBlockSize::Lb4096,
        other => {
            anyhow::bail!("a sector size of {other} bytes is not supported, only 512 and 4096")
        }
    };
    let mut disk = gpt::GptConfig::new()
        .writable(true)
        .logical_block_size(block_size)
        .create_from_device(Recorder::new(layout.disk_size), Some(layout.disk_guid))
        .context("making a partition table")?;
    let partitions: BTreeMap<u32, gpt::partition::Partition> = layout
        .partitions
        .iter()
        .map(|p| {
            let entry = gpt::partition::Partition {
                part_type_guid: type_of(p.role),
                part_guid: p.guid,
                first_lba: p.start / sector,
                last_lba: (p.start + p.size) / sector - 1,
                flags: 0,
                name: p.role.name().to_owned(),
            };
            (p.number, entry)
        })
        .collect();
    disk.update_partitions(partitions)
        .context("placing the partitions")?;
    let recorder = disk.write().context("making a partition table")?;

    let last_sector = u32::try_from(layout.disk_size / sector - 1).unwrap_or(u32::MAX);
    let mut mbr = gpt::mbr::ProtectiveMBR::with_lb_size(last_sector);
    mbr.set_bootcode(*boot_code);
    let mut mbr = mbr.to_bytes().to_vec();
    mbr.resize(usize::try_from(sector)?, 0);

    let middle = layout.disk_size / 2;
    let (_, primary_end) = recorder.span(0, middle);
    let (backup_start, _) = recorder.span(middle, layout.disk_size);
    let backup = recorder.recorded(backup_start, layout.disk_size);
    let primary = recorder.recorded(sector, primary_end);
    Ok(Table {
        parts: vec![(backup_start, backup), (sector, primary)],
        mbr,
    })
}

fn type_of(role: Role) -> Type {
    match role {
        Role::BiosBoot => partition_types::BIOS,
        Role::Esp => partition_types::EFI,
        Role::SlotA | Role::SlotB => partition_types::LINUX_ROOT_X64,
        Role::Oem | Role::Var | Role::Data => partition_types::LINUX_FS,
    }
}

/// A disk that exists only as the writes made to it.
#[derive(Debug)]
struct Recorder {
    size: u64,
    at: u64,
    writes: BTreeMap<u64, Vec<u8>>,
}

impl Recorder {
    fn new(size: u64) -> Self {
        Self {
            size,
            at: 0,
            writes: BTreeMap::new(),
        }
    }

    /// The range that was written between two offsets.
    fn span(&self, from: u64, to: u64) -> (u64, u64) {
        let inside = self.writes.range(from..to);
        let start = inside.clone().next().map_or(to, |(start, _)| *start);
        let end = inside.map(|(start, b)| start + b.len() as u64).max();
        (start, end.unwrap_or(start))
    }

    fn recorded(&self, from: u64, to: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
        self.copy(from, &mut bytes);
        bytes
    }

    /// Fills `buffer` with what was written from `from` on; the rest of the disk is zero.
    fn copy(&self, from: u64, buffer: &mut [u8]) {
        for (start, written) in &self.writes {
            for (i, byte) in written.iter().enumerate() {
                let place = (start + i as u64).checked_sub(from);
                let place = place.and_then(|p| usize::try_from(p).ok());
                if let Some(slot) = place.and_then(|p| buffer.get_mut(p)) {
                    *slot = *byte;
                }
            }
        }
    }
}

impl Read for Recorder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        buffer[..count].fill(0);
        self.copy(self.at, &mut buffer[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.at + bytes.len() as u64 > self.size {
            return Err(io::Error::from(io::ErrorKind::WriteZero));
        }
        // A rewrite of the same place replaces it; the crate writes whole structures.
        let old = self.writes.insert(self.at, bytes.to_vec());
        if let (Some(old), Some(new)) = (old, self.writes.get_mut(&self.at))
            && old.len() > new.len()
        {
            new.extend_from_slice(&old[new.len()..]);
        }
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Recorder {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = place_of(to, self.at, self.size)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::super::layout::DataPlace;
    use super::*;

    #[test]
    fn the_gpt_crate_reads_back_what_was_made() {
        for sector_size in [512, 4096] {
            let layout = Layout::sample(sector_size, TableKind::Gpt, DataPlace::Here);
            let table = render_table(&layout, &[0x11; BOOT_CODE_SIZE]).unwrap();
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(layout.disk_size).unwrap();
            let write = |at, bytes: &[u8]| file.as_file().write_all_at(bytes, at).unwrap();
            let [(backup_start, backup), (primary_start, primary)] = &table.parts[..] else {
                panic!("two parts")
            };
            write(*backup_start, backup);
            write(*primary_start, primary);
            write(0, &table.mbr);
            assert_eq!(backup_start + backup.len() as u64, layout.disk_size);
            assert_eq!(*primary_start, u64::from(sector_size));
            assert!(primary.len() < 1 << 20);
            assert!(backup.len() < 1 << 19, "the journal lies before it");

            let block_size = if sector_size == 512 {
                LogicalBlockSize::Lb512
            } else {
                LogicalBlockSize::Lb4096
            };
            let disk = gpt::GptConfig::new()
                .logical_block_size(block_size)
                .open(file.path())
                .unwrap();
            assert_eq!(disk.guid(), &layout.disk_guid);
            assert!(disk.primary_header().is_ok() && disk.backup_header().is_ok());
            for wanted in &layout.partitions {
                let found = &disk.partitions()[&wanted.number];
                assert_eq!(found.name, wanted.role.name());
                assert_eq!(found.part_guid, wanted.guid);
                assert_eq!(found.bytes_start(block_size).unwrap(), wanted.start);
                assert_eq!(found.bytes_len(block_size).unwrap(), wanted.size);
            }
        }
    }
}
