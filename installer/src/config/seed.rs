//! Seed disks: the user-data that a cloud or a person gives a machine on a small disk.
//!
//! In: a block device or image file, a limit. Out: the bytes of its user-data with the name of
//! their source, to be read as a config; `None` when it is no seed.
//!
//! | kind | label | file |
//! |---|---|---|
//! | NoCloud | `cidata` | `user-data` |
//! | ConfigDrive | `config-2` | `openstack/latest/user_data`, `ec2/latest/user-data` |
//!
//! Both are FAT or ISO 9660, and labels come in either case (cloud-init's datasources NoCloud
//! and ConfigDrive).

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::path::Path;

use anyhow::Context as _;

use crate::disk::fat::Fat;
use crate::disk::iso9660::Iso;
use crate::disk::window::Window;
use crate::failure::{Failure, Kind};

/// What is read of a strange file system before it is given up: far more than the tables and
/// one config need.
const BUDGET: u64 = 64 << 20;

/// A label, and the files that are user-data under it, best first.
const KINDS: [(&str, &str, &[&str]); 2] = [
    ("NoCloud", "cidata", &["user-data"]),
    (
        "ConfigDrive",
        "config-2",
        &["openstack/latest/user_data", "ec2/latest/user-data"],
    ),
];

/// User-data that was found.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed {
    /// Where: kind of seed, file and device.
    pub source: String,
    /// The file's bytes, as they are.
    pub user_data: Vec<u8>,
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // User-data holds passwords.
        write!(f, "Seed({}, {} bytes)", self.source, self.user_data.len())
    }
}

/// Looks for user-data of at most `limit` bytes on a disk, partition or image file. `None` when it
/// has another label, another file system, or no user-data.
pub fn read_seed(device: &Path, limit: u64) -> anyhow::Result<Option<Seed>> {
    let shown = device.display();
    let context = || format!("reading the seed disk {shown}");
    let mut file = File::open(device).with_context(context)?;
    // The size of a block device is not in its metadata.
    let size = file.seek(SeekFrom::End(0)).with_context(context)?;
    let window = || Window::new(&file, 0, size).with_budget(BUDGET);
    if let Some(mut iso) = Iso::open(window()).with_context(context)? {
        let label = iso.label().to_owned();
        return find(&label, &shown.to_string(), limit, |path| {
            iso.read(path, limit)
        })
        .with_context(context);
    }
    // An error means that it is another file system or none.
    let Ok(fat) = Fat::open(window()) else {
        return Ok(None);
    };
    let label = fat.label().with_context(context)?;
    // One byte more than allowed tells too large from just right.
    find(&label, &shown.to_string(), limit, |path| {
        fat.read(path, limit + 1)
    })
    .with_context(context)
}

fn find(
    label: &str,
    device: &str,
    limit: u64,
    mut read: impl FnMut(&str) -> anyhow::Result<Option<Vec<u8>>>,
) -> anyhow::Result<Option<Seed>> {
    let same = |(_, name, _): &&(&str, &str, &[&str])| label.eq_ignore_ascii_case(name);
    let Some((kind, _, paths)) = KINDS.iter().find(same) else {
        return Ok(None);
    };
    for path in *paths {
        let Some(user_data) = read(path)? else {
            continue;
        };
        if user_data.len() as u64 > limit {
            return Err(Failure::error(
                Kind::ConfigInvalid,
                format!("{path} is larger than {limit} bytes"),
                "user-data is a config of a few KiB",
            ));
        }
        return Ok(Some(Seed {
            source: format!("{path} of the {kind} disk {device}"),
            user_data,
        }));
    }
    tracing::debug!("the {kind} disk {device} has no user-data");
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::cmd::Cmd;

    const LIMIT: u64 = 1 << 20;

    /// A FAT image of 1440 KiB or more with one file, made by mkfs.vfat and mtools.
    fn fat(label: &str, path: &str, content: &[u8], kib: &str) -> tempfile::NamedTempFile {
        let image = tempfile::NamedTempFile::new().unwrap();
        let name = image.path().to_str().unwrap();
        Cmd::new("mkfs.vfat")
            .args(["-n", label, "-C", &format!("{name}.fat"), kib])
            .run()
            .unwrap();
        std::fs::rename(format!("{name}.fat"), name).unwrap();
        for (end, _) in path.match_indices('/') {
            Cmd::new("mmd")
                .args(["-i", name, &format!("::{}", &path[..end])])
                .run()
                .unwrap();
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let source = file.path().to_str().unwrap();
        Cmd::new("mcopy")
            .args(["-i", name, source, &format!("::{path}")])
            .run()
            .unwrap();
        image
    }

    fn iso(label: &str, path: &str, content: &[u8]) -> tempfile::NamedTempFile {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
        let image = tempfile::NamedTempFile::new().unwrap();
        let (out, tree) = (image.path().to_str().unwrap(), dir.path().to_str().unwrap());
        Cmd::new("xorriso")
            .args([
                "-as", "mkisofs", "-quiet", "-J", "-r", "-V", label, "-o", out, tree,
            ])
            .run()
            .unwrap();
        image
    }

    #[test]
    fn seeds_of_both_kinds_on_both_file_systems() {
        const TEXT: &[u8] = b"#cloud-config\ntoken: x\n";
        for (label, path) in [
            ("CIDATA", "user-data"),
            ("cidata", "user-data"),
            ("config-2", "openstack/latest/user_data"),
            ("CONFIG-2", "ec2/latest/user-data"),
        ] {
            for image in [
                fat(label, path, TEXT, "1440"),
                fat(label, path, TEXT, "40000"),
                iso(label, path, TEXT),
            ] {
                let seed = read_seed(image.path(), LIMIT).unwrap().unwrap();
                assert_eq!(seed.user_data, TEXT);
                assert!(seed.source.starts_with(path), "{seed:?}");
                assert!(!format!("{seed:?}").contains("token"));
            }
        }
    }

    #[test]
    fn other_disks_are_no_seeds() {
        assert_eq!(
            read_seed(fat("OTHER", "user-data", b"x", "1440").path(), LIMIT).unwrap(),
            None
        );
        assert_eq!(
            read_seed(iso("other", "user-data", b"x").path(), LIMIT).unwrap(),
            None
        );
        assert_eq!(
            read_seed(iso("cidata", "meta-data", b"x").path(), LIMIT).unwrap(),
            None
        );
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(read_seed(empty.path(), LIMIT).unwrap(), None);
        empty.as_file().set_len(1 << 20).unwrap();
        assert_eq!(read_seed(empty.path(), LIMIT).unwrap(), None);
        assert!(read_seed(Path::new("/no/such"), LIMIT).is_err());
    }

    #[test]
    fn sizes_have_a_limit() {
        let content = vec![b'x'; 1000];
        for image in [
            fat("CIDATA", "user-data", &content, "1440"),
            iso("cidata", "user-data", &content),
        ] {
            assert!(read_seed(image.path(), 1000).unwrap().is_some());
            let error = read_seed(image.path(), 999).unwrap_err();
            assert!(
                format!("{error:#}").contains("999 bytes")
                    || format!("{error:#}").contains("more than 999")
            );
        }
    }
}
