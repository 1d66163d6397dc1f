//! What a disk is known by when its names have changed.
//!
//! In: the facts of a disk that was chosen, and later those of the disks that are there. Out:
//! whether one of them is that disk, or which one is. Pure.

use std::path::PathBuf;

use super::choose::Refusal;
use super::layout::show;
use crate::facts::DiskFacts;

/// What a disk is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// World wide name.
    pub wwn: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Size in bytes.
    pub size: u64,
    /// Logical sector size in bytes.
    pub sector_size: u32,
    /// Where it is plugged in: its links in `/dev/disk/by-path`. Tells disks apart that say the
    /// same, or nothing.
    pub places: Vec<PathBuf>,
}

impl Identity {
    /// What this disk is known by.
    pub fn of(disk: &DiskFacts) -> Self {
        Self {
            wwn: disk.wwn.clone(),
            serial: disk.serial.clone(),
            size: disk.size,
            sector_size: disk.sector_size,
            places: places_of(disk),
        }
    }

    /// What of a disk says that it is another one; `None` when nothing does.
    pub fn differs(&self, disk: &DiskFacts) -> Option<String> {
        if disk.size != self.size {
            let (is, was) = (show(disk.size), show(self.size));
            return Some(format!(
                "it has {is} ({} bytes) instead of {was} ({} bytes)",
                disk.size, self.size
            ));
        }
        if disk.sector_size != self.sector_size {
            return Some(format!(
                "its sectors have {} bytes instead of {}",
                disk.sector_size, self.sector_size
            ));
        }
        let mut confirmed = false;
        for (what, was, is) in [
            ("WWN", &self.wwn, &disk.wwn),
            ("serial number", &self.serial, &disk.serial),
        ] {
            match (was, is) {
                (Some(was), Some(is)) if was == is => confirmed = true,
                (Some(was), Some(is)) => return Some(format!("its {what} is {is}, not {was}")),
                _ => {}
            }
        }
        // Disks of one batch may say the same number; none is in two places. One that was put
        // elsewhere since it was chosen is refused too, and that is no great loss.
        if !self.in_place(disk) {
            return Some("it is plugged in elsewhere".to_owned());
        }
        if confirmed {
            return None;
        }
        if let Some(was) = self.wwn.as_ref().or(self.serial.as_ref()) {
            return Some(format!("it does not say that it is {was}"));
        }
        if let Some(is) = disk.wwn.as_ref().or(disk.serial.as_ref()) {
            return Some(format!("it is {is}, and the other said nothing of itself"));
        }
        None
    }

    /// Whether nothing says that it is plugged in elsewhere.
    fn in_place(&self, disk: &DiskFacts) -> bool {
        let places = places_of(disk);
        places.is_empty()
            || self.places.is_empty()
            || places.iter().any(|p| self.places.contains(p))
    }
}

/// The one disk that is the pinned one, under whatever name. Several that can't be told apart are
/// refused: one of them may be wrong.
pub fn find_again<'a>(
    identity: &Identity,
    disks: &'a [DiskFacts],
) -> Result<&'a DiskFacts, Refusal> {
    let same: Vec<&DiskFacts> = disks
        .iter()
        .filter(|disk| identity.differs(disk).is_none())
        .collect();
    if let [only] = same.as_slice() {
        return Ok(only);
    }
    let in_place: Vec<&DiskFacts> = same
        .iter()
        .copied()
        .filter(|disk| !places_of(disk).is_empty() && !identity.places.is_empty())
        .collect();
    if let [only] = in_place.as_slice() {
        return Ok(only);
    }
    let asked = identity.to_string();
    match same.is_empty() {
        true => Err(Refusal::no_such(asked, disks.iter())),
        false => Err(Refusal::several(asked, same)),
    }
}

fn places_of(disk: &DiskFacts) -> Vec<PathBuf> {
    let links = disk.links.iter();
    links
        .filter(|link| link.starts_with("/dev/disk/by-path"))
        .cloned()
        .collect()
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the disk of {}", show(self.size))?;
        if let Some(serial) = &self.serial {
            write!(f, " with the serial number {serial}")?;
        }
        if let Some(wwn) = &self.wwn {
            write!(f, " with the WWN {wwn}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str, serial: Option<&str>, place: Option<&str>) -> DiskFacts {
        DiskFacts {
            path: format!("/dev/{name}").into(),
            name: name.into(),
            size: 1 << 40,
            sector_size: 512,
            serial: serial.map(str::to_owned),
            links: place
                .map(|p| PathBuf::from(format!("/dev/disk/by-path/{p}")))
                .into_iter()
                .collect(),
            ..DiskFacts::default()
        }
    }

    #[test]
    fn what_differs_is_said() {
        let planned = disk("sda", Some("S1"), None);
        let identity = Identity::of(&planned);
        assert_eq!(identity.differs(&planned), None);
        let check = |change: &dyn Fn(&mut DiskFacts), says: &str| {
            let mut now = planned.clone();
            change(&mut now);
            let said = identity.differs(&now).unwrap();
            assert!(said.contains(says), "{said}");
        };
        check(&|d| d.size += 512, "1099511628288 bytes");
        check(&|d| d.sector_size = 4096, "4096");
        check(&|d| d.serial = Some("S2".into()), "S2, not S1");
        check(&|d| d.serial = None, "does not say that it is S1");
        // Only what both say can confirm or deny.
        let with_wwn = DiskFacts {
            wwn: Some("naa.5".into()),
            ..planned.clone()
        };
        assert_eq!(identity.differs(&with_wwn), None);
        let silent = Identity::of(&disk("sda", None, None));
        assert!(silent.differs(&planned).is_some());
    }

    #[test]
    fn a_disk_is_found_under_its_new_name() {
        let planned = Identity::of(&disk("sda", Some("S1"), None));
        let now = [disk("sda", Some("S2"), None), disk("sdb", Some("S1"), None)];
        assert_eq!(find_again(&planned, &now).unwrap().name, "sdb");
        let gone = [disk("sda", Some("S2"), None)];
        let refusal = find_again(&planned, &gone).unwrap_err();
        assert!(refusal.to_string().contains("S1"), "{refusal}");
    }

    #[test]
    fn twins_are_told_apart_by_their_place_or_not_at_all() {
        let planned = Identity::of(&disk("sda", None, Some("port-1")));
        let now = [
            disk("sda", None, Some("port-2")),
            disk("sdb", None, Some("port-1")),
        ];
        assert_eq!(find_again(&planned, &now).unwrap().name, "sdb");
        let same_serial = Identity::of(&disk("sda", Some("S"), Some("port-1")));
        let now = [
            disk("sda", Some("S"), Some("port-2")),
            disk("sdb", Some("S"), Some("port-1")),
        ];
        assert_eq!(find_again(&same_serial, &now).unwrap().name, "sdb");
        let planned = Identity::of(&disk("sda", None, None));
        let now = [disk("sda", None, None), disk("sdb", None, None)];
        let refusal = find_again(&planned, &now).unwrap_err();
        assert!(matches!(refusal, Refusal::Several { .. }), "{refusal}");
    }
}
