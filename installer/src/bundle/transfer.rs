//! One blob on its way into the store.
//!
//! In: the blob's digest and the places where it may be. Out: the blob in the store, checked
//! while it came. What came before a fault stays and is gone on with, at the next place, at the
//! next call or in the next process.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, anyhow};

use super::oci::{Access, Registries, refused};
use super::origin::{Origin, Place, Role};
use super::store::{Partial, Store};
use super::{Digest, Progress, State};
use crate::failure::{Failure, Kind};
use crate::sys::net::remote::{Limits, Remote};
use crate::sys::net::{Fetch, begins_as_page};

/// Bytes that are read at once.
const BUFFER: usize = 128 << 10;
/// Bytes after which it is told how far it is.
const STRIDE: u64 = 1 << 20;
/// Faults in a row at a place that others stand in for.
const FEW: u32 = 1;
const HINT: &str = "check the network and the server, or name a mirror; what was fetched is kept, \
     and the next try goes on from there";

/// A blob that is wanted.
#[derive(Debug, Clone)]
pub(super) struct Want {
    pub digest: Digest,
    /// Its size in bytes, where known.
    pub size: Option<u64>,
    /// The largest size that is taken.
    pub limit: u64,
    pub role: Role,
}

/// A blob on its way.
struct Job<'a> {
    want: &'a Want,
    tally: &'a Tally,
    /// Whether the tally knows how much is to come.
    expected: Cell<bool>,
}

impl Job<'_> {
    /// Learns from a server what the pin did not say.
    fn expect(&self, size: u64) {
        if !self.expected.replace(true) {
            self.tally.expect(size);
        }
    }
}

/// How far an artifact is.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub name: String,
    done: AtomicU64,
    total: AtomicU64,
    /// What `done` was when it was told last.
    told: AtomicU64,
}

/// What all transfers share.
pub(super) struct Transfer<'a> {
    pub store: &'a Store,
    pub origin: &'a Origin,
    pub registries: &'a Registries,
    pub limits: Limits,
    pub ca: Option<&'a str>,
    pub tell: &'a (dyn Fn(&Progress) + Sync),
    pub stop: &'a AtomicBool,
}

impl Tally {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Bytes that are to come.
    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn progress(&self, state: State) -> Progress {
        let done = self.done.load(Ordering::Relaxed);
        let total = self.total.load(Ordering::Relaxed);
        Progress {
            artifact: self.name.clone(),
            state,
            done,
            total: (total >= done && total > 0).then_some(total),
        }
    }

    fn moved(&self, bytes: u64) -> bool {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let told = self.told.load(Ordering::Relaxed);
        let far = done.saturating_sub(told) >= STRIDE;
        if far {
            self.told.store(done, Ordering::Relaxed);
        }
        far
    }

    fn lost(&self, bytes: u64) {
        self.done.fetch_sub(bytes, Ordering::Relaxed);
        self.told.store(0, Ordering::Relaxed);
    }
}

