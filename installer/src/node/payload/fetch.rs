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

use super::FETCHED;
use crate::bundle::oci::Registries;
use crate::bundle::{
    Content, Fetching, LockedArtifact, LockedBundle, LockedImage, Origin, PAYLOAD_NAME, Payload,
    Progress, State, Store, Wanted, lay_out, needed,
};
use crate::cluster::{Charts, REGISTRIES_PATH};
use crate::config::Config;
use crate::disk::layout::show;
use crate::failure::Failure;
use crate::sys::console::{Lines, Printer};
use crate::sys::net::remote::Limits;
use crate::sys::wait;

/// What an image of flavor `net` knows of its payload.
const BUNDLE: &str = "/usr/share/harrow/bundle.json";
/// Where it is fetched to. The payload's folder has hard links to it.
const STORE: &str = "/var/lib/harrow/bundle";
/// Downloads at a time.
const PARALLEL: usize = 4;
/// Time between two tries of what did not come, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
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
    if is_there(&artifacts, dir) {
        return Ok(());
    }
    let mut registries = Registries::default();
    if Path::new(REGISTRIES_PATH).exists() {
        registries.read_file(Path::new(REGISTRIES_PATH))?;
    }
    let mirror = config.cluster.bundle_mirror.as_deref();
    let origin = match mirror {
        Some(url) => Origin::parse(url, &registries)?,
        None => Origin::Upstream,
    };
    let store = Store::open(Path::new(STORE))?;
    printer.line(format!(
        "fetching {} parts of the cluster from {}",
        artifacts.len(),
        mirror.map_or("their projects", |_| "install.bundle_mirror")
    ));
    let ca = config.cluster.authorities.join("\n");
    let board = Board::new(printer.lines(), artifacts.len());
    let fetching = Fetching {
        store: &store,
        origin: &origin,
        registries: &registries,
        limits: Limits::default(),
        parallel: PARALLEL,
        ca: Some(ca.as_str()).filter(|ca| !ca.is_empty()),
        tell: &|progress| board.hear(progress),
        stop: &AtomicBool::new(false),
        layers: false,
    };
    let mut pause = PAUSE.0;
    while let Err(error) = fetching.run(&locked, &wanted) {
        printer.line(format!("not all of the cluster came: {error:#}"));
        if let Some(failure) = Failure::of(&error).filter(|f| !f.hint.is_empty()) {
            printer.line(format!("hint: {}", failure.hint));
        }
        printer.line(format!("the next try is in {} s", pause.as_secs()));
        wait::pause_for(pause);
        pause = (pause * 2).min(PAUSE.1);
    }
    lay_out(&locked, &store, dir, &wanted)?;
    // The layers of images lie in the archives, too.
    let freed = store.prune(&needed(&locked, &store))?;
    tracing::info!("{freed} bytes of the store are of no more use");
    printer.line("all parts of the cluster are there");
    Ok(())
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
