use std::collections::BTreeMap;
use std::io::Write as _;

use serde_json::json;

use super::*;
use crate::double::pack::{Packing, pack_images};

const NAME: &str = "docker.io/rancher/a:1";

/// The problems of a folder with this one file.
fn check_bytes(name: &str, bytes: &[u8]) -> (Vec<Archive>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), bytes).unwrap();
    let mut problems = Vec::new();
    let archives = check(folder.path(), &mut problems);
    (archives, problems)
}

/// The files of a good archive.
fn files() -> BTreeMap<String, Vec<u8>> {
    let tar = pack_images(&[NAME.into()], Packing::None).unwrap();
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(tar.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(entry.path().unwrap().display().to_string(), bytes);
    }
    files
}

fn tar_of(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes.as_slice())
            .unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn archives_of_every_packing_are_read() {
    let names = [NAME.to_owned(), "quay.io/b/c:2".to_owned()];
    for (file, packing) in [
        ("a.tar", Packing::None),
        ("a.tar.gz", Packing::Gzip),
        ("a.TGZ", Packing::Gzip),
        ("a.tar.zst", Packing::Zstd),
        ("a.tzst", Packing::Zstd),
    ] {
        let bytes = pack_images(&names, packing).unwrap();
        let (archives, problems) = check_bytes(file, &bytes);
        assert_eq!(problems, [] as [String; 0], "{file}");
        assert_eq!(archives[0].images, names, "{file}");
        assert_eq!(archives[0].size, bytes.len() as u64);
    }
    // One of the two lists is enough.
    for left_out in ["index.json", "manifest.json"] {
        let mut files = files();
        files.remove(left_out);
        let (archives, problems) = check_bytes("a.tar", &tar_of(&files));
        assert_eq!(problems, [] as [String; 0], "{left_out}");
        assert_eq!(archives[0].images, [NAME]);
    }
}

#[test]
fn what_could_not_be_imported_is_refused() {
    let good = pack_images(&[NAME.into()], Packing::Zstd).unwrap();
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    let random: Vec<u8> = (0..1000_u32).map(|n| (n * n % 251) as u8).collect();
    for (name, bytes, expected) in [
        ("a.tar.zst", &good[..good.len() - 9], "reading"),
        ("a.tar.zst", flipped.as_slice(), "reading"),
        ("a.tar.zst", b"".as_slice(), "reading"),
        ("a.tar.zst", random.as_slice(), "reading"),
        ("a.tar.gz", good.as_slice(), "reading"),
        ("a.tar.lz4", good.as_slice(), "can't"),
        ("a.zip", good.as_slice(), "reads nothing with such a name"),
        ("a.txt", b"x:1\n".as_slice(), "a list of 1 images to pull"),
    ] {
        let (archives, problems) = check_bytes(name, bytes);
        assert_eq!(
            (archives.len(), problems.len()),
            (0, 1),
            "{name}: {problems:?}"
        );
        assert!(problems[0].contains(expected), "{name}: {problems:?}");
    }
    let (archives, problems) = check_bytes(".cache.json", b"{}");
    assert!(archives.is_empty() && problems.is_empty());
}

#[test]
fn what_an_image_needs_must_be_there() {
    let blob = |files: &BTreeMap<String, Vec<u8>>, has: &str| {
        let mut names = files.iter();
        let found = names.find(|(name, bytes)| {
            name.starts_with("blobs/") && String::from_utf8_lossy(bytes).contains(has)
        });
        found.unwrap().0.clone()
    };
    type Change<'a> = &'a dyn Fn(&mut BTreeMap<String, Vec<u8>>);
    let cases: [(Change, &str); 9] = [
        (
            &|files| {
                files.remove(&blob(files, "double.txt"));
            },
            "is missing",
        ),
        (
            &|files| {
                files.remove(&blob(files, "\"rootfs\""));
            },
            "is missing",
        ),
        (
            &|files| {
                files.remove(&blob(files, "\"schemaVersion\""));
            },
            "is missing",
        ),
        (
            &|files| {
                files.get_mut(&blob(files, "double.txt")).unwrap()[600] ^= 1;
            },
            "has the digest",
        ),
        (
            &|files| {
                files.remove("oci-layout");
            },
            "no oci-layout",
        ),
        (
            &|files| {
                files.remove("index.json");
                files.remove("manifest.json");
            },
            "has neither",
        ),
        (
            &|files| {
                files.insert("index.json".into(), b"{".to_vec());
            },
            "reading index.json",
        ),
        (
            &|files| {
                files.remove("index.json");
                let saved = json!([{"Config": "c", "RepoTags": [], "Layers": ["l"]}]);
                files.insert("manifest.json".into(), saved.to_string().into_bytes());
            },
            "has no name",
        ),
        (
            &|files| {
                files.remove("manifest.json");
                files.insert("index.json".into(), b"{\"manifests\": []}".to_vec());
            },
            "holds no image",
        ),
    ];
    for (change, expected) in cases {
        let mut files = files();
        change(&mut files);
        let (_, problems) = check_bytes("a.tar", &tar_of(&files));
        assert_eq!(problems.len(), 1, "{expected}: {problems:?}");
        assert!(problems[0].contains(expected), "{expected}: {problems:?}");
    }
}

#[test]
fn a_window_that_rke2_does_not_take_is_refused() {
    let tar = pack_images(&[NAME.into()], Packing::None).unwrap();
    let mut packer = zstd::Encoder::new(Vec::new(), 3).unwrap();
    packer.window_log(26).unwrap();
    packer.write_all(&tar).unwrap();
    let (_, problems) = check_bytes("a.tar.zst", &packer.finish().unwrap());
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn links_are_followed_and_broken_ones_told() {
    let (store, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bytes = pack_images(&[NAME.into()], Packing::Zstd).unwrap();
    let target = store.path().join("a.tar.zst");
    std::fs::write(&target, &bytes).unwrap();
    std::os::unix::fs::symlink(&target, folder.path().join("a.tar.zst")).unwrap();
    std::os::unix::fs::symlink("/none", folder.path().join("b.tar.zst")).unwrap();
    let mut problems = Vec::new();
    let archives = check(folder.path(), &mut problems);
    assert_eq!(archives.len(), 1);
    assert_eq!(archives[0].size, bytes.len() as u64);
    assert!(
        problems.len() == 1 && problems[0].contains("b.tar.zst"),
        "{problems:?}"
    );
}
