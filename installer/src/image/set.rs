//! An image set: its manifest and its files as streams that check themselves.
//!
//! In: a [`Place`]. Out: [`ImageSet`], and [`CheckedReader`]s whose end is an error when the
//! bytes were not those of the manifest. Memory use does not depend on sizes.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::manifest::{FileEntry, ImageManifest, MANIFEST_NAME};
use super::source::{HINT, PACKED, Place, Source, Stream, Unpacked, damaged, read_failed};
use crate::failure::{Failure, Kind};
use crate::sys::net::begins_as_page;
use crate::sys::net::remote::Limits;

/// The largest manifest that is read.
const MANIFEST_LIMIT: u64 = 1 << 20;

/// An image set, wherever it is.
#[derive(Debug, Clone)]
pub struct ImageSet {
    source: Arc<dyn Source>,
    /// Which files are stored packed.
    packed: BTreeMap<String, bool>,
    /// What the set holds.
    pub manifest: ImageManifest,
}

impl ImageSet {
    /// Opens a folder, an ISO, or a URL of one of them; see [`ImageSet::open_at`].
    pub fn open(place: &Path) -> anyhow::Result<Self> {
        Self::open_at(&Place::of(place), Limits::default())
    }

    /// Opens an image set; every file must be there, with the right size as far as it is known
    /// before it is read.
    pub fn open_at(place: &Place, limits: Limits) -> anyhow::Result<Self> {
        let source = place.open(limits)?;
        let manifest = read_manifest(&*source)?;
        let mut set = Self {
            source,
            packed: BTreeMap::new(),
            manifest,
        };
        for entry in set.manifest.clone().files() {
            let packed = set.find(entry)?;
            set.packed.insert(entry.name.clone(), packed);
        }
        Ok(set)
    }

    /// Where it is, for people.
    pub fn shown(&self) -> String {
        self.source.shown()
    }

    /// Whether a file of the manifest is stored packed.
    fn find(&self, entry: &FileEntry) -> anyhow::Result<bool> {
        let name = &entry.name;
        if let Some(stream) = self.source.open(name)? {
            check_size(&stream, entry)?;
            return Ok(false);
        }
        match self.source.open(&format!("{name}{PACKED}"))? {
            Some(_) => Ok(true),
            None => Err(missing(&*self.source, name)),
        }
    }

    /// A stream over one file that checks size and digest on the way.
    pub fn reader(&self, entry: &FileEntry) -> anyhow::Result<CheckedReader<Box<dyn Read + Send>>> {
        let packed = self.packed.get(&entry.name).copied().unwrap_or_default();
        let stored = match packed {
            true => format!("{}{PACKED}", entry.name),
            false => entry.name.clone(),
        };
        let stream = self.source.open(&stored)?;
        let stream = stream.ok_or_else(|| missing(&*self.source, &stored))?;
        let reader: Box<dyn Read + Send> = if packed {
            let unpacked = Unpacked::new(stream.reader, stream.name.clone());
            Box::new(unpacked.map_err(from_io)?)
        } else {
            check_size(&stream, entry)?;
            stream.reader
        };
        Ok(CheckedReader::new(reader, stream.name, entry))
    }

    /// All of a small file, checked.
    pub fn read(&self, entry: &FileEntry) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader(entry)?
            .read_to_end(&mut bytes)
            .map_err(from_io)?;
        Ok(bytes)
    }
}

fn read_manifest(source: &dyn Source) -> anyhow::Result<ImageManifest> {
    let bad = |why: String| Failure::error(Kind::ImageDamaged, why, HINT);
    let Some(stream) = source.open(MANIFEST_NAME)? else {
        return Err(Failure::error(
            Kind::ImageDamaged,
            format!(
                "{} is not an image: it has no {MANIFEST_NAME}",
                source.shown()
            ),
            "name a folder, an ISO or a URL with --image; `make iso` leaves a folder in out/image",
        ));
    };
    let name = stream.name;
    let mut bytes = Vec::new();
    let mut reader = stream.reader.take(MANIFEST_LIMIT + 1);
    reader.read_to_end(&mut bytes).map_err(from_io)?;
    if bytes.len() as u64 > MANIFEST_LIMIT {
        return Err(bad(format!(
            "{name} is no manifest: it has more than 1 MiB"
        )));
    }
    if begins_as_page(&bytes, false) {
        return Err(Failure::error(
            Kind::ImageDamaged,
            format!("{name} is a web page (HTML), not a manifest"),
            "the address of the folder itself; a login or proxy may be in between",
        ));
    }
    ImageManifest::parse(&bytes).map_err(|e| bad(format!("{name}: {e:#}")))
}

fn missing(source: &dyn Source, name: &str) -> anyhow::Error {
    Failure::error(
        Kind::ImageDamaged,
        format!(
            "No such file: {name} of {}, which the manifest names, is missing (and {name}{PACKED} too)",
            source.shown()
        ),
        HINT,
    )
}

