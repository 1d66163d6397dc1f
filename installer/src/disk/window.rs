//! A part of a file as if it were the whole: one partition of a target.
//!
//! In: a file, a range of bytes. Out: `Read + Write + Seek` that can't leave the range.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::block::Block;

/// A range of bytes of a file, with a position of its own.
#[derive(Debug, Clone)]
pub struct Window<'a> {
    file: &'a dyn Block,
    start: u64,
    len: u64,
    at: u64,
    budget: u64,
}

impl<'a> Window<'a> {
    /// The `len` bytes from `start` on.
    pub fn new(file: &'a dyn Block, start: u64, len: u64) -> Self {
        Self {
            file,
            start,
            len,
            at: 0,
            budget: u64::MAX,
        }
    }

    /// The same, but an error after `budget` bytes have been read: tables of a strange disk can
    /// lead a reader in circles.
    pub fn with_budget(self, budget: u64) -> Self {
        Self { budget, ..self }
    }

    fn room(&self, wanted: usize) -> usize {
        let left = self.len.saturating_sub(self.at);
        usize::try_from(left).unwrap_or(usize::MAX).min(wanted)
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = self.room(buffer.len());
        if room == 0 {
            // Also far behind the end, where start and position have no sum.
            return Ok(0);
        }
        let count = self
            .file
            .read_bytes(&mut buffer[..room], self.start + self.at)?;
        self.at += count as u64;
        let left = self.budget.checked_sub(count as u64);
        self.budget =
            left.ok_or_else(|| io::Error::other("the tables of the disk go in circles"))?;
        Ok(count)
    }
}

impl Write for Window<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room(bytes.len());
        if room == 0 && !bytes.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::WriteZero,
                format!("the partition of {} bytes is full", self.len),
            ));
        }
        self.file
            .write_bytes(&bytes[..room], self.start + self.at)?;
        self.at += room as u64;
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = place_of(to, self.at, self.len)?;
        Ok(self.at)
    }
}

/// Where a seek from `at` in something of `len` bytes leads; places after the end are allowed.
pub(crate) fn place_of(to: SeekFrom, at: u64, len: u64) -> io::Result<u64> {
    let place = match to {
        SeekFrom::Start(n) => Some(n),
        SeekFrom::End(n) => len.checked_add_signed(n),
        SeekFrom::Current(n) => at.checked_add_signed(n),
    };
    place.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_inside_its_range() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut window = Window::new(&file, 2, 5);
        let mut text = String::new();
        window.read_to_string(&mut text).unwrap();
        assert_eq!(text, "23456");
        window.seek(SeekFrom::End(-1)).unwrap();
        assert_eq!(window.write(b"xyz").unwrap(), 1);
        assert!(window.write(b"z").is_err());
        window.rewind().unwrap();
        text.clear();
        window.read_to_string(&mut text).unwrap();
        assert_eq!(text, "2345x");
        assert!(window.seek(SeekFrom::Current(-9)).is_err());
        window.seek(SeekFrom::Start(u64::MAX)).unwrap();
        assert_eq!(window.read(&mut [0; 1]).unwrap(), 0);
        let mut window = Window::new(&file, 0, 10).with_budget(9);
        assert_eq!(window.read(&mut [0; 9]).unwrap(), 9);
        assert!(window.read(&mut [0; 9]).is_err());
    }
}
