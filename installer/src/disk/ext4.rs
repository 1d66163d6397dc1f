//! ext4 file systems, made by e2fsprogs.
//!
//! In: a place on the target, label, UUID, what it is for. Out: a file system there.
//! Large ones are made in place (`mke2fs -E offset`), the small OEM one in a temporary file
//! with its files in it and then copied, so that nothing is ever mounted and a plain file
//! needs no root rights.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::Context as _;
use uuid::Uuid;

use super::layout::{Partition, Role};
use super::window::Window;
use crate::failure::{Failure, Kind};
use crate::sys::cmd::Cmd;

/// The program that makes file systems.
pub const MKE2FS: &str = "mke2fs";
/// The program that sets owners inside one.
pub const DEBUGFS: &str = "debugfs";

/// An error when a program that this module needs is missing, before anything is written.
pub fn check_tools() -> anyhow::Result<()> {
    for tool in [MKE2FS, DEBUGFS] {
        Cmd::new(tool).arg("-V").run_any().map_err(|e| {
            Failure::error(
                Kind::ToolMissing,
                format!("{e:#}"),
                "install the package e2fsprogs (it may be in /sbin: check PATH)",
            )
        })?;
    }
    Ok(())
}

/// A file to be put on a small file system: name at its top, bytes, permission bits.
#[derive(Debug, Clone)]
pub struct SmallFile {
    /// Name, without slashes.
    pub name: String,
    /// Content.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

/// Makes an empty file system in a partition of `target`, in place.
pub fn make_in_place(target: &Path, partition: &Partition, id: Uuid) -> anyhow::Result<()> {
    // The kernel of the node finishes the tables and the journal in the background; without
    // this a large disk takes minutes. What can be discarded was discarded before.
    let extended = format!(
        "offset={},lazy_itable_init=1,lazy_journal_init=1,nodiscard,hash_seed={id}",
        partition.start
    );
    base_command(partition.role.label(), id)
        .args(["-E", &extended])
        .args(["-m", reserved_percent(partition.role)])
        .arg(target)
        .arg(format!("{}k", partition.size / 1024))
        .run()
        .with_context(|| format!("formatting {} as ext4", partition.role.name()))?;
    Ok(())
}

/// Root's reserve: /var must stay usable when logs fill it, a data disk needs none.
fn reserved_percent(role: Role) -> &'static str {
    if role == Role::Data { "0" } else { "1" }
}

fn base_command(label: &str, id: Uuid) -> Cmd {
    Cmd::new(MKE2FS)
        .args(["-q", "-F", "-F", "-t", "ext4", "-b", "4096", "-L", label])
        .args(["-U", &id.to_string()])
}

/// Makes a small file system that holds `files`, all owned by root, and writes it to `window`.
pub fn write_small(
    window: &mut Window<'_>,
    partition: &Partition,
    id: Uuid,
    files: &[SmallFile],
) -> anyhow::Result<()> {
    let what = || format!("making the file system {}", partition.role.label());
    let work = tempfile::tempdir().with_context(what)?;
    let tree = work.path().join("tree");
    std::fs::create_dir(&tree).with_context(what)?;
    let mut owners = String::new();
    for file in files {
        // Created unreadable for others: it may hold secrets.
        let mut options = File::options();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut handle = options.open(tree.join(&file.name)).with_context(what)?;
        handle.write_all(&file.bytes).with_context(what)?;
        let permissions = std::fs::Permissions::from_mode(file.mode);
        handle.set_permissions(permissions).with_context(what)?;
        for field in ["uid", "gid"] {
            owners += &format!("set_inode_field {} {field} 0\n", file.name);
        }
    }
    let image = work.path().join("image");
    let extended = format!("root_owner=0:0,lazy_itable_init=0,nodiscard,hash_seed={id}");
    base_command(partition.role.label(), id)
        .args(["-m", "0", "-E", &extended, "-d"])
        .arg(&tree)
        .arg(&image)
        .arg(format!("{}k", partition.size / 1024))
        .run()
        .with_context(what)?;
    Cmd::new(DEBUGFS)
        .args(["-w", "-f", "-"])
        .arg(&image)
        .input(owners)
        .run()
        .with_context(what)?;
    copy(&image, window).with_context(what)
}

fn copy(image: &Path, window: &mut Window<'_>) -> anyhow::Result<()> {
    let mut file = File::open(image)?;
    window.rewind()?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        window.write_all(&buffer[..count])?;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::sys::cmd::Cmd;

    fn partition(role: Role) -> Partition {
        Partition {
            role,
            number: 3,
            start: 1 << 20,
            size: 64 << 20,
            guid: Uuid::nil(),
        }
    }

    fn check(path: &Path) {
        Cmd::new("e2fsck")
            .arg("-fn")
            .arg(format!("{}?offset={}", path.display(), 1 << 20))
            .run()
            .unwrap();
    }

    #[test]
    fn a_small_file_system_holds_its_files_for_root_alone() {
        let target = tempfile::NamedTempFile::new().unwrap();
        target.as_file().set_len(66 << 20).unwrap();
        let files = [SmallFile {
            name: "config.yaml".into(),
            bytes: b"secret".to_vec(),
            mode: 0o600,
        }];
        let mut window = Window::new(target.as_file(), 1 << 20, 64 << 20);
        write_small(
            &mut window,
            &partition(Role::Oem),
            Uuid::from_u128(9),
            &files,
        )
        .unwrap();
        check(target.path());

        // Read back by the ext4 crate, which shares no code with e2fsprogs.
        let image = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = vec![0; 64 << 20];
        target.as_file().read_exact_at(&mut bytes, 1 << 20).unwrap();
        std::fs::write(image.path(), bytes).unwrap();
        let volume = ext4::SuperBlock::new(File::open(image.path()).unwrap()).unwrap();
        let inode = volume.resolve_path("/config.yaml").unwrap().inode;
        let inode = volume.load_inode(inode).unwrap();
        assert_eq!(inode.stat.file_mode & 0o777, 0o600);
        assert_eq!((inode.stat.uid, inode.stat.gid), (0, 0));
        let mut text = String::new();
        volume
            .open(&inode)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "secret");
    }

    #[test]
    fn a_large_one_is_made_in_place_and_touches_nothing_before_it() {
        let target = tempfile::NamedTempFile::new().unwrap();
        target.as_file().set_len(66 << 20).unwrap();
        target.as_file().write_all_at(&[7; 1 << 20], 0).unwrap();
        make_in_place(target.path(), &partition(Role::Var), Uuid::from_u128(9)).unwrap();
        check(target.path());
        let mut before = vec![0; 1 << 20];
        target.as_file().read_exact_at(&mut before, 0).unwrap();
        assert!(before.iter().all(|b| *b == 7));
    }
}
