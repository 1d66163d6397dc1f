//! Files of a bundle from a server on this machine, and all that servers do wrong.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

#[path = "common/bad_server.rs"]
mod bad_server;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bad_server::{Answer, Request, Server};
use harrow::bundle::oci::Registries;
use harrow::bundle::{
    ArtifactKind, Content, Digest, Fetching, LockedArtifact, LockedBundle, LockedFile, Origin,
    PAYLOAD_NAME, Payload, Progress, State, Store, Unpinned, Wanted, hint_of, lay_out,
};
use harrow::failure::{Failure, Kind};
use harrow::sys::net::remote::Limits;

const QUICK: Limits = Limits {
    retries: 3,
    stall: Duration::from_millis(700),
};

/// A folder with a small payload's files, a store, and room.
struct Place {
    dir: tempfile::TempDir,
    store: Store,
}

const LARGE: &str = "images-core";

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let place = Self { dir, store };
        fs::create_dir(place.files()).unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(place.files().join(name), bytes).unwrap();
        write("rke2", &tarball());
        write(LARGE, &noise(5 << 20));
        write("longhorn", &noise(70_000));
        write("kubevirt-operator", b"kind: Namespace\n");
        write("virtctl", b"#!/bin/sh\nexit 0\n");
        place
    }

    /// What the server has.
    fn files(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    fn dest(&self) -> PathBuf {
        self.dir.path().join("payload")
    }

    /// A bundle of the files at this URL, without sizes.
    fn bundle(&self, url: &str) -> LockedBundle {
        let artifact = |name: &str, kind, only_with: Option<&str>| {
            let (sha256, _) = Digest::of_file(&self.files().join(name)).unwrap();
            LockedArtifact {
                name: name.to_owned(),
                kind,
                version: "v1".to_owned(),
                only_with: only_with.map(str::to_owned),
                content: Content::File(LockedFile {
                    url: format!("{url}{name}"),
                    sha256,
                    size: None,
                }),
            }
        };
        LockedBundle {
            schema: 1,
            artifacts: vec![
                artifact("rke2", ArtifactKind::Rke2, None),
                artifact(LARGE, ArtifactKind::Images, None),
                artifact("longhorn", ArtifactKind::Chart, Some("storage")),
                artifact("kubevirt-operator", ArtifactKind::Manifest, None),
                artifact("virtctl", ArtifactKind::Program, None),
            ],
            unpinned: vec![Unpinned {
                name: "cdi-operator".to_owned(),
                kind: ArtifactKind::Manifest,
                version: "v1.66.1".to_owned(),
                only_with: Some("import".to_owned()),
                why: "not in the lock".to_owned(),
            }],
        }
    }

    fn fetch(&self, locked: &LockedBundle) -> anyhow::Result<Vec<Progress>> {
        self.fetch_from(&Origin::Upstream, locked)
    }

    fn fetch_from(&self, origin: &Origin, locked: &LockedBundle) -> anyhow::Result<Vec<Progress>> {
        let told = Mutex::new(Vec::new());
        let tell = |progress: &Progress| told.lock().unwrap().push(progress.clone());
        self.fetch_telling(origin, locked, &tell, &AtomicBool::new(false))?;
        Ok(told.into_inner().unwrap())
    }

    fn fetch_telling(
        &self,
        origin: &Origin,
        locked: &LockedBundle,
        tell: &(dyn Fn(&Progress) + Sync),
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        Fetching {
            store: &self.store,
            origin,
            registries: &Registries::default(),
            limits: QUICK,
            parallel: 3,
            ca: None,
            tell,
            stop,
            layers: false,
        }
        .run(locked, &Wanted::Pinned)
    }

    fn digest(&self, name: &str) -> Digest {
        Digest::of_file(&self.files().join(name)).unwrap().0
    }

    /// Nothing is in the store under a wrong name, and this many files were begun.
    fn check_store(&self, begun: usize) {
        for digest in self.store.blobs().unwrap() {
            self.store.verify(digest).unwrap();
        }
        let partial = fs::read_dir(self.store.dir().join("partial")).unwrap();
        assert_eq!(partial.count(), begun);
    }

    /// The error names what failed, and everything else came.
    fn refused(&self, locked: &LockedBundle, name: &str, kind: Kind, words: &[&str]) {
        let error = self.fetch(locked).unwrap_err();
        let text = format!("{error:#}");
        assert_eq!(Failure::of(&error).unwrap().kind, kind, "{text}");
        assert!(hint_of(&error).is_some(), "no hint: {text}");
        for word in words.iter().chain([&format!("{name} v1").as_str()]) {
            assert!(text.contains(word), "{word:?} is not in: {text}");
        }
        assert_eq!(self.store.size_of(self.digest(name)), None);
        for other in ["rke2", LARGE, "longhorn", "kubevirt-operator", "virtctl"] {
            let there = self.store.size_of(self.digest(other)).is_some();
            assert_eq!(there, other != name, "{other} after {text}");
        }
    }
}

