//! What a disk is and who uses it, read once from sysfs and procfs.
//!
//! In: the path of a device, and where `/sys` and `/proc` are. Out: [`DiskFacts`], or an
//! error that says why the device can't be installed on. Reads only.

mod around;
pub mod content;
mod disk;
mod group;
mod holds;
mod machine;
pub mod show;
pub mod signature;
#[cfg(test)]
mod tests;
pub mod user;

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::disk::layout::show;
use crate::failure::{Failure, Kind};

pub use content::{Content, Holding, Partition};
pub use disk::{DiskFacts, Namespace};
pub use group::may_have_paths;
pub use holds::{NOT_ALLOWED, read_one as read_contents};
pub use machine::{Facts, NicFacts, list, nics, probe};
pub use user::{Use, User};

use around::Around;

/// Where the kernel's file systems and udev's database are; another root in tests.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `/sys`
    pub sys: PathBuf,
    /// `/proc`
    pub proc: PathBuf,
    /// `/dev`
    pub dev: PathBuf,
    /// `/run/udev`
    pub udev: PathBuf,
}

impl Roots {
    /// All of them below a folder.
    pub fn below(dir: &Path) -> Self {
        Self {
            sys: dir.join("sys"),
            proc: dir.join("proc"),
            dev: dir.join("dev"),
            udev: dir.join("run/udev"),
        }
    }
}

