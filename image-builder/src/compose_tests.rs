use super::*;

/// A tar with folders (ending in a slash), files, symlinks (`a -> b`) and hard links (`a = b`).
fn base(entries: &[&str]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        if let Some((path, target)) = entry.split_once(" -> ") {
            append_link(&mut tar, path, target, 1).unwrap();
        } else if let Some((path, target)) = entry.split_once(" = ") {
            let mut header = new_header(EntryType::Link, 0o644, 1, 0);
            tar.append_link(&mut header, path, target).unwrap();
        } else if entry.ends_with('/') {
            append_folder(&mut tar, entry, 0o2775, 1).unwrap();
        } else {
            let content = Content::Bytes(b"base".to_vec());
            append_file(&mut tar, entry, 0o640, 1, &content).unwrap();
        }
    }
    tar.into_inner().unwrap()
}

fn dir(path: &str) -> Entry {
    Entry {
        path: path.into(),
        node: Node::Dir,
    }
}

fn link(path: &str, target: &str) -> Entry {
    Entry {
        path: path.into(),
        node: Node::Symlink(target.into()),
    }
}

fn program(path: &str) -> Entry {
    let content = Content::Bytes(b"new".to_vec());
    Entry {
        path: path.into(),
        node: Node::File {
            content,
            executable: true,
        },
    }
}

fn run(base_entries: &[&str], exclude: &[&str], overlay: &[Entry]) -> anyhow::Result<Vec<u8>> {
    let exclude: Vec<String> = exclude.iter().map(|p| (*p).to_owned()).collect();
    let what = Composition {
        exclude: &exclude,
        overlay,
        mtime: 1000,
    };
    let mut out = Vec::new();
    compose(base(base_entries).as_slice(), &mut out, &what)?;
    Ok(out)
}

/// `path mode [-> target] [content]` of every entry but the mount points.
fn listing(tar: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    for item in tar::Archive::new(tar).entries().unwrap() {
        let mut item = item.unwrap();
        let path = item
            .path()
            .unwrap()
            .to_string_lossy()
            .trim_end_matches('/')
            .to_owned();
        if MOUNT_POINTS.iter().any(|(p, _)| *p == path) {
            continue;
        }
        let mut line = format!("{path} {:o}", item.header().mode().unwrap());
        if let Some(target) = item.link_name().unwrap() {
            line.push_str(&format!(" -> {}", target.display()));
        }
        let mut text = String::new();
        item.read_to_string(&mut text).unwrap();
        if !text.is_empty() {
            line.push_str(&format!(" {text}"));
        }
        lines.push(line);
    }
    lines
}

#[test]
fn the_overlay_replaces_adds_and_keeps_the_bases_folders() {
    let tar = run(
        &[
            "usr/",
            "usr/bin/",
            "usr/bin/a",
            "usr/bin/b",
            "usr/bin/c -> a",
            "bin -> usr/bin",
        ],
        &[],
        &[
            dir("usr"),
            dir("usr/bin"),
            program("usr/bin/b"),
            link("usr/bin/c", "b"),
            dir("usr/new"),
            program("usr/new/d"),
        ],
    )
    .unwrap();
    assert_eq!(
        listing(&tar),
        [
            "usr 2775",
            "usr/bin 2775",
            "usr/bin/a 640 base",
            "bin 777 -> usr/bin",
            "usr/bin/b 755 new",
            "usr/bin/c 777 -> b",
            "usr/new 755",
            "usr/new/d 755 new",
        ]
    );
}

#[test]
fn every_mount_point_is_there_once_with_its_mode() {
    let tar = run(&["tmp/", "etc/"], &[], &[dir("opt")]).unwrap();
    let mut modes = BTreeMap::new();
    for item in tar::Archive::new(tar.as_slice()).entries().unwrap() {
        let item = item.unwrap();
        let path = item
            .path()
            .unwrap()
            .to_string_lossy()
            .trim_end_matches('/')
            .to_owned();
        assert_eq!(
            modes.insert(path.clone(), item.header().mode().unwrap()),
            None,
            "{path} twice"
        );
    }
    for (path, mode) in MOUNT_POINTS {
        let want = if ["tmp", "etc"].contains(path) {
            0o2775
        } else {
            *mode
        };
        assert_eq!(modes.get(*path), Some(&want), "{path}");
    }
}

#[test]
fn excluded_paths_are_gone() {
    let tar = run(
        &["dev/", "dev/null", "boot/", "boot/x/", "boot/x/y", "bootx"],
        &["/dev/*", "/boot/*"],
        &[],
    )
    .unwrap();
    assert_eq!(listing(&tar), ["boot 2775", "bootx 640 base"]);
}

#[test]
fn what_would_break_the_base_is_an_error() {
    for (entries, exclude, overlay, message) in [
        (
            &["lib -> usr/lib"][..],
            "/x",
            dir("lib"),
            "is a symlink in the base",
        ),
        (
            &["lib -> usr/lib"],
            "/x",
            program("lib/f"),
            "below /lib, which is no folder",
        ),
        (
            &["etc/", "etc/f"],
            "/x",
            program("etc/f/g"),
            "below /etc/f, which is no folder",
        ),
        (
            &["etc/"],
            "/x",
            program("etc"),
            "no folder at /etc, but the base has",
        ),
        (&["a", "b = a"], "/x", program("a"), "hard link to /a"),
        (&["a", "b = ./a"], "/a", dir("d"), "hard link to /a"),
        (&[], "/x", dir("d"), "empty"),
    ] {
        let error = format!("{:#}", run(entries, &[exclude], &[overlay]).unwrap_err());
        assert!(error.contains(message), "{message}: {error}");
    }
}

#[test]
fn patterns_match_like_dpkgs() {
    for (pattern, text, want) in [
        ("/dev/*", "/dev/null", true),
        ("/dev/*", "/dev/a/b", true),
        ("/dev/*", "/dev", false),
        ("/dev/*", "/devices", false),
        ("/usr/*/x", "/usr/a/b/x", true),
        ("/usr/*/x", "/usr/a/b/xy", false),
        ("*.pyc", "/usr/a.pyc", true),
        ("/a*b*c", "/aXbYbZc", true),
        ("/a", "/a", true),
        ("/a", "/ab", false),
        ("", "/", false),
    ] {
        assert_eq!(
            matches(pattern.as_bytes(), text.as_bytes()),
            want,
            "{pattern} {text}"
        );
    }
}

#[test]
fn staged_files_are_split_off() {
    let boot = tempfile::tempdir().unwrap();
    let mut rest = Vec::new();
    let full = base(&["etc/", "stage/", "stage/vmlinuz", "stages"]);
    split(full.as_slice(), &mut rest, "stage", boot.path()).unwrap();
    assert_eq!(listing(&rest), ["stages 640 base"]);
    assert_eq!(std::fs::read(boot.path().join("vmlinuz")).unwrap(), b"base");
    let nested = base(&["stage/", "stage/a/"]);
    assert!(split(nested.as_slice(), Vec::new(), "stage", boot.path()).is_err());
}
