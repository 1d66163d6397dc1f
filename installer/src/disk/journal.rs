//! What a disk remembers of an install that has not ended: its journal.
//!
//! In: what has been done so far. Out: two records at the end of the disk, written in turn, so that
//! a power cut in the middle of one leaves the other. The step that makes the disk bootable takes
//! them away. Whoever finds one knows that the disk is unfinished, and what may be kept.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 16 | `HARROW-JOURNAL-1` |
//! | 16 | 8 | number of the record, little-endian; the higher one counts |
//! | 24 | 4 | length of what follows the head |
//! | 28 | 32 | sha256 of bytes 16 to 28 and of what follows the head |
//! | 60 | | [`Unfinished`] as JSON |

use std::io;

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::block::Block;
use super::layout::{Layout, journal_start};
use crate::failure::Failure;

const MAGIC: &[u8; 16] = b"HARROW-JOURNAL-1";
const HEAD: usize = 60;
/// Room of one record; the second one follows it.
const RECORD: usize = 64 << 10;
/// Bytes of the journal from its start on.
pub const JOURNAL_SIZE: u64 = 2 * RECORD as u64;

/// An install that was begun on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// Names the install; every UUID on the disk is derived from it.
    pub install_id: Uuid,
    /// Version of what is being installed.
    pub version: String,
    /// dm-verity root hash of what is being installed.
    pub root_hash: String,
    /// When it began, RFC 3339.
    pub started: String,
    /// Where everything goes on this disk.
    pub layout: Layout,
    /// The config is on OEM.
    pub config_kept: bool,
    /// Slot A holds the image: written, and read back.
    pub slot_kept: bool,
}

/// Writes record `number` of the journal and waits until it is on the disk.
pub fn write(disk: &dyn Block, number: u64, unfinished: &Unfinished) -> anyhow::Result<()> {
    let text = serde_json::to_vec(unfinished)?;
    let mut record = MAGIC.to_vec();
    record.extend(number.to_le_bytes());
    record.extend(u32::try_from(text.len())?.to_le_bytes());
    let digest = Sha256::new()
        .chain_update(&record[MAGIC.len()..])
        .chain_update(&text)
        .finalize();
    record.extend(digest);
    record.extend(text);
    ensure!(record.len() <= RECORD, "the journal's record is too long");
    // Whole sectors of any disk.
    record.resize(record.len().next_multiple_of(4096), 0);
    let place = if number.is_multiple_of(2) { 0 } else { RECORD };
    let at = unfinished.layout.journal_start() + place as u64;
    disk.write_bytes(&record, at)
        .and_then(|()| disk.sync())
        .map_err(|e| Failure::of_write(e, format!("writing the journal at byte {at}")))
}

/// Reads the journal of a disk of this size: its newest whole record, with its number.
pub fn read(disk: &dyn Block, size: u64) -> io::Result<Option<(u64, Unfinished)>> {
    let mut newest: Option<(u64, Unfinished)> = None;
    for place in [0, RECORD] {
        let mut record = vec![0; RECORD];
        if !is_filled(disk.fill(&mut record, journal_start(size) + place as u64))? {
            continue;
        }
        let found = parse(&record).filter(|(_, u)| u.layout.disk_size == size);
        if let Some((number, unfinished)) = found
            && newest.as_ref().is_none_or(|(n, _)| number > *n)
        {
            newest = Some((number, unfinished));
        }
    }
    Ok(newest)
}

/// The install that a disk is in the middle of. A disk with an MBR has been finished, or belongs
/// to somebody else by now.
pub fn unfinished(disk: &dyn Block, size: u64) -> io::Result<Option<(u64, Unfinished)>> {
    let mut sector = [0; 512];
    if size < 4 << 20 {
        return Ok(None);
    }
    if !is_filled(disk.fill(&mut sector, 0))? {
        return Ok(None);
    }
    if sector[510..] == [0x55, 0xaa] {
        return Ok(None);
    }
    read(disk, size)
}

/// A disk that ends before it says has no journal there; other errors are its own.
fn is_filled(read: io::Result<()>) -> io::Result<bool> {
    match read {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| true),
    }
}

fn parse(record: &[u8]) -> Option<(u64, Unfinished)> {
    let rest = record.strip_prefix(MAGIC)?;
    let number = u64::from_le_bytes(*rest.first_chunk()?);
    let length = u32::from_le_bytes(*rest.get(8..)?.first_chunk()?);
    let text = record.get(HEAD..)?.get(..usize::try_from(length).ok()?)?;
    let digest = Sha256::new()
        .chain_update(&rest[..12])
        .chain_update(text)
        .finalize();
    (digest[..] == rest[12..44])
        .then(|| serde_json::from_slice(text).ok())
        .flatten()
        .map(|unfinished| (number, unfinished))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::disk::layout::{DataPlace, TableKind};

    const SIZE: u64 = 64 << 30;

    fn begun() -> (File, Unfinished) {
        let layout = Layout::sample(512, TableKind::Gpt, DataPlace::Here);
        let file = tempfile::tempfile().unwrap();
        file.set_len(SIZE).unwrap();
        let unfinished = Unfinished {
            install_id: Uuid::from_u128(5),
            version: "1.2.3".into(),
            root_hash: "ab".repeat(32),
            started: "2026-01-01T00:00:00Z".into(),
            layout,
            config_kept: false,
            slot_kept: false,
        };
        (file, unfinished)
    }

    #[test]
    fn the_newest_whole_record_counts() {
        let (disk, first) = begun();
        assert_eq!(unfinished(&disk, SIZE).unwrap(), None);
        write(&disk, 1, &first).unwrap();
        assert_eq!(unfinished(&disk, SIZE).unwrap(), Some((1, first.clone())));
        let second = Unfinished {
            slot_kept: true,
            ..first.clone()
        };
        write(&disk, 2, &second).unwrap();
        assert_eq!(unfinished(&disk, SIZE).unwrap(), Some((2, second)));
        // A torn second record: the first is still there.
        disk.write_bytes(&[9; 100], journal_start(SIZE) + 100)
            .unwrap();
        assert_eq!(unfinished(&disk, SIZE).unwrap(), Some((1, first.clone())));
        // Of a disk of another size, copied onto this one.
        assert_eq!(read(&disk, SIZE + (1 << 20)).unwrap(), None);
        disk.write_bytes(&[0x55, 0xaa], 510).unwrap();
        assert_eq!(unfinished(&disk, SIZE).unwrap(), None);
    }

    #[test]
    fn strange_bytes_are_no_journal() {
        let (disk, first) = begun();
        write(&disk, 0, &first).unwrap();
        let start = journal_start(SIZE);
        for place in [0, 16, 24, 27, 28, 60, 300] {
            let mut byte = [0];
            disk.read_bytes(&mut byte, start + place).unwrap();
            disk.write_bytes(&[!byte[0]], start + place).unwrap();
            assert_eq!(read(&disk, SIZE).unwrap(), None, "{place}");
            disk.write_bytes(&byte, start + place).unwrap();
        }
        assert!(read(&disk, SIZE).unwrap().is_some());
        assert_eq!(parse(b"HARROW-JOURNAL-1"), None);
        assert_eq!(unfinished(&disk, 0).unwrap(), None);
    }
}
