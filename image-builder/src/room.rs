//! Whether what is going to be written has room, asked before anything is written.
//!
//! In: folders and the bytes that go into each. Out: nothing, or an error that says how much is
//! missing where. Folders on one file system share its room.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Context as _;
use harrow::failure::{Failure, Kind};

use crate::progress::size;

/// Compares what is needed with what is free. `what` is what needs it, for the error.
pub fn check(what: &str, needs: &[(&Path, u64)]) -> anyhow::Result<()> {
    let mut by_device: BTreeMap<u64, (&Path, u64)> = BTreeMap::new();
    for (folder, bytes) in needs {
        let found = folder.metadata();
        let device = found
            .with_context(|| format!("looking at {}", folder.display()))?
            .dev();
        let entry = by_device.entry(device).or_insert((folder, 0));
        entry.1 = entry.1.saturating_add(*bytes);
    }
    for (folder, bytes) in by_device.into_values() {
        let there = rustix::fs::statvfs(folder)
            .with_context(|| format!("asking how much room {} has", folder.display()))?;
        compare(what, folder, bytes, there.f_bavail * there.f_frsize)?;
    }
    Ok(())
}

fn compare(what: &str, folder: &Path, bytes: u64, free: u64) -> anyhow::Result<()> {
    if bytes <= free {
        return Ok(());
    }
    Err(Failure::error(
        Kind::NoSpace,
        format!(
            "{what} takes about {}, and {} has {} left: nothing was written",
            size(bytes),
            folder.display(),
            size(free)
        ),
        "free some space there, or choose other folders with --cache and --out",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_one_file_system_share_its_room() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::create_dir(&a).unwrap();
        std::fs::create_dir(&b).unwrap();
        check("x", &[(&a, 1), (&b, 1)]).unwrap();
        let there = rustix::fs::statvfs(dir.path()).unwrap();
        let free = there.f_bavail * there.f_frsize;
        // Half of it and a bit, twice; each alone would fit.
        let half = free / 2 + (64 << 20);
        check("x", &[(&a, half)]).unwrap();
        let error = check("an image", &[(&a, half), (&b, half)]).unwrap_err();
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::NoSpace);
        assert!(error.to_string().starts_with("an image takes about "));
        assert!(check("x", &[(&dir.path().join("none"), 1)]).is_err());
    }

    #[test]
    fn exactly_enough_is_enough() {
        let compare = |bytes| compare("x", Path::new("/f"), bytes, 1000);
        compare(1000).unwrap();
        let text = compare(1001).unwrap_err().to_string();
        assert_eq!(
            text,
            "x takes about 2 kB, and /f has 1 kB left: nothing was written"
        );
    }
}
