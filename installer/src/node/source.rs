//! The node's config as it lies on OEM.
//!
//! In: the folder where OEM is mounted. Out: the resolved [`Config`]. No error quotes a value
//! that could be a secret.

use std::path::Path;

use crate::config::{Answers, Config, resolve};
use crate::failure::{Failure, Kind};

/// Name of the config on OEM.
pub const CONFIG_NAME: &str = "config.yaml";
/// Where OEM is mounted on a node, read-only and for root alone.
pub const OEM_DIR: &str = "/run/harrow/oem";

/// Reads and checks the config.
pub fn read_config(oem: &Path) -> anyhow::Result<Config> {
    let path = oem.join(CONFIG_NAME);
    let text = std::fs::read_to_string(&path).map_err(|e| {
        Failure::error(
            Kind::ConfigMissing,
            format!("{}: {e}", path.display()),
            "install again, or put the config there",
        )
    })?;
    let answers = Answers::parse(&text, &path.display().to_string())?;
    resolve(&answers).map_err(|problems| {
        Failure::error(
            Kind::ConfigInvalid,
            format!("{}: {problems}", path.display()),
            "correct the file and reboot",
        )
    })
}
