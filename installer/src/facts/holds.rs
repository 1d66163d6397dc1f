//! Reads what disks hold: blkid's low-level probing, udev's database where that is all there is,
//! LVM's metadata, and the journal of an install that did not end.
//!
//! In: disks. Out: their `holds` and `unreadable`. A dying disk can hang whoever reads it, so all
//! that reads one has a time limit, and several are read at once.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::around::Around;
use super::signature::{Properties, Region, contents_of, parse_blkid, volume_group};
use super::{
    Content, DiskFacts, Holding, Partition, Roots, mapped_partition, name_of, partitions_of,
    read as text,
};
use crate::disk::{former, journal};
use crate::sys::cmd::{Cmd, CmdError, Output};

/// What `unreadable` says when not the disk is to blame.
pub const NOT_ALLOWED: &str = "only root may read it";
/// Time for each reading of a device: a disk may have to spin up, which takes large ones up to 30 s.
const LIMIT: Duration = Duration::from_secs(45);
/// Disks that are read at once.
const AT_ONCE: usize = 8;
/// Where LVM keeps its metadata unless told otherwise.
const LVM_METADATA: usize = 1 << 20;

/// Reads all disks.
pub fn read_all(disks: &mut [DiskFacts], roots: &Roots) {
    let around = match Around::read(roots) {
        Ok(around) => around,
        Err(error) => return disks.iter_mut().for_each(|disk| give_up(disk, &error)),
    };
    let queue = Mutex::new(disks.iter_mut());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.next());
                    match next {
                        Some(disk) => read(disk, &around),
                        None => break,
                    }
                }
            });
        }
    });
}

/// Reads one disk.
pub fn read_one(disk: &mut DiskFacts, roots: &Roots) {
    match Around::read(roots) {
        Ok(around) => read(disk, &around),
        Err(error) => give_up(disk, &error),
    }
}

/// What was not read is not known to be empty.
fn give_up(disk: &mut DiskFacts, error: &anyhow::Error) {
    disk.unreadable.get_or_insert_with(|| format!("{error:#}"));
}

fn read(disk: &mut DiskFacts, around: &Around) {
    if disk.size == 0 || disk.unreadable.is_some() {
        return;
    }
    let dir = around.roots.sys.join("block").join(&disk.name);
    let node = around.roots.dev.join(&disk.name);
    let mut reader = Reader {
        around,
        dead: bounded(first_bytes(node.clone()))
            .err()
            .map(|e| e.to_string()),
    };
    let whole = Region {
        size: disk.size,
        ..reader.region(&dir, &node)
    };
    let partitions: Vec<Region> = partitions_of(&dir)
        .iter()
        .map(|dir| reader.partition(dir))
        .collect();
    let size = disk.size;
    let there = node.clone();
    let unfinished = match reader.dead {
        Some(_) => None,
        None => reader.bounded(move || journal::unfinished(&File::open(there)?, size)),
    };
    let unfinished = unfinished.flatten().map(|(_, unfinished)| unfinished);
    disk.holds = contents_of(&whole, &partitions, unfinished.as_ref());
    if partitions.is_empty() && unfinished.is_none() && reader.dead.is_none() {
        // The kernel may not have looked for partitions, as on a loop device.
        let told = reader.bounded(move || Ok(former::partitions(&File::open(node)?, size)));
        disk.holds
            .extend(partitions_told(&told.unwrap_or_default()));
    }
    disk.unreadable = reader.dead;
    disk.medium |= around.is_medium_among(&disk.holds);
}

/// Partitions that only the table tells of.
fn partitions_told(ranges: &[Range<u64>]) -> impl Iterator<Item = Content> + '_ {
    (1..).zip(ranges).map(|(number, range)| Content {
        partition: Some(number),
        size: range.end - range.start,
        what: Holding::Partition(Partition {
            start: range.start,
            ..Partition::default()
        }),
    })
}

/// Reads from one disk until that fails once.
struct Reader<'a> {
    around: &'a Around,
    dead: Option<String>,
}

