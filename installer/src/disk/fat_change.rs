//! Changes files of a FAT32 file system that machines boot from.
//!
//! In: a partition of a target, what becomes of which file. Out: each change as a whole on the disk, or
//! not at all: a power cut, also in the middle of a write, leaves every other file as it is.
//! That a disk writes a sector wholly or not at all is all that is taken for granted.

use std::io::{self, Read, Write as _};
use std::ops::Range;

use anyhow::Context as _;

use super::block::Block;
use super::fat::Fat;
use super::fat_dots;
use super::fat_mend;
use super::fat_staged::{Order, Staged};
use super::window::Window;
use crate::failure::{Failure, Kind};
use crate::image::set::from_io;

/// What a new file is called until it takes the place of an old one.
const NEW: &str = ".new";

type FileSystem<'a> = fatfs::FileSystem<Staged<'a>>;

/// A file system whose files are changed one by one.
#[derive(Debug, Clone)]
pub struct FatChange<'a> {
    block: &'a dyn Block,
    range: Range<u64>,
}

impl<'a> FatChange<'a> {
    /// The file system in `range` of `block`.
    pub fn new(block: &'a dyn Block, range: Range<u64>) -> Self {
        Self { block, range }
    }

    fn staged(&self) -> io::Result<Staged<'a>> {
        Staged::new(
            self.block,
            self.range.start,
            self.range.end - self.range.start,
        )
    }

    /// The same, for reading.
    pub fn read(&self) -> anyhow::Result<Fat<'a>> {
        let len = self.range.end - self.range.start;
        Fat::open(Window::new(self.block, self.range.start, len))
    }

    /// Makes a change and brings it to the disk.
    fn change(
        &self,
        order: Order,
        what: &str,
        make: impl FnOnce(&FileSystem<'a>) -> anyhow::Result<()>,
        check: impl FnOnce(&Staged<'a>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let doing = || format!("{what} on the EFI system partition");
        let failed = |e: io::Error| Failure::of_write(e, doing());
        let mut staged = self.staged().map_err(failed)?;
        let fs = FileSystem::new(staged.clone(), fatfs::FsOptions::new()).map_err(failed)?;
        make(&fs).with_context(doing)?;
        fs.unmount().map_err(failed)?;
        fat_dots::mend(&mut staged)?;
        check(&staged).with_context(doing)?;
        staged.commit(order).map_err(failed)
    }

    /// Mends what a change that was cut off left behind. First of all changes.
    pub fn mend(&self) -> anyhow::Result<()> {
        let mend = || {
            let mut staged = self.staged()?;
            fat_mend::mend(&mut staged)?;
            staged.commit(Order::FoldersFirst)
        };
        mend().map_err(|e| Failure::of_write(e, "mending the EFI system partition"))
    }

    /// Removes files; those that are not there are none the less gone.
    pub fn remove(&self, paths: &[String]) -> anyhow::Result<()> {
        let make = |fs: &FileSystem<'a>| {
            for path in paths {
                gone(fs.root_dir().remove(path)).with_context(|| path.clone())?;
            }
            Ok(())
        };
        let what = format!("removing {}", paths.join(", "));
        self.change(Order::FoldersFirst, &what, make, |_| Ok(()))
    }

    /// Makes a new file with its folders. One of that name goes first.
    pub fn create(&self, path: &str, content: &mut dyn Read) -> anyhow::Result<()> {
        self.remove(&[path.to_owned()])?;
        let make = |fs: &FileSystem<'a>| {
            let root = fs.root_dir();
            for (end, _) in path.match_indices('/') {
                root.create_dir(&path[..end]).map_err(no_room)?;
            }
            let mut file = root.create_file(path).map_err(no_room)?;
            let mut buffer = vec![0; 1 << 20];
            loop {
                let count = content.read(&mut buffer).map_err(from_io)?;
                if count == 0 {
                    return Ok(());
                }
                file.write_all(&buffer[..count]).map_err(no_room)?;
            }
        };
        self.change(Order::TablesFirst, &format!("writing {path}"), make, |_| {
            Ok(())
        })
    }

    /// Puts new content in the place of a file. At any moment there is the old one or the new one.
    pub fn replace(&self, path: &str, content: &mut dyn Read) -> anyhow::Result<()> {
        let new = format!("{path}{NEW}");
        self.create(&new, content)?;
        let make = |fs: &FileSystem<'a>| {
            let root = fs.root_dir();
            gone(root.remove(path))?;
            root.rename(&new, &root, path).map_err(no_room)
        };
        let check = |staged: &Staged<'a>| match staged.folder_sectors() {
            Ok(0 | 1) => Ok(()),
            Ok(_) => Err(Failure::error(
                Kind::DeviceFailed,
                format!(
                    "the folder of {path} has so many files that it can't be changed in one write"
                ),
                "remove the files that are not Harrow's from that folder of the ESP, and try again",
            )),
            Err(e) => Err(Failure::of_write(e, "reading it")),
        };
        self.change(
            Order::FoldersFirst,
            &format!("replacing {path}"),
            make,
            check,
        )
    }

    /// Changes bytes of a file where they are: nothing else of the file system is touched. The
    /// new content has the size of the old, and differs from it in one sector.
    pub fn patch(&self, path: &str, content: &[u8]) -> anyhow::Result<()> {
        let make = |fs: &FileSystem<'a>| {
            let mut file = fs.root_dir().open_file(path)?;
            file.write_all(content).map_err(no_room)
        };
        let check = |staged: &Staged<'a>| match staged.folder_sectors() {
            Ok(0 | 1) => Ok(()),
            Ok(_) => anyhow::bail!("{path} is not changed in one place"),
            Err(e) => Err(Failure::of_write(e, "reading it")),
        };
        self.change(
            Order::FoldersFirst,
            &format!("changing {path}"),
            make,
            check,
        )
    }

    /// Bytes that are free, by the count that [`FatChange::mend`] sees to.
    pub fn free(&self) -> anyhow::Result<u64> {
        let doing = "looking for free space on the EFI system partition";
        let staged = self.staged().context(doing)?;
        let fs = FileSystem::new(staged, fatfs::FsOptions::new()).context(doing)?;
        let stats = fs.stats().context(doing)?;
        Ok(u64::from(stats.free_clusters()) * u64::from(stats.cluster_size()))
    }
}

fn gone(removed: io::Result<()>) -> anyhow::Result<()> {
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}

/// fatfs says in words of its own that the file system is full.
fn no_room(error: io::Error) -> anyhow::Error {
    if error.to_string().contains("No space left") {
        return Failure::error(
            Kind::NoSpace,
            "the EFI system partition is full",
            "remove the files that are not Harrow's from it",
        );
    }
    Failure::of_write(error, "writing to the disk")
}
