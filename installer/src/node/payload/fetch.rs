//! Fetching the payload at the first boot of a node whose image does not have it.
//!
//! In: `bundle.json` of the image, the config. Out: a payload folder in `/var`, each file of it checked
//! against the image's digests. A mirror that fails is asked again until it gives: a node without a
//! payload has nothing better to do, and what has come stays.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{FETCHED, tidy};
use crate::bundle::oci::Registries;
use crate::bundle::{
    Content, Fetching, LockedArtifact, LockedBundle, LockedImage, Origin, PAYLOAD_NAME, Payload,
    Progress, State, Store, Wanted, lay_out,
};
use crate::cluster::{Charts, REGISTRIES_PATH};
use crate::config::Config;
use crate::disk::layout::show;
use crate::failure::{Failure, Kind};
use crate::sys::console::{Lines, Printer};
use crate::sys::net::remote::Limits;
use crate::sys::wait;

/// What an image of flavor `net` knows of its payload.
const BUNDLE: &str = "/usr/share/harrow/bundle.json";
/// Where it is fetched to. The payload's folder has hard links to it.
pub(super) const STORE: &str = "/var/lib/harrow/bundle";
/// Downloads at a time.
const PARALLEL: usize = 4;
/// Time between two tries of what did not come, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// The same when a server gives something else than what is pinned: somebody has to repair it, and
/// each try moves all of it again.
const PAUSE_DAMAGED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(900));
/// Time between two lines of progress.
const QUIET: Duration = Duration::from_secs(10);

/// Fetches what the config needs, unless it is there.
pub fn fetch(config: &Config, printer: &Printer) -> anyhow::Result<()> {
    let bytes = std::fs::read(BUNDLE).with_context(|| format!("reading {BUNDLE}"))?;
    let locked = LockedBundle::parse(&bytes)?;
    let chosen = Charts::chosen(config).into_iter().map(str::to_owned);
    let wanted = Wanted::With(chosen.collect());
    let artifacts = locked.wanted(&wanted)?;
    let dir = Path::new(FETCHED);
    let store = Store::open(Path::new(STORE))?;
    if is_there(&artifacts, dir) {
        tidy::after_fetching(&locked, &store, dir)?;
        return Ok(());
    }
    check_room(missing_bytes(&artifacts, &store), free(store.dir())?)?;
    let ca = config.cluster.authorities.join("\n");
    let ca = Some(ca.as_str()).filter(|ca| !ca.is_empty());
    let mut registries = Registries::default();
    registries.trust(ca);
    if Path::new(REGISTRIES_PATH).exists() {
        registries.read_file(Path::new(REGISTRIES_PATH))?;
    }
    let mirror = config.cluster.bundle_mirror.as_deref();
    let origin = match mirror {
        Some(url) => Origin::parse(url, &registries)?,
        None => Origin::Upstream,
    };
    printer.line(format!(
        "fetching {} parts of the cluster from {}",
        artifacts.len(),
        mirror.map_or("their projects", |_| "install.bundle_mirror")
    ));
    let board = Board::new(printer.lines(), artifacts.len());
    let fetching = Fetching {
        store: &store,
        origin: &origin,
        registries: &registries,
        limits: Limits::default(),
        parallel: PARALLEL,
        ca,
        tell: &|progress| board.hear(progress),
        stop: &AtomicBool::new(false),
        layers: false,
    };
    let mut pause = Duration::ZERO;
    while let Err(error) = fetching.run(&locked, &wanted) {
        printer.line(format!("not all of the cluster came: {error:#}"));
        if let Some(failure) = Failure::of(&error).filter(|f| !f.hint.is_empty()) {
            printer.line(format!("hint: {}", failure.hint));
        }
        pause = next_pause(pause, is_damaged(&error));
        printer.line(format!("the next try is in {} s", pause.as_secs()));
        wait::pause_for(pause);
    }
    lay_out(&locked, &store, dir, &wanted)?;
    let freed = tidy::after_fetching(&locked, &store, dir)?;
    tracing::info!("{freed} bytes of the store are of no more use");
    printer.line("all parts of the cluster are there");
    Ok(())
}

