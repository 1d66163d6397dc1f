//! What is written to while installing: an open disk or file.
//!
//! In: bytes and where they go. Out: bytes on the disk, or the error of the very write that
//! failed. Everything that an install writes goes through [`Block`], so that a test can put
//! something in between that fails after any write.

use std::fmt;
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};

use rustix::fs::{Advice, FallocateFlags, OFlags};

use crate::sys::cmd::Cmd;

/// Zeros are written in pieces of this size.
const ZEROS: usize = 1 << 20;

/// Up to this size, in bytes, zeros are written: a disk that is asked to make some by itself answers
/// each time, while these wait for one sync together.
const FEW_ZEROS: u64 = 64 << 10;

/// What direct writes are aligned to; every sector size divides it.
pub const DIRECT_ALIGN: usize = 4096;

/// An open disk or file.
pub trait Block: Send + Sync + fmt::Debug {
    /// Reads up to `buffer.len()` bytes from `at` on; 0 means the end.
    fn read_bytes(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Fills all of `buffer` from `at` on.
    fn fill(&self, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_bytes(buffer, at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    at += count as u64;
                    buffer = &mut buffer[count..];
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Writes all of `bytes` from `at` on.
    fn write_bytes(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// A second handle that writes past the page cache, where that can be had. It takes what
    /// [`DIRECT_ALIGN`] divides: place, length and address of the bytes.
    fn direct(&self) -> Option<File> {
        None
    }

    /// Writes all of `bytes` through the handle of [`Block::direct`].
    fn write_direct(&self, direct: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        direct.write_all_at(bytes, at)
    }

    /// Makes a range read as zeros.
    fn zero(&self, range: Range<u64>) -> io::Result<()>;

    /// Tells the disk that nobody needs what is in a range, which may then read as anything. Says
    /// whether the disk offers that.
    fn discard(&self, _range: Range<u64>) -> io::Result<bool> {
        Ok(false)
    }

    /// Waits until everything that was written is on the disk.
    fn sync(&self) -> io::Result<()>;

    /// Waits until the bytes that were written are on the disk; what else a file has may follow
    /// later.
    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    /// An error when this is no longer the disk that was chosen.
    fn check_identity(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Makes the next reads of `range` come from the disk and not from memory, where that can
    /// be had.
    fn forget(&self, range: Range<u64>) -> io::Result<()> {
        let _nothing_kept = range;
        Ok(())
    }

    /// Lets a program write inside `range`: `run` gets a name that means this very disk,
    /// whatever its names have come to mean since it was opened.
    fn lend(
        &self,
        range: Range<u64>,
        run: &mut dyn FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;
}

impl Block for File {
    fn read_bytes(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.read_at(buffer, at)
    }

    fn write_bytes(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn direct(&self) -> Option<File> {
        let flags = OFlags::DIRECT.bits() as i32;
        let mut options = File::options();
        options.write(true).custom_flags(flags);
        options.open(path_of(self)).ok()
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        // Disks and file systems that can do it by themselves are asked to; others get zeros.
        let len = range.end.saturating_sub(range.start);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if len > FEW_ZEROS && rustix::fs::fallocate(self, flags, range.start, len).is_ok() {
            return Ok(());
        }
        let zeros = vec![0; usize::try_from(len).unwrap_or(ZEROS).min(ZEROS)];
        let mut at = range.start;
        while at < range.end {
            let count = usize::try_from(range.end - at).unwrap_or(ZEROS).min(ZEROS);
            self.write_all_at(&zeros[..count], at)?;
            at += count as u64;
        }
        Ok(())
    }

    fn discard(&self, range: Range<u64>) -> io::Result<bool> {
        let meta = self.metadata()?;
        let len = range.end.saturating_sub(range.start);
        if len == 0 {
            return Ok(true);
        }
        if !meta.file_type().is_block_device() {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            return Ok(rustix::fs::fallocate(self, flags, range.start, len).is_ok());
        }
        if !offers_discard(meta.rdev()) {
            return Ok(false);
        }
        // BLKDISCARD is an ioctl, which takes unsafe code here and none there. `--force`: the disk is
        // held open by this very program.
        let discard = Cmd::new("blkdiscard").arg("--force").arg("--offset");
        let discard = discard.arg(range.start.to_string()).arg("--length");
        let discard = discard.arg(len.to_string()).arg(path_of(self));
        discard.run().map(|_| true).map_err(io::Error::other)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn forget(&self, range: Range<u64>) -> io::Result<()> {
        let len = NonZeroU64::new(range.end.saturating_sub(range.start));
        match len {
            // It is advice: whoever does not know it has not failed.
            Some(_) => rustix::fs::fadvise(self, range.start, len, Advice::DontNeed).or(Ok(())),
            None => Ok(()),
        }
    }

    fn lend(
        &self,
        _range: Range<u64>,
        run: &mut dyn FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        run(&path_of(self))
    }
}

/// What the kernel says of a whole disk (`Documentation/ABI/stable/sysfs-block`).
fn offers_discard(device: u64) -> bool {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let most = format!("/sys/dev/block/{major}:{minor}/queue/discard_max_bytes");
    std::fs::read_to_string(most).is_ok_and(|text| text.trim() != "0")
}

/// A name for an open file that other programs can use as long as it is open.
pub fn path_of(file: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_becomes_zero_and_its_neighbours_stay() {
        let file = tempfile::tempfile().unwrap();
        Block::write_bytes(&file, &[7; 3 << 20], 0).unwrap();
        file.zero(5000..(2 << 20) + 1).unwrap();
        let mut bytes = vec![1; 3 << 20];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes[..5000].iter().all(|b| *b == 7));
        assert!(bytes[5000..(2 << 20) + 1].iter().all(|b| *b == 0));
        assert!(bytes[(2 << 20) + 1..].iter().all(|b| *b == 7));
        file.zero((3 << 20) - 4096..3 << 20).unwrap();
        file.zero(7..7).unwrap();
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes[(3 << 20) - 4096..].iter().all(|b| *b == 0));
        assert!(bytes[(3 << 20) - 4097] == 7 && bytes[7] == 7);
        assert_eq!(file.metadata().unwrap().len(), 3 << 20);
    }
}
