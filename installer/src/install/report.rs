//! What an install did: its plan, each step with its time, the outcome.
//!
//! In: the engine's journal. Out: [`Report`] as JSON, kept on the node's OEM partition and
//! wherever `--report` says. It holds no secrets. Old reports must parse for ever.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plan::{Plan, Step};

/// What happened in an install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the installer.
    pub installer: String,
    /// Version of what was installed.
    pub version: String,
    /// dm-verity root hash of what was installed.
    pub root_hash: String,
    /// When it began, RFC 3339.
    pub started: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Most memory that the installer had at a time, in KiB, as far as the kernel says.
    #[serde(default)]
    pub peak_memory_kib: Option<u64>,
    /// Which source won for each key of the config.
    #[serde(default)]
    pub config_origins: BTreeMap<String, String>,
    /// The steps that were begun.
    pub journal: Vec<Entry>,
    /// What was to be done.
    pub plan: Plan,
}

/// How an install ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Outcome {
    /// Not ended yet. On an OEM partition this is what a finished install says too: the disk
    /// becomes bootable only with the step after the one that writes this report.
    Running,
    /// All steps done.
    Done {
        /// How long it took.
        milliseconds: u64,
    },
    /// A step failed.
    Failed {
        /// The error with its causes.
        error: String,
    },
}

/// One step of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The step.
    pub step: Step,
    /// How long it took; `None` when it did not end.
    pub milliseconds: Option<u64>,
}
