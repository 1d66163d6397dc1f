//! Fetching a bundle: several blobs at a time, each artifact until nothing of it is missing.
//!
//! In: a [`LockedBundle`], which artifacts are [`Wanted`], an [`Origin`]. Out: a [`Store`] that has
//! all of their bytes, with the archives of image sets made. An artifact that fails does not
//! keep the others from coming; the error at the end names each that failed. [`Progress`] is told as it goes on.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;

use super::archive;
use super::oci::manifest::{self, Document};
use super::oci::{Reference, Registries};
use super::origin::{Origin, Role};
use super::transfer::{Tally, Transfer, Want, joined, stopped};
use super::{Content, Digest, LockedArtifact, LockedBundle, Store, Wanted};
use crate::failure::Failure;
use crate::sys::net::remote::Limits;

/// The largest config of an image in bytes.
const CONFIG_LIMIT: u64 = 8 << 20;

/// How far an artifact is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Its name.
    pub artifact: String,
    /// What happens with it.
    pub state: State,
    /// Bytes that are there.
    pub done: u64,
    /// Bytes that it has, as far as that is known.
    pub total: Option<u64>,
}

/// What happens with an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its bytes come.
    Moving,
    /// All images are there, and become one archive.
    Packing,
    /// It is there, checked.
    Done,
    /// It did not come; the error at the end says why.
    Failed,
}

/// How a bundle is fetched.
pub struct Fetching<'a> {
    /// Where it goes.
    pub store: &'a Store,
    /// Where it comes from.
    pub origin: &'a Origin,
    /// How registries are talked to.
    pub registries: &'a Registries,
    /// How long a bad line is put up with.
    pub limits: Limits,
    /// Blobs at a time.
    pub parallel: usize,
    /// Certificates to trust for URLs, in PEM.
    pub ca: Option<&'a str>,
    /// Hears how far it is, from several threads.
    pub tell: &'a (dyn Fn(&Progress) + Sync),
    /// Ends it soon when it becomes true.
    pub stop: &'a AtomicBool,
    /// The images themselves are wanted, too, where the archive that they were made into is there.
    pub layers: bool,
}

/// A blob to fetch, and what comes of it.
struct Task {
    artifact: usize,
    want: Want,
    then: Then,
}

enum Then {
    Nothing,
    /// It names more blobs of this image.
    Follow(Reference),
    /// It says what machines the image is for.
    CheckPlatform(Reference),
}

/// What the workers share.
struct Shared {
    tasks: VecDeque<Task>,
    /// Tasks of each artifact that are not done.
    left: Vec<usize>,
    errors: Vec<Option<anyhow::Error>>,
    /// Blobs that are on their way, by artifact.
    known: BTreeSet<(usize, Digest)>,
    running: usize,
}

impl Fetching<'_> {
    /// Fetches what is wanted.
    pub fn run(&self, locked: &LockedBundle, wanted: &Wanted) -> anyhow::Result<()> {
        let artifacts = locked.wanted(wanted)?;
        let tallies: Vec<Tally> = artifacts.iter().map(|a| Tally::new(&a.name)).collect();
        let mut shared = Shared {
            tasks: VecDeque::new(),
            left: vec![0; artifacts.len()],
            errors: artifacts.iter().map(|_| None).collect(),
            known: BTreeSet::new(),
            running: 0,
        };
        for (i, artifact) in artifacts.iter().enumerate() {
            match &artifact.content {
                Content::Images(images)
                    if !self.layers && archive::find(self.store, images).is_some() =>
                {
                    (self.tell)(&tallies[i].progress(State::Done));
                }
                _ => shared.begin(i, artifact, &tallies[i]),
            }
        }
        let work = Work {
            fetching: self,
            transfer: Transfer {
                store: self.store,
                origin: self.origin,
                registries: self.registries,
                limits: self.limits,
                ca: self.ca,
                tell: self.tell,
                stop: self.stop,
            },
            artifacts: &artifacts,
            tallies: &tallies,
            shared: Mutex::new(shared),
            changed: Condvar::new(),
        };
        std::thread::scope(|scope| {
            for _ in 0..self.parallel.max(1) {
                scope.spawn(|| work.run());
            }
        });
        let shared = work.shared.into_inner();
        let mut shared = shared.unwrap_or_else(PoisonError::into_inner);
        if self.stop.load(Ordering::Relaxed) {
            return Err(stopped());
        }
        let errors: Vec<anyhow::Error> = shared.errors.drain(..).flatten().collect();
        match errors.is_empty() {
            true => Ok(()),
            false => Err(joined(errors, "\n")),
        }
    }
}

impl Shared {
    fn begin(&mut self, i: usize, artifact: &LockedArtifact, tally: &Tally) {
        match &artifact.content {
            Content::File(file) => {
                let want = Want {
                    digest: file.sha256,
                    size: file.size,
                    limit: file.size.unwrap_or(artifact.kind.limit()),
                    role: Role::File(file.url.clone()),
                };
                self.add(i, want, Then::Nothing, tally);
            }
            Content::Images(images) => {
                for image in images {
                    let want = Want {
                        digest: image.digest,
                        size: None,
                        limit: manifest::LIMIT,
                        role: Role::Manifest(image.image.clone()),
                    };
                    self.add(i, want, Then::Follow(image.image.clone()), tally);
                }
            }
        }
    }

