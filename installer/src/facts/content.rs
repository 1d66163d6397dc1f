//! What a disk holds, in words that a person knows it by.
//!
//! In: what [`super::signature`] read. Out: [`Content`], one for each thing that would be lost, the
//! same in facts, in `harrow disks` and in the question whether it may be overwritten.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::disk::layout::show;

/// One thing on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Number of the partition that it is on; `None` when it is on the disk as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// Bytes that it takes.
    pub size: u64,
    /// What it is.
    #[serde(flatten)]
    pub what: Holding,
}

/// What can be on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Holding {
    /// A partition table.
    Table {
        /// As blkid names it: `gpt`, `dos`.
        kind: String,
    },
    /// A partition, whatever is in it. What it means, such as a part of a volume group, is a
    /// [`Content`] of its own.
    Partition(Partition),
    /// A file system on the whole disk, or anything else that blkid has a name for.
    Filesystem {
        /// As blkid names it: `ext4`.
        fstype: String,
        /// Its label.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        /// Its UUID.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uuid: Option<String>,
    },
    /// A physical volume of LVM.
    Lvm {
        /// Name of the volume group, when it can be told.
        vg: Option<String>,
    },
    /// A member of a Linux software RAID.
    Md {
        /// Its name, mostly with the host's: `node1:0`.
        name: Option<String>,
    },
    /// Something encrypted.
    Luks,
    /// A member of a ZFS pool.
    Zfs {
        /// Name of the pool.
        pool: Option<String>,
    },
    /// Data of Ceph.
    Ceph,
    /// A datastore of VMware.
    Vmfs,
    /// Swap space.
    Swap,
    /// Windows, or at least one of its file systems.
    Windows,
    /// Longhorn's data: volumes of virtual machines.
    Longhorn,
    /// An installed Harrow.
    Harrow,
    /// An installed Harvester.
    Harvester,
    /// An install of Harrow that did not end.
    UnfinishedInstall {
        /// Version of what was being installed.
        version: String,
        /// When it began, RFC 3339.
        started: String,
    },
}

/// A partition as its table and its first bytes have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Partition {
    /// First byte.
    pub start: u64,
    /// Its name in the table (GPT only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Type in the table: a GUID, or `0x83`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// File system, as blkid names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fstype: Option<String>,
    /// Label of the file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// UUID of the file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
}

impl Holding {
    /// Something that somebody could miss: all but tables, and partitions that are told about
    /// by what they mean.
    pub fn is_data(&self) -> bool {
        !matches!(self, Self::Table { .. } | Self::Partition(_))
    }
}

/// What is told of what a disk holds, each line once: all but tables, and partitions that are told
/// by what they mean.
pub fn told(holds: &[Content]) -> Vec<&Content> {
    let is_told = |number| {
        let mut here = holds.iter().filter(|c| c.partition == number);
        here.any(|c| c.what.is_data())
    };
    let is_said = |content: &&Content| match content.what {
        Holding::Table { .. } => false,
        Holding::Partition(_) => !is_told(content.partition),
        _ => true,
    };
    let mut lines = BTreeSet::new();
    let said = holds.iter().filter(is_said);
    said.filter(|content| lines.insert(content.to_string()))
        .collect()
}

/// All that a disk holds on one line: what it means, else what can be counted.
pub fn in_words(holds: &[Content]) -> String {
    let whole = holds
        .iter()
        .any(|c| matches!(c.what, Holding::Harrow | Holding::Harvester) && c.partition.is_none());
    let (data, partitions): (Vec<&Content>, Vec<&Content>) =
        told(holds).into_iter().partition(|c| c.what.is_data());
    let partitions = partitions.into_iter().filter(|_| !whole);
    let mut words: Vec<String> = data
        .into_iter()
        .chain(partitions)
        .map(Content::to_string)
        .collect();
    if words.is_empty() {
        words.extend(holds.iter().map(Content::to_string));
    }
    if words.is_empty() {
        return "nothing that is known".into();
    }
    words.join(", ")
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = show(self.size);
        match (&self.what, self.partition) {
            (Holding::Table { .. }, _) => write!(f, "{}", self.what),
            (Holding::Partition(p), number) => {
                write!(f, "partition {}", number.unwrap_or(0))?;
                if let Some(name) = &p.name {
                    write!(f, " {name:?}")?;
                }
                let fstype = p.fstype.as_deref().unwrap_or_default();
                let label = p.label.as_deref().unwrap_or_default();
                let inside = format!("{size} {fstype} {label}");
                write!(f, " ({})", inside.trim())
            }
            (what, Some(number)) => write!(f, "{what} (partition {number}, {size})"),
            (what, None) => write!(f, "{what} ({size})"),
        }
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, what: &str, name: &Option<String>| match name {
            Some(name) => write!(f, "{what} {name}"),
            None => f.write_str(what),
        };
        match self {
            Self::Table { kind } if kind == "gpt" => f.write_str("a GPT"),
            Self::Table { kind } if kind == "dos" => f.write_str("an MBR partition table"),
            Self::Table { kind } => write!(f, "a partition table of type {kind}"),
            Self::Partition(_) => f.write_str("a partition"),
            Self::Filesystem { fstype, label, .. } => {
                named(f, &format!("a file system {fstype}"), label)
            }
            Self::Lvm { vg: Some(vg) } => write!(f, "LVM's volume group {vg}"),
            Self::Lvm { vg: None } => f.write_str("LVM"),
            Self::Md { name } => named(f, "a member of the RAID", name),
            Self::Luks => f.write_str("encrypted data (LUKS)"),
            Self::Zfs { pool } => named(f, "the ZFS pool", pool),
            Self::Ceph => f.write_str("Ceph's data"),
            Self::Vmfs => f.write_str("a VMware datastore"),
            Self::Swap => f.write_str("swap space"),
            Self::Windows => f.write_str("Windows or its data"),
            Self::Longhorn => f.write_str("Longhorn's data"),
            Self::Harrow => f.write_str("an installed Harrow"),
            Self::Harvester => f.write_str("an installed Harvester"),
            Self::UnfinishedInstall { version, started } => {
                write!(
                    f,
                    "an install of Harrow {version} of {started} that did not end"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_words_and_as_json() {
        let content = |partition, size: u64, what| Content {
            partition,
            size: size << 30,
            what,
        };
        let holds = [
            content(None, 100, Holding::Table { kind: "gpt".into() }),
            content(
                Some(1),
                1,
                Holding::Partition(Partition {
                    name: Some("EFI".into()),
                    fstype: Some("vfat".into()),
                    ..Partition::default()
                }),
            ),
            content(Some(2), 99, Holding::Partition(Partition::default())),
            content(
                Some(2),
                99,
                Holding::Lvm {
                    vg: Some("vg0".into()),
                },
            ),
        ];
        assert_eq!(
            in_words(&holds),
            "LVM's volume group vg0 (partition 2, 99 GiB), partition 1 \"EFI\" (1 GiB vfat)"
        );
        let twice = [&holds[..], &holds[2..]].concat();
        assert_eq!(told(&twice), [&holds[1], &holds[3]]);
        assert_eq!(in_words(&holds[..1]), "a GPT");
        assert_eq!(in_words(&[]), "nothing that is known");
        let json = serde_json::to_string(&holds).unwrap();
        assert!(json.contains(r#"{"partition":2,"size":106300440576,"what":"lvm","vg":"vg0"}"#));
        assert_eq!(serde_json::from_str::<Vec<Content>>(&json).unwrap(), holds);
    }
}
