//! A disk as one value: what it is, how it is attached, who uses it, what it holds.
//!
//! In: what the probe read, or a saved file. Out: [`DiskFacts`], the value that every choice and
//! every plan is made from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::content::Content;
use super::user::{Use, User};
use crate::disk::layout::show;

/// A whole disk. Several paths to one disk are one disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFacts {
    /// The path that it is opened by.
    pub path: PathBuf,
    /// The kernel's name, such as `sda`.
    pub name: String,
    /// Size in bytes; 0 when there is no medium in the drive.
    pub size: u64,
    /// Logical sector size in bytes.
    pub sector_size: u32,
    /// Physical sector size in bytes; 0 when it does not say.
    #[serde(default)]
    pub physical_sector_size: u32,
    /// Size of the pieces that it likes best, in bytes; 0 when it does not say.
    #[serde(default)]
    pub optimal_io_size: u64,
    /// It can be told what is not needed any more.
    #[serde(default)]
    pub discard: bool,
    /// Model, when it says.
    pub model: Option<String>,
    /// Serial number, when it says.
    pub serial: Option<String>,
    /// World wide name, when it has one.
    pub wwn: Option<String>,
    /// `nvme`, `sata`, `sas`, `fc`, `usb` or `virtio`, when it can be told.
    #[serde(default)]
    pub transport: Option<String>,
    /// Whether it has spinning platters.
    #[serde(default)]
    pub rotational: Option<bool>,
    /// Other paths of it, such as those in `/dev/disk/by-id`.
    #[serde(default)]
    pub links: Vec<PathBuf>,
    /// What an NVMe namespace says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvme: Option<Namespace>,
    /// Kernel's names of the paths to it, when there are several.
    #[serde(default)]
    pub paths: Vec<String>,
    /// What dm-multipath knows it by, when that has put its paths together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multipath: Option<String>,
    /// Can't be written.
    pub read_only: bool,
    /// It can be taken out of its drive.
    #[serde(default)]
    pub removable: bool,
    /// This system runs from it.
    #[serde(default)]
    pub medium: bool,
    /// Who uses it, its partitions, and what is built on them.
    pub users: Vec<User>,
    /// What would be lost.
    #[serde(default)]
    pub holds: Vec<Content>,
    /// Why nobody knows what it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// What an NVMe namespace says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// Its number on the controller.
    pub nsid: Option<u32>,
    /// EUI-64.
    pub eui: Option<String>,
    /// NGUID.
    pub nguid: Option<String>,
}

impl DiskFacts {
    /// Somebody uses it; maps of its partitions alone are nobody.
    pub fn is_busy(&self) -> bool {
        let is_use = |user: &User| !matches!(user.how, Use::PartitionMap { .. });
        self.users.iter().any(is_use)
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let mut line = format!("{}: {}", self.path.display(), show(self.size));
        for (what, value) in [
            ("model", &self.model),
            ("serial", &self.serial),
            ("wwn", &self.wwn),
        ] {
            if let Some(value) = value {
                line += &format!(", {what} {value}");
            }
        }
        line
    }
}
