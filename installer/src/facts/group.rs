//! Several paths to one disk are one disk.
//!
//! In: every block device that is a disk or a path to one. Out: the disks. Pure.

use super::DiskFacts;

/// Takes the members of multipath disks out, and makes one disk of those that say that they are
/// the same although nothing has put them together.
pub fn group(mut disks: Vec<DiskFacts>) -> Vec<DiskFacts> {
    let maps: Vec<usize> = (0..disks.len())
        .filter(|i| !disks[*i].paths.is_empty())
        .collect();
    let mut members = Vec::new();
    for map in maps {
        let paths = disks[map].paths.clone();
        for path in paths {
            if let Some(at) = disks
                .iter()
                .position(|d| d.name == path && d.paths.is_empty())
            {
                let member = disks[at].clone();
                merge(&mut disks[map], &member);
                members.push(member.name);
            }
        }
    }
    disks.retain(|disk| !members.contains(&disk.name));
    let mut grouped: Vec<DiskFacts> = Vec::new();
    for disk in disks {
        match grouped.iter_mut().find(|first| is_same(first, &disk)) {
            Some(first) => {
                if first.paths.is_empty() {
                    first.paths.push(first.name.clone());
                }
                first.paths.push(disk.name.clone());
                first.users.extend(disk.users.iter().cloned());
                merge(first, &disk);
            }
            None => grouped.push(disk),
        }
    }
    grouped
}

/// What all paths know, the disk knows. Who uses a member of a map is the map itself.
fn merge(disk: &mut DiskFacts, path: &DiskFacts) {
    for link in &path.links {
        if !disk.links.contains(link) {
            disk.links.push(link.clone());
        }
    }
    disk.links.sort();
    disk.medium |= path.medium;
    disk.read_only |= path.read_only;
    if disk.holds.is_empty() {
        disk.holds.clone_from(&path.holds);
    }
}

/// Whether a disk is of a kind that can have several paths, and could be told on each.
pub fn may_have_paths(disk: &DiskFacts) -> bool {
    let transport = disk.transport.as_deref();
    let named = |wwn: &str| ["naa.", "eui.", "uuid."].iter().any(|k| wwn.starts_with(k));
    transport.is_none_or(|t| !["usb", "sata"].contains(&t))
        && disk.wwn.as_deref().is_some_and(named)
}

/// Whether two devices are paths to one disk. Only buses that have several paths count: cheap USB
/// bridges and disks of one batch are known to have all the same WWN.
fn is_same(one: &DiskFacts, other: &DiskFacts) -> bool {
    may_have_paths(one)
        && may_have_paths(other)
        && (&one.wwn, &one.serial, &one.model) == (&other.wwn, &other.serial, &other.model)
        && (one.size, one.sector_size) == (other.size, other.sector_size)
        && one.transport == other.transport
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str, wwn: &str) -> DiskFacts {
        DiskFacts {
            path: format!("/dev/{name}").into(),
            name: name.into(),
            size: 1 << 40,
            wwn: Some(wwn.into()),
            transport: Some("fc".into()),
            links: vec![format!("/dev/disk/by-path/{name}").into()],
            ..DiskFacts::default()
        }
    }

    fn names(disks: Vec<DiskFacts>) -> Vec<String> {
        let disks = group(disks).into_iter();
        disks
            .map(|d| format!("{}={}", d.name, d.paths.join("+")))
            .collect()
    }

    #[test]
    fn a_map_stands_for_its_members() {
        let map = DiskFacts {
            paths: vec!["sda".into(), "sdb".into()],
            ..disk("dm-0", "naa.1")
        };
        let medium = DiskFacts {
            medium: true,
            ..disk("sdb", "naa.1")
        };
        let all = vec![map, disk("sda", "naa.1"), medium, disk("sdc", "naa.2")];
        let found = group(all.clone());
        assert_eq!(found[0].links.len(), 3);
        assert!(found[0].medium);
        assert_eq!(names(all), ["dm-0=sda+sdb", "sdc="]);
    }

    #[test]
    fn paths_that_nothing_put_together() {
        let all = vec![
            disk("sda", "naa.1"),
            disk("sdb", "naa.2"),
            disk("sdc", "naa.1"),
        ];
        assert_eq!(names(all), ["sda=sda+sdc", "sdb="]);
        // Disks that only say the same are two.
        let usb = |name: &str| DiskFacts {
            transport: Some("usb".into()),
            ..disk(name, "naa.1")
        };
        assert_eq!(names(vec![usb("sda"), usb("sdb")]), ["sda=", "sdb="]);
        let t10 = |name: &str| disk(name, "t10.ATA QEMU");
        assert_eq!(names(vec![t10("sda"), t10("sdb")]), ["sda=", "sdb="]);
        let larger = DiskFacts {
            size: 2 << 40,
            ..disk("sdb", "naa.1")
        };
        assert_eq!(names(vec![disk("sda", "naa.1"), larger]), ["sda=", "sdb="]);
    }
}
