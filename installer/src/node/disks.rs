//! The node's own partitions: waiting for them, checking and mounting them.
//!
//! In: device paths of the boot contract. Out: mounted file systems, or errors that name the
//! partition.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::mount::MountFlags;

use crate::sys::cmd::Cmd;
use crate::sys::wait;

use super::console;
use super::mounts::{self, Kind};

/// The root came from the same disk, so its other partitions can't be far.
const PATIENCE: Duration = Duration::from_secs(60);
/// After this a person is told what the boot waits for.
const QUIET: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until udev shows the partition.
fn wait_for(device: &Path) -> anyhow::Result<()> {
    let there = || Ok(device.exists().then_some(()));
    let what = format!("the partition {}", device.display());
    if wait::until(&what, QUIET, PAUSE, there).is_ok() {
        return Ok(());
    }
    console::warn(&format!(
        "waiting up to {} s more for {what}",
        PATIENCE.as_secs()
    ));
    wait::until(&what, PATIENCE, PAUSE, there)
}

/// Mounts OEM for reading, for root alone.
pub fn mount_oem(device: &Path, target: &Path) -> anyhow::Result<()> {
    wait_for(device)?;
    mounts::private_dir(target)?;
    let kind = Kind {
        fstype: "ext4",
        flags: mounts::DATA_ONLY.union(MountFlags::RDONLY),
        options: "",
    };
    mounts::attach(device, target, kind)
}

/// Checks VAR and mounts it on `/var`.
pub fn mount_var(device: &Path) -> anyhow::Result<()> {
    wait_for(device)?;
    check(device)?;
    let kind = Kind {
        fstype: "ext4",
        flags: MountFlags::empty(),
        options: "",
    };
    mounts::attach(device, Path::new("/var"), kind)
}

/// `/var` in memory, for a system that must not or can't keep anything.
pub fn mount_var_in_memory() -> anyhow::Result<()> {
    let kind = Kind {
        fstype: "tmpfs",
        flags: MountFlags::NODEV.union(MountFlags::NOSUID),
        options: "mode=0755",
    };
    mounts::attach(Path::new("var"), Path::new("/var"), kind)
}

/// Repairs what can be repaired without a person (e2fsck(8): bit 2 and above mean more is wrong).
fn check(device: &Path) -> anyhow::Result<()> {
    let output = Cmd::new("e2fsck").arg("-p").arg(device).run_any()?;
    let code = output.status.code().context("e2fsck was killed")?;
    if code & !3 != 0 {
        bail!(
            "e2fsck could not repair {} (exit status {code}): {}",
            device.display(),
            output.text().trim()
        );
    }
    if code != 0 {
        console::warn(&format!(
            "repaired {}: {}",
            device.display(),
            output.text().trim()
        ));
    }
    Ok(())
}