/// The pause after the one before.
fn next_pause(before: Duration, damaged: bool) -> Duration {
    let (least, most) = match damaged {
        true => PAUSE_DAMAGED,
        false => PAUSE,
    };
    (before * 2).clamp(least, most)
}

fn is_damaged(error: &anyhow::Error) -> bool {
    Failure::of(error).is_some_and(|failure| failure.kind == Kind::ArtifactDamaged)
}

/// Bytes that are still to come, as far as the pins say their sizes.
fn missing_bytes(artifacts: &[&LockedArtifact], store: &Store) -> u64 {
    let sizes = artifacts
        .iter()
        .filter_map(|artifact| match &artifact.content {
            Content::File(file) if store.size_of(file.sha256).is_none() => file.size,
            _ => None,
        });
    sizes.sum()
}

/// Bytes that the folder's file system has left for everybody.
fn free(dir: &Path) -> anyhow::Result<u64> {
    let stat = rustix::fs::statvfs(dir);
    let stat = stat.with_context(|| format!("asking how much room {} has", dir.display()))?;
    Ok(stat.f_bavail * stat.f_frsize)
}

fn check_room(needed: u64, free: u64) -> anyhow::Result<()> {
    if needed <= free {
        return Ok(());
    }
    Err(Failure::error(
        Kind::NoSpace,
        format!(
            "the parts of the cluster that are missing have {} ({needed} bytes), and /var has {} ({free} bytes) left",
            show(needed),
            show(free)
        ),
        "make room in /var, or install again with a larger one (install.persistent_partition_size)",
    ))
}

/// Whether the folder holds just these artifacts. It was checked when it was laid out.
fn is_there(artifacts: &[&LockedArtifact], dir: &Path) -> bool {
    let read = std::fs::read(dir.join(PAYLOAD_NAME)).ok();
    let Some(payload) = read.and_then(|bytes| Payload::parse(&bytes).ok()) else {
        return false;
    };
    let is_among = |artifact: &&&LockedArtifact| {
        payload.artifacts.iter().any(|item| {
            let same = match &artifact.content {
                Content::File(file) => item.sha256 == file.sha256,
                Content::Images(images) => same_images(&item.images, images),
            };
            same && item.name == artifact.name && item.kind == artifact.kind
        })
    };
    payload.artifacts.len() == artifacts.len()
        && artifacts.iter().filter(is_among).count() == artifacts.len()
}

/// Whether two lists have the same images, in whatever order.
fn same_images(one: &[LockedImage], other: &[LockedImage]) -> bool {
    let all_in = |of: &[LockedImage], among: &[LockedImage]| of.iter().all(|i| among.contains(i));
    all_in(one, other) && all_in(other, one)
}

/// How far each artifact is, said now and then.
struct Board {
    lines: Lines,
    of: usize,
    heard: Mutex<(BTreeMap<String, Progress>, Instant)>,
}

impl Board {
    fn new(lines: Lines, of: usize) -> Self {
        let heard = Mutex::new((BTreeMap::new(), Instant::now()));
        Self { lines, of, heard }
    }

    fn hear(&self, progress: &Progress) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, last) = &mut *heard;
        let name = progress.artifact.clone();
        let before = all.insert(name, progress.clone());
        let is_news = before.is_none_or(|before| before.state != progress.state)
            && matches!(progress.state, State::Done | State::Failed);
        if is_news || last.elapsed() >= QUIET {
            *last = Instant::now();
            self.lines.line(said(all, self.of, progress));
        }
    }
}

