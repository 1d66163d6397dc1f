//! What a person answered already: the config of an install that did not end.
//!
//! In: the disks of the machine, or the file that was named. Out: the disk and the config on its OEM
//! partition, so that a second run need not be told again. Reads only.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Source, SourceKind};
use crate::disk::journal;
use crate::disk::layout::Role;
use crate::facts::{self, Content, Holding, Roots};
use crate::node::source::CONFIG_NAME;
use crate::sys::cmd::Cmd;

/// How long reading a small file may take.
const LIMIT: Duration = Duration::from_secs(20);

/// An install that did not end.
#[derive(Debug)]
pub struct Leftover {
    /// The disk that it is on.
    pub path: PathBuf,
    /// Its size in bytes, when it is a file.
    pub file_size: Option<u64>,
    /// When it began, RFC 3339.
    pub started: String,
    /// What was answered.
    pub source: Source,
}

/// Installs of this machine that did not end; with `device` the one there. The facts are read with
/// a time limit, so that a dying disk holds nobody up.
pub fn find(device: Option<&Path>) -> Vec<Leftover> {
    let paths = match device {
        Some(path) => vec![path.to_owned()],
        None => {
            let disks = facts::probe(&Roots::default()).disks.into_iter();
            let begun = |holds: &Content| matches!(holds.what, Holding::UnfinishedInstall { .. });
            let begun = disks.filter(|disk| disk.holds.iter().any(begun));
            begun.map(|disk| disk.path).collect()
        }
    };
    paths.iter().filter_map(|path| read(path)).collect()
}

fn read(path: &Path) -> Option<Leftover> {
    use std::io::{Seek as _, SeekFrom};
    let mut disk = File::open(path).ok()?;
    let size = disk.seek(SeekFrom::End(0)).ok()?;
    let (_, unfinished) = journal::unfinished(&disk, size).ok()??;
    if !unfinished.config_kept {
        return None;
    }
    let start = unfinished.layout.of(Role::Oem).ok()?.start;
    let output = Cmd::new("debugfs")
        .args(["-R", &format!("cat {CONFIG_NAME}")])
        .arg(format!("{}?offset={start}", path.display()))
        .limit(LIMIT)
        .run()
        .ok()?;
    let name = format!("{}, an install that did not end", path.display());
    (!output.stdout.is_empty()).then(|| Leftover {
        path: path.to_owned(),
        file_size: path.is_file().then_some(size),
        started: unfinished.started,
        source: Source::yaml(SourceKind::Oem, &name, output.stdout),
    })
}
