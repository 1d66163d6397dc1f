//! The boot contract: which partitions the kernel's command line names (ARCHITECTURE.md).
//!
//! In: the text of `/proc/cmdline`. Out: [`BootParams`].

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::sys::cmdline::Cmdline;

/// What the boot chain said on the kernel's command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootParams {
    /// Booted from a medium that holds an image set.
    pub live: bool,
    /// The slot that is the root: `a` or `b`.
    pub slot: Option<String>,
    /// The partition with the node's config.
    pub oem: Option<PathBuf>,
    /// The partition of `/var`.
    pub var: Option<PathBuf>,
    /// The partition of Longhorn's data.
    pub data: Option<PathBuf>,
    /// dm-verity root hash in hex.
    pub root_hash: Option<String>,
}

impl BootParams {
    /// Reads a command line. Words that are not of the contract are passed over; of a key that
    /// is there twice the last one counts.
    pub fn parse(cmdline: &str) -> Self {
        let words = Cmdline::parse(cmdline);
        let partition = |key: &str| words.get(key).and_then(device);
        Self {
            live: words.get("harrow.boot.medium").is_some(),
            slot: words.get("harrow.boot.slot").map(str::to_owned),
            oem: partition("harrow.boot.oem"),
            var: partition("harrow.boot.var"),
            data: partition("harrow.boot.data"),
            root_hash: words.get("roothash").map(str::to_owned),
        }
    }

    /// The partition of the slot that is the root.
    pub fn slot_device(words: &Cmdline) -> Option<PathBuf> {
        words.get("systemd.verity_root_data").and_then(device)
    }

    /// Reads the running kernel's command line.
    pub fn probe() -> anyhow::Result<Self> {
        let path = Path::new("/proc/cmdline");
        let text = std::fs::read_to_string(path).context("reading /proc/cmdline")?;
        Ok(Self::parse(&text))
    }
}

/// The device node of `PARTUUID=…`, `UUID=…` or a path under /dev; nothing for anything else.
fn device(value: &str) -> Option<PathBuf> {
    if let Some(path) = value.strip_prefix("/dev/") {
        return (!path.contains("..")).then(|| PathBuf::from(value));
    }
    let (kind, id) = value.split_once('=')?;
    if id.is_empty() || id.contains('/') {
        return None;
    }
    match kind {
        "PARTUUID" => Some(Path::new("/dev/disk/by-partuuid").join(id.to_ascii_lowercase())),
        "UUID" => Some(Path::new("/dev/disk/by-uuid").join(id)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_boot() {
        let params = BootParams::parse(
            "BOOT_IMAGE=/vmlinuz root=/dev/mapper/root roothash=ab12 harrow.boot.slot=a \
             harrow.boot.oem=PARTUUID=AA-01 harrow.boot.var=PARTUUID=aa-02 harrow.boot.data=/dev/vdb1 console=ttyS0\n",
        );
        let want = BootParams {
            live: false,
            slot: Some("a".into()),
            oem: Some("/dev/disk/by-partuuid/aa-01".into()),
            var: Some("/dev/disk/by-partuuid/aa-02".into()),
            data: Some("/dev/vdb1".into()),
            root_hash: Some("ab12".into()),
        };
        assert_eq!(params, want);
    }

    #[test]
    fn a_medium_makes_it_live() {
        assert!(BootParams::parse("harrow.boot.medium=UUID=2026-01-01").live);
        assert!(!BootParams::parse("harrow.boot.slot=a").live);
    }

    #[test]
    fn nonsense_names_no_device() {
        for value in [
            "",
            "LABEL=x",
            "PARTUUID=",
            "PARTUUID=../x",
            "/dev/../etc/shadow",
            "sda1",
        ] {
            assert_eq!(device(value), None, "{value}");
        }
    }
}