    fn add(&mut self, artifact: usize, want: Want, then: Then, tally: &Tally) {
        // Two images can have the same manifest, and yet each is followed.
        if self.known.insert((artifact, want.digest)) {
            tally.expect(want.size.unwrap_or(0));
        } else if matches!(then, Then::Nothing) {
            return;
        }
        self.left[artifact] += 1;
        self.tasks.push_back(Task {
            artifact,
            want,
            then,
        });
    }
}

struct Work<'a> {
    fetching: &'a Fetching<'a>,
    transfer: Transfer<'a>,
    artifacts: &'a [&'a LockedArtifact],
    tallies: &'a [Tally],
    shared: Mutex<Shared>,
    changed: Condvar,
}

impl Work<'_> {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What one thread does: task after task, until none can come any more.
    fn run(&self) {
        loop {
            let mut shared = self.lock();
            let task = loop {
                if let Some(task) = shared.tasks.pop_front() {
                    break task;
                }
                if shared.running == 0 {
                    return;
                }
                shared = match self.changed.wait(shared) {
                    Ok(shared) => shared,
                    Err(poisoned) => poisoned.into_inner(),
                };
            };
            shared.running += 1;
            let idle = shared.errors[task.artifact].is_some()
                || self.fetching.stop.load(Ordering::Relaxed);
            drop(shared);
            let result = match idle {
                true => Ok(()),
                false => self.step(&task),
            };
            self.end(&task, result);
        }
    }

    fn end(&self, task: &Task, result: anyhow::Result<()>) {
        let i = task.artifact;
        let mut shared = self.lock();
        if let Err(error) = result {
            shared.errors[i].get_or_insert_with(|| self.named(i, error));
        }
        shared.left[i] -= 1;
        if shared.left[i] == 0 && !self.fetching.stop.load(Ordering::Relaxed) {
            let failed = shared.errors[i].is_some();
            drop(shared);
            let finished = match failed {
                true => Ok(()),
                false => self.finish(i),
            };
            shared = self.lock();
            if let Err(error) = finished {
                shared.errors[i] = Some(self.named(i, error));
            }
            let state = match shared.errors[i] {
                Some(_) => State::Failed,
                None => State::Done,
            };
            (self.fetching.tell)(&self.tallies[i].progress(state));
        }
        shared.running -= 1;
        self.changed.notify_all();
    }

    fn named(&self, i: usize, error: anyhow::Error) -> anyhow::Error {
        let LockedArtifact { name, version, .. } = self.artifacts[i];
        error.context(format!("{name} {version}"))
    }

    fn step(&self, task: &Task) -> anyhow::Result<()> {
        let tally = &self.tallies[task.artifact];
        let fetched = self.transfer.fetch(&task.want, tally);
        match &task.then {
            Then::Nothing => match &task.want.role {
                Role::Blob(image) => fetched.with_context(|| format!("image {image}")),
                _ => fetched,
            },
            Then::Follow(image) => fetched
                .and_then(|()| self.follow(task, image))
                .with_context(|| format!("image {image}")),
            Then::CheckPlatform(image) => fetched
                .and_then(|()| {
                    let store = self.fetching.store;
                    manifest::check_config(&store.read(task.want.digest, CONFIG_LIMIT)?)
                })
                .with_context(|| format!("image {image}")),
        }
    }

    /// What a manifest or an index leads to.
    fn follow(&self, task: &Task, image: &Reference) -> anyhow::Result<()> {
        let store = self.fetching.store;
        let bytes = store.read(task.want.digest, manifest::LIMIT)?;
        let (i, tally) = (task.artifact, &self.tallies[task.artifact]);
        match Document::parse(&bytes)? {
            Document::Index(manifests) => {
                let found = manifest::pick(&manifests)?;
                let want = Want {
                    digest: found.digest,
                    size: Some(found.size),
                    limit: manifest::LIMIT,
                    role: Role::Manifest(image.clone()),
                };
                self.lock().add(i, want, Then::Follow(image.clone()), tally);
            }
            Document::Manifest(manifest, _) => {
                let want = |of: &manifest::Descriptor, limit| Want {
                    digest: of.digest,
                    size: Some(of.size),
                    limit,
                    role: Role::Blob(image.clone()),
                };
                let config = want(&manifest.config, CONFIG_LIMIT);
                let check = Then::CheckPlatform(image.clone());
                let mut shared = self.lock();
                shared.add(i, config, check, tally);
                for layer in &manifest.layers {
                    shared.add(i, want(layer, layer.size), Then::Nothing, tally);
                }
            }
        }
        self.changed.notify_all();
        Ok(())
    }

    /// The last thing to do for an artifact.
    fn finish(&self, i: usize) -> anyhow::Result<()> {
        let Content::Images(images) = &self.artifacts[i].content else {
            return Ok(());
        };
        (self.fetching.tell)(&self.tallies[i].progress(State::Packing));
        archive::make(self.fetching.store, images).map(drop)
    }
}

/// The hint of the first failure in an error, for a person.
pub fn hint_of(error: &anyhow::Error) -> Option<&str> {
    let hint = Failure::of(error).map(|failure| failure.hint.as_str());
    hint.filter(|hint| !hint.is_empty())
}
