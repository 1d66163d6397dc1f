//! From what blkid and udev said of a disk to what that means.
//!
//! In: `blkid -p -o export` or a file of udev's database, as text. Out: [`Content`]. Pure.

use std::collections::BTreeMap;

use super::content::{Content, Holding, Partition};
use crate::disk::journal::Unfinished;
use crate::disk::layout::Role;

/// Keys and values that a program said of a device.
pub type Properties = BTreeMap<String, String>;

/// A device with what is known of its bytes: a whole disk, or a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Region {
    /// Number of the partition; `None` for the whole disk.
    pub partition: Option<u32>,
    /// First byte on the disk.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// With blkid's keys.
    pub said: Properties,
    /// Name of a volume group that was found in it.
    pub vg: Option<String>,
}

/// Reads `blkid -p -o export`: `KEY=value` lines, with shell-like backslashes.
pub fn parse_blkid(text: &str) -> Properties {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), plain(value)))
        .collect()
}

/// Reads a file of udev's database, the properties of which have the names that blkid has for the
/// same (`ID_FS_TYPE` is `TYPE`), and all others their own. The links come apart.
pub fn parse_udev(text: &str) -> (Properties, Vec<String>) {
    let mut properties = Properties::new();
    let mut links = Vec::new();
    for line in text.lines() {
        if let Some(link) = line.strip_prefix("S:") {
            links.push(format!("/dev/{link}"));
        }
        let Some((key, value)) = line.strip_prefix("E:").and_then(|e| e.split_once('=')) else {
            continue;
        };
        let name = match key {
            "ID_FS_LABEL_ENC" => "LABEL",
            "ID_FS_LABEL" | "ID_PART_ENTRY_NAME_ENC" => continue,
            "ID_PART_TABLE_TYPE" => "PTTYPE",
            "ID_PART_TABLE_UUID" => "PTUUID",
            _ => key
                .strip_prefix("ID_FS_")
                .or(key
                    .strip_prefix("ID_")
                    .filter(|k| k.starts_with("PART_ENTRY_")))
                .unwrap_or(key),
        };
        properties.insert(name.to_owned(), plain(value));
    }
    (properties, links)
}

