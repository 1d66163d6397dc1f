//! What is installed onto: a block device or a plain file.
//!
//! In: `--device` and `--size`. Out: [`Target`] as data for the plan (probed, nothing changed
//! yet), and later an open file that is locked against others for the whole install.

use std::fs::File;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::block::Block;
use super::journal::{self, Unfinished};
use super::layout::{Shape, show};
use super::open::OpenDisk;
use crate::facts::{self, DiskFacts, Roots};
use crate::failure::{Failure, Kind};

/// What is installed onto.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[allow(clippy::large_enum_variant)] // a plan has one or two of them
pub enum Target {
    /// A whole disk, pinned by what it said when it was chosen.
    Disk(DiskFacts),
    /// A sparse file that will be created.
    File {
        /// Its path.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// It is there already, with an install on it that did not end.
        #[serde(default)]
        begun: bool,
    },
}

impl Target {
    /// Finds out what `path` is. `size` makes it a new file, and then whether it can be made.
    pub fn probe(path: &Path, size: Option<u64>) -> anyhow::Result<Self> {
        let Some(size) = size else {
            let facts = facts::probe_disk(path, &Roots::default());
            return facts.map(Self::Disk).map_err(|e| explain_file(path, e));
        };
        if std::fs::metadata(path).is_ok_and(|m| m.file_type().is_block_device()) {
            return Err(Failure::error(
                Kind::DeviceUnknown,
                format!("{} is a disk, and --size is for a new file", path.display()),
                "leave --size out to install onto the disk; everything on it is lost then",
            ));
        }
        let begun = path.symlink_metadata().is_ok();
        if begun && unfinished_file(path, size).is_none() {
            return Err(exists_already(path));
        }
        check_folder(path)?;
        Ok(Self::File {
            path: path.to_owned(),
            size,
            begun,
        })
    }

    /// A disk that was chosen and that nothing is known to use. Whether it may be taken at all is
    /// for the claim.
    pub fn of_disk(disk: DiskFacts) -> anyhow::Result<Self> {
        check_not_held(&disk.path)?;
        Ok(Self::Disk(disk))
    }

    /// The facts of a disk.
    pub fn facts(&self) -> Option<&DiskFacts> {
        match self {
            Self::Disk(facts) => Some(facts),
            Self::File { .. } => None,
        }
    }

