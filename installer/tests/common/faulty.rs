//! A disk that fails as it is told: cut off, torn, bad, full, or with less than it says.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use harrow::disk::block::Block;

use super::unsynced::Unsynced;

/// What happens to the writes of an install.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// None.
    Never,
    /// All after this many are lost, and so is the machine.
    CutAfter(usize),
    /// The same, but half of the last one was made.
    TornAfter(usize),
    /// The same as the first, and of what was not synced about half is lost, whatever its order.
    LostAfter(usize),
    /// The same, with whole sectors, as disks write them.
    TornSectorAfter(usize),
    /// Writes and reads over this byte fail.
    BadAt(u64),
    /// The disk has less than it says, and what lies beyond lands at its beginning.
    WrapsAt(u64),
    /// The disk has less than it says, and what lies beyond is dropped.
    DropsFrom(u64),
    /// There is no room for more than this many bytes.
    FullAfter(usize),
    /// After this many writes it takes none any more that go past the page cache.
    CachedAfter(usize),
}

/// A file that fails.
#[derive(Debug)]
pub struct Faulty {
    /// What is behind it.
    pub file: File,
    /// What goes wrong.
    pub fault: Fault,
    /// Writes so far, of all disks.
    pub writes: Arc<AtomicUsize>,
    /// Bytes.
    pub bytes: AtomicUsize,
    /// The machine is off, with all its disks.
    pub dead: Arc<Mutex<bool>>,
    /// What a disk whose power goes may lose.
    pub unsynced: Mutex<Unsynced>,
}

impl Faulty {
    /// How a write over `range` goes: whole, half, or not at all.
    fn admit(&self, range: &Range<u64>, new: Option<&[u8]>) -> io::Result<Verdict> {
        let mut dead = self.dead.lock().unwrap();
        if *dead {
            return Err(io::Error::other("the machine is off"));
        }
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        let length = usize::try_from(range.end - range.start).unwrap();
        let bytes = self.bytes.fetch_add(length, Ordering::SeqCst) + length;
        match self.fault {
            Fault::CutAfter(count) if number > count => {
                *dead = true;
                Err(io::Error::other("the machine is off"))
            }
            Fault::LostAfter(count) => {
                let mut unsynced = self.unsynced.lock().unwrap();
                if number > count {
                    *dead = true;
                    unsynced.lose(&self.file, count as u64)?;
                    return Err(io::Error::other("the machine is off"));
                }
                unsynced.note(&self.file, range, new)?;
                Ok(Verdict::Whole)
            }
            Fault::TornAfter(count) if number == count => {
                *dead = true;
                Ok(Verdict::Half(length / 2))
            }
            Fault::TornSectorAfter(count) if number == count => {
                *dead = true;
                Ok(Verdict::Half(length / 2 / 512 * 512))
            }
            Fault::BadAt(place) if range.contains(&place) => Err(io::Error::from_raw_os_error(5)),
            Fault::FullAfter(limit) if bytes > limit => Err(io::Error::from_raw_os_error(28)),
            Fault::DropsFrom(end) if range.end > end => Ok(Verdict::Dropped),
            Fault::WrapsAt(end) if range.end > end => Ok(Verdict::Elsewhere(end)),
            _ => Ok(Verdict::Whole),
        }
    }
}

enum Verdict {
    Whole,
    Half(usize),
    Dropped,
    Elsewhere(u64),
}

impl Block for Faulty {
    fn read_bytes(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        if *self.dead.lock().unwrap() {
            return Err(io::Error::other("the machine is off"));
        }
        match self.fault {
            Fault::BadAt(place) if (at..at + buffer.len() as u64).contains(&place) => {
                Err(io::Error::from_raw_os_error(5))
            }
            Fault::WrapsAt(end) if at >= end => self.file.read_bytes(buffer, at % end),
            _ => self.file.read_bytes(buffer, at),
        }
    }

    fn write_bytes(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        match self.admit(&(at..at + bytes.len() as u64), Some(bytes))? {
            Verdict::Whole => self.file.write_bytes(bytes, at),
            Verdict::Half(count) => {
                self.file.write_bytes(&bytes[..count], at)?;
                Err(io::Error::other("the machine is off"))
            }
            Verdict::Dropped => Ok(()),
            Verdict::Elsewhere(end) => self.file.write_bytes(bytes, at % end),
        }
    }

    fn direct(&self) -> Option<File> {
        self.file.direct()
    }

    fn write_direct(&self, direct: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        if let Fault::CachedAfter(count) = self.fault
            && self.writes.load(Ordering::SeqCst) >= count
        {
            return Err(io::Error::from_raw_os_error(22));
        }
        match self.admit(&(at..at + bytes.len() as u64), Some(bytes))? {
            Verdict::Whole => direct.write_all_at(bytes, at),
            Verdict::Half(count) => {
                // The tear need not be where a direct write could end.
                self.file.write_bytes(&bytes[..count], at)?;
                Err(io::Error::other("the machine is off"))
            }
            Verdict::Dropped => Ok(()),
            Verdict::Elsewhere(end) => self.file.write_bytes(bytes, at % end),
        }
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        match self.admit(&range, None)? {
            Verdict::Whole => self.file.zero(range),
            Verdict::Half(_) => {
                let middle = range.start.midpoint(range.end);
                self.file.zero(range.start..middle)?;
                Err(io::Error::other("the machine is off"))
            }
            Verdict::Dropped | Verdict::Elsewhere(_) => Ok(()),
        }
    }

    fn discard(&self, range: Range<u64>) -> io::Result<bool> {
        match self.admit(&range, None)? {
            Verdict::Whole => self.file.discard(range),
            Verdict::Half(_) => {
                self.file
                    .discard(range.start..range.start.midpoint(range.end))?;
                Err(io::Error::other("the machine is off"))
            }
            Verdict::Dropped | Verdict::Elsewhere(_) => Ok(true),
        }
    }

    fn sync(&self) -> io::Result<()> {
        match *self.dead.lock().unwrap() {
            true => Err(io::Error::other("the machine is off")),
            false => {
                self.unsynced.lock().unwrap().sync();
                Ok(())
            }
        }
    }

    /// What a program writes is one write: half of it is what it left in the first half.
    fn lend(
        &self,
        range: Range<u64>,
        run: &mut dyn FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        // Programs write little of what is theirs, so a lie about the size does not reach them; a bad
        // place does, when it is one that they write to: their superblock.
        let head = range.start..range.start + 4096;
        let verdict = self.admit(&head, None)?;
        self.file.lend(range.clone(), run)?;
        // It syncs what it wrote, and with it the whole disk.
        self.unsynced.lock().unwrap().sync();
        if matches!(verdict, Verdict::Half(_)) {
            self.file.zero(range.start.midpoint(range.end)..range.end)?;
            anyhow::bail!("the machine is off");
        }
        Ok(())
    }
}
