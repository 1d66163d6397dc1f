//! What became of the last upgrade or rollback, and of a slot that was left.
//!
//! Lies on VAR, in [`DIR`]. Old records must parse for ever.

use std::fmt;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::mounts;
use crate::install::grubenv::Letter;

/// Where the records lie.
pub const DIR: &str = "/var/lib/harrow/upgrade";
/// Of the last upgrade or rollback.
const MOVE: &str = "move.json";
/// Of a slot that was left because it did not come up, or is damaged.
const LEFT: &str = "left.json";
/// What the last upgrade did, step by step: a report as an install leaves it.
pub const REPORT: &str = "report.json";

/// What is in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotVersion {
    /// Which slot.
    pub slot: Letter,
    /// Its version, when its menu entry says.
    pub version: Option<String>,
}

/// A move from one slot to the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Why it was made.
    pub kind: MoveKind,
    /// What ran.
    pub from: SlotVersion,
    /// What was tried.
    pub to: SlotVersion,
    /// When it was begun, RFC 3339.
    pub started: String,
    /// The boot in which it was begun.
    pub boot_id: String,
    /// Units that had failed then already: they say nothing about the new version.
    #[serde(default)]
    pub failed_units: Vec<String>,
    /// How far it is.
    pub state: MoveState,
    /// When that came to be, RFC 3339.
    pub since: String,
    /// Boots of the trial that did not get healthy.
    #[serde(default)]
    pub failed_boots: Vec<FailedBoot>,
}

/// Why the slot was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MoveKind {
    /// To a new image.
    Upgrade,
    /// To what was in the other slot.
    Rollback,
}

/// How far a move is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum MoveState {
    /// The other slot is being written.
    Writing,
    /// It could not be written.
    Failed {
        /// The error with its causes.
        error: String,
    },
    /// The next boots are its trial.
    Trial,
    /// It is the good slot.
    Good,
    /// It did not get healthy.
    FellBack {
        /// In words.
        why: String,
    },
    /// Somebody ended the trial.
    Ended,
}

/// A boot that did not get healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedBoot {
    /// Its id; none when it ended before it could write anything.
    pub boot_id: Option<String>,
    /// What was wrong, in words.
    pub why: String,
    /// Where its log is kept.
    pub log: Option<String>,
}

/// A slot that was left without anybody asking for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Which slot.
    pub slot: Letter,
    /// When, RFC 3339.
    pub since: String,
    /// In words.
    pub why: String,
    /// Its last boots.
    #[serde(default)]
    pub failed_boots: Vec<FailedBoot>,
}

/// The id of this boot (`Documentation/admin-guide/sysctl/kernel.rst`, "random").
pub fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().replace('-', "")
}

/// Now, RFC 3339.
pub fn now() -> String {
    jiff::Timestamp::now().to_string()
}

impl Move {
    /// The last one.
    pub fn read() -> Option<Self> {
        read(&Path::new(DIR).join(MOVE))
    }

    /// Keeps it in place of the last one.
    pub fn write(&self) -> anyhow::Result<()> {
        write(MOVE, self)
    }

    /// Changes how far it is.
    pub fn enter(&mut self, state: MoveState) -> anyhow::Result<()> {
        self.state = state;
        self.since = now();
        self.write()
    }
}

impl Left {
    /// The last one.
    pub fn read() -> Option<Self> {
        read(&Path::new(DIR).join(LEFT))
    }

    /// Keeps it.
    pub fn write(&self) -> anyhow::Result<()> {
        write(LEFT, self)
    }

    /// Forgets it: there is something else in that slot.
    pub fn forget() {
        std::fs::remove_file(Path::new(DIR).join(LEFT)).ok();
    }
}

/// A record that can't be read says no less than one that is not there.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = std::fs::read(path).ok()?;
    let parsed = serde_json::from_slice(&bytes);
    parsed
        .inspect_err(|e| tracing::warn!("{}: {e}", path.display()))
        .ok()
}

fn write(name: &str, value: &impl Serialize) -> anyhow::Result<()> {
    let path = Path::new(DIR).join(name);
    let doing = || format!("writing {}", path.display());
    mounts::private_dir(Path::new(DIR))?;
    let bytes = serde_json::to_vec_pretty(value).with_context(doing)?;
    let mut file = NamedTempFile::new_in(DIR).with_context(doing)?;
    file.write_all(&bytes).with_context(doing)?;
    // The machine may be about to restart.
    file.as_file().sync_all().with_context(doing)?;
    file.persist(&path).map(drop).with_context(doing)
}

impl fmt::Display for SlotVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_deref().unwrap_or("an unknown version");
        write!(f, "{version} (slot {})", self.slot)
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            MoveKind::Upgrade => "upgrade",
            MoveKind::Rollback => "rollback",
        };
        write!(f, "{kind} from {} to {}: ", self.from, self.to)?;
        match &self.state {
            MoveState::Writing => f.write_str("was cut off while it was written"),
            MoveState::Failed { error } => write!(f, "could not be written: {error}"),
            MoveState::Trial => f.write_str("on trial"),
            MoveState::Good => f.write_str("good"),
            MoveState::FellBack { why } => write!(f, "fell back: {why}"),
            MoveState::Ended => f.write_str("the trial was ended"),
        }?;
        write!(f, ", {}", self.since)
    }
}

impl fmt::Display for FailedBoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.boot_id.as_deref().unwrap_or("without a trace");
        write!(f, "boot {id}: {}", self.why)?;
        match &self.log {
            Some(log) => write!(f, " (log: {log})"),
            None => Ok(()),
        }
    }
}
