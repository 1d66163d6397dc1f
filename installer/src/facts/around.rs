//! What is read once for all disks: mounts, swap, links, and where this system runs from.
//!
//! In: [`Roots`]. Out: [`Around`]. Reads only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::signature::{Properties, parse_udev};
use super::{Content, Holding, Roots, children, disk_names, name_of, partitions_of, read};
use crate::live::MEDIUM;
use crate::sys::cmdline::Cmdline;

/// How many devices below a device are followed: a volume on a RAID in a file and so on.
const DEPTH: usize = 8;

/// What is read once for all disks.
#[derive(Debug)]
pub struct Around {
    /// Where it was read.
    pub roots: Roots,
    /// `/proc/self/mountinfo`
    pub mountinfo: String,
    /// `/proc/swaps`
    pub swaps: String,
    /// Names of the disks that this system runs from.
    pub system: BTreeSet<String>,
    /// UUID of the medium that the boot chain came from, where no mount says better which disk
    /// it is: two sticks may have the same image.
    medium: Option<String>,
    /// Links below `/dev/disk` with the kernel's name of their target.
    links: Vec<(PathBuf, String)>,
}

impl Around {
    /// Reads it.
    pub fn read(roots: &Roots) -> anyhow::Result<Self> {
        let mountinfo =
            fs::read_to_string(roots.proc.join("self/mountinfo")).context("reading mountinfo")?;
        let mut around = Self {
            roots: roots.clone(),
            mountinfo,
            swaps: fs::read_to_string(roots.proc.join("swaps")).unwrap_or_default(),
            system: BTreeSet::new(),
            medium: None,
            links: links_of(&roots.dev),
        };
        let mut system = BTreeSet::new();
        for place in ["/", "/usr", "/boot", MEDIUM] {
            around.follow_mount(place, DEPTH, &mut system);
        }
        around.system = system;
        let disks = disk_names(&roots.sys.join("block"));
        let is_drive = |name: &String| disks.contains(name) || name.starts_with("sr");
        if !around.system.iter().any(is_drive) {
            around.medium = medium_of(&roots.proc);
        }
        Ok(around)
    }

    /// Whether udev knows a disk, by its folder in sysfs, as the medium.
    pub fn is_medium(&self, dir: &Path) -> bool {
        let is_it = |dir: &Path| self.udev(dir).0.get("UUID") == self.medium.as_ref();
        self.medium.is_some() && (is_it(dir) || partitions_of(dir).iter().any(|dir| is_it(dir)))
    }

    /// Whether what is on a disk is the medium.
    pub fn is_medium_among(&self, holds: &[Content]) -> bool {
        let uuid = |content: &Content| match &content.what {
            Holding::Filesystem { uuid, .. } => uuid.clone(),
            Holding::Partition(partition) => partition.uuid.clone(),
            _ => None,
        };
        self.medium.is_some() && holds.iter().any(|content| uuid(content) == self.medium)
    }

    /// Links to the device with this name.
    pub fn links_to(&self, name: &str) -> Vec<PathBuf> {
        let found = self.links.iter().filter(|(_, target)| target == name);
        found.map(|(link, _)| link.clone()).collect()
    }

    /// What udev knows of a device, and its links that name the disk itself.
    pub fn udev(&self, dir: &Path) -> (Properties, Vec<PathBuf>) {
        let number = read(&dir.join("dev")).unwrap_or_default();
        let path = self.roots.udev.join(format!("data/b{number}"));
        let (properties, links) = parse_udev(&fs::read_to_string(path).unwrap_or_default());
        let links = links.into_iter().map(PathBuf::from);
        let lasting = ["/dev/disk/by-id", "/dev/disk/by-path", "/dev/mapper"];
        let links = links.filter(|link| lasting.iter().any(|l| link.starts_with(l)));
        (properties, links.collect())
    }

    /// The disks below what is mounted on `place`.
    fn follow_mount(&self, place: &str, depth: usize, disks: &mut BTreeSet<String>) {
        // The last mount on a place hides the others.
        let line = self
            .mountinfo
            .lines()
            .rfind(|line| line.split(' ').nth(4) == Some(place));
        let Some(line) = line else {
            return;
        };
        let number = line.split(' ').nth(2).unwrap_or_default();
        let dir = self.roots.sys.join("dev/block").join(number);
        if let Ok(dir) = fs::canonicalize(dir) {
            return self.follow_device(&dir, depth, disks);
        }
        // File systems such as btrfs have numbers of their own; the source is a path then.
        let source = line
            .split_once(" - ")
            .and_then(|(_, s)| s.split(' ').nth(1));
        let node = source
            .and_then(|s| s.strip_prefix("/dev/"))
            .unwrap_or_default();
        let node = fs::canonicalize(self.roots.dev.join(node)).unwrap_or_default();
        if let Some(name) = node.file_name() {
            let dir = self.roots.sys.join("class/block").join(name);
            if let Ok(dir) = fs::canonicalize(dir) {
                self.follow_device(&dir, depth, disks);
            }
        }
    }

    /// The disks below a device: those that a map or RAID is made of, that which the file of a
    /// loop device lies on, the one that a partition is a part of, or itself.
    fn follow_device(&self, dir: &Path, depth: usize, disks: &mut BTreeSet<String>) {
        let Some(depth) = depth.checked_sub(1) else {
            return;
        };
        let disk = match (dir.join("partition").exists(), dir.parent()) {
            (true, Some(disk)) => disk,
            _ => dir,
        };
        disks.insert(name_of(disk));
        let slaves = disk.join("slaves");
        for slave in children(&slaves) {
            if let Ok(slave) = fs::canonicalize(slaves.join(slave)) {
                self.follow_device(&slave, depth, disks);
            }
        }
        if let Some(file) = read(&disk.join("loop/backing_file")) {
            let places = self.mountinfo.lines().filter_map(|l| l.split(' ').nth(4));
            let place = places
                .filter(|place| Path::new(&file).starts_with(place))
                .max_by_key(|place| place.len());
            if let Some(place) = place {
                self.follow_mount(place, depth, disks);
            }
        }
    }
}

/// The medium's UUID on the kernel's command line.
fn medium_of(proc: &Path) -> Option<String> {
    let line = Cmdline::parse(&fs::read_to_string(proc.join("cmdline")).ok()?);
    let medium = line.get("harrow.boot.medium")?;
    Some(medium.strip_prefix("UUID=")?.to_owned())
}

/// Every link below `/dev/disk` that names a disk itself, with the kernel's name of its target.
fn links_of(dev: &Path) -> Vec<(PathBuf, String)> {
    let mut links = Vec::new();
    for kind in ["by-id", "by-path"] {
        let dir = dev.join("disk").join(kind);
        for name in children(&dir) {
            let target = fs::read_link(dir.join(&name)).unwrap_or_default();
            if let Some(target) = target.file_name() {
                let link = Path::new("/dev/disk").join(kind).join(&name);
                links.push((link, target.to_string_lossy().into_owned()));
            }
        }
    }
    links
}
