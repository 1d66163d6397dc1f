//! Who uses a disk: mounts, swap, and what the kernel has built on it.
//!
//! In: a disk's folder in sysfs, procfs. Out: [`User`]s, each followed by those of what is built on it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::around::Around;
use super::{children, mapped_partition, name_of, partitions_of, read};

/// A use of a disk, of one of its partitions, or of what is built on them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Saved")]
pub struct User {
    /// The kernel's name of what is used: `sda1`.
    pub device: String,
    /// How.
    #[serde(flatten)]
    pub how: Use,
}

/// How something is used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "how")]
pub enum Use {
    /// Mounted.
    Mounted {
        /// Where.
        on: String,
    },
    /// Swap space.
    Swap,
    /// Part of a volume that is active.
    Lvm {
        /// Name of its volume group.
        vg: String,
        /// Its name.
        lv: String,
    },
    /// Part of an array that is running.
    Md {
        /// The kernel's name of the array: `md0`.
        name: String,
        /// Such as `raid1`.
        level: String,
    },
    /// Under an encryption that is open.
    Crypt {
        /// Its name in the device mapper.
        name: String,
    },
    /// A path of a multipath disk.
    Multipath {
        /// Its name in the device mapper.
        name: String,
    },
    /// The map of a partition of a multipath disk, which kpartx makes and which nobody uses by itself.
    PartitionMap {
        /// Its name in the device mapper.
        name: String,
    },
    /// Something else.
    Other {
        /// In words.
        words: String,
    },
}

/// Facts of older versions say it in words.
#[derive(Deserialize)]
#[serde(untagged)]
enum Saved {
    Words(String),
    Data {
        device: String,
        #[serde(flatten)]
        how: Use,
    },
}

impl From<Saved> for User {
    fn from(saved: Saved) -> Self {
        match saved {
            Saved::Data { device, how } => Self { device, how },
            Saved::Words(words) => Self {
                device: String::new(),
                how: Use::Other { words },
            },
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = &self.device;
        match &self.how {
            Use::Mounted { on } => write!(f, "{device} is mounted on {on}"),
            Use::Swap => write!(f, "{device} is swap space"),
            Use::Lvm { vg, lv } => {
                write!(f, "{device} is part of the LVM volume {vg}-{lv}")
            }
            Use::Md { name, level } => write!(f, "{device} is part of the {level} array {name}"),
            Use::Crypt { name } => {
                write!(f, "{device} is part of the opened encrypted disk {name}")
            }
            Use::Multipath { name } => write!(f, "{device} is part of the multipath disk {name}"),
            Use::PartitionMap { name } => write!(f, "{device} has the partition {name}"),
            Use::Other { words } if device.is_empty() => f.write_str(words),
            Use::Other { words } => write!(f, "{device} is part of {words}"),
        }
    }
}

/// All on one line.
pub fn in_words(users: &[User]) -> String {
    let words: Vec<String> = users.iter().map(ToString::to_string).collect();
    words.join("; ")
}

/// How deep devices are stacked at most; the kernel itself allows less.
const DEEPEST: usize = 16;

/// Everybody who uses a disk, by its folder in sysfs.
pub(super) fn users_of(dir: &Path, around: &Around) -> Vec<User> {
    let mut users = Vec::new();
    for part in std::iter::once(dir.to_owned()).chain(partitions_of(dir)) {
        if let Some(name) = mapped_partition(&part).and_then(|_| read(&part.join("dm/name"))) {
            users.push(User {
                device: name_of(dir),
                how: Use::PartitionMap { name },
            });
        }
        add_users(&part, around, DEEPEST, &mut users);
    }
    users
}

fn add_users(dir: &Path, around: &Around, depth: usize, users: &mut Vec<User>) {
    let device = name_of(dir);
    let mut add = |how| {
        let user = User {
            device: device.clone(),
            how,
        };
        // Two partitions of one array have the same users above it.
        if !users.contains(&user) {
            users.push(user);
        }
    };
    if let Some(number) = read(&dir.join("dev")) {
        for on in mounts_of(&around.mountinfo, &number) {
            add(Use::Mounted { on: on.to_owned() });
        }
    }
    let path = format!("/dev/{device}");
    let mut swaps = around.swaps.lines().map(|l| l.split_whitespace().next());
    if swaps.any(|name| name == Some(&path)) {
        add(Use::Swap);
    }
    let holders = dir.join("holders");
    let holders = children(&holders).into_iter().map(|h| holders.join(h));
    let holders: Vec<PathBuf> = holders.filter(|h| mapped_partition(h).is_none()).collect();
    for holder in &holders {
        add(use_of(holder));
    }
    if depth == 0 {
        return;
    }
    for holder in holders {
        add_users(&holder, around, depth - 1, users);
        for part in partitions_of(&holder) {
            add_users(&part, around, depth - 1, users);
        }
    }
}

/// What a holder is.
fn use_of(dir: &Path) -> Use {
    let device = name_of(dir);
    let name = read(&dir.join("dm/name"));
    let uuid = read(&dir.join("dm/uuid")).unwrap_or_default();
    match (name, read(&dir.join("md/level"))) {
        (Some(name), _) if uuid.starts_with("LVM-") => {
            let (vg, lv) = volume(&name);
            Use::Lvm { vg, lv }
        }
        (Some(name), _) if uuid.starts_with("mpath-") => Use::Multipath { name },
        (Some(name), _) if uuid.starts_with("CRYPT-") => Use::Crypt { name },
        (Some(name), _) => Use::Other {
            words: format!("the device-mapper device {name}"),
        },
        (None, Some(level)) => Use::Md {
            name: device,
            level,
        },
        (None, None) => Use::Other { words: device },
    }
}

/// Volume group and volume of a name in the device mapper, where one hyphen parts them and two stand
/// for one (lvm2, libdm/libdm-string.c).
fn volume(name: &str) -> (String, String) {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'-', Some(b'-')) => at += 2,
            (b'-', _) => break,
            _ => at += 1,
        }
    }
    let (vg, lv) = name.split_at(at.min(name.len()));
    let plain = |text: &str| text.replace("--", "-");
    (plain(vg), plain(lv.strip_prefix('-').unwrap_or(lv)))
}