fn said(all: &BTreeMap<String, Progress>, of: usize, progress: &Progress) -> String {
    let there = all.values().filter(|p| p.state == State::Done).count();
    let name = &progress.artifact;
    let what = match (progress.state, progress.total) {
        (State::Done, _) => format!("{name} is there"),
        (State::Failed, _) => format!("{name} did not come"),
        (State::Packing, _) => format!("{name}: packing its images"),
        (State::Moving, Some(total)) => {
            format!("{name}: {} of {}", show(progress.done), show(total))
        }
        (State::Moving, None) => format!("{name}: {}", show(progress.done)),
    };
    format!("[{there}/{of}] {what}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{ArtifactKind, Digest, LockedFile, PayloadItem, SCHEMA};

    fn artifact(name: &str, content: &[u8]) -> LockedArtifact {
        LockedArtifact {
            name: name.into(),
            kind: ArtifactKind::Chart,
            version: "1".into(),
            only_with: None,
            content: Content::File(LockedFile {
                url: "https://example.org/x".into(),
                sha256: Digest::of(content),
                size: None,
            }),
        }
    }

    fn lay_down(dir: &Path, items: &[(&str, &[u8])]) {
        let artifacts = items.iter().map(|(name, content)| PayloadItem {
            name: (*name).into(),
            kind: ArtifactKind::Chart,
            version: "1".into(),
            only_with: None,
            path: ArtifactKind::Chart.path(name),
            sha256: Digest::of(content),
            size: 1,
            images: Vec::new(),
        });
        let payload = Payload {
            schema: SCHEMA,
            artifacts: artifacts.collect(),
        };
        std::fs::write(dir.join(PAYLOAD_NAME), payload.render().unwrap()).unwrap();
    }

    #[test]
    fn only_just_what_is_wanted_is_not_fetched_again() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (artifact("one", b"1"), artifact("two", b"2"));
        let wanted = [&one, &two];
        assert!(!is_there(&wanted, dir.path()));
        lay_down(dir.path(), &[("one", b"1"), ("two", b"2")]);
        assert!(is_there(&wanted, dir.path()));
        assert!(!is_there(&[&one], dir.path()), "an addon is off now");
        lay_down(dir.path(), &[("one", b"1"), ("two", b"3")]);
        assert!(!is_there(&wanted, dir.path()), "another version");
        lay_down(dir.path(), &[("one", b"1")]);
        assert!(!is_there(&wanted, dir.path()), "an addon is on now");
        std::fs::write(dir.path().join(PAYLOAD_NAME), "{").unwrap();
        assert!(!is_there(&wanted, dir.path()));
    }

    #[test]
    fn after_a_power_cut_anywhere_the_next_run_ends_well() {
        let contents: [(&str, &[u8]); 2] = [("one", b"1"), ("two", b"2")];
        let locked = LockedBundle {
            schema: SCHEMA,
            artifacts: contents
                .map(|(name, content)| artifact(name, content))
                .to_vec(),
            unpinned: Vec::new(),
        };
        let wanted = Wanted::With(Default::default());
        for state in 0..7 {
            let top = tempfile::tempdir().unwrap();
            let dir = top.path().join("payload");
            let store = Store::open(&top.path().join("bundle")).unwrap();
            for (_, content) in contents {
                store.insert(content).unwrap();
            }
            let (new, old) = (
                top.path().join(".payload.new"),
                top.path().join(".payload.old"),
            );
            let lay = |locked: &LockedBundle| lay_out(locked, &store, &dir, &wanted).unwrap();
            let mut half = locked.clone();
            half.artifacts.pop();
            match state {
                // Everything came, and no more.
                0 => {}
                // While it was laid out.
                1 => std::fs::create_dir_all(new.join("charts")).unwrap(),
                // Between the two renames.
                2 => {
                    lay(&locked);
                    std::fs::rename(&dir, &new).unwrap();
                    std::fs::create_dir(&old).unwrap();
                }
                // Before the one of before was taken away.
                3 => {
                    lay(&locked);
                    std::fs::create_dir_all(old.join("charts")).unwrap();
                }
                // Before the store was tidied.
                4 => drop(lay(&locked)),
                // While an archive was made, and with a download of what is not named any more.
                5 => {
                    lay(&locked);
                    store.insert(b"a layer").unwrap();
                    let partial = store.dir().join("partial");
                    std::fs::write(partial.join(".fresh-x"), "x").unwrap();
                    let begun = Digest::of(b"not named").to_string();
                    std::fs::write(partial.join(begun), "x").unwrap();
                }
                // An addon was put on.
                _ => drop(lay(&half)),
            }
            let artifacts = locked.wanted(&wanted).unwrap();
            if !is_there(&artifacts, &dir) {
                assert_eq!(missing_bytes(&artifacts, &store), 0, "{state}");
                lay(&locked);
            }
            tidy::after_fetching(&locked, &store, &dir).unwrap();
            assert!(is_there(&artifacts, &dir), "{state}");
            for (name, content) in contents {
                let path = dir.join(ArtifactKind::Chart.path(name));
                assert_eq!(std::fs::read(path).unwrap(), content, "{state}");
            }
            let names = |dir: &Path| std::fs::read_dir(dir).unwrap().count();
            assert_eq!(names(top.path()), 2, "{state}: payload and bundle");
            assert_eq!(names(&store.dir().join("partial")), 0, "{state}");
            assert_eq!(store.blobs().unwrap().len(), 2, "{state}");
            // The next slot has a payload of its own.
            tidy::all_that_was_fetched(store.dir(), &dir).unwrap();
            assert_eq!(names(top.path()), 0, "{state}");
            tidy::all_that_was_fetched(store.dir(), &dir).unwrap();
        }
    }

    #[test]
    fn what_is_damaged_is_asked_for_less_often_and_for_ever() {
        let mut pause = Duration::ZERO;
        let mut seconds = Vec::new();
        for damaged in [
            false, false, false, true, true, true, true, true, true, false,
        ] {
            pause = next_pause(pause, damaged);
            seconds.push(pause.as_secs());
        }
        assert_eq!(seconds, [5, 10, 20, 60, 120, 240, 480, 900, 900, 60]);
    }

    #[test]
    fn room_is_asked_for_before_anything_comes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.insert(b"1").unwrap();
        let sized = |name: &str, content: &[u8], size| {
            let mut artifact = artifact(name, content);
            if let Content::File(file) = &mut artifact.content {
                file.size = size;
            }
            artifact
        };
        let there = sized("one", b"1", Some(1 << 40));
        let (missing, unknown) = (sized("two", b"2", Some(3000)), sized("x", b"x", None));
        assert_eq!(missing_bytes(&[&there, &missing, &unknown], &store), 3000);
        check_room(3000, 3000).unwrap();
        let error = check_room(3000, 2999).unwrap_err();
        assert_eq!(Failure::of(&error).unwrap().kind, Kind::NoSpace);
        assert!(error.to_string().contains("(3000 bytes)"), "{error}");
        assert!(free(dir.path()).unwrap() > 0);
        assert!(check_room(u64::MAX, free(dir.path()).unwrap()).is_err());
    }

    #[test]
    fn images_are_the_same_in_any_order() {
        let image = |name: &str, content: &[u8]| LockedImage {
            image: format!("h.example/{name}:1").parse().unwrap(),
            digest: Digest::of(content),
        };
        let (a, b, c) = (image("a", b"1"), image("b", b"2"), image("b", b"3"));
        assert!(same_images(
            &[a.clone(), b.clone()],
            &[b.clone(), a.clone()]
        ));
        assert!(!same_images(
            &[a.clone(), b.clone()],
            std::slice::from_ref(&a)
        ));
        assert!(!same_images(&[a.clone(), b], &[a, c]));
    }

    #[test]
    fn a_line_says_how_far_all_is() {
        let progress = |name: &str, state, total| Progress {
            artifact: name.into(),
            state,
            done: 1 << 20,
            total,
        };
        let mut all = BTreeMap::new();
        all.insert("a".to_owned(), progress("a", State::Done, None));
        let line = |p: &Progress| said(&all, 3, p);
        let moving = progress("b", State::Moving, Some(4 << 20));
        assert_eq!(line(&moving), "[1/3] b: 1 MiB of 4 MiB");
        assert_eq!(
            line(&progress("b", State::Failed, None)),
            "[1/3] b did not come"
        );
    }
}
