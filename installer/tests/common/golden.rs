//! Golden folders: what came out against what is kept, and the cases of a folder.

// A test may panic, and not each needs all of it.
#![allow(clippy::unwrap_used, dead_code)]

use std::fs;
use std::path::{Path, PathBuf};

/// Compares with the file, or rewrites it when `BLESS` is set.
#[allow(clippy::disallowed_methods)] // a test's own switch
pub fn check(path: &Path, actual: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} differs (`make bless` rewrites it); this is what came out:\n{actual}",
        path.display()
    );
}

/// The cases of `tests/golden/<name>`: its folders, at least so many.
pub fn cases(name: &str, least: usize) -> Vec<PathBuf> {
    let golden = folder(name);
    let mut cases = entries(&golden);
    cases.retain(|path| path.is_dir());
    assert!(cases.len() >= least, "{} is incomplete", golden.display());
    cases
}

/// `tests/golden/<name>`.
pub fn folder(name: &str) -> PathBuf {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    golden.join(name)
}

/// What is in a folder, in order.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(dir).unwrap();
    let mut found: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}
