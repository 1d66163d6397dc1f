//! Gathers the small writes of a file system into large ones.
//!
//! In: a window on a target. Out: `Read + Write + Seek` on it that keeps what was written until
//! there is enough of it, or until [`Cache::write_out`]. fatfs writes a few bytes of its tables for
//! each cluster, which would be one write to the disk each. What a new file system covers is not
//! read first.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use super::window::Window;

/// What is kept as one piece; every sector size divides it.
const BLOCK: usize = 256 << 10;
/// How many pieces are kept at most.
const BLOCKS: usize = 16;

/// A window whose writes are gathered. Clones share what is kept, each has its own position.
#[derive(Debug, Clone)]
pub struct Cache<'a> {
    kept: Rc<RefCell<Kept<'a>>>,
    at: u64,
}

#[derive(Debug)]
struct Kept<'a> {
    disk: Window<'a>,
    len: u64,
    /// By number, and whether it differs from the disk.
    blocks: BTreeMap<u64, (Vec<u8>, bool)>,
    /// Where the disk holds what was written through this cache; `None` when what it held before
    /// counts too.
    written: Option<BTreeSet<u64>>,
    /// Memory of pieces that are not kept any more.
    spare: Vec<Vec<u8>>,
}

impl<'a> Cache<'a> {
    /// A cache of a window.
    pub fn new(disk: Window<'a>) -> io::Result<Self> {
        Self::with(disk, None)
    }

    /// A cache of a window whose content is of no use: what is not written reads as zeros.
    pub fn fresh(disk: Window<'a>) -> io::Result<Self> {
        Self::with(disk, Some(BTreeSet::new()))
    }

    fn with(mut disk: Window<'a>, written: Option<BTreeSet<u64>>) -> io::Result<Self> {
        let len = disk.seek(SeekFrom::End(0))?;
        let kept = Kept {
            disk,
            len,
            blocks: BTreeMap::new(),
            written,
            spare: Vec::new(),
        };
        let kept = Rc::new(RefCell::new(kept));
        Ok(Self { kept, at: 0 })
    }
}

impl Kept<'_> {
    /// The piece with this number, read from the disk unless it is kept.
    fn block(&mut self, number: u64) -> io::Result<&mut (Vec<u8>, bool)> {
        if self.blocks.len() >= BLOCKS && !self.blocks.contains_key(&number) {
            self.write_out()?;
            let blocks = std::mem::take(&mut self.blocks);
            self.spare
                .extend(blocks.into_values().map(|(bytes, _)| bytes));
        }
        if !self.blocks.contains_key(&number) {
            let start = number * BLOCK as u64;
            let size = usize::try_from(self.len - start)
                .unwrap_or(BLOCK)
                .min(BLOCK);
            let mut bytes = self.spare.pop().unwrap_or_default();
            bytes.clear();
            bytes.resize(size, 0);
            if self.written.as_ref().is_none_or(|w| w.contains(&number)) {
                self.disk.seek(SeekFrom::Start(start))?;
                self.disk.read_exact(&mut bytes)?;
            }
            self.blocks.insert(number, (bytes, false));
        }
        let found = self.blocks.get_mut(&number);
        found.ok_or_else(|| io::Error::other("a piece of the cache is gone"))
    }

    /// Writes what differs, in the order of places.
    fn write_out(&mut self) -> io::Result<()> {
        for (number, (bytes, changed)) in &mut self.blocks {
            if !*changed {
                continue;
            }
            self.disk.seek(SeekFrom::Start(number * BLOCK as u64))?;
            self.disk.write_all(bytes)?;
            *changed = false;
            if let Some(written) = &mut self.written {
                written.insert(*number);
            }
        }
        Ok(())
    }
}

/// The piece of a place, and where in it.
fn piece_of(at: u64) -> (u64, usize) {
    let block = BLOCK as u64;
    (at / block, usize::try_from(at % block).unwrap_or(0))
}

