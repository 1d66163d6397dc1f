//! What an install did: its plan, each step with its time, the outcome.
//!
//! In: the engine's journal. Out: [`Report`] as JSON, kept on the node's OEM partition and
//! wherever `--report` says. It holds no secrets. Old reports must parse for ever.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::plan::Plan;
use super::step::Step;
use crate::failure::{Failure, Kind, exit_code};

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
    /// What went wrong, when that was no reason to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What stands in place of a report when an install was refused before its first step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Version of the installer.
    pub installer: String,
    /// When, RFC 3339.
    pub started: String,
    /// Why.
    pub outcome: Refused,
}

/// Why an install was refused. No disk was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Refused {
    /// Nothing was begun.
    Refused {
        /// The error with its causes.
        error: String,
        /// What to do.
        hint: String,
        /// The exit code of the installer.
        exit_code: u8,
    },
}

impl Refusal {
    fn of(error: &anyhow::Error) -> Self {
        Self {
            installer: env!("CARGO_PKG_VERSION").into(),
            started: jiff::Timestamp::now().to_string(),
            outcome: Refused::Refused {
                error: format!("{error:#}"),
                hint: Failure::of(error).map_or(String::new(), |f| f.hint.clone()),
                exit_code: exit_code(error),
            },
        }
    }
}

/// A place for a report, known to be good before anything is written elsewhere.
#[derive(Debug)]
pub struct ReportFile {
    path: PathBuf,
}

impl ReportFile {
    /// Makes sure that the report can be written to `path`, and that this is none of `others`.
    pub fn reserve(path: &Path, others: &[&Path]) -> anyhow::Result<Self> {
        let refused = |why: String| {
            Failure::error(
                Kind::OutputUnwritable,
                format!("the report can't be written to {}: {why}", path.display()),
                "give --report a file name in a folder that you may write to",
            )
        };
        if path.metadata().is_ok_and(|meta| !meta.is_file()) {
            return Err(refused("it is no plain file".into()));
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let real = |path: &Path| match (path.canonicalize(), path.parent(), path.file_name()) {
            (Ok(real), _, _) => real,
            (Err(_), Some(folder), Some(name)) if !folder.as_os_str().is_empty() => folder
                .canonicalize()
                .unwrap_or_else(|_| folder.to_owned())
                .join(name),
            _ => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        };
        let is_in = |folder: &Path| folder.is_dir() && real(path).starts_with(real(folder));
        let is_other = |other: &&&Path| real(other) == real(path) || is_in(other);
        if let Some(other) = others.iter().find(is_other) {
            return Err(refused(format!("that is {}", other.display())));
        }
        NamedTempFile::new_in(folder).map_err(|e| refused(e.to_string()))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Writes the report in one go, in place of an earlier one.
    pub fn write(&self, report: &Report) -> anyhow::Result<()> {
        self.write_json(report)
    }

    /// Writes down that nothing was begun, and why.
    pub fn refuse(&self, error: &anyhow::Error) -> anyhow::Result<()> {
        self.write_json(&Refusal::of(error))
    }

    fn write_json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        let doing = || format!("writing the report {}", self.path.display());
        let bytes = serde_json::to_vec_pretty(value).with_context(doing)?;
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut file = NamedTempFile::new_in(folder).with_context(doing)?;
        file.write_all(&bytes).with_context(doing)?;
        file.persist(&self.path).map(drop).with_context(doing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The golden reports are of their time and never rewritten.
    #[test]
    fn reports_of_all_times_are_read() {
        for kept in [
            &include_bytes!("../../tests/golden/report-1.json")[..],
            &include_bytes!("../../tests/golden/report-2.json")[..],
        ] {
            let report: Report = serde_json::from_slice(kept).unwrap();
            assert!(matches!(report.outcome, Outcome::Done { .. }));
            let layout = report.plan.layout().unwrap();
            let slot = layout.partuuid(crate::disk::layout::Role::SlotA).unwrap();
            assert_eq!(report.plan.menu.slot.slot_id, slot);
            assert_eq!(report.journal.len(), report.plan.steps.len());
            let again = serde_json::to_vec(&report).unwrap();
            assert_eq!(serde_json::from_slice::<Report>(&again).unwrap(), report);
        }
    }

    #[test]
    fn a_report_goes_only_where_it_harms_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.yaml");
        std::fs::write(&config, "x").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&config, &link).unwrap();
        let target = dir.path().join("disk.img");
        for bad in [
            Path::new("/dev/full"),
            Path::new("/no/such/folder/report.json"),
            dir.path(),
            &config,
            &link,
            &target,
        ] {
            let error = ReportFile::reserve(bad, &[&config, &target]).unwrap_err();
            assert_eq!(
                Failure::of(&error).unwrap().kind,
                Kind::OutputUnwritable,
                "{}",
                bad.display()
            );
        }
        assert!(ReportFile::reserve(&dir.path().join("report.json"), &[&config, &target]).is_ok());
        assert_eq!(std::fs::read(&config).unwrap(), b"x");
    }
}