impl Reader<'_> {
    fn partition(&mut self, dir: &Path) -> Region {
        let number = |file: &str| text(&dir.join(file)).and_then(|n| n.parse::<u64>().ok());
        let node = self.around.roots.dev.join(name_of(dir));
        let region = self.region(dir, &node);
        let blocks = |key: &str| region.said.get(key).and_then(|n| n.parse::<u64>().ok());
        Region {
            partition: text(&dir.join("partition"))
                .and_then(|n| n.parse().ok())
                .or_else(|| mapped_partition(dir)),
            // sysfs and blkid count in 512-byte units whatever the sector size.
            start: number("start").or(blocks("PART_ENTRY_OFFSET")).unwrap_or(0) * 512,
            size: number("size").unwrap_or(0) * 512,
            ..region
        }
    }

    fn region(&mut self, dir: &Path, node: &Path) -> Region {
        // Where blkid can't say it, what udev saw when the disk came is better than no words.
        let asked = self.blkid(node);
        let mut said = asked.unwrap_or_else(|| self.around.udev(dir).0);
        // The kernel itself knows the names of partitions.
        let uevent = fs::read_to_string(dir.join("uevent")).unwrap_or_default();
        if let Some(name) = uevent.lines().find_map(|l| l.strip_prefix("PARTNAME=")) {
            said.entry("PART_ENTRY_NAME".into()).or_insert(name.into());
        }
        let is_lvm = said.get("TYPE").is_some_and(|t| t.starts_with("LVM"));
        let vg = match (is_lvm, &self.dead) {
            (true, None) => {
                let node = node.to_owned();
                self.bounded(move || metadata(&node)).flatten()
            }
            _ => None,
        };
        Region {
            said,
            vg,
            ..Region::default()
        }
    }

    /// What blkid says; `None` when it can't be asked.
    fn blkid(&mut self, node: &Path) -> Option<Properties> {
        if self.dead.is_some() {
            return None;
        }
        let asked = Cmd::new("blkid").args(["-p", "-o", "export"]).arg(node);
        match told(asked.limit(LIMIT).run_any()) {
            Ok(said) => Some(said),
            Err(why) => {
                tracing::debug!("{}: {why}", node.display());
                self.dead = Some(why);
                None
            }
        }
    }

    fn bounded<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        match bounded(work) {
            Ok(value) => Some(value),
            Err(error) => {
                self.dead = Some(why(error));
                None
            }
        }
    }
}

/// What blkid's outcome says; the error is why nobody knows what is there. blkid(8): 0 is found, 2 is
/// nothing found, 8 is several that contradict each other.
fn told(outcome: anyhow::Result<Output>) -> Result<Properties, String> {
    let output = outcome.map_err(|error| match error.downcast_ref() {
        Some(CmdError::TimedOut { limit, .. }) => no_answer(*limit),
        Some(CmdError::Missing { program }) => {
            format!("{program} is not installed; it is in the package util-linux")
        }
        _ => format!("{error:#}"),
    })?;
    match output.status.code() {
        Some(0) => Ok(parse_blkid(&output.text())),
        Some(2) => Ok(Properties::new()),
        Some(8) => {
            let what = "several signatures that contradict each other".to_owned();
            Ok(Properties::from([("TYPE".to_owned(), what)]))
        }
        _ => {
            let (status, said) = (output.status, output.stderr.trim());
            Err(format!("blkid failed: {status} {said}").trim().to_owned())
        }
    }
}

fn why(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => NOT_ALLOWED.to_owned(),
        _ => error.to_string(),
    }
}

fn no_answer(limit: Duration) -> String {
    format!("no answer for {} s", limit.as_secs())
}

/// Does something that may hang; the thread is left behind then.
fn bounded<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (done, ended) = channel();
    std::thread::spawn(move || done.send(work()).ok());
    match ended.recv_timeout(LIMIT) {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, no_answer(LIMIT))),
    }
}

/// Whether a device can be read at all.
fn first_bytes(node: PathBuf) -> impl FnOnce() -> io::Result<()> {
    move || File::open(node)?.read_exact_at(&mut [0; 4096], 0)
}

/// The volume group that a physical volume says it is of.
fn metadata(node: &Path) -> io::Result<Option<String>> {
    let mut bytes = vec![0; LVM_METADATA];
    let file = File::open(node)?;
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(volume_group(&bytes[..filled]))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn only_an_answer_of_blkid_says_that_nothing_is_there() {
        let ended = |code: i32| {
            Ok(Output {
                stdout: b"TYPE=ext4\n".to_vec(),
                stderr: "it broke".into(),
                status: ExitStatus::from_raw(code << 8),
            })
        };
        assert_eq!(told(ended(0)).unwrap()["TYPE"], "ext4");
        assert_eq!(told(ended(2)), Ok(Properties::new()));
        assert!(told(ended(8)).unwrap().contains_key("TYPE"));
        assert!(told(ended(4)).unwrap_err().contains("it broke"));
        let killed = ended(0).map(|output| Output {
            status: ExitStatus::from_raw(9),
            ..output
        });
        told(killed).unwrap_err();
        let missing = CmdError::Missing {
            program: "blkid".into(),
        };
        let why = told(Err(missing.into())).unwrap_err();
        assert!(why.contains("util-linux"), "{why}");
    }

    #[test]
    fn a_machine_that_can_not_be_read_has_no_empty_disks() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::below(dir.path());
        let sda = DiskFacts {
            name: "sda".into(),
            size: 1 << 30,
            ..DiskFacts::default()
        };
        let mut disks = [sda.clone(), sda];
        read_all(&mut disks[..1], &roots);
        read_one(&mut disks[1], &roots);
        for disk in disks {
            assert!(disk.unreadable.unwrap().contains("mountinfo"));
        }
    }
}
