//! What a disk is and who uses it, read once from sysfs and procfs.
//!
//! In: the path of a device, and where `/sys` and `/proc` are. Out: [`DiskFacts`], or an
//! error that says why the device can't be installed on. Reads only.

pub mod content;
mod disk;
mod machine;
pub mod user;

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::disk::layout::show;
use crate::failure::{Failure, Kind};

pub use content::{Content, Holding, Partition};
pub use disk::{DiskFacts, Namespace};
pub use machine::{Facts, NicFacts, probe};
pub use user::{Use, User};

/// Where the kernel's file systems are; another root in tests.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `/sys`
    pub sys: PathBuf,
    /// `/proc`
    pub proc: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            sys: "/sys".into(),
            proc: "/proc".into(),
        }
    }
}

/// Facts about the disk at `path` (a device node or a link to one).
pub fn probe_disk(path: &Path, roots: &Roots) -> anyhow::Result<DiskFacts> {
    let unknown = |why: String| {
        let hint = format!("name a whole disk; this machine has: {}", list_disks(roots));
        Failure::error(
            Kind::DeviceUnknown,
            format!("{}: {why}", path.display()),
            hint,
        )
    };
    let node = fs::canonicalize(path).map_err(|e| unknown(format!("no such device ({e})")))?;
    let meta = fs::metadata(&node).with_context(|| format!("reading {}", node.display()))?;
    if !meta.file_type().is_block_device() {
        return Err(unknown("not a block device".into()));
    }
    let number = meta.rdev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let dir = roots.sys.join(format!("dev/block/{major}:{minor}"));
    probe_sysfs(path, &dir, roots)?.ok_or_else(|| unknown("a partition, not a whole disk".into()))
}

/// Facts from a block device's folder in sysfs; `None` for a partition.
fn probe_sysfs(path: &Path, dir: &Path, roots: &Roots) -> anyhow::Result<Option<DiskFacts>> {
    let dir = fs::canonicalize(dir).with_context(|| format!("reading {}", dir.display()))?;
    if dir.join("partition").exists() {
        return Ok(None);
    }
    let number = |file: &str| -> anyhow::Result<u64> {
        let text = read(&dir.join(file))
            .with_context(|| format!("reading {file} of {}", path.display()))?;
        Ok(text.parse()?)
    };
    let sector_size = u32::try_from(number("queue/logical_block_size")?)?;
    Ok(Some(DiskFacts {
        path: path.to_owned(),
        name: name_of(&dir),
        // sysfs counts in 512-byte units whatever the sector size.
        size: number("size")? * 512,
        sector_size,
        model: read(&dir.join("device/model")),
        serial: read(&dir.join("serial")).or_else(|| read(&dir.join("device/serial"))),
        wwn: read(&dir.join("wwid")).or_else(|| read(&dir.join("device/wwid"))),
        read_only: number("ro")? != 0,
        users: user::users_of(&dir, roots)?,
        ..DiskFacts::default()
    }))
}

fn partitions_of(dir: &Path) -> Vec<PathBuf> {
    let names = children(dir).into_iter().map(|name| dir.join(name));
    names.filter(|p| p.join("partition").exists()).collect()
}

/// The disks of this machine, for hints.
fn list_disks(roots: &Roots) -> String {
    let block = roots.sys.join("block");
    let disks: Vec<String> = disk_names(&block)
        .into_iter()
        .map(|name| {
            let size = read(&block.join(&name).join("size")).and_then(|s| s.parse::<u64>().ok());
            format!("/dev/{name} ({})", show(size.unwrap_or(0) * 512))
        })
        .collect();
    if disks.is_empty() {
        "none".into()
    } else {
        disks.join(", ")
    }
}

/// Names of the block devices that are disks of their own.
fn disk_names(block: &Path) -> Vec<String> {
    let virtual_ones = ["loop", "ram", "zram", "dm-", "md", "sr", "fd"];
    let mut names = children(block);
    names.retain(|name| !virtual_ones.iter().any(|v| name.starts_with(v)));
    names
}

