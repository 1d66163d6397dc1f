//! Installed disks, judged by programs that are not ours. `when` says what had been done to them.

use std::path::Path;

use harrow::disk::layout::{Layout, Role};
use harrow::sys::cmd::Cmd;

/// sgdisk finds nothing wrong with the partition table.
pub fn table_is_good(disk: &Path, when: &str) {
    let said = Cmd::new("sgdisk").arg("-v").arg(disk).run().unwrap().text();
    // Its exit status is 0 also when it found problems.
    assert!(said.contains("No problems found"), "{when}: {said}");
}

/// e2fsck finds nothing wrong with these file systems.
pub fn ext4_is_good(disk: &Path, layout: &Layout, roles: &[Role], when: &str) {
    for role in roles {
        let at = layout.of(*role).unwrap().start;
        let name = format!("{}?offset={at}", disk.display());
        let checked = Cmd::new("e2fsck").args(["-fn", &name]).run();
        checked.unwrap_or_else(|e| panic!("{when}, {}: {e:#}", role.name()));
    }
}
