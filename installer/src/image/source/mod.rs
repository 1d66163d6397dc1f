//! Where the files of an image set come from: a folder, an ISO, or either of them at a URL.
//!
//! In: what `--image` or `install.iso_url` says, as a [`Place`]. Out: a [`Source`] that opens
//! files by name as streams. Nothing is kept on a disk or as a whole in memory: an ISO at a URL
//! is read by ranges, and of it only what is needed.

mod disc;
mod folder;
mod packed;

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::formats::masked_url;
use crate::failure::{Failure, Kind};
use crate::sys::net::remote::{Limits, Remote};

pub use packed::Unpacked;

/// Ending of a file that is stored packed.
pub const PACKED: &str = ".zst";

/// What to do about a damaged image.
pub(super) const HINT: &str = "download or build the image again; on a USB stick, write it again";

/// A stream of one file's stored bytes.
pub struct Stream {
    /// The bytes. Its errors hold a [`Failure`] that names file and offset.
    pub reader: Box<dyn Read + Send>,
    /// How many there are, when that is known before.
    pub size: Option<u64>,
    /// Path or URL, for errors.
    pub name: String,
}

/// Something that holds an image set.
pub trait Source: fmt::Debug + Send + Sync {
    /// What it is, for errors.
    fn shown(&self) -> String;

    /// A file by its name; `None` when there is none.
    fn open(&self, name: &str) -> anyhow::Result<Option<Stream>>;
}

/// Where an image set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder with `manifest.json`.
    Folder(PathBuf),
    /// An ISO, or a drive or stick with one.
    Iso(PathBuf),
    /// A folder at a URL, which ends with `/`.
    FolderUrl(String),
    /// An ISO at a URL.
    IsoUrl(String),
}

impl Place {
    /// What a person said. A URL ending with `/` or `/manifest.json` is a folder, every other
    /// one an ISO.
    pub fn of(said: &Path) -> Self {
        let text = said.to_string_lossy();
        if !text.contains("://") {
            return match said.metadata() {
                Ok(meta) if !meta.is_dir() => Self::Iso(said.to_owned()),
                _ => Self::Folder(said.to_owned()),
            };
        }
        let end = text.find(['?', '#']).unwrap_or(text.len());
        let (path, rest) = text.split_at(end);
        let path = path
            .strip_suffix("manifest.json")
            .filter(|path| path.ends_with('/'))
            .unwrap_or(path);
        let url = format!("{path}{rest}");
        match path.ends_with('/') {
            true => Self::FolderUrl(url),
            false => Self::IsoUrl(url),
        }
    }

    /// Opens it; of a URL, only as far as that it can be an image.
    pub fn open(&self, limits: Limits) -> anyhow::Result<Arc<dyn Source>> {
        Ok(match self {
            Self::Folder(path) => Arc::new(folder::Folder::new(path)),
            Self::FolderUrl(url) => Arc::new(folder::FolderUrl::new(url, limits)),
            Self::Iso(path) => Arc::new(disc::Disc::open(disc::LocalFile::open(path)?)?),
            Self::IsoUrl(url) => {
                let Some(remote) = Remote::open(url, limits)? else {
                    return Err(Failure::error(
                        Kind::ImageUnreachable,
                        format!("{}: the server has no such file", masked_url(url)),
                        "give the URL of an ISO, or of a folder with manifest.json, ending with /",
                    ));
                };
                Arc::new(disc::Disc::open(remote)?)
            }
        })
    }
}

/// An error of reading that [`super::set::from_io`] turns into its [`Failure`].
pub(super) fn damaged(message: String) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        Failure {
            kind: Kind::ImageDamaged,
            message,
            hint: HINT.into(),
        },
    )
}

/// An error of reading `name` at byte `at`. One that says so already stays as it is.
pub(crate) fn read_failed(name: &str, at: u64, error: io::Error) -> io::Error {
    let said = error.get_ref().is_some_and(|inner| inner.is::<Failure>());
    match error.kind() {
        io::ErrorKind::Interrupted => error,
        _ if said => error,
        _ => damaged(format!("{name} can't be read at byte {at}: {error}")),
    }
}
