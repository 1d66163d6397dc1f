//! An image set in a folder: its manifest and its files as streams that check themselves.
//!
//! In: a folder. Out: [`ImageSet`], and [`CheckedReader`]s whose end is an error when the
//! bytes were not those of the manifest. Memory use does not depend on sizes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::manifest::{FileEntry, ImageManifest, MANIFEST_NAME};
use crate::failure::{Failure, Kind};

const HINT: &str = "download or build the image again; on a USB stick, write it again";

/// An image set in a folder.
#[derive(Debug, Clone)]
pub struct ImageSet {
    dir: PathBuf,
    /// What the set holds.
    pub manifest: ImageManifest,
}

impl ImageSet {
    /// Opens a folder; every file must be there with the right size.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(MANIFEST_NAME);
        let damaged = |why: String| Failure::error(Kind::ImageDamaged, why, HINT);
        let bytes = std::fs::read(&path).map_err(|e| {
            damaged(format!(
                "{} is not an image: can't read {MANIFEST_NAME}: {e}",
                dir.display()
            ))
        })?;
        let manifest = ImageManifest::parse(&bytes)
            .map_err(|e| damaged(format!("{}: {e:#}", path.display())))?;
        let set = Self {
            dir: dir.to_owned(),
            manifest,
        };
        for entry in set.manifest.files() {
            set.reader(entry)?;
        }
        Ok(set)
    }

    /// A stream over one file that checks size and digest on the way.
    pub fn reader(&self, entry: &FileEntry) -> anyhow::Result<CheckedReader<File>> {
        let path = self.dir.join(&entry.name);
        let damaged = |why: String| Failure::error(Kind::ImageDamaged, why, HINT);
        let file = File::open(&path).map_err(|e| damaged(format!("{}: {e}", path.display())))?;
        let size = file
            .metadata()
            .with_context(|| format!("reading {}", path.display()))?
            .len();
        if size != entry.size {
            return Err(damaged(format!(
                "{} has {size} bytes, the manifest says {}",
                path.display(),
                entry.size
            )));
        }
        Ok(CheckedReader::new(file, path.display().to_string(), entry))
    }

    /// All of a small file, checked.
    pub fn read(&self, entry: &FileEntry) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader(entry)?
            .read_to_end(&mut bytes)
            .map_err(from_io)?;
        Ok(bytes)
    }

    /// The slot image's file, for looking into it.
    pub fn slot_file(&self) -> anyhow::Result<File> {
        let path = self.dir.join(&self.manifest.slot.file.name);
        File::open(&path).with_context(|| format!("opening {}", path.display()))
    }
}

/// Reads a file of an image set. The read that meets the end fails when the size or the
/// sha256 is not the manifest's.
pub struct CheckedReader<R> {
    inner: R,
    name: String,
    left: u64,
    expected: String,
    hash: Option<Sha256>,
}

impl<R: Read> CheckedReader<R> {
    /// Checks `inner` against `entry`; `name` is for errors.
    pub fn new(inner: R, name: String, entry: &FileEntry) -> Self {
        Self {
            inner,
            name,
            left: entry.size,
            expected: entry.sha256.clone(),
            hash: Some(Sha256::new()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        let Some(hash) = self.hash.take() else {
            return Ok(());
        };
        let name = &self.name;
        if self.left > 0 {
            return Err(damaged(format!(
                "{name} ends {} bytes too early",
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
}

impl<R: Read> Read for CheckedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer).map_err(|e| match e.kind() {
            io::ErrorKind::Interrupted => e,
            _ => damaged(format!("{} can't be read: {e}", self.name)),
        })?;
        if count == 0 && !buffer.is_empty() {
            self.finish()?;
            return Ok(0);
        }
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| damaged(format!("{} is longer than the manifest says", self.name)))?;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..count]);
        }
        Ok(count)
    }
}

fn damaged(message: String) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        Failure {
            kind: Kind::ImageDamaged,
            message,
            hint: HINT.into(),
        },
    )
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