/// Where a device is mounted, by `major:minor` (proc_pid_mountinfo(5): fields 3 and 5).
fn mounts_of<'a>(mountinfo: &'a str, number: &'a str) -> impl Iterator<Item = &'a str> {
    mountinfo.lines().filter_map(move |line| {
        let mut fields = line.split(' ').skip(2);
        (fields.next() == Some(number))
            .then(|| fields.nth(1))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::facts::Roots;

    #[test]
    fn names_of_volumes_are_taken_apart() {
        for (name, vg, lv) in [
            ("vg-root", "vg", "root"),
            ("my--vg-my--root", "my-vg", "my-root"),
            ("a----b-c", "a--b", "c"),
            ("odd", "odd", ""),
        ] {
            assert_eq!(volume(name), (vg.to_owned(), lv.to_owned()), "{name}");
        }
    }

    #[test]
    fn as_data_and_from_old_words() {
        let user = User {
            device: "sda1".into(),
            how: Use::Md {
                name: "md0".into(),
                level: "raid1".into(),
            },
        };
        let json = serde_json::to_string(&user).unwrap();
        assert_eq!(
            json,
            r#"{"device":"sda1","how":"md","name":"md0","level":"raid1"}"#
        );
        assert_eq!(serde_json::from_str::<User>(&json).unwrap(), user);
        let old: User = serde_json::from_str(r#""sda1 is mounted on /mnt""#).unwrap();
        assert_eq!(old.to_string(), "sda1 is mounted on /mnt");
        let again: User = serde_json::from_str(&serde_json::to_string(&old).unwrap()).unwrap();
        assert_eq!(again, old);
    }

    #[test]
    fn what_is_built_on_it_is_followed_upwards() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("sys/block/sda/dev", "8:0\n");
        for part in ["sda1", "sda2"] {
            put(&format!("sys/block/sda/{part}/partition"), "1\n");
            put(&format!("sys/block/sda/{part}/holders/x"), "");
            let holders = dir.path().join(format!("sys/block/sda/{part}/holders"));
            fs::remove_file(holders.join("x")).unwrap();
            std::os::unix::fs::symlink("../../../md0", holders.join("md0")).unwrap();
        }
        put("sys/block/md0/md/level", "raid1\n");
        put("sys/block/md0/holders/dm-0/dm/name", "vg0-root\n");
        put("sys/block/md0/holders/dm-0/dm/uuid", "LVM-x\n");
        put("sys/block/md0/holders/dm-0/dev", "253:0\n");
        put(
            "proc/self/mountinfo",
            "1 0 253:0 / /mnt/old rw - ext4 /dev/dm-0 rw\n",
        );
        let roots = Roots::below(dir.path());
        let around = Around::read(&roots).unwrap();
        let users = users_of(&roots.sys.join("block/sda"), &around);
        assert_eq!(
            in_words(&users),
            "sda1 is part of the raid1 array md0; \
             md0 is part of the LVM volume vg0-root; \
             dm-0 is mounted on /mnt/old; sda2 is part of the raid1 array md0"
        );
    }
}
