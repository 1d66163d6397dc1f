//! Streams a slot image onto a disk: reading, checking and writing at the same time.
//!
//! In: a checked stream, a [`Slot`] that says where it goes. Out: the bytes on the disk, flushed
//! all along so that progress is what lies on the disk, or the error of whoever failed first.
//! Where the disk takes them, writes go past the page cache: no copy, and nothing else of the
//! machine is pushed out of its memory.
//! Memory use does not depend on sizes: [`BUFFERS`] buffers go round. [`super::readback`] reads
//! the slot again.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use rustix::io::Errno;

use super::buffer::{Buffer, is_aligned};
use crate::disk::block::Block;
use crate::failure::Failure;
use crate::image::set::{Check, CheckedReader, from_io};
use crate::image::source::read_failed;

/// How many buffers there are.
const BUFFERS: usize = 12;
/// After how many bytes written the disk is asked to have them.
const FLUSH: u64 = 32 << 20;
/// Flushes that wait for the one that runs.
const WAITING: usize = 1;
/// Zeros are looked for in pieces of this size.
const PIECE: usize = 64 << 10;

/// What a slot held before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Zeros, as in a new file: zeros need not be written.
    Zeros,
    /// Nobody knows.
    Anything,
}

/// A slot on a target.
#[derive(Debug, Clone)]
pub struct Slot<'a> {
    /// The target.
    pub block: &'a dyn Block,
    /// The target's path, for errors.
    pub name: String,
    /// The slot's bytes on it.
    pub range: Range<u64>,
    /// What it held.
    pub before: Before,
}

/// A filled buffer on its way.
struct Piece {
    buffer: Buffer,
    len: usize,
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        &self.buffer.bytes()[..self.len]
    }

    fn is_last(&self) -> bool {
        self.len < self.buffer.bytes().len()
    }
}

