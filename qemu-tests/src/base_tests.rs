use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harrow::sys::wait;

use super::*;

const SIZE: u64 = 64 << 20;

fn base(name: &str) -> Base {
    Base {
        name: name.into(),
        config: "os: {}\n".into(),
        size: SIZE,
    }
}

/// A raw disk with a word in its middle.
fn make(raw: &Path) -> anyhow::Result<()> {
    let file = File::create(raw)?;
    file.set_len(SIZE)?;
    file.write_all_at(b"installed", SIZE / 2)?;
    Ok(())
}

#[test]
fn two_who_want_a_base_get_one_that_was_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let bases = Bases::new(&folder.path().join("base"));
    let made = AtomicUsize::new(0);
    let get = || {
        bases.get(&base("node"), |raw| {
            made.fetch_add(1, Ordering::SeqCst);
            wait::pause_for(Duration::from_millis(200));
            make(raw)
        })
    };
    let files = std::thread::scope(|scope| {
        let both = [scope.spawn(get), scope.spawn(get)];
        both.map(|thread| thread.join().unwrap().unwrap())
    });
    assert_eq!(made.load(Ordering::SeqCst), 1);
    assert_eq!(files[0], files[1]);
    assert_eq!(info(&files[0]).unwrap()["format"], "qcow2");
    assert_eq!(info(&files[0]).unwrap()["virtual-size"], SIZE);
    assert!(files[0].metadata().unwrap().len() < SIZE / 8);
    assert!(!files[0].with_extension("img").exists());
    let other = Base {
        size: 1,
        ..base("node")
    };
    let error = bases.get(&other, make).unwrap_err();
    assert!(error.to_string().contains("two bases have the name node"));
    bases.clear().unwrap();
    assert!(!files[0].exists());
}

#[test]
fn an_overlay_begins_as_its_base_and_leaves_it_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let bases = Bases::new(&folder.path().join("base"));
    let file = bases.get(&base("node"), make).unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    create_overlay(&file, &one).unwrap();
    create_overlay(&file, &two).unwrap();
    assert_eq!(
        info(&one).unwrap()["full-backing-filename"],
        *file.display().to_string()
    );
    let before = std::fs::read(&file).unwrap();
    tool("qemu-io")
        .args(["-f", "qcow2", "-c", "write -P 7 0 64k"])
        .arg(&one)
        .run()
        .unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), before);
    for (overlay, first) in [(&one, 7), (&two, 0)] {
        let raw = overlay.with_extension("raw");
        unpack(overlay, &raw).unwrap();
        let raw = File::open(raw).unwrap();
        let (mut byte, mut word) = ([9], [0; 9]);
        raw.read_exact_at(&mut byte, 0).unwrap();
        raw.read_exact_at(&mut word, SIZE / 2).unwrap();
        assert_eq!((byte[0], &word), (first, b"installed"));
    }
    assert!(create_overlay(Path::new("/none"), &folder.path().join("x")).is_err());
}

#[test]
fn a_base_that_can_not_be_made_is_not_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let bases = Bases::new(&folder.path().join("base"));
    let error = bases.get(&base("node"), |_| bail!("no room")).unwrap_err();
    assert_eq!(format!("{error:#}"), "making the base node: no room");
    let error = bases.get(&base("node"), make).unwrap_err();
    assert!(error.to_string().contains("could not be made: no room"));
    let panic = std::thread::scope(|scope| {
        let get = || bases.get(&base("other"), |_| panic!("mad"));
        scope.spawn(get).join()
    });
    assert!(panic.is_err());
    let error = bases.get(&base("other"), make).unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
}

#[test]
fn all_bases_have_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("base");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("of-an-earlier-run.qcow2"), "").unwrap();
    let bases = Bases::new(&place);
    let key = bases.key().unwrap();
    assert!(!place.join("of-an-earlier-run.qcow2").exists());
    assert_eq!(bases.key().unwrap(), key);
    assert!(key.public().unwrap().starts_with("ssh-ed25519 "));
    bases.get(&base("node"), make).unwrap();
    assert_eq!(bases.key().unwrap(), key);
}
