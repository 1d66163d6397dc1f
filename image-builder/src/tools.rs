//! The programs that a build needs, looked up before anything starts.
//!
//! In: PATH. Out: nothing, or one error that names all that are missing and the Debian or
//! Ubuntu packages that bring them.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::bail;

/// Programs with the package of each.
const TOOLS: &[(&str, &str)] = &[
    ("apt-get", "apt"),
    ("env", "coreutils"),
    ("mksquashfs", "squashfs-tools"),
    ("mmdebstrap", "mmdebstrap"),
    ("tar", "tar"),
    ("xorriso", "xorriso"),
];

/// Looks for every program in the folders of `path`, which is the value of PATH.
pub fn check(path: &OsStr) -> anyhow::Result<()> {
    let missing: Vec<_> = TOOLS
        .iter()
        .filter(|(tool, _)| !is_in(path, tool))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let tools: Vec<&str> = missing.iter().map(|(tool, _)| *tool).collect();
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    bail!(
        "these programs are not installed: {}\n  hint: apt-get install {}",
        tools.join(", "),
        packages.join(" ")
    );
}

fn is_in(path: &OsStr, tool: &str) -> bool {
    std::env::split_paths(path).any(|dir| is_executable(&dir.join(tool)))
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_named_at_once_with_packages() {
        let dir = tempfile::tempdir().unwrap();
        for tool in ["apt-get", "env", "mmdebstrap", "tar", "xorriso"] {
            let path = dir.path().join(tool);
            std::fs::write(&path, "").unwrap();
            // xorriso is there but cannot be run.
            let mode = if tool == "xorriso" { 0o644 } else { 0o755 };
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let error = check(dir.path().as_os_str()).unwrap_err().to_string();
        assert_eq!(
            error,
            "these programs are not installed: mksquashfs, xorriso\n  hint: apt-get install squashfs-tools xorriso"
        );
    }
}
