//! Gathers the small writes of a file system into large ones.
//!
//! In: a window on a target. Out: `Read + Write + Seek` on it that keeps what was written until
//! there is enough of it, or until [`Cache::write_out`]. fatfs writes a few bytes of its tables for
//! each cluster, which would be one write to the disk each.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use super::window::Window;

/// What is kept as one piece; every sector size divides it.
const BLOCK: usize = 64 << 10;
/// How many pieces are kept at most.
const BLOCKS: usize = 64;

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
}

impl<'a> Cache<'a> {
    /// A cache of a window.
    pub fn new(mut disk: Window<'a>) -> io::Result<Self> {
        let len = disk.seek(SeekFrom::End(0))?;
        let blocks = BTreeMap::new();
        let kept = Rc::new(RefCell::new(Kept { disk, len, blocks }));
        Ok(Self { kept, at: 0 })
    }
}

impl Kept<'_> {
    /// The piece with this number, read from the disk unless it is kept.
    fn block(&mut self, number: u64) -> io::Result<&mut (Vec<u8>, bool)> {
        if self.blocks.len() >= BLOCKS && !self.blocks.contains_key(&number) {
            self.write_out()?;
            self.blocks.clear();
        }
        if !self.blocks.contains_key(&number) {
            let start = number * BLOCK as u64;
            let size = usize::try_from(self.len - start)
                .unwrap_or(BLOCK)
                .min(BLOCK);
            let mut bytes = vec![0; size];
            self.disk.seek(SeekFrom::Start(start))?;
            self.disk.read_exact(&mut bytes)?;
            self.blocks.insert(number, (bytes, false));
        }
        let found = self.blocks.get_mut(&number);
        found.ok_or_else(|| io::Error::other("a piece of the cache is gone"))
    }

    /// Writes what differs, in the order of places, neighbours together.
    fn write_out(&mut self) -> io::Result<()> {
        let mut run: Vec<u8> = Vec::new();
        let mut next = 0;
        for (number, (bytes, changed)) in &mut self.blocks {
            if !*changed {
                continue;
            }
            if *number != next || run.is_empty() {
                self.disk.write_all(&run)?;
                run.clear();
                self.disk.seek(SeekFrom::Start(number * BLOCK as u64))?;
            }
            run.extend_from_slice(bytes);
            next = number + 1;
        }
        self.disk.write_all(&run)?;
        for (_, changed) in self.blocks.values_mut() {
            *changed = false;
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
}
