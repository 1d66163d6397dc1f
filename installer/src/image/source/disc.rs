//! Image sets inside an ISO, on this machine or at a URL: read by ranges, in place.
//!
//! In: something that gives parts of an ISO. Out: a [`Source`] of the files in its folder
//! `/harrow`. The file system's tables go through a small cache; files stream.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::folder::FilePart;
use super::{HINT, Source, Stream};
use crate::disk::iso9660::Iso;
use crate::disk::window::place_of;
use crate::failure::{Failure, Kind};
use crate::sys::net::remote::Remote;

/// The folder of an ISO that holds its image set.
const FOLDER: &str = "harrow";
/// Tables are read in pieces of this size, and so many are kept.
const PIECE: u64 = 64 << 10;
const PIECES: usize = 16;

/// Something whose bytes can be read from anywhere.
pub(super) trait Parts: fmt::Debug + Send + Sync {
    /// The bytes of a range; fewer when it ends before.
    fn part(&self, range: Range<u64>) -> anyhow::Result<Box<dyn Read + Send>>;
    /// Path or URL, for errors.
    fn shown(&self) -> String;
    /// Size, when it is known.
    fn size(&self) -> Option<u64>;
    /// Whether its beginning has been called a web page.
    fn is_page(&self) -> bool {
        false
    }
}

/// An ISO or a drive on this machine.
#[derive(Debug)]
pub(super) struct LocalFile {
    file: File,
    path: PathBuf,
    size: u64,
}

impl LocalFile {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let opened = File::open(path).and_then(|mut file| {
            // The size of a block device is not in its metadata.
            let size = file.seek(SeekFrom::End(0))?;
            Ok((file, size))
        });
        let (file, size) = opened.map_err(|e| {
            let message = format!("{}: {e}", path.display());
            Failure::error(Kind::ImageDamaged, message, HINT)
        })?;
        Ok(Self {
            file,
            path: path.to_owned(),
            size,
        })
    }
}

impl Parts for LocalFile {
    fn part(&self, range: Range<u64>) -> anyhow::Result<Box<dyn Read + Send>> {
        let file = self.file.try_clone()?;
        let part = FilePart::new(file, self.shown(), range.start, range.end);
        Ok(Box::new(part))
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn size(&self) -> Option<u64> {
        Some(self.size)
    }
}

impl Parts for Remote {
    fn part(&self, range: Range<u64>) -> anyhow::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.reader(range)))
    }

    fn shown(&self) -> String {
        Remote::shown(self).to_owned()
    }

    fn size(&self) -> Option<u64> {
        Remote::size(self)
    }

    fn is_page(&self) -> bool {
        self.is_html()
    }
}

/// An ISO with an image set.
#[derive(Debug)]
pub(super) struct Disc {
    parts: Arc<dyn Parts>,
    iso: Mutex<Iso<Tables>>,
}

impl Disc {
    pub(super) fn open(parts: impl Parts + 'static) -> anyhow::Result<Self> {
        let parts: Arc<dyn Parts> = Arc::new(parts);
        let mut tables = Tables {
            parts: Arc::clone(&parts),
            at: 0,
            pieces: VecDeque::new(),
            failure: None,
        };
        // An error of the server or the drive, not of the file system, is said as it is.
        tables.piece(0)?;
        let iso = Iso::open(tables).map_err(|e| damaged(&*parts, &format!("{e:#}")))?;
        let Some(mut iso) = iso else {
            let what = match parts.is_page() {
                true => "is a web page (HTML), not an ISO",
                false => "is no ISO, or its beginning is damaged",
            };
            return Err(damaged(&*parts, what));
        };
        if let Some(failure) = iso.disk_mut().failure.take() {
            return Err(failure);
        }
        Ok(Self {
            parts,
            iso: Mutex::new(iso),
        })
    }
}

