//! What `harrow apply` did at this boot, for `harrow verify` and for people.
//!
//! Lies in `/run/harrow/apply.json`.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Kind};

/// Where the state lies.
pub const STATE_PATH: &str = "/run/harrow/apply.json";

/// As what this system was booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// From a medium, to install.
    Live,
    /// An installed node.
    Node,
    /// An installed node without its /var: for repair only.
    Degraded,
}

/// What was done at this boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyState {
    /// As what the system was booted.
    pub role: Role,
    /// Whether the config on OEM was used.
    pub config_used: bool,
    /// Name of this machine, 32 hex digits.
    pub machine_id: String,
    /// What went wrong, in words.
    pub problems: Vec<String>,
    /// How long it took.
    pub milliseconds: u64,
}

impl ApplyState {
    /// Writes the state.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self).context("writing the state as JSON")?;
        std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
    }

    /// The state of this boot; an error on a machine that is no node.
    pub fn of_this_boot() -> anyhow::Result<Self> {
        Self::read(Path::new(STATE_PATH)).map_err(|error| {
            Failure::error(
                Kind::NotANode,
                format!("this system was not configured by `harrow apply` at this boot: {error:#}"),
                "run it on an installed node, as root: sudo harrow ...",
            )
        })
    }

    /// Reads the state.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
    }
}
