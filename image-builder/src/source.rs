//! Which source a build is made of: its git commit and its date.
//!
//! In: the source folder and what the environment says. Out: a [`Source`]. A folder that is
//! not a git checkout is fine.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use harrow::sys::cmd::Cmd;
use jiff::Timestamp;

/// The source of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The commit, with `-dirty` if something is not committed.
    pub commit: Option<String>,
    /// The date that everything in the build carries, in seconds since 1970.
    pub epoch: u64,
}

/// Finds commit and date. The date is `SOURCE_DATE_EPOCH` if given, else the commit's, else now.
pub fn probe(dir: &Path, source_date_epoch: Option<&str>) -> anyhow::Result<Source> {
    let given = source_date_epoch
        .map(|text| {
            text.trim()
                .parse::<u64>()
                .with_context(|| format!("SOURCE_DATE_EPOCH={text:?} is not a number of seconds"))
        })
        .transpose()?;
    let head = git(dir, &["log", "-1", "--format=%H %ct"]);
    let (commit, date) = head.as_deref().map_or((None, None), parse_head);
    let commit = commit.map(|hash| match git(dir, &["status", "--porcelain"]) {
        Some(changes) if changes.trim().is_empty() => hash,
        _ => format!("{hash}-dirty"),
    });
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map(|d| d.as_secs())
    };
    let epoch = match given.or(date) {
        Some(epoch) => epoch,
        None => now().context("the clock is before 1970")?,
    };
    Ok(Source { commit, epoch })
}

impl Source {
    /// The date as RFC 3339 in UTC.
    pub fn created(&self) -> anyhow::Result<String> {
        i64::try_from(self.epoch)
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .map(|t| t.to_string())
            .with_context(|| format!("{} seconds since 1970 is not a date", self.epoch))
    }
}

/// What git says, if it is installed and `dir` is in a checkout with a commit.
fn git(dir: &Path, args: &[&str]) -> Option<String> {
    let output = Cmd::new("git").args(args).dir(dir).run().ok()?;
    Some(output.text())
}

fn parse_head(text: &str) -> (Option<String>, Option<u64>) {
    match text.trim().split_once(' ') {
        Some((hash, date)) => (Some(hash.to_owned()), date.parse().ok()),
        None => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_given_date_wins_and_nonsense_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let source = probe(dir.path(), Some("1700000000")).unwrap();
        assert_eq!(source.epoch, 1_700_000_000);
        assert_eq!(source.created().unwrap(), "2023-11-14T22:13:20Z");
        assert!(probe(dir.path(), Some("yesterday")).is_err());
    }

    #[test]
    fn gits_head_is_understood() {
        assert_eq!(parse_head("abc 17\n"), (Some("abc".into()), Some(17)));
        assert_eq!(parse_head(""), (None, None));
    }
}
