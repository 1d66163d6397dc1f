//! Image sets whose files lie side by side: in a folder, or in one at a URL.
//!
//! In: a path or URL. Out: [`Source`]s.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{HINT, Source, Stream, read_failed};
use crate::config::formats::masked_url;
use crate::failure::{Failure, Kind};
use crate::sys::net::remote::{Limits, Remote};

/// A folder, as on a medium.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl Source for Folder {
    fn shown(&self) -> String {
        self.0.display().to_string()
    }

    fn open(&self, name: &str) -> anyhow::Result<Option<Stream>> {
        let path = self.0.join(name);
        let shown = path.display().to_string();
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Failure::error(
                Kind::ImageDamaged,
                format!("{shown}: {e}"),
                HINT,
            )),
            Ok((size, file)) => Ok(Some(Stream {
                reader: Box::new(FilePart::new(file, shown.clone(), 0, u64::MAX)),
                size: Some(size),
                name: shown,
            })),
        }
    }
}

/// A part of a file on this machine; its errors name the file and the offset.
pub(super) struct FilePart {
    file: File,
    name: String,
    at: u64,
    end: u64,
}

impl FilePart {
    pub(super) fn new(file: File, name: String, at: u64, end: u64) -> Self {
        Self {
            file,
            name,
            at,
            end,
        }
    }
}

impl Read for FilePart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let room = room.min(buffer.len());
        let read = self.file.read_at(&mut buffer[..room], self.at);
        let count = read.map_err(|e| read_failed(&self.name, self.at, e))?;
        self.at += count as u64;
        Ok(count)
    }
}

/// A folder at a URL.
#[derive(Debug)]
pub(super) struct FolderUrl {
    /// Everything up to and with the last slash.
    base: String,
    /// The query, with its question mark.
    query: String,
    limits: Limits,
}

impl FolderUrl {
    pub(super) fn new(url: &str, limits: Limits) -> Self {
        let url = url.split('#').next().unwrap_or_default();
        let (base, query) = url.split_at(url.find('?').unwrap_or(url.len()));
        Self {
            base: base.to_owned(),
            query: query.to_owned(),
            limits,
        }
    }

    fn url_of(&self, name: &str) -> String {
        let mut url = self.base.clone();
        for byte in name.bytes() {
            // RFC 3986, 2.3.
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                url.push(char::from(byte));
            } else {
                write!(url, "%{byte:02X}").ok();
            }
        }
        url + &self.query
    }
}

impl Source for FolderUrl {
    fn shown(&self) -> String {
        masked_url(&self.base)
    }

    fn open(&self, name: &str) -> anyhow::Result<Option<Stream>> {
        let remote = Remote::open(&self.url_of(name), self.limits)?;
        Ok(remote.map(|remote| Stream {
            reader: Box::new(remote.reader(0..u64::MAX)),
            size: remote.size(),
            name: remote.shown().to_owned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_urls() {
        let url = |base: &str, name: &str| FolderUrl::new(base, Limits::default()).url_of(name);
        assert_eq!(url("http://a/b/", "slot.img"), "http://a/b/slot.img");
        assert_eq!(url("http://a/?k=1#x", "a b?c"), "http://a/a%20b%3Fc?k=1");
    }
}
