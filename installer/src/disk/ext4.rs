//! ext4 file systems, made by e2fsprogs.
//!
//! In: a place on the target, label, UUID, what it is for. Out: a file system there.
//! They are made in place (`mke2fs -E offset`) and filled by debugfs, so that nothing is ever
//! mounted and a plain file needs no root rights.

use std::fs::File;
use std::io::Write as _;

use anyhow::{Context as _, bail};
use uuid::Uuid;

use super::block::{Block, path_of};
use super::layout::{Partition, Role};
use crate::failure::{Failure, Kind};
use crate::sys::cmd::Cmd;

/// The program that makes file systems.
pub const MKE2FS: &str = "mke2fs";
/// The program that sets owners inside one.
pub const DEBUGFS: &str = "debugfs";

/// An error when a program that this module needs is missing, before anything is written.
pub fn check_tools() -> anyhow::Result<()> {
    let mut missing = [MKE2FS, DEBUGFS].to_vec();
    missing.retain(|tool| Cmd::new(tool).arg("-V").run_any().is_err());
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::error(
        Kind::ToolMissing,
        format!("not found in PATH: {}", missing.join(", ")),
        "install the package e2fsprogs",
    ))
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

/// The features, said here so that they do not depend on the mke2fs.conf of the machine that
/// installs: those that Debian 13 gives, and `64bit` at any size, so that a copy of the disk can
/// grow.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,\
                        flex_bg,metadata_csum,sparse_super,large_file,huge_file,\
                        dir_nlink,extra_isize";

/// Makes an empty file system in a partition of `target`, in place.
pub fn make_in_place(target: &dyn Block, partition: &Partition, id: Uuid) -> anyhow::Result<()> {
    let purpose = Purpose::of(partition.role);
    let lazy = u8::from(purpose.lazy);
    // What was on the disk has been discarded already.
    let extended = format!(
        "offset={},root_owner=0:0,lazy_itable_init={lazy},lazy_journal_init={lazy},nodiscard,hash_seed={id}",
        partition.start
    );
    target.lend(partition.range(), &mut |disk| {
        Cmd::new(MKE2FS)
            .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256"])
            .args(["-O", FEATURES, "-i", purpose.bytes_per_inode])
            .args(["-L", partition.role.label(), "-U", &id.to_string()])
            .args(["-E", &extended, "-m", purpose.reserved_percent])
            .arg(disk)
            .arg(format!("{}k", partition.size / 1024))
            .run()
            .with_context(|| format!("formatting {} as ext4", partition.role.name()))?;
        Ok(())
    })
}

/// What a file system is made for.
struct Purpose {
    /// Leaves tables and journal to the kernel that mounts it, which finishes them in the
    /// background; without this a large disk takes minutes.
    lazy: bool,
    /// One inode for so many bytes.
    bytes_per_inode: &'static str,
    /// Root's reserve.
    reserved_percent: &'static str,
}

impl Purpose {
    fn of(role: Role) -> Self {
        match role {
            // Container images have many small files. Logs must not fill it to the last block.
            Role::Var => Self {
                lazy: true,
                bytes_per_inode: "8192",
                reserved_percent: "1",
            },
            // Longhorn's replicas are few and large.
            Role::Data => Self {
                lazy: true,
                bytes_per_inode: "262144",
                reserved_percent: "0",
            },
            // A node mounts it for reading only, and then the kernel finishes nothing.
            _ => Self {
                lazy: false,
                bytes_per_inode: "16384",
                reserved_percent: "0",
            },
        }
    }
}

/// Makes a file system in a partition of `target` that holds `files`, all owned by root. Their
/// bytes, which may be secrets, go through memory alone.
pub fn make_with_files(
    target: &dyn Block,
    partition: &Partition,
    id: Uuid,
    files: &[SmallFile],
) -> anyhow::Result<()> {
    make_in_place(target, partition, id)?;
    fill(target, partition, files, &mut String::new())
}

/// Puts files on the small file system in a partition, in place of those of the same name, which
/// must be there.
pub fn replace_files(
    target: &dyn Block,
    partition: &Partition,
    files: &[SmallFile],
) -> anyhow::Result<()> {
    let mut requests: String = files.iter().map(|f| format!("rm {}\n", f.name)).collect();
    fill(target, partition, files, &mut requests)
}

fn fill(
    target: &dyn Block,
    partition: &Partition,
    files: &[SmallFile],
    requests: &mut String,
) -> anyhow::Result<()> {
    let what = || format!("writing files to {}", partition.role.name());
    let mut sources = Vec::new();
    for SmallFile { name, bytes, mode } in files {
        let memory = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC);
        let mut source = File::from(memory.with_context(what)?);
        source.write_all(bytes).with_context(what)?;
        *requests += &format!("write {} {name}\n", path_of(&source));
        for (field, value) in [("mode", 0o100_000 | mode), ("uid", 0), ("gid", 0)] {
            *requests += &format!("set_inode_field {name} {field} 0{value:o}\n");
        }
        sources.push(source);
    }
    target.lend(partition.range(), &mut |disk| {
        let output = Cmd::new(DEBUGFS)
            .args(["-w", "-f", "-"])
            .arg(format!("{disk}?offset={}", partition.start))
            .input(requests.clone())
            .run()
            .with_context(what)?;
        // debugfs ends well whatever a request came to; after its greeting, stderr is for errors.
        let complaint = output.stderr.lines().skip(1).find(|line| !line.is_empty());
        match complaint {
            Some(complaint) => bail!("{}: debugfs says: {complaint}", what()),
            None => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::FileExt as _;
    use std::path::Path;

    use super::*;

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
        let role = partition(Role::Oem);
        make_with_files(target.as_file(), &role, Uuid::from_u128(9), &files).unwrap();
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
    fn files_that_do_not_fit_are_an_error() {
        let target = tempfile::NamedTempFile::new().unwrap();
        target.as_file().set_len(66 << 20).unwrap();
        let files = [SmallFile {
            name: "config.yaml".into(),
            bytes: vec![1; 65 << 20],
            mode: 0o600,
        }];
        let role = partition(Role::Oem);
        let error = make_with_files(target.as_file(), &role, Uuid::nil(), &files).unwrap_err();
        assert!(format!("{error:#}").contains("debugfs says"), "{error:#}");
    }

    #[test]
    fn a_large_one_is_made_in_place_and_touches_nothing_before_it() {
        let target = tempfile::NamedTempFile::new().unwrap();
        target.as_file().set_len(66 << 20).unwrap();
        target.as_file().write_all_at(&[7; 1 << 20], 0).unwrap();
        make_in_place(target.as_file(), &partition(Role::Var), Uuid::from_u128(9)).unwrap();
        check(target.path());
        let mut before = vec![0; 1 << 20];
        target.as_file().read_exact_at(&mut before, 0).unwrap();
        assert!(before.iter().all(|b| *b == 7));
    }
}