fn damaged(parts: &dyn Parts, what: &str) -> anyhow::Error {
    let hint = "give an ISO of Harrow, or a folder with manifest.json (a URL of one ends with /)";
    let message = format!("{} {what}", parts.shown());
    Failure::error(Kind::ImageDamaged, message, hint)
}

impl Source for Disc {
    fn shown(&self) -> String {
        self.parts.shown()
    }

    fn open(&self, name: &str) -> anyhow::Result<Option<Stream>> {
        let path = format!("{FOLDER}/{name}");
        let mut iso = self.iso.lock().unwrap_or_else(PoisonError::into_inner);
        let found = iso.locate(&path);
        // What the server or the drive said is more than what the reader of tables made of it.
        if let Some(failure) = iso.disk_mut().failure.take() {
            return Err(failure);
        }
        let found = found.map_err(|e| damaged(&*self.parts, &format!("is damaged: {e:#}")))?;
        let Some(extents) = found else {
            return Ok(None);
        };
        let size = extents.iter().map(|range| range.end - range.start).sum();
        let reader = Extents {
            parts: Arc::clone(&self.parts),
            rest: joined(extents),
            current: None,
        };
        Ok(Some(Stream {
            reader: Box::new(reader),
            size: Some(size),
            name: format!("{}:/{path}", self.parts.shown()),
        }))
    }
}

/// Extents that follow each other become one.
fn joined(extents: Vec<Range<u64>>) -> VecDeque<Range<u64>> {
    let mut all: VecDeque<Range<u64>> = VecDeque::new();
    for extent in extents {
        match all.back_mut() {
            Some(last) if last.end == extent.start => last.end = extent.end,
            _ => all.push_back(extent),
        }
    }
    all
}

/// The bytes of a file, extent by extent.
struct Extents {
    parts: Arc<dyn Parts>,
    rest: VecDeque<Range<u64>>,
    current: Option<Box<dyn Read + Send>>,
}

impl Read for Extents {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(current) = &mut self.current else {
                let Some(range) = self.rest.pop_front() else {
                    return Ok(0);
                };
                self.current = Some(self.parts.part(range).map_err(io::Error::other)?);
                continue;
            };
            let count = current.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.current = None;
        }
    }
}

/// The tables of a file system, with a cache.
#[derive(Debug)]
pub(super) struct Tables {
    parts: Arc<dyn Parts>,
    at: u64,
    pieces: VecDeque<(u64, Vec<u8>)>,
    /// The last error, whole.
    failure: Option<anyhow::Error>,
}

impl Tables {
    fn piece(&mut self, number: u64) -> anyhow::Result<&[u8]> {
        if let Some(at) = self.pieces.iter().position(|(n, _)| *n == number) {
            return Ok(&self.pieces[at].1);
        }
        let start = number * PIECE;
        let mut bytes = Vec::new();
        let part = self.parts.part(start..start + PIECE)?;
        let read = part.take(PIECE).read_to_end(&mut bytes);
        read.map_err(crate::image::set::from_io)?;
        if self.pieces.len() == PIECES {
            self.pieces.pop_front();
        }
        self.pieces.push_back((number, bytes));
        Ok(self.pieces.back().map_or(&[], |(_, bytes)| bytes))
    }
}

impl Read for Tables {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.parts.size().is_some_and(|size| self.at >= size) {
            return Ok(0);
        }
        let (number, within) = (self.at / PIECE, (self.at % PIECE) as usize);
        let read = self.piece(number).map(|piece| {
            let bytes = piece.get(within..).unwrap_or_default();
            let count = bytes.len().min(buffer.len());
            buffer[..count].copy_from_slice(&bytes[..count]);
            count
        });
        match read {
            Ok(count) => {
                self.at += count as u64;
                Ok(count)
            }
            Err(error) => {
                let message = format!("{error:#}");
                self.failure = Some(error);
                Err(io::Error::other(message))
            }
        }
    }
}

impl Seek for Tables {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = place_of(to, self.at, self.parts.size().unwrap_or(u64::MAX))?;
        Ok(self.at)
    }
}
