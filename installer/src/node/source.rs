//! The node's config as it lies on OEM.
//!
//! In: the folder where OEM is mounted. Out: the resolved [`Config`]; what this version of
//! Harrow can't use of it is left out, so that no change of a rule takes a node off the network.
//! No error quotes a value that could be a secret.

use std::path::Path;

use crate::config::{Config, Severity, Source, SourceKind, read_sources};
use crate::failure::{Failure, Kind};
use crate::live;
use crate::sys::random;

use super::machine;

/// Name of the config on OEM.
pub const CONFIG_NAME: &str = "config.yaml";
/// Name of the config that was there before it.
pub const BACKUP_NAME: &str = "config.before.yaml";
/// Where OEM is mounted on a node, read-only and for root alone.
pub const OEM_DIR: &str = "/run/harrow/oem";

/// Reads and checks the config.
pub fn read_config(oem: &Path) -> anyhow::Result<Config> {
    let path = oem.join(CONFIG_NAME);
    let bytes = std::fs::read(&path).map_err(|e| {
        Failure::error(
            Kind::ConfigMissing,
            format!("{}: {e}", path.display()),
            "install again, or put the config there",
        )
    })?;
    let name = path.display().to_string();
    // Who edits the file may have written a password in clear.
    resolve(&Source::yaml(SourceKind::Oem, &name, bytes))
}

/// What a node makes of a config.
pub fn resolve(source: &Source) -> anyhow::Result<Config> {
    let name = &source.name;
    let checked = read_sources(std::slice::from_ref(source), random::salt());
    for problem in checked.problems.only(Severity::Error).0 {
        tracing::warn!(
            "{}: {} [{}]",
            problem.field,
            problem.message,
            problem.code.name()
        );
    }
    for user in live::people(&checked.answers) {
        tracing::warn!("os.ssh_authorized_keys: github:{user} is fetched at an install only");
    }
    let mut config = checked.usable_config().map_err(|problems| {
        Failure::error(
            Kind::ConfigInvalid,
            format!("{name}: {problems}"),
            "correct the file and reboot",
        )
    })?;
    config.os.hostname = config.os.hostname.map(|name| machine::put_identity(&name));
    Ok(config)
}
