//! What is on VAR of the payload and of no use any more.
//!
//! In: the folder of the payload, the store. Out: less in them. A power cut can leave any of it
//! behind, so each run of `harrow payload` looks; what a running fetch needs is not touched.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context as _;

use crate::bundle::{LockedBundle, Store, clear_beside, needed};

/// Beside a payload that is whole: takes away half-made folders, what was begun, and blobs that no
/// artifact needs. How many bytes of the store that made free.
pub(super) fn after_fetching(
    locked: &LockedBundle,
    store: &Store,
    dir: &Path,
) -> anyhow::Result<u64> {
    clear_beside(dir)?;
    // The layers of images lie in the archives, too.
    store.prune(&needed(locked, store))
}

/// On a node whose image has its own payload: takes away all that was ever fetched.
pub(super) fn all_that_was_fetched(store: &Path, dir: &Path) -> anyhow::Result<()> {
    clear_beside(dir)?;
    for path in [dir, store] {
        match fs::remove_dir_all(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("removing {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
