//! Disks that are reached over several paths, put together before one is chosen.
//!
//! In: `os.external_storage_config`, resolved. Out: a running multipathd with the node's own
//! configuration, on a live system; another system's configuration is its owner's affair.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

use crate::config::Multipath;
use crate::failure::{Failure, Kind};
use crate::node::boot::BootParams;
use crate::node::multipath::{CONF, render_conf};
use crate::sys::cmd::Cmd;

/// How long multipathd may take to know all paths.
const PATIENCE: Duration = Duration::from_secs(90);

/// Starts multipath on a live system. Whether it runs there now.
pub fn start_multipath(multipath: &Multipath) -> anyhow::Result<bool> {
    if !BootParams::probe().is_ok_and(|boot| boot.live) {
        return Ok(false);
    }
    fs::write(CONF, render_conf(multipath)).with_context(|| format!("writing {CONF}"))?;
    let started = Cmd::new("systemctl")
        .args(["restart", "multipathd.service"])
        .limit(PATIENCE)
        .run();
    started.map_err(|error| {
        Failure::error(
            Kind::ToolFailed,
            format!("os.external_storage_config is on, and multipath does not start: {error:#}"),
            "see `journalctl -u multipathd`; without os.external_storage_config one path is used",
        )
    })?;
    // Some other device may take longer; the disk itself is waited for when it is chosen.
    let settle = Cmd::new("udevadm").args(["settle", "--timeout=30"]);
    if let Err(error) = settle.limit(PATIENCE).run() {
        tracing::warn!("{error:#}");
    }
    Ok(true)
}
