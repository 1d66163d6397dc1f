//! `harrow disks`: disks as a table for people, or as JSON with the verdict on each.
//!
//! In: disks. Out: text of at most 80 columns, or data. Pure. The verdict is for a config that
//! says nothing of sizes.

use serde::Serialize;

use super::content::in_words;
use super::{DiskFacts, NOT_ALLOWED};
use crate::config::{Sizes, VAR};
use crate::disk::choose::candidate;
use crate::disk::layout::{DataPlace, least_disk, show};

const WIDTH: usize = 80;
/// Columns of the path before the size begins.
const PATH: usize = 30;

/// A disk and whether it can be installed on.
#[derive(Debug, Serialize)]
pub struct Verdict<'a> {
    /// The disk.
    #[serde(flatten)]
    pub disk: &'a DiskFacts,
    /// It can be installed on.
    pub candidate: bool,
    /// Why it can't.
    pub why_not: Option<String>,
}

/// Every disk with the verdict on it.
pub fn with_verdicts(disks: &[DiskFacts]) -> Vec<Verdict<'_>> {
    let least = least_disk(Sizes { var: VAR }, DataPlace::Here);
    let verdict = |disk| {
        let why_not = candidate(disk, least).err().map(|why| why.to_string());
        Verdict {
            disk,
            candidate: why_not.is_none(),
            why_not,
        }
    };
    disks.iter().map(verdict).collect()
}

/// A table for people.
pub fn render_table(disks: &[DiskFacts]) -> String {
    if disks.is_empty() {
        return "this machine has no disks: is a driver missing, or a cable?\n".into();
    }
    let mut table = row("DISK", "SIZE", "VIA", "MODEL");
    for verdict in with_verdicts(disks) {
        let disk = verdict.disk;
        let size = match disk.size {
            0 => "-".into(),
            size => show(size),
        };
        let via = disk.transport.as_deref().unwrap_or("-");
        let model = disk.model.as_deref().unwrap_or("-");
        table += &row(&disk.path.display().to_string(), &size, via, model);
        if let Some(serial) = &disk.serial {
            table += &wrapped(&format!("serial {serial}"));
        }
        if !disk.paths.is_empty() {
            table += &wrapped(&format!("paths {}", disk.paths.join(", ")));
        }
        if disk.size > 0 && (disk.unreadable.is_none() || !disk.holds.is_empty()) {
            table += &wrapped(&format!("holds {}", in_words(&disk.holds)));
        }
        if disk.unreadable.as_deref() == Some(NOT_ALLOWED) {
            table += &wrapped(&format!("there may be more on it: {NOT_ALLOWED}"));
        }
        table += &wrapped(&match verdict.why_not {
            None => "can be installed on".to_owned(),
            Some(why) => format!("can't be installed on: {why}"),
        });
    }
    table
}

fn row(path: &str, size: &str, via: &str, model: &str) -> String {
    let (path, start) = match path.chars().count() > PATH {
        true => (format!("{path}\n"), " ".repeat(PATH)),
        false => (String::new(), format!("{path:<PATH$}")),
    };
    let line = format!("{start} {size:>9}  {via:<6}  {model}");
    let line: String = line.chars().take(WIDTH).collect();
    format!("{path}{}\n", line.trim_end())
}

/// An indented text; what does not fit on a line goes on more deeply indented.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("   ");
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH && !line.trim().is_empty() {
            lines += &(line + "\n");
            line = "     ".into();
        }
        line = format!("{line} {word}");
    }
    lines + &line + "\n"
}
