//! Writes an initramfs archive (cpio "newc") out of overlay entries.
//!
//! In: [`Entry`]s. Out: bytes that can be appended to an initrd whose length is a multiple of
//! four. The kernel unpacks concatenated archives one after the other, each compressed or not,
//! and later files replace earlier ones; the format is in the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`.

use anyhow::Context as _;

use crate::overlay::{Entry, Node};

/// Archives of an initrd start at multiples of this (ibid.).
pub const ALIGN: usize = 4;

/// Makes an archive; folders that the entries need but that are not among them must exist in
/// an earlier archive. `mtime` is in seconds since 1970.
pub fn write(entries: &[Entry], mtime: u32) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        let data = match &entry.node {
            Node::Dir => Vec::new(),
            Node::File { content, .. } => content.read()?,
            Node::Symlink(target) => target.clone().into_bytes(),
        };
        let inode = u32::try_from(number + 1).context("too many files for a cpio archive")?;
        let size = u32::try_from(data.len())
            .with_context(|| format!("{} is too large for a cpio archive", entry.path))?;
        push_header(&mut out, inode, entry.mode(), mtime, size, &entry.path);
        out.extend_from_slice(&data);
        pad(&mut out);
    }
    push_header(&mut out, 0, 0, 0, 0, "TRAILER!!!");
    Ok(out)
}

/// The header: `070701` and 13 fields of 8 hex digits, then the name with its NUL, padded.
fn push_header(out: &mut Vec<u8>, inode: u32, mode: u32, mtime: u32, size: u32, name: &str) {
    let links = 1;
    let name_size = name.len() + 1;
    let [
        uid,
        gid,
        dev_major,
        dev_minor,
        rdev_major,
        rdev_minor,
        check,
    ] = [0u32; 7];
    out.extend_from_slice(
        format!(
            "070701{inode:08X}{mode:08X}{uid:08X}{gid:08X}{links:08X}{mtime:08X}{size:08X}\
             {dev_major:08X}{dev_minor:08X}{rdev_major:08X}{rdev_minor:08X}{name_size:08X}{check:08X}"
        )
        .as_bytes(),
    );
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    pad(out);
}

/// Zeros up to the next multiple of [`ALIGN`].
pub fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(ALIGN), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrow::sys::cmd::Cmd;

    fn file(path: &str, bytes: &[u8]) -> Entry {
        Entry::bytes(path, bytes)
    }

    #[test]
    fn every_part_is_aligned_whatever_the_lengths() {
        for name_len in 1..9 {
            for data_len in 0..5 {
                let name = "n".repeat(name_len);
                let archive = write(&[file(&name, &vec![b'x'; data_len])], 0).unwrap();
                assert_eq!(archive.len() % ALIGN, 0, "{name_len} {data_len}");
                let data = (110 + name_len + 1).next_multiple_of(4);
                let trailer = (data + data_len).next_multiple_of(4);
                assert_eq!(&archive[data..data + data_len], vec![b'x'; data_len]);
                assert_eq!(
                    &archive[trailer..trailer + 6],
                    b"070701",
                    "{name_len} {data_len}"
                );
            }
        }
    }

    #[test]
    fn no_entries_are_just_the_trailer() {
        let archive = write(&[], 7).unwrap();
        assert_eq!(archive.len(), 124);
        assert!(archive[110..].starts_with(b"TRAILER!!!\0"));
    }

    #[test]
    fn cpio_reads_what_was_written() {
        if Cmd::new("cpio").arg("--version").run().is_err() {
            eprintln!("skipped: cpio is not installed");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let entries = [
            Entry {
                path: "etc".into(),
                node: Node::Dir,
            },
            file("etc/a", b"hello\n"),
            Entry {
                path: "etc/link".into(),
                node: Node::Symlink("a".into()),
            },
        ];
        let archive = write(&entries, 86_400).unwrap();
        Cmd::new("cpio")
            .args(["-id", "--quiet"])
            .dir(dir.path())
            .input(archive)
            .run()
            .unwrap();
        assert_eq!(
            std::fs::read(dir.path().join("etc/link")).unwrap(),
            b"hello\n"
        );
        assert_eq!(
            std::fs::read_link(dir.path().join("etc/link"))
                .unwrap()
                .to_str(),
            Some("a")
        );
    }
}