/// Writes all of `reader` to the beginning of the slot and waits until the disk has it. The
/// digest is compared at the end, so a failure leaves damaged bytes in the slot. `progress`
/// hears how many bytes are on the disk. Returns how many there are.
pub fn write_slot<R: Read + Send>(
    slot: &Slot<'_>,
    reader: CheckedReader<R>,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<u64> {
    let (reader, check) = reader.into_parts();
    let name = check.name().to_owned();
    let (free_in, free_out) = channel();
    for _ in 0..BUFFERS {
        free_in.send(Buffer::new()).ok();
    }
    let (read_in, read_out) = sync_channel(BUFFERS);
    let (good_in, good_out) = sync_channel(BUFFERS);
    thread::scope(|scope| {
        let (flush_in, flush_out) = sync_channel(WAITING);
        let (flushed_in, flushed) = channel();
        let source = scope.spawn(move || read_all(reader, &name, &free_out, &read_in));
        let judge = scope.spawn(move || check_all(check, &read_out, &good_in));
        let flusher = scope.spawn(move || flush_all(slot, &flush_out, &flushed_in));
        let written = write_all(slot, &good_out, &free_in, &flush_in, &flushed, progress);
        // Whoever waits for one of these ends now.
        drop((good_out, free_in, flush_in));
        // The flusher's error came first if the writer was stopped by it, and so on.
        joined(source.join())?;
        joined(judge.join())?;
        joined(flusher.join())?;
        let written = written?;
        progress(written);
        Ok(written)
    })
}

/// A thread's result; one that panicked has none.
pub(super) fn joined<T>(result: thread::Result<anyhow::Result<T>>) -> anyhow::Result<T> {
    result.unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the install ended early")))
}

fn read_all(
    mut reader: impl Read,
    name: &str,
    free: &Receiver<Buffer>,
    out: &SyncSender<Piece>,
) -> anyhow::Result<()> {
    let mut at = 0;
    // Without buffers or a taker somebody else has failed, and says why.
    while let Ok(mut buffer) = free.recv() {
        let bytes = buffer.bytes_mut();
        let mut len = 0;
        while len < bytes.len() {
            match reader.read(&mut bytes[len..]) {
                Ok(0) => break,
                Ok(count) => len += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(from_io(read_failed(name, at + len as u64, e))),
            }
        }
        let piece = Piece { buffer, len };
        let last = piece.is_last();
        at += len as u64;
        if out.send(piece).is_err() || last {
            break;
        }
    }
    Ok(())
}

/// Passes on what is good so far. The end, an empty piece, is passed on when all was good.
fn check_all(
    mut check: Check,
    pieces: &Receiver<Piece>,
    out: &SyncSender<Piece>,
) -> anyhow::Result<()> {
    for piece in pieces {
        let last = piece.is_last();
        check.update(piece.bytes()).map_err(from_io)?;
        if last {
            check.finish().map_err(from_io)?;
        }
        if out.send(piece).is_err() || last {
            break;
        }
    }
    Ok(())
}

fn write_all(
    slot: &Slot<'_>,
    pieces: &Receiver<Piece>,
    free: &Sender<Buffer>,
    flush: &SyncSender<u64>,
    flushed: &Receiver<u64>,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<u64> {
    let room = slot.range.end - slot.range.start;
    let (mut at, mut asked) = (0, 0);
    let mut direct = slot.block.direct();
    for piece in pieces {
        let bytes = piece.bytes();
        let end = at + bytes.len() as u64;
        if end > room {
            let full = io::Error::from(io::ErrorKind::StorageFull);
            return Err(failed(slot, at, full));
        }
        for (start, run) in runs(bytes, slot.before) {
            let at = at + start as u64;
            let written = write_run(slot.block, &mut direct, run, slot.range.start + at);
            written.map_err(|e| failed(slot, at, e))?;
        }
        at = end;
        // The reader may have ended.
        free.send(piece.buffer).ok();
        if at - asked >= FLUSH {
            asked = at;
            if flush.send(at).is_err() {
                break;
            }
        }
        if let Some(done) = flushed.try_iter().last() {
            progress(done);
        }
    }
    // A flush of the whole; an error is the flusher's to tell.
    flush.send(at).ok();
    Ok(at)
}

/// Writes past the page cache what can be, and goes without when the disk does not take it.
fn write_run(
    block: &dyn Block,
    direct: &mut Option<File>,
    bytes: &[u8],
    at: u64,
) -> io::Result<()> {
    if let Some(file) = direct.as_ref().filter(|_| is_aligned(bytes, at)) {
        match block.write_direct(file, bytes, at) {
            // Some file systems only say now that they can't.
            Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => *direct = None,
            other => return other,
        }
    }
    block.write_bytes(bytes, at)
}

/// The parts of a buffer that need to be written, with their offsets.
fn runs(bytes: &[u8], before: Before) -> Vec<(usize, &[u8])> {
    if before == Before::Anything {
        return vec![(0, bytes)];
    }
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (number, piece) in bytes.chunks(PIECE).enumerate() {
        let start = number * PIECE;
        if is_zero(piece) {
            continue;
        }
        match runs.last_mut() {
            Some(last) if last.end == start => last.end += piece.len(),
            _ => runs.push(start..start + piece.len()),
        }
    }
    runs.into_iter()
        .map(|run| (run.start, &bytes[run]))
        .collect()
}

fn is_zero(bytes: &[u8]) -> bool {
    // Long enough for the compiler to use wide registers, short enough to stop early.
    bytes
        .chunks(256)
        .all(|part| part.iter().fold(0, |all, byte| all | byte) == 0)
}

fn flush_all(slot: &Slot<'_>, asked: &Receiver<u64>, done: &Sender<u64>) -> anyhow::Result<()> {
    for at in asked {
        slot.block.sync_data().map_err(|e| failed(slot, at, e))?;
        done.send(at).ok();
    }
    Ok(())
}

fn failed(slot: &Slot<'_>, at: u64, error: io::Error) -> anyhow::Error {
    let offset = slot.range.start + at;
    Failure::of_write(error, format!("writing to {} at byte {offset}", slot.name))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::image::manifest::FileEntry;
    use crate::install::buffer::BUFFER;

    fn entry(bytes: &[u8]) -> FileEntry {
        FileEntry {
            name: "slot.img".into(),
            size: bytes.len() as u64,
            sha256: hex::encode(Sha256::digest(bytes)),
        }
    }

    fn write(block: &dyn Block, bytes: &[u8], room: u64, before: Before) -> anyhow::Result<u64> {
        let slot = Slot {
            block,
            name: "/dev/x".into(),
            range: 4096..4096 + room,
            before,
        };
        let reader = CheckedReader::new(bytes, "slot.img".into(), &entry(bytes));
        let mut last = 0;
        let written = write_slot(&slot, reader, &mut |done| {
            assert!(done >= last, "progress goes back");
            last = done;
        })?;
        assert_eq!(last, written);
        Ok(written)
    }

    fn data(size: usize) -> Vec<u8> {
        (0..size)
            .map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8 | 1)
            .collect()
    }

    #[test]
    fn bytes_arrive_and_zeros_are_left_out() {
        for size in [1, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER + 5, 40 << 20] {
            let mut bytes = data(size);
            let len = bytes.len();
            bytes[len / 4..len * 3 / 4].fill(0);
            let file = tempfile::tempfile().unwrap();
            let whole = 4096 + bytes.len() as u64;
            file.set_len(whole).unwrap();
            write(&file, &bytes, bytes.len() as u64, Before::Zeros).unwrap();
            let mut back = vec![0; bytes.len()];
            file.read_exact_at(&mut back, 4096).unwrap();
            assert!(back == bytes, "{size}");
            if size >= 40 << 20 {
                let used = file.metadata().unwrap().blocks() * 512;
                assert!(used < whole * 6 / 10, "{used} of {whole}");
            }
            // Whatever was there is gone.
            write(
                &file,
                &vec![0; bytes.len()],
                bytes.len() as u64,
                Before::Anything,
            )
            .unwrap();
            file.read_exact_at(&mut back, 4096).unwrap();
            assert!(is_zero(&back));
        }
    }

    #[test]
    fn whoever_fails_first_is_told() {
        let file = tempfile::tempfile().unwrap();
        let bytes = data(5 << 20);
        let error = write(&file, &bytes, 4 << 20, Before::Anything).unwrap_err();
        assert!(
            error.to_string().contains("/dev/x at byte 4198400"),
            "{error}"
        );
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = write(&full, &bytes, 8 << 20, Before::Anything).unwrap_err();
        assert!(error.to_string().contains("/dev/x at byte 4096"), "{error}");

        let slot = Slot {
            block: &file,
            name: "/dev/x".into(),
            range: 0..8 << 20,
            before: Before::Anything,
        };
        let mut other = bytes.clone();
        other[3 << 20] ^= 1;
        for (content, words) in [
            (&other[..], "slot.img is damaged"),
            (&bytes[..1 << 20], "ends at byte 1048576"),
            (&[&bytes[..], b"x"].concat(), "longer"),
        ] {
            let reader = CheckedReader::new(content, "slot.img".into(), &entry(&bytes));
            let error = write_slot(&slot, reader, &mut |_| {}).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        struct Failing(u64);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if self.0 == 0 {
                    return Err(io::Error::from_raw_os_error(5));
                }
                self.0 -= 1;
                buffer[0] = 1;
                Ok(1)
            }
        }
        let reader = CheckedReader::new(Failing(7), "/medium/slot.img".into(), &entry(&bytes));
        let error = write_slot(&slot, reader, &mut |_| {}).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("/medium/slot.img can't be read at byte 7"),
            "{error}"
        );
    }
}
