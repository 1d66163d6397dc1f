//! Keeps the logs of boots that did not get healthy, before the journal forgets them.
//!
//! In: the journal on VAR. Out: a file for each such boot.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;

use crate::sys::cmd::Cmd;

use super::super::mounts;
use super::super::record::{DIR, FailedBoot};

/// Lines of each boot that are kept, the last ones.
const LINES: &str = "4000";
/// Boots that are kept at most.
const MOST: usize = 3;
const LIMIT: Duration = Duration::from_secs(60);
/// The boots of kernels that died end without a word.
const NO_WORD: &str = "it ended without saying why: it hung, panicked or lost its power";

/// A boot as `journalctl --list-boots --output=json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Listed {
    boot_id: String,
}

/// Forgets the logs of an earlier move.
pub fn forget() {
    fs::remove_dir_all(folder()).ok();
}

fn folder() -> PathBuf {
    Path::new(DIR).join("boots")
}

/// The boots between `since` and `now`, as their ids, with their logs kept. `known` are those that
/// said themselves what was wrong; `expected` is how many there must have been at least.
pub fn keep(since: &str, now: &str, known: &[FailedBoot], expected: usize) -> Vec<FailedBoot> {
    let listed = list().unwrap_or_else(|error| {
        tracing::warn!("{error:#}");
        Vec::new()
    });
    let mut failed = between(&listed, since, now)
        .into_iter()
        .map(|id| {
            let said = known.iter().find(|f| f.boot_id.as_ref() == Some(&id));
            let log = write(&id).map_err(|error| tracing::warn!("{error:#}")).ok();
            FailedBoot {
                why: said.map_or_else(|| NO_WORD.to_owned(), |f| f.why.clone()),
                log,
                boot_id: Some(id),
            }
        })
        .collect::<Vec<_>>();
    for _ in failed.len()..expected {
        failed.push(FailedBoot {
            boot_id: None,
            why: "it ended before /var was there, so it left no log".to_owned(),
            log: None,
        });
    }
    failed
}

fn list() -> anyhow::Result<Vec<Listed>> {
    let command = Cmd::new("journalctl").args(["--list-boots", "--output=json"]);
    let output = command.limit(LIMIT).run()?;
    serde_json::from_slice(&output.stdout).context("reading the list of boots")
}

/// The last boots after one and before another. Without the first, only the one before the last.
fn between(listed: &[Listed], since: &str, now: &str) -> Vec<String> {
    let end = listed.iter().position(|b| b.boot_id == now);
    let end = end.unwrap_or(listed.len());
    let start = listed.iter().position(|b| b.boot_id == since);
    let start = start.map_or(end.saturating_sub(1), |start| start + 1);
    let start = start.max(end.saturating_sub(MOST)).min(end);
    listed[start..end]
        .iter()
        .map(|b| b.boot_id.clone())
        .collect()
}

fn write(id: &str) -> anyhow::Result<String> {
    let path = folder().join(format!("{id}.log"));
    let doing = || format!("keeping the log of boot {id} in {}", path.display());
    mounts::private_dir(&folder())?;
    let boot = format!("--boot={id}");
    let command = Cmd::new("journalctl").args(["--no-pager", "--output=short-precise", &boot]);
    let output = command.args(["--lines", LINES]).limit(LIMIT).run();
    fs::write(&path, output.with_context(doing)?.stdout).with_context(doing)?;
    Ok(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boots_of_a_trial() {
        let saved = br#"[{"index":-3,"boot_id":"a","first_entry":1,"last_entry":2},
            {"index":-2,"boot_id":"b","first_entry":3,"last_entry":4},
            {"index":-1,"boot_id":"c","first_entry":3,"last_entry":4},
            {"index":0,"boot_id":"d","first_entry":5,"last_entry":6}]"#;
        let listed: Vec<Listed> = serde_json::from_slice(saved).unwrap();
        for (since, now, expected) in [
            ("a", "d", &["b", "c"][..]),
            ("c", "d", &[]),
            ("gone", "d", &["c"]),
            ("a", "not yet listed", &["b", "c", "d"]),
        ] {
            assert_eq!(between(&listed, since, now), expected, "{since} to {now}");
        }
        assert_eq!(between(&[], "a", "b"), Vec::<String>::new());
    }
}
