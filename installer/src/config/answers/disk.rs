//! How a disk is named: by a path, or by a rule that exactly one disk fits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A disk by path, or by rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DeviceChoice {
    /// Path of the disk: `/dev/sda`, or better one that stays, such as `/dev/disk/by-id/...`.
    Path(String),
    /// What the disk is like.
    Rule(DiskRule),
}

impl DeviceChoice {
    /// The path, unless it is a rule or empty.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Path(path) if !path.is_empty() => Some(path),
            _ => None,
        }
    }
}

/// What a disk is like. All that is said must be true of it. Several disks that fit are an
/// error unless `pick` chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiskRule {
    /// Its least size.
    #[schemars(extend("x-form" = "disk-size"), example = &"400G")]
    pub min_size: Option<String>,
    /// Its largest size.
    #[schemars(extend("x-form" = "disk-size"), example = &"2Ti")]
    pub max_size: Option<String>,
    /// Whether it has spinning platters.
    pub rotational: Option<bool>,
    /// How it is attached.
    pub transport: Option<Transport>,
    /// Its model; `*` and `?` stand for any text and any character.
    #[schemars(extend("x-form" = "model-pattern"), example = &"SAMSUNG MZ*")]
    pub model: Option<String>,
    /// Its serial number.
    #[schemars(extend("x-form" = "serial"))]
    pub serial: Option<String>,
    /// Its world wide name.
    #[schemars(extend("x-form" = "wwn"), example = &"naa.5000c500a1b2c3d4")]
    pub wwn: Option<String>,
    /// Which one, when several fit.
    #[schemars(extend("x-default" = "only"))]
    pub pick: Option<Pick>,
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// NVMe.
    Nvme,
    /// Serial ATA.
    Sata,
    /// Serial attached SCSI.
    Sas,
    /// Fibre Channel.
    Fc,
    /// USB.
    Usb,
    /// Of a virtual machine.
    Virtio,
}

/// Which one of several disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pick {
    /// The smallest.
    Smallest,
    /// The largest.
    Largest,
    /// There must be only one.
    Only,
}
