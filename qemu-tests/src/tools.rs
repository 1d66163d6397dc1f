//! The programs that the harness uses, and the Debian packages that bring them.

use std::path::Path;

use anyhow::bail;
use harrow::sys::cmd::Cmd;

/// Where programs are, also those that an ordinary user's PATH lacks.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Every program and its package.
const TOOLS: [(&str, &str); 16] = [
    ("e2fsck", "e2fsprogs"),
    ("fsck.fat", "dosfstools"),
    ("mcopy", "mtools"),
    ("qemu-img", "qemu-utils"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("fdisk", "fdisk"),
    ("setpriv", "util-linux"),
    ("setsid", "util-linux"),
    ("sgdisk", "gdisk"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("ssh-keyscan", "openssh-client"),
    ("strip", "binutils"),
    ("unsquashfs", "squashfs-tools"),
    ("veritysetup", "cryptsetup-bin"),
    ("xorriso", "xorriso"),
];

/// A command for one of the programs.
pub fn tool(name: &str) -> Cmd {
    Cmd::new(name).env("PATH", FOLDERS.join(":"))
}

/// An error that names every program that is missing, with its package.
pub fn check_tools() -> anyhow::Result<()> {
    let missing = missing_tools(|name| {
        FOLDERS
            .iter()
            .any(|folder| Path::new(folder).join(name).exists())
    });
    if !missing.is_empty() {
        bail!("programs are missing: {}", missing.join(", "));
    }
    Ok(())
}

fn missing_tools(is_there: impl Fn(&str) -> bool) -> Vec<String> {
    TOOLS
        .iter()
        .filter(|(name, _)| !is_there(name))
        .map(|(name, package)| format!("{name} (package {package})"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_missing_programs_are_named_with_their_packages() {
        assert_eq!(
            missing_tools(|name| name != "mcopy"),
            ["mcopy (package mtools)"]
        );
        assert_eq!(missing_tools(|_| false).len(), TOOLS.len());
    }
}
