//! A disk that is open for an install: locked, and compared again and again with what was chosen.
//!
//! In: the facts of the disk that was planned with. Out: a [`Block`] that knows which disk it has
//! to be. Names may have changed since the plan; then the disk is looked for by what it is.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;

use anyhow::Context as _;

use super::block::Block;
use super::choose;
use super::identity::{Identity, find_again};
use super::target::{check_not_held, lock_file};
use crate::facts::{self, DiskFacts, Roots};
use crate::failure::{Failure, Kind};

/// A locked disk.
#[derive(Debug)]
pub struct OpenDisk {
    file: File,
    disk: DiskFacts,
    identity: Identity,
    /// Device number that was opened.
    number: u64,
    roots: Roots,
}

impl OpenDisk {
    /// Finds the disk that was planned with, under whatever name, and locks it. udev leaves a
    /// locked disk alone (systemd.io/BLOCK_DEVICE_LOCKING), and a second install on the same
    /// disk stops here.
    pub fn open(planned: &DiskFacts, roots: &Roots) -> anyhow::Result<Self> {
        let disk = find(planned, roots)?;
        let path = disk.path.display().to_string();
        choose::candidate_by_name(&disk, 0).map_err(|why| why.failure(&path))?;
        check_not_held(&disk.path)?;
        Self::open_found(planned, disk, roots)
    }

    /// The same for the disk that this system runs from: it is in use, and stays so.
    pub fn open_running(planned: &DiskFacts, roots: &Roots) -> anyhow::Result<Self> {
        Self::open_found(planned, find(planned, roots)?, roots)
    }

    fn open_found(planned: &DiskFacts, disk: DiskFacts, roots: &Roots) -> anyhow::Result<Self> {
        let path = disk.path.display().to_string();
        let file = File::options().read(true).write(true).open(&disk.path);
        let file = file.map_err(|e| Failure::of_write(e, format!("opening {path}")))?;
        lock_file(&file, &disk.path)?;
        let number = file
            .metadata()
            .with_context(|| format!("reading {path}"))?
            .rdev();
        let open = Self {
            file,
            identity: Identity::of(planned),
            disk,
            number,
            roots: roots.clone(),
        };
        open.check_identity()?;
        Ok(open)
    }
}

/// The planned disk: where it was, or else wherever it is now.
pub fn find(planned: &DiskFacts, roots: &Roots) -> anyhow::Result<DiskFacts> {
    let identity = Identity::of(planned);
    let mut there = facts::list(roots);
    // A RAID is not among the disks of the machine.
    if let Ok(here) = facts::probe_disk(&planned.path, roots) {
        add(&mut there, here);
    }
    match find_again(&identity, &there) {
        Ok(found) => {
            if found.multipath != planned.multipath {
                return Err(Failure::error(
                    Kind::DeviceUnknown,
                    format!(
                        "{}: its paths were put together, or taken apart, since the plan was made",
                        found.path.display()
                    ),
                    "nothing was written; run the install again",
                ));
            }
            if found.path != planned.path {
                tracing::warn!("{} is now {}", planned.path.display(), found.path.display());
            }
            Ok(found.clone())
        }
        Err(refusal) => Err(Failure::error(
            Kind::DeviceUnknown,
            format!(
                "{} is not the disk any more that was planned with: {refusal}",
                planned.path.display()
            ),
            format!(
                "nothing was written; run the install again ({})",
                refusal.hint()
            ),
        )),
    }
}

/// Adds a disk unless it is there, be it as a path to one.
fn add(there: &mut Vec<DiskFacts>, here: DiskFacts) {
    let is_it = |disk: &DiskFacts| disk.name == here.name || disk.paths.contains(&here.name);
    if !there.iter().any(is_it) {
        there.push(here);
    }
}

impl Block for OpenDisk {
    fn read_bytes(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_bytes(buffer, at)
    }

    fn write_bytes(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_bytes(bytes, at)
    }

    fn direct(&self) -> Option<File> {
        self.file.direct()
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        self.file.zero(range)
    }

    fn discard(&self, range: Range<u64>) -> io::Result<bool> {
        self.file.discard(range)
    }

    fn sync(&self) -> io::Result<()> {
        Block::sync(&self.file)
    }

    fn sync_data(&self) -> io::Result<()> {
        Block::sync_data(&self.file)
    }

    fn forget(&self, range: Range<u64>) -> io::Result<()> {
        self.file.forget(range)
    }

    fn check_identity(&self) -> anyhow::Result<()> {
        let path = &self.disk.path;
        let changed = |what: String| {
            Failure::error(
                Kind::DeviceFailed,
                format!("{} is another disk now: {what}", path.display()),
                "the install can't go on; look at the disk's cables and run the install again",
            )
        };
        match facts::probe_number(path, self.number, &self.roots) {
            Ok(Some(now)) => match self.identity.differs(&now) {
                None => Ok(()),
                Some(what) => Err(changed(what)),
            },
            Ok(None) => Err(changed("it is a partition".into())),
            Err(error) => Err(changed(format!("{error:#}"))),
        }
    }

    fn lend(
        &self,
        range: Range<u64>,
        run: &mut dyn FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.file.lend(range, run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_found_under_its_new_name_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("proc/self/mountinfo", "");
        for (name, serial) in [("none-a", "S2"), ("none-b", "S1")] {
            put(&format!("sys/block/{name}/size"), "2097152\n");
            put(&format!("sys/block/{name}/ro"), "0\n");
            put(&format!("sys/block/{name}/serial"), serial);
            put(
                &format!("sys/block/{name}/queue/logical_block_size"),
                "512\n",
            );
        }
        let roots = Roots::below(dir.path());
        let planned = |serial: &str| DiskFacts {
            path: "/dev/none-a".into(),
            name: "none-a".into(),
            size: 1 << 30,
            sector_size: 512,
            serial: Some(serial.into()),
            ..DiskFacts::default()
        };
        let found = find(&planned("S1"), &roots).unwrap();
        assert_eq!(found.path.to_str(), Some("/dev/none-b"));
        let error = find(&planned("S3"), &roots).unwrap_err();
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::DeviceUnknown);
        assert!(error.to_string().contains("S3"), "{error}");
    }

    #[test]
    fn a_raid_is_added_and_a_path_is_no_second_disk() {
        let disk = |name: &str| DiskFacts {
            name: name.into(),
            ..DiskFacts::default()
        };
        let map = DiskFacts {
            paths: vec!["sdb".into()],
            ..disk("dm-0")
        };
        let mut there = vec![disk("sda"), map];
        for name in ["sda", "sdb", "dm-0", "md0"] {
            add(&mut there, disk(name));
        }
        let names: Vec<&str> = there.iter().map(|disk| disk.name.as_str()).collect();
        assert_eq!(names, ["sda", "dm-0", "md0"]);
    }
}