impl Read for Cache<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut kept = self.kept.borrow_mut();
        if self.at >= kept.len || buffer.is_empty() {
            return Ok(0);
        }
        let (number, start) = piece_of(self.at);
        let (bytes, _) = kept.block(number)?;
        let count = buffer.len().min(bytes.len() - start);
        buffer[..count].copy_from_slice(&bytes[start..start + count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Write for Cache<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let mut kept = self.kept.borrow_mut();
        if from.is_empty() {
            return Ok(0);
        }
        if self.at >= kept.len {
            let message = format!("the partition of {} bytes is full", kept.len);
            return Err(io::Error::new(io::ErrorKind::WriteZero, message));
        }
        let (number, start) = piece_of(self.at);
        let (bytes, changed) = kept.block(number)?;
        let count = from.len().min(bytes.len() - start);
        bytes[start..start + count].copy_from_slice(&from[..count]);
        *changed = true;
        self.at += count as u64;
        Ok(count)
    }

    /// fatfs flushes after each file; that can wait until [`Cache::write_out`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Cache<'_> {
    /// Brings everything that is kept to the disk.
    pub fn write_out(&mut self) -> io::Result<()> {
        self.kept.borrow_mut().write_out()
    }
}

impl Seek for Cache<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = super::window::place_of(to, self.at, self.kept.borrow().len)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn what_was_written_is_read_and_reaches_the_disk() {
        let file = tempfile::tempfile().unwrap();
        let size = (BLOCKS as u64 + 10) * BLOCK as u64 + 100;
        file.set_len(size + 5).unwrap();
        file.write_all_at(&[9; 7], 5 + 1000).unwrap();
        let mut cache = Cache::new(Window::new(&file, 5, size)).unwrap();
        let mut again = cache.clone();
        cache.seek(SeekFrom::Start(BLOCK as u64 - 2)).unwrap();
        cache.write_all(b"abcd").unwrap();
        again.seek(SeekFrom::Start(BLOCK as u64 - 3)).unwrap();
        let mut found = [0; 6];
        again.read_exact(&mut found).unwrap();
        assert_eq!(&found, b"\0abcd\0");
        let mut disk = [0; 4];
        let at = BLOCK as u64 + 5 - 2;
        file.read_exact_at(&mut disk, at).unwrap();
        assert_eq!(disk, [0; 4], "nothing is written yet");
        // More than it keeps: the first pieces go to the disk.
        for number in 0..BLOCKS as u64 + 10 {
            cache.seek(SeekFrom::Start(number * BLOCK as u64)).unwrap();
            cache.write_all(&[1]).unwrap();
        }
        cache.seek(SeekFrom::Start(size - 1)).unwrap();
        assert_eq!(cache.write(b"xy").unwrap(), 1);
        assert!(cache.write(b"y").is_err());
        assert_eq!(cache.read(&mut [0]).unwrap(), 0);
        cache.write_out().unwrap();
        file.read_exact_at(&mut disk, at).unwrap();
        assert_eq!(disk, [b'a', b'b', 1, b'd']);
        file.read_exact_at(&mut disk[..3], 5 + 1000).unwrap();
        assert_eq!(disk[..3], [9; 3], "what was there stays");
        file.read_exact_at(&mut disk[..1], 5 + size - 1).unwrap();
        assert_eq!(disk[0], b'x');
    }
    #[test]
    fn what_a_fresh_one_covers_counts_for_nothing() {
        let file = tempfile::tempfile().unwrap();
        let size = (BLOCKS as u64 + 10) * BLOCK as u64;
        file.write_all_at(&vec![9; usize::try_from(size).unwrap()], 0)
            .unwrap();
        let mut cache = Cache::fresh(Window::new(&file, 0, size)).unwrap();
        // More than it keeps, and then the first again.
        for number in 0..BLOCKS as u64 + 10 {
            cache.seek(SeekFrom::Start(number * BLOCK as u64)).unwrap();
            cache.write_all(&[1]).unwrap();
        }
        cache.seek(SeekFrom::Start(1)).unwrap();
        cache.write_all(&[2]).unwrap();
        cache.write_out().unwrap();
        let mut disk = [0; 4];
        file.read_exact_at(&mut disk, 0).unwrap();
        assert_eq!(disk, [1, 2, 0, 0]);
    }
}
