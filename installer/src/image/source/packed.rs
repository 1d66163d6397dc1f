//! Files that are stored packed with zstd.
//!
//! In: a stream of zstd frames (RFC 8878). Out: what they hold. A frame that needs more than
//! [`WINDOW`] of memory is refused, however large the file is.

use std::io::{self, BufReader, Read};

use zstd::stream::read::Decoder;

use super::{damaged, read_failed};
use crate::failure::Failure;

/// The largest window, as a power of two: 8 MiB, which `zstd -19` needs at most.
const WINDOW: u32 = 23;
/// How much is read at once.
const READ: usize = 128 << 10;

/// Unpacks a stream.
pub struct Unpacked<R: Read> {
    decoder: Decoder<'static, BufReader<R>>,
    name: String,
    at: u64,
}

impl<R: Read> Unpacked<R> {
    /// Unpacks `inner`; `name` is for errors.
    pub fn new(inner: R, name: String) -> io::Result<Self> {
        let mut decoder = Decoder::with_buffer(BufReader::with_capacity(READ, inner))?;
        decoder.window_log_max(WINDOW)?;
        let at = 0;
        Ok(Self { decoder, name, at })
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (name, at) = (&self.name, self.at);
        let count = self.decoder.read(buffer).map_err(|e| {
            if e.get_ref().is_some_and(|inner| inner.is::<Failure>()) {
                return e;
            }
            match e.kind() {
                io::ErrorKind::Interrupted => read_failed(name, at, e),
                _ => damaged(format!(
                    "{name} is damaged or cut off: it can't be unpacked from byte {at} of its content on: {e}"
                )),
            }
        })?;
        self.at += count as u64;
        Ok(count)
    }
}