/// A text in which `\x20` and `\ ` stand for a blank.
fn plain(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let hex = after.strip_prefix(b"x").and_then(|h| h.get(..2));
        let byte = hex.and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok());
        if let Some(byte) = byte {
            bytes.push(byte);
            rest = &after[3..];
        } else if let Some((escaped, after)) = after.split_first() {
            bytes.push(*escaped);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// Everything that a disk holds, in the order of a person's interest: what it means as a whole,
/// then the table and each partition with what that means.
pub fn contents_of(
    disk: &Region,
    partitions: &[Region],
    unfinished: Option<&Unfinished>,
) -> Vec<Content> {
    let on_disk = |what| Content {
        partition: None,
        size: disk.size,
        what,
    };
    let mut contents: Vec<Content> = systems_of(disk, partitions, unfinished)
        .map(on_disk)
        .collect();
    if let Some(kind) = disk.said.get("PTTYPE") {
        contents.push(on_disk(Holding::Table { kind: kind.clone() }));
    }
    if let Some(what) = meaning(disk).or_else(|| filesystem(disk)) {
        contents.push(on_disk(what));
    }
    for region in partitions {
        let content = |what| Content {
            partition: region.partition,
            size: region.size,
            what,
        };
        contents.push(content(Holding::Partition(partition(region))));
        contents.extend(meaning(region).map(content));
    }
    contents
}

/// Whole systems that a disk is known by.
fn systems_of(
    disk: &Region,
    partitions: &[Region],
    unfinished: Option<&Unfinished>,
) -> impl Iterator<Item = Holding> {
    let any = |is: &dyn Fn(&Region) -> bool| is(disk) || partitions.iter().any(is);
    let ours = |r: &Region| {
        let name = value(r, "PART_ENTRY_NAME").unwrap_or_default();
        let label = value(r, "LABEL").unwrap_or_default();
        // A data disk alone is no installed system, and neither is the medium.
        Role::ALL
            .iter()
            .filter(|role| **role != Role::Data)
            .any(|role| name == role.name() || (!role.label().is_empty() && label == role.label()))
    };
    let theirs = |r: &Region| {
        let label = value(r, "LABEL").unwrap_or_default();
        let name = value(r, "PART_ENTRY_NAME").unwrap_or_default();
        [label, name].iter().any(|t| {
            (t.starts_with("COS_") && *t != "COS_LIVE")
                || (t.starts_with("HARV_") && *t != "HARV_LH_DEFAULT")
        })
    };
    let unfinished = unfinished.map(|u| Holding::UnfinishedInstall {
        version: u.version.clone(),
        started: u.started.clone(),
    });
    let ours = (unfinished.is_none() && any(&ours)).then_some(Holding::Harrow);
    let theirs = any(&theirs).then_some(Holding::Harvester);
    [unfinished, ours, theirs].into_iter().flatten()
}

/// What a region means, when it is more than a file system.
fn meaning(region: &Region) -> Option<Holding> {
    let get = |key| value(region, key);
    let kind = get("PART_ENTRY_TYPE")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let name = get("PART_ENTRY_NAME").unwrap_or_default();
    let label = get("LABEL").unwrap_or_default();
    if let Some(holding) = longhorn(name, label) {
        return Some(holding);
    }
    let owned = || get("LABEL").map(str::to_owned);
    match get("TYPE").unwrap_or_default() {
        "LVM2_member" | "LVM1_member" => {
            return Some(Holding::Lvm {
                vg: region.vg.clone(),
            });
        }
        "linux_raid_member" | "ddf_raid_member" | "isw_raid_member" => {
            return Some(Holding::Md { name: owned() });
        }
        "crypto_LUKS" => return Some(Holding::Luks),
        "zfs_member" => return Some(Holding::Zfs { pool: owned() }),
        "ceph_bluestore" => return Some(Holding::Ceph),
        "VMFS" | "VMFS_volume_member" => return Some(Holding::Vmfs),
        "swap" | "swsuspend" => return Some(Holding::Swap),
        "ntfs" | "ReFS" | "BitLocker" => return Some(Holding::Windows),
        _ => {}
    }
    // A table says what a partition is for, even when nothing is in it that blkid knows.
    match kind.as_str() {
        _ if name.starts_with("ceph ") => Some(Holding::Ceph),
        "4fbd7e29-9d25-41b8-afd0-062c0ceff05d" | "45b0969e-9b03-4f30-b4c6-b4b80ceff106" => {
            Some(Holding::Ceph)
        }
        "6a898cc3-1dd2-11b2-99a6-080020736631" | "516e7cba-6ecf-11d6-8ff8-00022d09712b" => {
            Some(Holding::Zfs { pool: owned() })
        }
        "aa31e02a-400f-11db-9590-000c2911d1b8" | "0xfb" => Some(Holding::Vmfs),
        "e3c9e316-0b5c-4db8-817d-f92df00215ae" => Some(Holding::Windows),
        _ => None,
    }
}

/// Longhorn's disk: Harrow's, Harvester's, or one that somebody named so.
fn longhorn(name: &str, label: &str) -> Option<Holding> {
    let is = |text: &str| {
        text == Role::Data.name()
            || text == Role::Data.label()
            || text == "HARV_LH_DEFAULT"
            || text.to_ascii_lowercase().starts_with("longhorn")
    };
    (is(name) || is(label)).then_some(Holding::Longhorn)
}

fn filesystem(region: &Region) -> Option<Holding> {
    let owned = |key| value(region, key).map(str::to_owned);
    Some(Holding::Filesystem {
        fstype: owned("TYPE")?,
        label: owned("LABEL"),
        uuid: owned("UUID"),
    })
}

fn partition(region: &Region) -> Partition {
    let owned = |key| value(region, key).map(str::to_owned);
    Partition {
        start: region.start,
        name: owned("PART_ENTRY_NAME"),
        kind: owned("PART_ENTRY_TYPE"),
        fstype: owned("TYPE"),
        label: owned("LABEL"),
        uuid: owned("UUID"),
    }
}

fn value<'a>(region: &'a Region, key: &str) -> Option<&'a str> {
    let text = region.said.get(key)?;
    Some(text.as_str()).filter(|t| !t.is_empty())
}