    /// Path of the device or file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Disk(facts) => &facts.path,
            Self::File { path, .. } => path,
        }
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Disk(facts) => facts.size,
            Self::File { size, .. } => *size,
        }
    }

    /// Logical sector size in bytes.
    pub fn sector_size(&self) -> u32 {
        match self {
            Self::Disk(facts) => facts.sector_size,
            Self::File { .. } => 512,
        }
    }

    /// What of it decides where partitions can lie.
    pub fn shape(&self) -> Shape {
        Shape {
            size: self.size(),
            sector_size: self.sector_size(),
            optimal_io: match self {
                Self::Disk(facts) => facts.optimal_io_size,
                Self::File { .. } => 0,
            },
        }
    }

    /// The install that it is in the middle of, with the number of the journal's last record.
    pub fn unfinished(&self) -> Option<(u64, Unfinished)> {
        match self {
            Self::Disk(facts) => {
                let disk = File::open(&facts.path).ok()?;
                journal::unfinished(&disk, facts.size).ok().flatten()
            }
            Self::File { path, size, begun } => {
                begun.then(|| unfinished_file(path, *size)).flatten()
            }
        }
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Disk(facts) => facts.describe(),
            Self::File { path, size, begun } => {
                let kind = if *begun { "an unfinished" } else { "a new" };
                format!("{}: {kind} file of {}", path.display(), show(*size))
            }
        }
    }

    /// Checks what an install of `bytes` needs from the place, before anything is written.
    pub fn check_room(&self, bytes: u64) -> anyhow::Result<()> {
        let Self::File { path, .. } = self else {
            return Ok(());
        };
        let folder = folder_of(path);
        let stat = rustix::fs::statvfs(folder)
            .with_context(|| format!("looking for free space in {}", folder.display()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < bytes {
            return Err(Failure::error(
                Kind::NoSpace,
                format!(
                    "{} has {} free, an install onto {} writes {}",
                    folder.display(),
                    show(free),
                    path.display(),
                    show(bytes)
                ),
                "free some space there, or write the file elsewhere",
            ));
        }
        Ok(())
    }

    /// Removes a file that could not be finished: half a disk is of no use to anybody, and stands
    /// in the way of the next try. A disk stays as it is: it does not boot.
    pub fn discard(&self) {
        if let Self::File { path, .. } = self {
            std::fs::remove_file(path).ok();
        }
    }

    /// Opens the disk that this system runs from, for writing what of it is not in use.
    pub fn open_running(&self) -> anyhow::Result<Box<dyn Block>> {
        match self {
            Self::Disk(planned) => {
                let open = OpenDisk::open_running(planned, &Roots::default())?;
                Ok(Box::new(open))
            }
            Self::File { .. } => self.open(),
        }
    }

    /// Opens the target for writing. A disk is compared once more with what was planned,
    /// since names may have moved, and is locked; a file is created.
    pub fn open(&self) -> anyhow::Result<Box<dyn Block>> {
        match self {
            Self::Disk(planned) => Ok(Box::new(OpenDisk::open(planned, &Roots::default())?)),
            Self::File { path, size, begun } => {
                let mut options = File::options();
                let options = options
                    .read(true)
                    .write(true)
                    .create_new(!begun)
                    .mode(0o600);
                let file = options.open(path).map_err(|e| no_file(path, &e))?;
                if *begun {
                    lock_file(&file, path)?;
                    return Ok(Box::new(file));
                }
                file.set_len(*size).map_err(|e| {
                    std::fs::remove_file(path).ok();
                    Failure::of_write(e, format!("{}: a file of {}", path.display(), show(*size)))
                })?;
                lock_file(&file, path)?;
                Ok(Box::new(file))
            }
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A new file needs a folder that can be written and is not `/dev`, where a mistyped disk
/// would become a file in memory.
fn check_folder(path: &Path) -> anyhow::Result<()> {
    let folder = folder_of(path);
    let real = std::fs::canonicalize(folder).map_err(|e| no_file(path, &e))?;
    if real.starts_with("/dev") && !real.starts_with("/dev/shm") {
        return Err(Failure::error(
            Kind::DeviceUnknown,
            format!(
                "{}: no such device, and no place for a file",
                path.display()
            ),
            "name a disk without --size, or a new file elsewhere",
        ));
    }
    rustix::fs::access(&real, rustix::fs::Access::WRITE_OK).map_err(|e| no_file(path, &e.into()))
}

fn exists_already(path: &Path) -> anyhow::Error {
    Failure::error(
        Kind::TargetExists,
        format!("{} exists already", path.display()),
        "give the name of a new file, or remove this one",
    )
}

fn no_file(path: &Path, error: &std::io::Error) -> anyhow::Error {
    if error.kind() == std::io::ErrorKind::AlreadyExists {
        return exists_already(path);
    }
    Failure::error(
        Kind::TargetFolder,
        format!("can't create {}: {error}", path.display()),
        "give a file name in a folder that exists and that you may write to",
    )
}

/// A file name without `--size` deserves better than "not a block device".
fn explain_file(path: &Path, error: anyhow::Error) -> anyhow::Error {
    if path.starts_with("/dev") {
        return error;
    }
    error.context(format!(
        "{} is taken for a disk (to install onto a new file, give its --size)",
        path.display()
    ))
}

/// Asks the kernel itself whether anything holds the disk: an exclusive open fails then.
pub(super) fn check_not_held(path: &Path) -> anyhow::Result<()> {
    let flags = rustix::fs::OFlags::EXCL.bits() as i32;
    let opened = File::options().read(true).custom_flags(flags).open(path);
    match opened {
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()) => {
            Err(Failure::error(
                Kind::DeviceInUse,
                format!(
                    "{} is in use: the kernel refuses exclusive access",
                    path.display()
                ),
                "see `lsblk` for what holds it, release it, or name another disk",
            ))
        }
        other => other
            .map(drop)
            .map_err(|e| Failure::of_write(e, format!("opening {}", path.display()))),
    }
}

pub(super) fn lock_file(file: &File, path: &Path) -> anyhow::Result<()> {
    match rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Failure::error(
            Kind::DeviceInUse,
            format!("{} is locked by another program", path.display()),
            "another install may be running on it",
        )),
        other => other.with_context(|| format!("locking {}", path.display())),
    }
}

/// The install that a plain file of this size is in the middle of.
fn unfinished_file(path: &Path, size: u64) -> Option<(u64, Unfinished)> {
    let meta = path.metadata().ok().filter(|m| m.is_file())?;
    let file = File::open(path).ok().filter(|_| meta.len() == size)?;
    journal::unfinished(&file, size).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_needs_a_size_and_must_be_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.img");
        let error = Target::probe(&path, None).unwrap_err();
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::DeviceUnknown);
        assert!(format!("{error:#}").contains("--size"), "{error:#}");
        let target = Target::probe(&path, Some(1 << 30)).unwrap();
        assert_eq!((target.size(), target.sector_size()), (1 << 30, 512));
        assert!(!path.exists(), "probing changes nothing");
        target.open().unwrap();
        assert_eq!(path.metadata().unwrap().len(), 1 << 30);
        let error = Target::probe(&path, Some(1 << 30)).unwrap_err();
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::TargetExists);
        assert!(target.open().is_err(), "never over an existing file");
        let kind = |path: &str| {
            let error = Target::probe(Path::new(path), Some(1 << 30)).unwrap_err();
            Failure::of(&error).unwrap().kind
        };
        assert_eq!(kind("/dev/sdzz"), Kind::DeviceUnknown);
        assert_eq!(kind("/no/such/folder/disk.img"), Kind::TargetFolder);
    }

    #[test]
    fn room_is_checked_before() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::probe(&dir.path().join("disk.img"), Some(1 << 60)).unwrap();
        target.check_room(1).unwrap();
        let error = target.check_room(1 << 60).unwrap_err();
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::NoSpace);
    }
}