fn check_size(stream: &Stream, entry: &FileEntry) -> anyhow::Result<()> {
    match stream.size {
        Some(size) if size != entry.size => Err(Failure::error(
            Kind::ImageDamaged,
            format!(
                "{} has {size} bytes, the manifest says {}",
                stream.name, entry.size
            ),
            HINT,
        )),
        _ => Ok(()),
    }
}

/// Compares bytes that come one after the other with what the manifest says of a file.
pub struct Check {
    name: String,
    size: u64,
    left: u64,
    expected: String,
    hash: Option<Sha256>,
}

impl Check {
    /// A check against `entry`; `name` is for errors.
    pub fn new(name: String, entry: &FileEntry) -> Self {
        Self {
            name,
            size: entry.size,
            left: entry.size,
            expected: entry.sha256.clone(),
            hash: Some(Sha256::new()),
        }
    }

    /// The next bytes; an error when there are more than the manifest says.
    pub fn update(&mut self, bytes: &[u8]) -> io::Result<()> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(|| {
            damaged(format!(
                "{} is longer than the {} bytes that the manifest says",
                self.name, self.size
            ))
        })?;
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        Ok(())
    }

    /// The end of the file.
    pub fn finish(&mut self) -> io::Result<()> {
        let Some(hash) = self.hash.take() else {
            return Ok(());
        };
        let name = &self.name;
        if self.left > 0 {
            let at = self.size - self.left;
            return Err(damaged(format!(
                "{name} ends at byte {at}, {} bytes too early",
                self.left
            )));
        }
        let actual = hex::encode(hash.finalize());
        if actual != self.expected {
            return Err(damaged(format!(
                "{name} is damaged: its sha256 is {actual}, the manifest says {}",
                self.expected
            )));
        }
        Ok(())
    }

    /// What the file is called in errors.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Reads a file of an image set. The read that meets the end fails when the size or the
/// sha256 is not the manifest's.
pub struct CheckedReader<R> {
    inner: R,
    check: Check,
}

impl<R: Read> CheckedReader<R> {
    /// Checks `inner` against `entry`; `name` is for errors.
    pub fn new(inner: R, name: String, entry: &FileEntry) -> Self {
        Self::of(inner, Check::new(name, entry))
    }

    /// A stream and a check that was begun.
    pub fn of(inner: R, check: Check) -> Self {
        Self { inner, check }
    }

    /// The stream and its check, for those who read and check at the same time.
    pub fn into_parts(self) -> (R, Check) {
        (self.inner, self.check)
    }
}

impl<R: Read> Read for CheckedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Check {
            name, size, left, ..
        } = &self.check;
        let read = self.inner.read(buffer);
        let count = read.map_err(|e| read_failed(name, size - left, e))?;
        match count {
            0 if buffer.is_empty() => {}
            0 => self.check.finish()?,
            _ => self.check.update(&buffer[..count])?,
        }
        Ok(count)
    }
}

/// Brings the [`Failure`] inside an error of reading an image to where [`Failure::of`] finds it.
pub fn from_io(error: io::Error) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) => anyhow::Error::new(failure),
        Err(error) => Failure::error(
            Kind::ImageDamaged,
            format!("the image can't be read: {error}"),
            "the medium may be failing: write the image to another one",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8], size: u64, of: &[u8]) -> anyhow::Result<Vec<u8>> {
        let entry = FileEntry {
            name: "slot.img".into(),
            size,
            sha256: hex::encode(Sha256::digest(of)),
        };
        let mut bytes = Vec::new();
        CheckedReader::new(content, "slot.img".into(), &entry)
            .read_to_end(&mut bytes)
            .map_err(from_io)?;
        Ok(bytes)
    }

    #[test]
    fn good_bytes_pass_and_others_are_named() {
        assert_eq!(read(b"abc", 3, b"abc").unwrap(), b"abc");
        assert_eq!(read(b"", 0, b"").unwrap(), b"");
        for (content, size, of, what) in [
            (&b"abd"[..], 3, &b"abc"[..], "damaged"),
            (b"ab", 3, b"abc", "too early"),
            (b"abcd", 3, b"abc", "longer"),
        ] {
            let error = read(content, size, of).unwrap_err();
            assert_eq!(Failure::of(&error).unwrap().kind, Kind::ImageDamaged);
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    #[test]
    fn a_medium_that_fails_is_said_with_the_file() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(5))
            }
        }
        let entry = FileEntry {
            name: "slot.img".into(),
            size: 1,
            sha256: String::new(),
        };
        let mut reader = CheckedReader::new(Failing, "/medium/slot.img".into(), &entry);
        let error = from_io(reader.read(&mut [0; 1]).unwrap_err());
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::ImageDamaged);
        assert!(
            error.to_string().contains("/medium/slot.img can't be read"),
            "{error}"
        );
    }
}
