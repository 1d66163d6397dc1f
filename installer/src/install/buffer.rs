//! What goes round while a slot is written: a buffer that direct writes take.
//!
//! In: bytes. Out: the same bytes at an address that a disk can read from by itself.

use crate::disk::block::DIRECT_ALIGN;

/// What is read, checked and written at a time, in bytes.
pub const BUFFER: usize = 1 << 20;

/// [`BUFFER`] bytes that begin at a multiple of [`DIRECT_ALIGN`].
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// Zeros.
    pub fn new() -> Self {
        // Allocated once and never grown: its address stays.
        let bytes = vec![0; BUFFER + DIRECT_ALIGN];
        let start = bytes.as_ptr().align_offset(DIRECT_ALIGN);
        // Where the address can't be known, every write goes through the page cache.
        let start = start.min(DIRECT_ALIGN);
        Self { bytes, start }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + BUFFER]
    }

    /// The bytes, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + BUFFER]
    }
}

/// Whether a disk can read `bytes` by itself and write them to `at`.
pub fn is_aligned(bytes: &[u8], at: u64) -> bool {
    let align = DIRECT_ALIGN;
    bytes.as_ptr().addr().is_multiple_of(align)
        && bytes.len().is_multiple_of(align)
        && at.is_multiple_of(align as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_and_their_pieces_are_aligned() {
        let mut buffer = Buffer::new();
        buffer.bytes_mut().fill(1);
        assert_eq!(buffer.bytes().len(), BUFFER);
        assert!(is_aligned(buffer.bytes(), 1 << 20));
        assert!(is_aligned(&buffer.bytes()[8192..12288], 0));
        assert!(!is_aligned(&buffer.bytes()[512..4608], 0));
        assert!(!is_aligned(&buffer.bytes()[..4608], 0));
        assert!(!is_aligned(buffer.bytes(), 512));
    }
}