impl Transfer<'_> {
    /// Fetches a blob, unless it is there.
    pub fn fetch(&self, want: &Want, tally: &Tally) -> anyhow::Result<()> {
        let job = Job {
            want,
            tally,
            expected: Cell::new(want.size.is_some()),
        };
        let partial = match self.store.size_of(want.digest) {
            Some(_) => None,
            None => self.store.partial(want.digest)?,
        };
        let Some(mut partial) = partial else {
            let size = self.store.size_of(want.digest).unwrap_or(0);
            job.expect(size);
            tally.moved(size);
            return Ok(());
        };
        tally.moved(partial.size());
        let places = self
            .origin
            .places(want.digest, &want.role, self.registries)?;
        let mut errors = Vec::new();
        for (i, place) in places.iter().enumerate() {
            let mut limits = self.limits;
            if i + 1 < places.len() {
                limits.retries = limits.retries.min(FEW);
            }
            match self.take(place, &job, &mut partial, limits) {
                Ok(()) => {
                    job.expect(partial.size());
                    return partial.finish();
                }
                Err(error) if self.stop.load(Ordering::Relaxed) => return Err(error),
                Err(error) => errors.push(error),
            }
        }
        partial.leave()?;
        Err(joined(errors, "; "))
    }

    /// Everything from one place; what another place gave before may have been wrong.
    fn take(
        &self,
        place: &Place,
        job: &Job<'_>,
        partial: &mut Partial,
        limits: Limits,
    ) -> anyhow::Result<()> {
        let Job { want, tally, .. } = *job;
        loop {
            let resumed = partial.size() > 0;
            if want.size.is_none_or(|size| partial.size() != size) {
                let poured = self.pour(place, job, partial, limits);
                match poured {
                    Ok(()) => {}
                    Err(Poured::Shorter) if resumed => {
                        tally.lost(partial.size());
                        partial.restart()?;
                        continue;
                    }
                    Err(Poured::Shorter) => return Err(anyhow!("{place} ends early")),
                    Err(Poured::Error(error)) => return Err(error),
                }
            }
            if partial.is_whole() {
                return Ok(());
            }
            let page = begins_as_page(&partial.start(), false);
            let error = partial.damaged();
            tally.lost(partial.size());
            partial.restart()?;
            if resumed {
                tracing::debug!("{place}: what was begun does not fit; from the start again");
                continue;
            }
            return Err(match page {
                true => error.context(format!("{place} is a web page: a login or proxy?")),
                false => error.context(place.to_string()),
            });
        }
    }

    fn pour(
        &self,
        place: &Place,
        job: &Job<'_>,
        partial: &mut Partial,
        limits: Limits,
    ) -> Result<(), Poured> {
        let mut logged_in = None;
        loop {
            let before = partial.size();
            let fetch = match place {
                Place::File(path) => return self.pour_file(path, job, partial),
                Place::Url(url) => {
                    let mut fetch = Fetch::new(url, std::time::Duration::ZERO);
                    fetch.ca = self.ca.map(str::to_owned);
                    fetch
                }
                Place::Registry {
                    endpoint,
                    repository,
                    path,
                } => self.registries.fetch(endpoint, repository, path),
            };
            let mut reader = Remote::unasked(fetch, limits).reader(before..u64::MAX);
            let begun = reader.begin();
            if reader.size().is_some_and(|size| size < before) {
                return Err(Poured::Shorter);
            }
            let poured = match begun {
                Ok(size) => check_size(place, job, size)
                    .and_then(|()| self.copy(&mut reader, place, job, partial)),
                Err(error) => Err(unreachable(error)),
            };
            let Err(error) = poured else {
                return Ok(());
            };
            let status = reader.refused().map(|refused| refused.status);
            match (place, status) {
                // A token may also have become too old on the way.
                (
                    Place::Registry {
                        endpoint,
                        repository,
                        ..
                    },
                    Some(401),
                ) if logged_in.is_none_or(|at| partial.size() > at) => {
                    self.registries.log_in(endpoint, repository, Access::Pull)?;
                    logged_in = Some(partial.size());
                }
                (
                    Place::Registry {
                        endpoint,
                        repository,
                        ..
                    },
                    Some(401 | 403),
                ) => return Err(refused(endpoint, repository, true).into()),
                (_, Some(401 | 403)) => {
                    return Err(Poured::Error(Failure::error(
                        Kind::ArtifactRefused,
                        format!("{error:#}"),
                        "the server wants a user and password, which can be in the URL",
                    )));
                }
                _ => return Err(error.into()),
            }
        }
    }

    fn pour_file(
        &self,
        path: &std::path::Path,
        job: &Job<'_>,
        partial: &mut Partial,
    ) -> Result<(), Poured> {
        let opened = File::open(path).and_then(|mut file| {
            let size = file.metadata()?.len();
            file.seek(SeekFrom::Start(partial.size()))?;
            Ok((file, size))
        });
        let (mut file, size) = opened.map_err(|e| {
            Poured::Error(Failure::error(
                Kind::ArtifactUnreachable,
                format!("{}: {e}", path.display()),
                "`harrow-build bundle mirror --to DIR` fills a mirror",
            ))
        })?;
        if size < partial.size() {
            return Err(Poured::Shorter);
        }
        let place = Place::File(path.to_owned());
        check_size(&place, job, Some(size))?;
        Ok(self.copy(&mut file, &place, job, partial)?)
    }

    fn copy(
        &self,
        reader: &mut impl Read,
        place: &Place,
        job: &Job<'_>,
        partial: &mut Partial,
    ) -> anyhow::Result<()> {
        let Job { want, tally, .. } = *job;
        let mut buffer = vec![0; BUFFER];
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(stopped());
            }
            let count = reader.read(&mut buffer).map_err(unreachable)?;
            if count == 0 {
                return Ok(());
            }
            partial
                .write_all(&buffer[..count])
                .map_err(|e| Failure::of_write(e, format!("writing {}", want.digest)))?;
            if partial.size() > want.limit {
                tally.lost(partial.size() - count as u64);
                partial.restart()?;
                return Err(too_large(place, want));
            }
            if tally.moved(count as u64) {
                (self.tell)(&tally.progress(State::Moving));
            }
        }
    }
}

