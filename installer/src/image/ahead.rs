//! Reads ahead in a thread of its own, while somebody else writes or checks what was read.
//!
//! In: any reader. Out: a reader with the same bytes and the same error in the same place. A few
//! pieces are kept, whatever the size.

use std::io::{self, Read};
use std::mem;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

/// What is read at a time.
const PIECE: usize = 256 << 10;
/// How many pieces wait to be taken.
const WAITING: usize = 4;

/// A reader that is ahead of who reads from it.
#[derive(Debug)]
pub struct ReadAhead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    /// Where pieces go that were taken, to be filled again.
    taken: Sender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl ReadAhead {
    /// Begins to read. The thread ends with the stream, with its first error, or when nobody takes
    /// what it reads.
    pub fn start<R: Read + Send + 'static>(reader: R) -> io::Result<Self> {
        let (to, pieces) = sync_channel(WAITING);
        let (taken, free) = channel();
        thread::Builder::new()
            .name("read-ahead".into())
            .spawn(move || read_all(reader, &to, &free))?;
        Ok(Self {
            pieces,
            taken,
            piece: Vec::new(),
            at: 0,
            ended: false,
        })
    }
}

fn read_all(mut reader: impl Read, to: &SyncSender<io::Result<Vec<u8>>>, free: &Receiver<Vec<u8>>) {
    loop {
        let mut piece = free.try_recv().unwrap_or_default();
        piece.resize(PIECE, 0);
        let mut len = 0;
        let mut error = None;
        while len < PIECE {
            match reader.read(&mut piece[len..]) {
                Ok(0) => break,
                Ok(count) => len += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    error = Some(e);
                    break;
                }
            }
        }
        let last = len < PIECE;
        piece.truncate(len);
        // An empty piece is the end: one that is missing would be a thread that died.
        let told = match (len, error) {
            (0, Some(e)) => to.send(Err(e)),
            (_, Some(e)) => to.send(Ok(piece)).and_then(|()| to.send(Err(e))),
            (0, None) => to.send(Ok(piece)),
            (_, None) if last => to.send(Ok(piece)).and_then(|()| to.send(Ok(Vec::new()))),
            (_, None) => to.send(Ok(piece)),
        };
        if told.is_err() || last {
            return;
        }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && !buffer.is_empty() && !self.ended {
            let next = self.pieces.recv();
            let next = next.map_err(|_| io::Error::other("the reader ended early"))??;
            // The thread may have read all there is, and be gone.
            self.taken.send(mem::replace(&mut self.piece, next)).ok();
            self.at = 0;
            self.ended = self.piece.is_empty();
        }
        let count = buffer.len().min(self.piece.len() - self.at);
        buffer[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_arrive() {
        for size in [0, 1, PIECE - 1, PIECE, PIECE + 1, 7 * PIECE + 5] {
            let bytes: Vec<u8> = (0..size).map(|i| (i ^ (i >> 8)) as u8).collect();
            let mut ahead = ReadAhead::start(io::Cursor::new(bytes.clone())).unwrap();
            let mut found = Vec::new();
            ahead.read_to_end(&mut found).unwrap();
            assert!(found == bytes, "{size}");
            assert_eq!(ahead.read(&mut [0]).unwrap(), 0);
        }
    }

    struct Failing(usize);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::from_raw_os_error(5));
            }
            let count = self.0.min(buffer.len());
            self.0 -= count;
            Ok(count)
        }
    }

    #[test]
    fn an_error_comes_where_it_happened() {
        for good in [0, 10, PIECE, 9 * PIECE + 3] {
            let mut ahead = ReadAhead::start(Failing(good)).unwrap();
            let mut found = Vec::new();
            let error = ahead.read_to_end(&mut found).unwrap_err();
            assert_eq!((error.raw_os_error(), found.len()), (Some(5), good));
        }
        // Nobody reads on: the thread ends, and this returns.
        drop(ReadAhead::start(io::repeat(1)).unwrap());
    }
}