impl Default for Roots {
    fn default() -> Self {
        Self::below(Path::new("/"))
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
    let disk = probe_number(path, meta.rdev(), roots)?;
    disk.ok_or_else(|| unknown("a partition, not a whole disk".into()))
}

/// Facts about the disk with this device number, as [`probe_disk`]; `None` for a partition.
pub fn probe_number(path: &Path, number: u64, roots: &Roots) -> anyhow::Result<Option<DiskFacts>> {
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let dir = roots.sys.join(format!("dev/block/{major}:{minor}"));
    probe_sysfs(path, &dir, &Around::read(roots)?)
}

/// Facts from a block device's folder in sysfs; `None` for a partition.
fn probe_sysfs(path: &Path, dir: &Path, around: &Around) -> anyhow::Result<Option<DiskFacts>> {
    let dir = fs::canonicalize(dir).with_context(|| format!("reading {}", dir.display()))?;
    if dir.join("partition").exists() {
        return Ok(None);
    }
    let number = |file: &str| -> anyhow::Result<u64> {
        let text = read(&dir.join(file))
            .with_context(|| format!("reading {file} of {}", path.display()))?;
        Ok(text.parse()?)
    };
    let queue = |file: &str| number(&format!("queue/{file}")).unwrap_or(0);
    let (udev, udev_links) = around.udev(&dir);
    let said = |keys: &[&str]| keys.iter().find_map(|key| udev.get(*key)).cloned();
    let name = name_of(&dir);
    let members = members_of(&dir);
    let first = members.first().map(|member| {
        let dir = around.roots.sys.join("block").join(member);
        probe_sysfs(Path::new(""), &dir, around)
    });
    let first = first.transpose()?.flatten().unwrap_or_default();
    let serial = ["serial", "device/serial"];
    let wwn = ["wwid", "device/wwid"];
    let file = |files: [&str; 2]| files.iter().find_map(|f| read(&dir.join(f)));
    let mut links = around.links_to(&name);
    links.extend(udev_links);
    links.sort();
    links.dedup();
    links.retain(|link| link != path);
    Ok(Some(DiskFacts {
        path: path.to_owned(),
        // sysfs counts in 512-byte units whatever the sector size.
        size: number("size")? * 512,
        sector_size: u32::try_from(number("queue/logical_block_size")?)?,
        physical_sector_size: u32::try_from(queue("physical_block_size")).unwrap_or(0),
        optimal_io_size: queue("optimal_io_size"),
        discard: queue("discard_max_bytes") > 0,
        model: read(&dir.join("device/model"))
            .or_else(|| said(&["MODEL", "ID_MODEL"]))
            .or(first.model),
        serial: file(serial)
            .or_else(|| unit_serial(&dir))
            .or_else(|| said(&["SCSI_IDENT_SERIAL", "ID_SCSI_SERIAL", "ID_SERIAL_SHORT"]))
            .or(first.serial),
        wwn: file(wwn)
            .or_else(|| said(&["ID_WWN_WITH_EXTENSION", "ID_WWN"]).map(|w| as_the_kernel(&w)))
            .or(first.wwn),
        transport: transport_of(&dir.to_string_lossy())
            .map(str::to_owned)
            .or(first.transport),
        rotational: read(&dir.join("queue/rotational")).map(|r| r == "1"),
        links,
        nvme: namespace_of(&dir),
        paths: members,
        multipath: wwid_of(&dir),
        read_only: number("ro")? != 0,
        removable: number("removable").unwrap_or(0) != 0,
        medium: around.system.contains(&name) || around.is_medium(&dir) || first.medium,
        users: user::users_of(&dir, around),
        holds: Vec::new(),
        unreadable: None,
        name,
    }))
}

/// Kernel's names of the paths to a disk of dm-multipath. The kernel hides those of its own for NVMe.
fn members_of(dir: &Path) -> Vec<String> {
    match wwid_of(dir) {
        Some(_) => children(&dir.join("slaves")),
        None => Vec::new(),
    }
}

/// What dm-multipath knows a disk of its own by (libmultipath, `UUID_PREFIX`).
fn wwid_of(dir: &Path) -> Option<String> {
    let uuid = read(&dir.join("dm/uuid"))?;
    uuid.strip_prefix("mpath-").map(str::to_owned)
}

/// The unit serial number that a SCSI disk tells: page 80h, a head of four bytes before it.
fn unit_serial(dir: &Path) -> Option<String> {
    let page = fs::read(dir.join("device/vpd_pg80")).ok()?;
    let text = String::from_utf8_lossy(page.get(4..)?);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    Some(text.to_owned()).filter(|t| !t.is_empty())
}

/// A WWN of udev (`0x5000...`) as the kernel writes it.
fn as_the_kernel(wwn: &str) -> String {
    match wwn.strip_prefix("0x") {
        Some(number) => format!("naa.{number}"),
        None => wwn.to_owned(),
    }
}

fn namespace_of(dir: &Path) -> Option<Namespace> {
    let nsid = read(&dir.join("nsid"))?.parse().ok();
    // All zeros is how a namespace says that it has none.
    let told = |file: &str| {
        let text = read(&dir.join(file))?;
        text.bytes()
            .any(|b| b != b'0' && b != b'-' && b != b' ')
            .then_some(text)
    };
    Some(Namespace {
        nsid,
        eui: told("eui"),
        nguid: told("nguid"),
    })
}

/// How a disk is attached, from the path of its device in sysfs.
fn transport_of(path: &str) -> Option<&'static str> {
    let has = |part: &str| path.contains(part);
    match () {
        () if has("/nvme") => Some("nvme"),
        () if has("/virtio") => Some("virtio"),
        () if has("/usb") => Some("usb"),
        () if has("/rport-") => Some("fc"),
        () if has("/end_device-") || has("/sas_") => Some("sas"),
        () if has("/ata") => Some("sata"),
        () => None,
    }
}

/// The number of a partition that kpartx made of a multipath disk.
fn mapped_partition(dir: &Path) -> Option<u32> {
    let uuid = read(&dir.join("dm/uuid"))?;
    let (number, disk) = uuid.strip_prefix("part")?.split_once('-')?;
    number.parse().ok().filter(|_| disk.starts_with("mpath-"))
}

/// Folders of the partitions of a disk.
fn partitions_of(dir: &Path) -> Vec<PathBuf> {
    let names = children(dir).into_iter().map(|name| dir.join(name));
    let mut found: Vec<PathBuf> = names.filter(|p| p.join("partition").exists()).collect();
    let holders = dir.join("holders");
    let mapped = children(&holders).into_iter().map(|n| holders.join(n));
    found.extend(mapped.filter(|p| mapped_partition(p).is_some()));
    found
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
    let virtual_ones = ["loop", "ram", "zram", "md", "sr", "fd"];
    let mut names = children(block);
    names.retain(|name| {
        let dir = block.join(name);
        let is_map = || !members_of(&dir).is_empty();
        // A path of an NVMe disk with several has no node of its own.
        let hidden = || read(&dir.join("hidden")).is_some_and(|h| h == "1");
        !virtual_ones.iter().any(|v| name.starts_with(v))
            && (!name.starts_with("dm-") || is_map())
            && !hidden()
    });
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