/// Bytes that don't pack.
fn noise(size: usize) -> Vec<u8> {
    let mut state = size as u64 + 1;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// A tarball with the layout of RKE2's releases.
fn tarball() -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    let unit = "lib/systemd/system/rke2-server.service";
    for (path, mode) in [
        ("bin/rke2", 0o755),
        (unit, 0o644),
        ("share/rke2/LICENSE.txt", 0o644),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(path.len() as u64);
        tar.append_data(&mut header, path, path.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// Answers one file in a way of its own, everything else well.
fn only(
    name: &'static str,
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    move |request| match request.path == name {
        true => answer(request),
        false => Answer::default(),
    }
}

#[test]
fn a_payload_is_fetched_and_laid_out() {
    let place = Place::new();
    let server = Server::new(&place.files(), |_| Answer::default());
    let locked = place.bundle(&server.url);
    let told = place.fetch(&locked).unwrap();
    let done: Vec<&Progress> = told.iter().filter(|p| p.state == State::Done).collect();
    assert_eq!(done.len(), 5);
    let large = done.iter().find(|p| p.artifact == LARGE).unwrap();
    assert_eq!((large.done, large.total), (5 << 20, Some(5 << 20)));
    let moving = told
        .iter()
        .filter(|p| p.artifact == LARGE && p.state == State::Moving);
    assert!(moving.count() >= 3, "{told:?}");
    // Fetched once, whatever is asked for again.
    let sent = server.sent();
    place.fetch(&locked).unwrap();
    assert_eq!(server.sent(), sent);

    let wanted = Wanted::With(std::collections::BTreeSet::new());
    let payload = lay_out(&locked, &place.store, &place.dest(), &wanted).unwrap();
    let read = fs::read(place.dest().join(PAYLOAD_NAME)).unwrap();
    assert_eq!(Payload::parse(&read).unwrap(), payload);
    let names: Vec<&str> = payload.artifacts.iter().map(|a| a.path.as_str()).collect();
    let images = format!("images/{LARGE}.tar.zst");
    assert_eq!(
        names,
        [
            &images,
            "manifests/kubevirt-operator.yaml",
            "rke2",
            "bin/virtctl"
        ]
    );
    assert!(
        !place.dest().join("charts/longhorn.tgz").exists(),
        "not asked for"
    );
    let mode = |path: &str| {
        let found = fs::metadata(place.dest().join(path)).unwrap();
        found.permissions().mode() & 0o777
    };
    assert_eq!((mode("bin/virtctl"), mode("rke2/bin/rke2")), (0o755, 0o755));
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let (there, stored) = (
        place.dest().join(&images),
        place.store.path_of(place.digest(LARGE)),
    );
    assert_eq!(inode(&there), inode(&stored), "it is not there twice");
    // With more, in the place of the first; the store goes away, the payload stays.
    lay_out(&locked, &place.store, &place.dest(), &Wanted::Pinned).unwrap();
    fs::remove_dir_all(place.store.dir()).unwrap();
    assert!(place.dest().join("charts/longhorn.tgz").exists());
    assert_eq!(fs::read(there).unwrap().len(), 5 << 20);
    let around = fs::read_dir(place.dir.path()).unwrap();
    assert_eq!(around.count(), 2, "nothing is left beside it");
}

#[test]
fn what_is_missing_leaves_the_payload_as_it_was() {
    let place = Place::new();
    let server = Server::new(&place.files(), |_| Answer::default());
    let locked = place.bundle(&server.url);
    place.fetch(&locked).unwrap();
    lay_out(&locked, &place.store, &place.dest(), &Wanted::Pinned).unwrap();
    let before = fs::read(place.dest().join(PAYLOAD_NAME)).unwrap();
    place.store.remove(place.digest("longhorn")).unwrap();
    let error = lay_out(&locked, &place.store, &place.dest(), &Wanted::Pinned).unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("longhorn v1") && text.contains("was not fetched"),
        "{text}"
    );
    let with = Wanted::With(["import".to_owned()].into());
    let error = lay_out(&locked, &place.store, &place.dest(), &with).unwrap_err();
    assert_eq!(Failure::of(&error).unwrap().kind, Kind::ArtifactUnpinned);
    assert!(
        error.to_string().contains("cdi-operator v1.66.1"),
        "{error}"
    );
    assert!(
        hint_of(&error)
            .unwrap()
            .contains("bundle lock --only cdi-operator")
    );
    assert_eq!(fs::read(place.dest().join(PAYLOAD_NAME)).unwrap(), before);
}

type Behaviour = Box<dyn Fn(&Request) -> Answer + Send + Sync>;

#[test]
fn servers_that_fail_for_a_while() {
    let cut = |at| Answer {
        cut: Some(at),
        ..Answer::default()
    };
    let behaviours: Vec<(&str, Behaviour)> = vec![
        (
            "refuses three times",
            Box::new(|r| match r.number {
                0..3 => Answer::status("503 Busy"),
                _ => Answer::default(),
            }),
        ),
        (
            "drops",
            Box::new(move |r| match r.number {
                0 => cut(1 << 20),
                1 => cut(3 << 20),
                _ => Answer::default(),
            }),
        ),
        (
            "stalls",
            Box::new(move |r| match r.number {
                0 => Answer {
                    stall: true,
                    ..cut(2 << 20)
                },
                _ => Answer::default(),
            }),
        ),
        (
            "drops and knows no parts",
            Box::new(move |r| match r.number {
                0 => Answer {
                    ranges: false,
                    ..cut(2 << 20)
                },
                _ => Answer {
                    ranges: false,
                    ..Answer::default()
                },
            }),
        ),
        (
            "tells no length",
            Box::new(|_| Answer {
                length: false,
                ..Answer::default()
            }),
        ),
    ];
    for (what, behave) in behaviours {
        let place = Place::new();
        let server = Server::new(&place.files(), only(LARGE, behave));
        place
            .fetch(&place.bundle(&server.url))
            .unwrap_or_else(|e| panic!("{what}: {e:#}"));
        assert_eq!(
            place.store.size_of(place.digest(LARGE)),
            Some(5 << 20),
            "{what}"
        );
        place.check_store(0);
    }
}

#[test]
fn what_comes_and_is_not_what_is_pinned() {
    let body = |bytes: &'static [u8]| Answer {
        body: Some(bytes.to_vec()),
        ..Answer::default()
    };
    let place = Place::new();
    let server = Server::new(&place.files(), only("longhorn", move |_| body(b"garbage")));
    let mut locked = place.bundle(&server.url);
    let words = ["longhorn", "(7 bytes)", "is pinned"];
    place.refused(&locked, "longhorn", Kind::ArtifactDamaged, &words);
    place.check_store(0);
    // With a size in the lock nothing is fetched for that.
    let Content::File(file) = &mut locked.artifacts[2].content else {
        unreachable!("a file")
    };
    file.size = Some(70_000);
    let words = ["has 7 bytes, and 70000 are pinned"];
    place.refused(&locked, "longhorn", Kind::ArtifactDamaged, &words);
    place.check_store(0);

    let place = Place::new();
    let server = Server::new(
        &place.files(),
        only("rke2", move |_| body(b"<!DOCTYPE html>login")),
    );
    let locked = place.bundle(&server.url);
    place.refused(
        &locked,
        "rke2",
        Kind::ArtifactDamaged,
        &["a web page: a login or proxy?"],
    );
    place.check_store(0);
    // The archive of another day, cut short by whoever copied it to the mirror.
    let half = fs::read(place.files().join(LARGE)).unwrap()[..2 << 20].to_vec();
    let answer = move |_: &Request| Answer {
        body: Some(half.clone()),
        ..Answer::default()
    };
    let place = Place::new();
    let server = Server::new(&place.files(), only(LARGE, answer));
    let locked = place.bundle(&server.url);
    place.refused(&locked, LARGE, Kind::ArtifactDamaged, &["(2097152 bytes)"]);
    place.check_store(0);
}

#[test]
fn servers_that_never_give_it() {
    for (status, kind, word) in [
        ("404 Not Found", Kind::ArtifactUnreachable, "404"),
        (
            "500 Broken",
            Kind::ArtifactUnreachable,
            "given up after 4 faults",
        ),
        ("401 Unauthorized", Kind::ArtifactRefused, "401"),
        ("403 Forbidden", Kind::ArtifactRefused, "403"),
    ] {
        let place = Place::new();
        let server = Server::new(&place.files(), only(LARGE, move |_| Answer::status(status)));
        let locked = place.bundle(&server.url);
        place.refused(
            &locked,
            LARGE,
            kind,
            &[word, &format!("{}{LARGE}", server.url)],
        );
        place.check_store(0);
    }
    // A length that is never reached; what came is kept for the next try.
    let place = Place::new();
    let wrong = |_: &Request| Answer {
        wrong_length: 1000,
        ranges: false,
        ..Answer::default()
    };
    let server = Server::new(&place.files(), only(LARGE, wrong));
    place.refused(
        &place.bundle(&server.url),
        LARGE,
        Kind::ArtifactUnreachable,
        &["byte 5242880"],
    );
    place.check_store(1);
    let server = Server::new(&place.files(), |_| Answer::default());
    place.fetch(&place.bundle(&server.url)).unwrap();
    assert!(
        server.sent() < 1000,
        "all of it was there: {}",
        server.sent()
    );
    place.check_store(0);
}

#[test]
fn after_a_stop_it_goes_on() {
    let place = Place::new();
    let server = Server::new(&place.files(), |_| Answer::default());
    let locked = place.bundle(&server.url);
    let stop = AtomicBool::new(false);
    let tell = |progress: &Progress| {
        if progress.artifact == LARGE && progress.done >= 2 << 20 {
            stop.store(true, Ordering::SeqCst);
        }
    };
    let stopped = place.fetch_telling(&Origin::Upstream, &locked, &tell, &stop);
    let text = format!("{:#}", stopped.unwrap_err());
    assert!(
        text.contains("stopped before everything was fetched"),
        "{text}"
    );
    assert_eq!(place.store.size_of(place.digest(LARGE)), None);
    let begun = place
        .store
        .dir()
        .join("partial")
        .join(place.digest(LARGE).to_string());
    let size = fs::metadata(&begun).unwrap().len();
    assert!((2 << 20..5 << 20).contains(&size), "{size}");
    let again = Server::new(&place.files(), |_| Answer::default());
    place.fetch(&place.bundle(&again.url)).unwrap();
    assert!(
        again.sent() <= (5 << 20) - size + 200_000,
        "{}",
        again.sent()
    );
    place.check_store(0);
}

#[test]
fn what_was_begun_wrongly_is_begun_again() {
    let place = Place::new();
    let server = Server::new(&place.files(), |_| Answer::default());
    let locked = place.bundle(&server.url);
    let begun = place.store.dir().join("partial");
    // Bytes of something else, as many as the file has, and more.
    for (name, size) in [(LARGE, 1 << 20), ("longhorn", 70_000), ("virtctl", 500)] {
        fs::write(begun.join(place.digest(name).to_string()), noise(size + 1)).unwrap();
    }
    place.fetch(&locked).unwrap();
    place.check_store(0);
    assert_eq!(place.store.blobs().unwrap().len(), 5);
}

#[test]
fn mirrors_need_no_upstream() {
    let place = Place::new();
    let locked = place.bundle("http://127.0.0.1:1/");
    let mirror = place.dir.path().join("mirror/blobs/sha256");
    fs::create_dir_all(&mirror).unwrap();
    for name in ["rke2", LARGE, "longhorn", "kubevirt-operator", "virtctl"] {
        let to = mirror.join(place.digest(name).to_string());
        fs::copy(place.files().join(name), to).unwrap();
    }
    let folder = place.dir.path().join("mirror");
    // The first three answers of this mirror fail, whatever is asked for.
    let served = Server::new(&folder, |request| match request.number {
        0..3 => Answer::status("502 Bad Gateway"),
        _ => Answer::default(),
    });
    let none = Registries::default();
    for origin in [folder.display().to_string(), served.url.clone()] {
        let other = Place::new();
        let origin = Origin::parse(&origin, &none).unwrap();
        other.fetch_from(&origin, &locked).unwrap();
        assert_eq!(other.store.blobs().unwrap().len(), 5, "{origin}");
        other.check_store(0);
    }
    // What a mirror lacks is said with its path; what is wrong there is not taken.
    fs::remove_file(mirror.join(place.digest("rke2").to_string())).unwrap();
    fs::write(
        mirror.join(place.digest("virtctl").to_string()),
        "#!/bin/sh\nexit 1\n",
    )
    .unwrap();
    let error = place
        .fetch_from(&Origin::Folder(folder), &locked)
        .unwrap_err();
    let text = format!("{error:#}");
    for word in [
        "rke2 v1",
        &place.digest("rke2").to_string(),
        "No such file",
        "virtctl v1",
        "is pinned",
    ] {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert_eq!(place.store.blobs().unwrap().len(), 3);
    place.check_store(0);
}
