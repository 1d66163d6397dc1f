use super::*;
use harrow::bundle::Digest;

const EPOCH: u64 = 1_700_000_000;
const ARCHIVE: &str = "usr/lib/harrow/payload/images/a-1.2_x.tar.zst";
/// As large as all inodes and folders of the sample together, at most.
const REST: u64 = 64 << 10;

/// A base with a folder, a program of root's and a file that anybody may read.
fn base(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("base.tar");
    let mut tar = tar::Builder::new(File::create(&path).unwrap());
    for (path, mode, kind) in [
        ("usr", 0o755, tar::EntryType::Directory),
        ("usr/ping", 0o755, tar::EntryType::Regular),
        ("usr/su do\\x2d", 0o4711, tar::EntryType::Regular),
    ] {
        let bytes: &[u8] = match kind {
            tar::EntryType::Directory => b"",
            _ => b"program",
        };
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_mtime(5);
        // What a folder of the build host would have as owner, if it were not kept.
        header.set_uid(if mode == 0o4711 { 77 } else { 0 });
        header.set_gid(0);
        tar.append_data(&mut header, path, bytes).unwrap();
    }
    tar.into_inner().unwrap();
    path
}

fn folders(of: &str) -> Vec<Entry> {
    let folder = |(end, _)| Entry {
        path: of[..end].to_owned(),
        node: Node::Dir,
    };
    of.match_indices('/').map(folder).collect()
}

/// The overlay of an image with one archive.
fn overlay(archive: &Path) -> Vec<Entry> {
    let (sha256, size) = Digest::of_file(archive).unwrap();
    let content = Content::Archive(Archive {
        path: archive.to_owned(),
        sha256,
        size,
    });
    let mut entries = folders(ARCHIVE);
    entries.push(Entry {
        path: ARCHIVE.into(),
        node: Node::File {
            content,
            executable: false,
        },
    });
    entries.push(Entry::bytes("usr/plain", vec![b'p'; 1 << 20]));
    entries
}

fn pack(dir: &Path, overlay: &[Entry], name: &str) -> std::path::PathBuf {
    let out = dir.join(name);
    let what = Composition {
        exclude: &["/usr/nothing".to_owned()],
        overlay,
        mtime: EPOCH,
    };
    write(&base(dir), &out, &what, 3).unwrap();
    out
}

fn list(image: &Path) -> Vec<String> {
    let said = Cmd::new("unsquashfs").arg("-lln").arg(image).run().unwrap();
    let text = said.text();
    let lines = text.lines().filter(|line| line.contains("squashfs-root"));
    lines.map(str::to_owned).collect()
}

fn cat(image: &Path, path: &str) -> Vec<u8> {
    let said = Cmd::new("unsquashfs")
        .arg("-cat")
        .arg(image)
        .arg(path)
        .run();
    said.unwrap().stdout
}

#[test]
fn archives_are_stored_as_they_are_and_all_else_is_as_without_them() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("blob");
    // It could be compressed to nothing, and has no whole number of blocks.
    std::fs::write(&archive, vec![b'a'; (3 << 20) + 17]).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o400);
    std::fs::set_permissions(&archive, mode).unwrap();
    let overlay = overlay(&archive);
    let image = pack(dir.path(), &overlay, "a.img");
    let size = image.metadata().unwrap().len();
    let stored = (3 << 20) + 17;
    assert!(
        (stored..stored + REST).contains(&size),
        "the archive is compressed, or the rest is not: {size}"
    );
    assert_eq!(cat(&image, ARCHIVE), std::fs::read(&archive).unwrap());

    let all = list(&image);
    let line = all.iter().find(|line| line.ends_with(ARCHIVE)).unwrap();
    assert!(line.starts_with("-rw-r--r-- 0/0 "), "{line}");
    assert_eq!(
        all.iter()
            .filter(|line| line.contains(" 2023-11-14 "))
            .count(),
        all.len()
    );
    // The same system without the archive, which mksquashfs reads as a tar. The archive's folder has
    // another size there.
    let without = overlay.iter().filter(|entry| entry.path != ARCHIVE);
    let without: Vec<Entry> = without.cloned().collect();
    let plain = pack(dir.path(), &without, "b.img");
    let rest = |mut all: Vec<String>| {
        all.retain(|line| !line.contains("/images"));
        all
    };
    let (rest, plain) = (rest(all), rest(list(&plain)));
    assert_eq!(rest.len(), plain.len());
    if rustix::process::geteuid().is_root() {
        assert_eq!(rest, plain);
    } else {
        eprintln!("owners were not compared, which takes root");
    }
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 4, "{left:?}");
}

#[test]
fn the_same_inputs_make_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("blob");
    std::fs::write(&archive, b"packed").unwrap();
    let first = pack(dir.path(), &overlay(&archive), "a.img");
    // Another file with the same bytes, owner and times aside.
    let copy = dir.path().join("copy");
    std::fs::write(&copy, b"packed").unwrap();
    let second = pack(dir.path(), &overlay(&copy), "b.img");
    assert!(std::fs::read(first).unwrap() == std::fs::read(second).unwrap());
}