fn children(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn name_of(dir: &Path) -> String {
    let real = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    real.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A file of sysfs without the white space around it; `None` when absent or empty.
fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with the disk `sda` (one partition `sda1`), as sysfs shows it.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            machine.put("sys/block/sda/dev", "8:0\n");
            machine.put("sys/block/sda/size", "629145600\n");
            machine.put("sys/block/sda/ro", "0\n");
            machine.put("sys/block/sda/queue/logical_block_size", "512\n");
            machine.put("sys/block/sda/device/model", "QEMU HARDDISK   \n");
            machine.put("sys/block/sda/wwid", "naa.5000c500\n");
            machine.put("sys/block/sda/sda1/dev", "8:1\n");
            machine.put("sys/block/sda/sda1/partition", "1\n");
            machine.put(
                "proc/self/mountinfo",
                "36 1 9:9 / / rw - ext4 /dev/other rw\n",
            );
            machine
        }

        fn put(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn facts(&self) -> DiskFacts {
            let roots = self.roots();
            probe_sysfs(Path::new("/dev/sda"), &roots.sys.join("block/sda"), &roots)
                .unwrap()
                .unwrap()
        }

        fn roots(&self) -> Roots {
            Roots {
                sys: self.0.path().join("sys"),
                proc: self.0.path().join("proc"),
            }
        }

        fn refusal(&self) -> String {
            let error = self.facts().check_usable().unwrap_err();
            assert_eq!(Failure::of(&error).unwrap().kind, Kind::DeviceInUse);
            error.to_string()
        }
    }

    #[test]
    fn a_free_disk_is_described() {
        let facts = Machine::new().facts();
        facts.check_usable().unwrap();
        assert_eq!(
            facts.describe(),
            "/dev/sda: 300 GiB, model QEMU HARDDISK, wwn naa.5000c500"
        );
        assert_eq!(facts.sector_size, 512);
    }

    #[test]
    fn whatever_uses_it_is_named() {
        let machine = Machine::new();
        machine.put(
            "proc/self/mountinfo",
            "36 1 8:1 / /mnt/data rw - ext4 /dev/sda1 rw\n",
        );
        assert!(machine.refusal().contains("sda1 is mounted on /mnt/data"));

        let machine = Machine::new();
        machine.put(
            "proc/swaps",
            "Filename Type Size\n/dev/sda1 partition 1 0 -2\n",
        );
        assert!(machine.refusal().contains("sda1 is swap space"));

        let machine = Machine::new();
        machine.put("sys/block/sda/sda1/holders/dm-0/dm/name", "vg-root\n");
        machine.put("sys/block/sda/sda1/holders/dm-0/dm/uuid", "LVM-abc\n");
        assert!(
            machine
                .refusal()
                .contains("sda1 is part of the LVM volume root of the volume group vg")
        );

        let machine = Machine::new();
        machine.put("sys/block/sda/holders/md0/md/level", "raid1\n");
        assert!(
            machine
                .refusal()
                .contains("sda is part of the raid1 array md0")
        );
    }

    #[test]
    fn read_only_partitions_and_unknown_devices_are_refused() {
        let machine = Machine::new();
        machine.put("sys/block/sda/ro", "1\n");
        assert!(machine.facts().check_usable().is_err());
        let roots = machine.roots();
        let partition =
            probe_sysfs(Path::new("x"), &roots.sys.join("block/sda/sda1"), &roots).unwrap();
        assert_eq!(partition, None);
        for path in ["/dev/no-such-disk", "/etc/passwd"] {
            let error = probe_disk(Path::new(path), &roots).unwrap_err();
            let failure = Failure::of(&error).unwrap();
            assert_eq!(failure.kind, Kind::DeviceUnknown);
            assert!(
                failure.hint.contains("/dev/sda (300 GiB)"),
                "{}",
                failure.hint
            );
        }
    }
}