/// The volume group's name in the first bytes of a physical volume: LVM writes its metadata as
/// text that begins `name {`, a new copy for each change, and the one with the highest number counts.
pub fn volume_group(bytes: &[u8]) -> Option<String> {
    const START: &[u8] = b" {\nid = \"";
    let mut newest: Option<(u64, String)> = None;
    let mut at = 0;
    while let Some(found) = find(&bytes[at..], START) {
        let begin = at + found;
        at = begin + START.len();
        let is_name = |b: &u8| b.is_ascii_alphanumeric() || b"+_.-".contains(b);
        let length = bytes[..begin]
            .iter()
            .rev()
            .take_while(|b| is_name(b))
            .count();
        let after = &bytes[at..bytes.len().min(at + 200)];
        // Volumes in the group have an id too, but no number of their own.
        let number = find(after, b"\nseqno = ").and_then(|n| {
            let digits = &after[n + 9..];
            let end = digits.iter().position(|b| !b.is_ascii_digit())?;
            std::str::from_utf8(&digits[..end])
                .ok()?
                .parse::<u64>()
                .ok()
        });
        if let Some(number) = number.filter(|_| length > 0)
            && newest.as_ref().is_none_or(|(n, _)| number > *n)
        {
            let name = String::from_utf8_lossy(&bytes[begin - length..begin]);
            newest = Some((number, name.into_owned()));
        }
    }
    newest.map(|(_, name)| name)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|w| w == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::content::in_words;

    const PARTITION: &str = "DEVNAME=/dev/sda3\nLABEL=my\\ disk\nUUID=11-22\nVERSION=1.0\nTYPE=ext4\nUSAGE=filesystem\n\
        PART_ENTRY_SCHEME=gpt\nPART_ENTRY_NAME=harrow-oem\nPART_ENTRY_TYPE=0fc63daf-8483-4772-8e79-3d69d8477de4\n\
        PART_ENTRY_NUMBER=3\n";

    fn region(number: u32, said: &str) -> Region {
        Region {
            partition: Some(number),
            start: 1 << 20,
            size: 1 << 30,
            said: parse_blkid(said),
            vg: None,
        }
    }

    #[test]
    fn what_blkid_and_udev_say_is_the_same() {
        let blkid = parse_blkid(PARTITION);
        let udev = "S:disk/by-id/wwn-0x5-part3\nI:123\nE:ID_FS_LABEL=my_disk\nE:ID_FS_LABEL_ENC=my\\x20disk\n\
            E:ID_FS_UUID=11-22\nE:ID_FS_TYPE=ext4\nE:ID_PART_ENTRY_NAME=harrow-oem\nE:ID_SERIAL_SHORT=S1\nG:systemd\n";
        let (udev, links) = parse_udev(udev);
        for key in ["LABEL", "UUID", "TYPE", "PART_ENTRY_NAME"] {
            assert_eq!(udev.get(key), blkid.get(key), "{key}");
        }
        assert_eq!(udev["ID_SERIAL_SHORT"], "S1");
        assert_eq!(links, ["/dev/disk/by-id/wwn-0x5-part3"]);
        assert_eq!(plain("a\\"), "a");
        assert_eq!(plain("\\x4"), "x4");
        assert_eq!(plain("\\xc3\\xa4\\x20"), "ä");
    }

    #[test]
    fn every_kind_is_known() {
        for (said, expected) in [
            ("TYPE=LVM2_member", "LVM"),
            (
                "TYPE=linux_raid_member\nLABEL=node1:0",
                "a member of the RAID node1:0",
            ),
            ("TYPE=crypto_LUKS", "encrypted data (LUKS)"),
            ("TYPE=zfs_member\nLABEL=tank", "the ZFS pool tank"),
            ("TYPE=ceph_bluestore", "Ceph's data"),
            ("PART_ENTRY_NAME=ceph data", "Ceph's data"),
            ("TYPE=VMFS_volume_member", "a VMware datastore"),
            (
                "PART_ENTRY_TYPE=aa31e02a-400f-11db-9590-000c2911d1b8",
                "a VMware datastore",
            ),
            ("TYPE=swap", "swap space"),
            ("TYPE=ntfs\nLABEL=C", "Windows or its data"),
            ("TYPE=BitLocker", "Windows or its data"),
            ("TYPE=ext4\nLABEL=HARROW_DATA", "Longhorn's data"),
            ("TYPE=ext4\nLABEL=HARV_LH_DEFAULT", "Longhorn's data"),
            ("TYPE=ext4\nPART_ENTRY_NAME=longhorn", "Longhorn's data"),
        ] {
            let contents = contents_of(&Region::default(), &[region(2, said)], None);
            let words = format!("{expected} (partition 2, 1 GiB)");
            assert_eq!(in_words(&contents), words, "{said}");
            let whole = Region {
                partition: None,
                ..region(0, said)
            };
            let contents = contents_of(&whole, &[], None);
            assert_eq!(in_words(&contents), format!("{expected} (1 GiB)"), "{said}");
        }
    }

    #[test]
    fn installed_systems_are_known_as_a_whole() {
        let disk = Region {
            size: 100 << 30,
            said: parse_blkid("PTTYPE=gpt"),
            ..Region::default()
        };
        let words = |said: &str| in_words(&contents_of(&disk, &[region(1, said)], None));
        assert_eq!(words(PARTITION), "an installed Harrow (100 GiB)");
        let mbr = "TYPE=ext4\nLABEL=HARROW_VAR";
        assert_eq!(words(mbr), "an installed Harrow (100 GiB)");
        let harvester = "TYPE=ext4\nLABEL=COS_STATE";
        assert_eq!(words(harvester), "an installed Harvester (100 GiB)");
        let live = "TYPE=iso9660\nLABEL=COS_LIVE";
        assert_eq!(words(live), "partition 1 (1 GiB iso9660 COS_LIVE)");
        let plain = "TYPE=ext4\nLABEL=data";
        assert_eq!(words(plain), "partition 1 (1 GiB ext4 data)");
    }

    #[test]
    fn the_newest_metadata_of_lvm_counts() {
        let text = "junk\0old {\nid = \"a-b\"\nseqno = 3\nformat = \"lvm2\"\n}\n\0\0vg-new {\nid = \"a-b\"\nseqno = 12\n\
            physical_volumes {\n\npv0 {\nid = \"c\"\ndevice = \"/dev/sda\"\n}\n}\n}\n";
        assert_eq!(volume_group(text.as_bytes()).as_deref(), Some("vg-new"));
        assert_eq!(volume_group(b"nothing"), None);
        assert_eq!(volume_group(b" {\nid = \""), None);
    }
}
