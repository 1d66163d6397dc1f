//! Mends what a power cut left of a change: places that are taken and that no folder names, copies
//! of the table that differ, a wrong count of what is free.
//!
//! In: a FAT32 file system whose folders are whole, which [`super::fat_staged`] sees to. Out: the same
//! with nothing lost and nothing left over. Folders and files are not touched.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::fat_staged::{Areas, ENTRY, Staged, read_table};

const ATTRIBUTES: usize = 11;
const LONG_NAME: u8 = 0x0f;
const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;
const DELETED: u8 = 0xe5;
/// From here on an entry ends a chain; the one before marks a bad cluster.
const END: u32 = 0x0fff_fff8;
const BAD: u32 = 0x0fff_fff7;
/// Bit of byte 65 of the boot sector: the file system was not closed.
const DIRTY_AT: u64 = 65;

/// Mends the file system; the caller commits.
pub fn mend(disk: &mut Staged<'_>) -> io::Result<()> {
    let areas = disk.areas();
    let table = read_table(disk, &areas)?;
    let named = named(disk, &areas, &table)?;
    let mut taken = 0;
    for (number, entry) in table.iter().enumerate().skip(2) {
        let keep = named[number] || *entry == BAD;
        taken += u64::from(keep);
        if !keep && *entry != 0 {
            put_entry(disk, &areas, number, 0, 0)?;
        }
    }
    copy_tables(disk, &areas)?;
    let free = u32::try_from(u64::from(areas.clusters) - taken).unwrap_or(0);
    disk.seek(SeekFrom::Start(areas.info + 488))?;
    disk.write_all(&free.to_le_bytes())?;
    disk.seek(SeekFrom::Start(DIRTY_AT))?;
    disk.write_all(&[0])
}

/// By number: some folder leads to this cluster.
fn named(disk: &mut Staged<'_>, areas: &Areas, table: &[u32]) -> io::Result<Vec<bool>> {
    let mut named = vec![false; table.len()];
    let mut folders = vec![areas.root];
    while let Some(first) = folders.pop() {
        for cluster in follow(first, table, &mut named)? {
            let mut bytes = vec![0; usize::try_from(areas.cluster).unwrap_or(0)];
            disk.seek(SeekFrom::Start(areas.place_of(cluster)?))?;
            disk.read_exact(&mut bytes)?;
            for entry in bytes.chunks_exact(32).take_while(|e| e[0] != 0) {
                let kind = entry[ATTRIBUTES];
                let plain = entry[0] != DELETED && entry[0] != b'.' && kind != LONG_NAME;
                if !plain || kind & LABEL != 0 {
                    continue;
                }
                let first = u32::from_le_bytes([entry[26], entry[27], entry[20], entry[21]]);
                if kind & FOLDER != 0 {
                    folders.push(first);
                } else if first != 0 {
                    follow(first, table, &mut named)?;
                }
            }
        }
    }
    Ok(named)
}

/// The clusters of a chain, which are named from now on. A chain that was met before ends there, so
/// nothing goes in circles.
fn follow(first: u32, table: &[u32], named: &mut [bool]) -> io::Result<Vec<u32>> {
    let mut chain = Vec::new();
    let mut at = first;
    while at < END {
        let index = at as usize;
        let (Some(next), Some(seen)) = (table.get(index), named.get_mut(index)) else {
            return Err(io::Error::other("a chain of clusters leads nowhere"));
        };
        if at < 2 || *next == 0 || *next == BAD {
            return Err(io::Error::other("a chain of clusters is broken"));
        }
        if std::mem::replace(seen, true) {
            break;
        }
        chain.push(at);
        at = *next;
    }
    Ok(chain)
}

fn put_entry(
    disk: &mut Staged<'_>,
    areas: &Areas,
    number: usize,
    copy: u64,
    value: u32,
) -> io::Result<()> {
    let at = areas.tables + copy * areas.table + 4 * number as u64;
    let mut old = [0; 4];
    disk.seek(SeekFrom::Start(at))?;
    disk.read_exact(&mut old)?;
    // The upper four bits belong to nobody and stay.
    let value = (u32::from_le_bytes(old) & !ENTRY) | value;
    disk.seek(SeekFrom::Start(at))?;
    disk.write_all(&value.to_le_bytes())
}

fn copy_tables(disk: &mut Staged<'_>, areas: &Areas) -> io::Result<()> {
    let mut first = vec![0; usize::try_from(areas.table).unwrap_or(0)];
    disk.seek(SeekFrom::Start(areas.tables))?;
    disk.read_exact(&mut first)?;
    for copy in 1..areas.copies {
        disk.seek(SeekFrom::Start(areas.tables + copy * areas.table))?;
        disk.write_all(&first)?;
    }
    Ok(())
}