/// Why a place gave not all.
enum Poured {
    /// It has less than what was begun with.
    Shorter,
    Error(anyhow::Error),
}

impl From<anyhow::Error> for Poured {
    fn from(error: anyhow::Error) -> Self {
        Self::Error(error)
    }
}

/// The error of whoever was asked to stop.
pub(super) fn stopped() -> anyhow::Error {
    Failure::error(
        Kind::ArtifactUnreachable,
        "stopped before everything was fetched",
        "what was fetched is kept; the next try goes on from there",
    )
}

fn check_size(place: &Place, job: &Job<'_>, size: Option<u64>) -> anyhow::Result<()> {
    let want = job.want;
    match (size, want.size) {
        (Some(size), Some(wanted)) if size != wanted => {
            Err(wrong_size(place, &format!("{size} bytes"), wanted))
        }
        (Some(size), None) if size > want.limit => Err(too_large(place, want)),
        (Some(size), _) => {
            job.expect(size);
            Ok(())
        }
        (None, _) => Ok(()),
    }
}

fn too_large(place: &Place, want: &Want) -> anyhow::Error {
    let limit = want.limit;
    let message = match want.size {
        Some(_) => return wrong_size(place, &format!("more than {limit} bytes"), limit),
        None => format!("{place} has more than {limit} bytes, the most that this kind may have"),
    };
    Failure::error(
        Kind::ArtifactDamaged,
        message,
        "it is another file; if it has to be so large, `size` in its pin allows it",
    )
}

fn wrong_size(place: &Place, has: &str, wanted: u64) -> anyhow::Error {
    Failure::error(
        Kind::ArtifactDamaged,
        format!("{place} has {has}, and {wanted} are pinned"),
        "it is cut short, or another file; see whether the mirror or the pin is right",
    )
}

/// An error of reading from a server, as one of a bundle.
fn unreachable(error: std::io::Error) -> anyhow::Error {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<Failure>());
    match inner {
        Some(failure) => Failure::error(Kind::ArtifactUnreachable, &*failure.message, HINT),
        None => Failure::error(Kind::ArtifactUnreachable, error.to_string(), HINT),
    }
}

/// Several errors as one, with the kind and the hint of the last.
pub(super) fn joined(mut errors: Vec<anyhow::Error>, joint: &str) -> anyhow::Error {
    if errors.len() == 1 {
        return errors.remove(0);
    }
    let all: Vec<String> = errors.iter().map(|e| format!("{e:#}")).collect();
    let last = errors.last().and_then(Failure::of);
    let (kind, hint) = last.map_or((Kind::ArtifactUnreachable, HINT), |f| (f.kind, &*f.hint));
    Failure::error(kind, all.join(joint), hint)
}

impl Partial {
    /// Goes without a trace when nothing came.
    fn leave(self) -> anyhow::Result<()> {
        match self.size() {
            0 => self.discard().context("leaving the store as it was"),
            _ => Ok(()),
        }
    }
}
