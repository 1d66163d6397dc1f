//! A plain MBR: three primary partitions, and an extended one with the others.
//!
//! In: a layout of that kind. Out: sector 0, and the table in front of each logical partition.
//!
//! The shape is that of the PC's BIOS: 440 bytes of boot code, the disk's signature at 440, four
//! entries of 16 bytes from 446 on, `55 aa` at 510. An entry is a flag (0x80: active), the first
//! sector as CHS, the type, the last as CHS, the first sector as LBA, the number of sectors. A
//! logical partition's table has its own entry, relative to that table, and one for the next
//! table, relative to the extended partition (Linux, `block/partitions/msdos.c`).

use anyhow::Context as _;

use super::Table;
use crate::disk::bios::BOOT_CODE_SIZE;
use crate::disk::layout::{ALIGN, Layout, Partition, Role};

const SECTOR: u64 = 512;
const SIGNATURE: usize = 440;
const ENTRIES: usize = 446;
const ACTIVE: u8 = 0x80;
const LINUX: u8 = 0x83;
const ESP: u8 = 0xef;
const EXTENDED_LBA: u8 = 0x0f;
/// "Beyond what CHS can say": the LBA counts.
const NO_CHS: [u8; 3] = [0xfe, 0xff, 0xff];

/// Makes the tables.
pub fn render(layout: &Layout, boot_code: &[u8; BOOT_CODE_SIZE]) -> anyhow::Result<Table> {
    let (primary, logical): (Vec<_>, Vec<_>) =
        layout.partitions.iter().partition(|p| p.number <= 4);
    let mut mbr = [0; SECTOR as usize];
    mbr[..BOOT_CODE_SIZE].copy_from_slice(boot_code);
    mbr[SIGNATURE..SIGNATURE + 4].copy_from_slice(&layout.signature().to_le_bytes());
    for partition in primary {
        let number = partition.number as usize;
        put(&mut mbr, number, &entry(partition, 0)?);
    }
    let mut parts = Vec::new();
    if let (Some(first), Some(last)) = (logical.first(), logical.last()) {
        let base = first.start - ALIGN;
        let whole = sectors(last.start + last.size - base)?;
        put(
            &mut mbr,
            4,
            &raw_entry(0, EXTENDED_LBA, sectors(base)?, whole),
        );
        for (i, partition) in logical.iter().enumerate() {
            let own = partition.start - ALIGN;
            let mut table = [0; SECTOR as usize];
            put(&mut table, 1, &entry(partition, own)?);
            if let Some(next) = logical.get(i + 1) {
                let start = sectors(next.start - ALIGN - base)?;
                let length = sectors(ALIGN + next.size)?;
                put(&mut table, 2, &raw_entry(0, EXTENDED_LBA, start, length));
            }
            close(&mut table);
            parts.push((own, table.to_vec()));
        }
    }
    close(&mut mbr);
    Ok(Table {
        parts,
        mbr: mbr.to_vec(),
    })
}

fn entry(partition: &Partition, relative_to: u64) -> anyhow::Result<[u8; 16]> {
    // Some firmware boots only a disk with an active partition.
    let (flag, kind) = match partition.role {
        Role::Esp => (ACTIVE, ESP),
        _ => (0, LINUX),
    };
    let start = sectors(partition.start - relative_to)?;
    Ok(raw_entry(flag, kind, start, sectors(partition.size)?))
}

fn raw_entry(flag: u8, kind: u8, start: u32, length: u32) -> [u8; 16] {
    let mut entry = [0; 16];
    entry[0] = flag;
    entry[1..4].copy_from_slice(&NO_CHS);
    entry[4] = kind;
    entry[5..8].copy_from_slice(&NO_CHS);
    entry[8..12].copy_from_slice(&start.to_le_bytes());
    entry[12..].copy_from_slice(&length.to_le_bytes());
    entry
}

fn sectors(bytes: u64) -> anyhow::Result<u32> {
    u32::try_from(bytes / SECTOR).context("an MBR can't name what lies beyond 2 TiB")
}

fn put(table: &mut [u8; SECTOR as usize], number: usize, entry: &[u8; 16]) {
    let at = ENTRIES + (number - 1) * 16;
    table[at..at + 16].copy_from_slice(entry);
}

fn close(table: &mut [u8; SECTOR as usize]) {
    table[510..].copy_from_slice(&[0x55, 0xaa]);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::disk::layout::{DataPlace, TableKind};
    use crate::sys::cmd::Cmd;

    /// Judged by sfdisk, which shares no code with this.
    #[test]
    fn sfdisk_reads_what_was_made() {
        for data in [DataPlace::Here, DataPlace::Nowhere] {
            let layout = Layout::sample(512, TableKind::Mbr, data);
            let table = render(&layout, &[0x11; BOOT_CODE_SIZE]).unwrap();
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(layout.disk_size).unwrap();
            for (at, bytes) in &table.parts {
                file.as_file().write_all_at(bytes, *at).unwrap();
            }
            file.as_file().write_all_at(&table.mbr, 0).unwrap();
            Cmd::new("sfdisk")
                .arg("--verify")
                .arg(file.path())
                .run()
                .unwrap();
            let output = Cmd::new("sfdisk").arg("-J").arg(file.path()).run().unwrap();
            let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let json = &json["partitiontable"];
            assert_eq!(json["id"], format!("{:#010x}", layout.signature()));
            let found = json["partitions"].as_array().unwrap();
            assert_eq!(found.len(), layout.partitions.len() + 1, "{json}");
            for wanted in &layout.partitions {
                let name = format!("{}{}", file.path().display(), wanted.number);
                let part = found.iter().find(|p| {
                    let node = p["node"].as_str().unwrap();
                    node == name || node == format!("{}p{}", file.path().display(), wanted.number)
                });
                let part = part.unwrap_or_else(|| panic!("{name} in {json}"));
                assert_eq!(part["start"], wanted.start / 512, "{part}");
                assert_eq!(part["size"], wanted.size / 512, "{part}");
            }
        }
    }
}
