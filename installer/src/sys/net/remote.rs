//! A large file at a URL, read in parts: what is lost on the way goes on where it stopped.
//!
//! In: a URL and [`Limits`]. Out: [`Remote`], which knows the file's size when the server says
//! it, and [`RemoteReader`]s over ranges of it. A connection that breaks or stalls is followed by
//! another that asks for the rest (RFC 9110, section 14); a server that can't give a part sends
//! all of it again, and what was there is skipped. A file that has changed meanwhile (`ETag`,
//! `Last-Modified`, its length) is an error. Every error names URL and offset.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::time::Duration;

use anyhow::anyhow;
use ureq::http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED,
};
use ureq::http::{Response, StatusCode};
use ureq::{Body, BodyReader};

use super::request::{Attempt, Request, Time, refusal};
use super::{Fetch, LAST_PAUSE, Refused};
use crate::config::formats::{mask_urls, masked_url};
use crate::failure::{Failure, Kind};
use crate::sys::wait;

/// The pause after the first fault.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Bytes after which a fault counts as the first again. With less, a server that drops every
/// connection after a byte would be asked for ever.
const PROGRESS: u64 = 256 << 10;
const HINT: &str = "check the URL, the network and the server; \
     --retries and --stall-limit decide how long a bad line is tried";

/// How long a bad line is put up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Faults in a row after which reading ends.
    pub retries: u32,
    /// The longest time without a byte, after which a connection counts as broken.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            retries: 10,
            stall: Duration::from_secs(60),
        }
    }
}

/// A file at a URL.
#[derive(Debug, Clone)]
pub struct Remote {
    fetch: Fetch,
    shown: String,
    limits: Limits,
    identity: Identity,
    html: bool,
}

/// What must be the same in each answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Identity {
    size: Option<u64>,
    tag: Option<String>,
    modified: Option<String>,
}

impl Remote {
    /// Asks the server for the file; `None` when it has none of this name.
    pub fn open(url: &str, limits: Limits) -> anyhow::Result<Option<Self>> {
        let mut remote = Self::unasked(Fetch::new(url, Duration::ZERO), limits);
        let mut faults = Faults::new(limits);
        loop {
            let error = match remote.first() {
                Ok(found) => return Ok(found.then_some(remote)),
                Err(Attempt::Final(error)) => return Err(remote.failed(0, &error)),
                Err(Attempt::Again(error, _)) => error,
                Err(Attempt::Done(_)) => anyhow!("an answer that was not asked for"),
            };
            remote.pause(&mut faults, 0, error)?;
        }
    }

    /// A file that the server was not asked for yet.
    pub fn unasked(fetch: Fetch, limits: Limits) -> Self {
        Self {
            shown: masked_url(&fetch.url),
            fetch,
            limits,
            identity: Identity::default(),
            html: false,
        }
    }

    /// The file's size in bytes, when the server says it.
    pub fn size(&self) -> Option<u64> {
        self.identity.size
    }

    /// Whether the server calls it a web page.
    pub fn is_html(&self) -> bool {
        self.html
    }

    /// The URL without secrets.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// A reader over a part of the file. Its end may lie behind the file's when the size is not
    /// known.
    pub fn reader(&self, range: Range<u64>) -> RemoteReader {
        RemoteReader {
            remote: self.clone(),
            at: range.start,
            end: range.end,
            body: None,
            faults: Faults::new(self.limits),
            refused: None,
        }
    }

    /// The first request: one byte is enough to learn what the server can do.
    fn first(&mut self) -> Result<bool, Attempt> {
        let response = self.ask(0, Some(0))?;
        let status = response.status();
        if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
            return Ok(false);
        }
        let empty = status == StatusCode::RANGE_NOT_SATISFIABLE;
        if !status.is_success() && !empty {
            return Err(refusal(&response));
        }
        self.identity = identity(&response);
        if empty {
            self.identity.size = Some(0);
        }
        self.html = header(&response, CONTENT_TYPE).is_some_and(|t| t.contains("html"));
        Ok(true)
    }

    fn ask(&self, start: u64, last: Option<u64>) -> Result<Response<Body>, Attempt> {
        let request = Request::new(&self.fetch).map_err(Attempt::Final)?;
        let last = last.map_or(String::new(), |last| last.to_string());
        let mut headers = vec![("Range", format!("bytes={start}-{last}"))];
        // Weak tags are not for this (RFC 9110, 13.1.5).
        if let Some(tag) = self.identity.tag.as_ref().filter(|t| t.starts_with('"')) {
            headers.push(("If-Range", tag.clone()));
        }
        let response = request.answer(Time::Stall(self.limits.stall), &headers)?;
        match header(&response, CONTENT_ENCODING).as_deref() {
            None | Some("identity" | "zstd") => Ok(response),
            Some(other) => Err(Attempt::Final(anyhow!(
                "the server packs the file as {other}, although it was asked not to"
            ))),
        }
    }

    /// A body that begins at `start`; none when the file ends there.
    fn body(&mut self, start: u64, end: u64) -> Result<Option<BodyReader<'static>>, Attempt> {
        let last = Some(end.saturating_sub(1)).filter(|_| end != u64::MAX);
        let response = self.ask(start, last)?;
        let status = response.status();
        if !status.is_success() && status != StatusCode::RANGE_NOT_SATISFIABLE {
            return Err(refusal(&response));
        }
        let now = identity(&response);
        if self.identity == Identity::default() {
            self.identity = now;
        } else {
            self.compare(&now)?;
        }
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            // Some don't say how large it is; before the first byte there is only one size.
            let size = self.identity.size.or((start == 0).then_some(0));
            if size == Some(start) {
                self.identity.size = size;
                return Ok(None);
            }
            return Err(Attempt::Final(anyhow!("the file ends before this byte")));
        }
        let skip = match (status, part_of(&response)) {
            (StatusCode::PARTIAL_CONTENT, Some(first)) if first == start => 0,
            (StatusCode::PARTIAL_CONTENT, _) => {
                let why = "the server sends another part of the file than was asked for";
                return Err(Attempt::Final(anyhow!(why)));
            }
            _ => start,
        };
        let mut body = response.into_body().into_reader();
        if skip > 0 {
            tracing::debug!("{}: no parts from this server, skipping {skip}", self.shown);
        }
        let skipped = io::copy(&mut (&mut body).take(skip), &mut io::sink());
        match skipped {
            Ok(count) if count == skip => Ok(Some(body)),
            Ok(count) => {
                let why = anyhow!("the answer ends at byte {count}");
                Err(Attempt::Again(why, None))
            }
            Err(e) => Err(Attempt::Again(anyhow!("{}", plain(&e)), None)),
        }
    }

    /// An error when the file is another one than at first.
    fn compare(&self, now: &Identity) -> Result<(), Attempt> {
        let was = &self.identity;
        let differ =
            |a: Option<&String>, b: Option<&String>| matches!((a, b), (Some(a), Some(b)) if a != b);
        let tags = differ(was.tag.as_ref(), now.tag.as_ref());
        let times = differ(was.modified.as_ref(), now.modified.as_ref());
        let what = match (was.size, now.size) {
            (Some(a), Some(b)) if a != b => format!("it had {a} bytes and now has {b}"),
            _ if tags => "its ETag is another one".to_owned(),
            _ if times => "its time of change is another one".to_owned(),
            _ => return Ok(()),
        };
        Err(Attempt::Final(anyhow!(
            "the file on the server has changed while it was read: {what}"
        )))
    }

    /// Waits after a fault, or says that there were too many.
    fn pause(&self, faults: &mut Faults, at: u64, error: anyhow::Error) -> anyhow::Result<()> {
        match faults.pause() {
            Some(pause) => {
                tracing::info!("{} at byte {at}: {error:#}; again in {pause:?}", self.shown);
                wait::pause_for(pause);
                Ok(())
            }
            None => {
                let given_up = match faults.count {
                    1 => "given up".to_owned(),
                    tries => format!("given up after {tries} faults"),
                };
                Err(self.failed(at, &error.context(given_up)))
            }
        }
    }

    fn failed(&self, at: u64, error: &anyhow::Error) -> anyhow::Error {
        let why = mask_urls(&format!("{error:#}"));
        let message = format!("{} at byte {at}: {why}", self.shown);
        Failure::error(Kind::ImageUnreachable, message, HINT)
    }
}

/// Faults in a row.
#[derive(Debug)]
struct Faults {
    limits: Limits,
    count: u32,
    /// Bytes since the last one.
    since: u64,
}

impl Faults {
    fn new(limits: Limits) -> Self {
        let (count, since) = (0, 0);
        Self {
            limits,
            count,
            since,
        }
    }

    /// Counts a fault. How long to wait, `None` when it is one too many.
    fn pause(&mut self) -> Option<Duration> {
        if self.since >= PROGRESS {
            self.count = 0;
        }
        self.since = 0;
        self.count += 1;
        let doubled = FIRST_PAUSE.saturating_mul(1 << (self.count - 1).min(8));
        (self.count <= self.limits.retries).then(|| doubled.min(LAST_PAUSE))
    }
}

/// A part of a file at a URL, as a stream.
pub struct RemoteReader {
    remote: Remote,
    at: u64,
    end: u64,
    body: Option<BodyReader<'static>>,
    faults: Faults,
    refused: Option<Refused>,
}

impl fmt::Debug for RemoteReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteReader({} at {})", self.remote.shown, self.at)
    }
}

impl RemoteReader {
    /// The refusal that ended reading, when it was one.
    pub fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// The file's size in bytes, when the server has said it.
    pub fn size(&self) -> Option<u64> {
        self.remote.size()
    }

    /// Asks for the first byte. The file's size, when the server says it.
    pub fn begin(&mut self) -> io::Result<Option<u64>> {
        while self.body.is_none() && self.room(1) > 0 {
            self.connect()?;
        }
        Ok(self.remote.identity.size)
    }

    /// How much of a buffer of this length can be filled.
    fn room(&self, length: usize) -> usize {
        let size = self.remote.identity.size;
        let end = self.end.min(size.unwrap_or(u64::MAX));
        let room = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        room.min(length)
    }

    /// Asks for what is missing, once, and waits when that fails.
    fn connect(&mut self) -> io::Result<()> {
        match self.remote.body(self.at, self.end) {
            Ok(body) => self.body = body,
            Err(Attempt::Final(error)) => {
                self.refused = error.downcast_ref().cloned();
                return Err(io_error(self.remote.failed(self.at, &error)));
            }
            Err(Attempt::Again(error, _)) => self.fault(error)?,
            Err(Attempt::Done(_)) => {}
        }
        Ok(())
    }

    fn fault(&mut self, error: anyhow::Error) -> io::Result<()> {
        self.body = None;
        let paused = self.remote.pause(&mut self.faults, self.at, error);
        paused.map_err(io_error)
    }
}

impl Read for RemoteReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let room = self.room(buffer.len());
            if room == 0 {
                return Ok(0);
            }
            let Some(body) = &mut self.body else {
                self.connect()?;
                continue;
            };
            match body.read(&mut buffer[..room]) {
                // Without a known size this is the end.
                Ok(0) if self.remote.identity.size.is_none() => return Ok(0),
                Ok(0) => self.fault(anyhow!("the connection ended"))?,
                Ok(count) => {
                    self.at += count as u64;
                    self.faults.since += count as u64;
                    return Ok(count);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => self.fault(anyhow!("{}", plain(&e)))?,
            }
        }
    }
}

/// An error as one of reading, from which [`Failure`] comes back.
fn io_error(error: anyhow::Error) -> io::Error {
    match error.downcast::<Failure>() {
        Ok(failure) => io::Error::other(failure),
        Err(error) => io::Error::other(error),
    }
}

/// What an error of a body says.
fn plain(error: &io::Error) -> String {
    let inner = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<ureq::Error>());
    match inner {
        Some(ureq::Error::Timeout(_)) => "the server has stalled".to_owned(),
        _ => error.to_string(),
    }
}

fn header(response: &Response<Body>, name: HeaderName) -> Option<String> {
    let value = response.headers().get(name)?.to_str().ok()?;
    Some(value.trim().to_owned())
}

fn identity(response: &Response<Body>) -> Identity {
    let size = match response.status() {
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            header(response, CONTENT_RANGE).and_then(|r| r.rsplit_once('/')?.1.parse().ok())
        }
        _ => header(response, CONTENT_LENGTH).and_then(|l| l.parse().ok()),
    };
    Identity {
        size,
        tag: header(response, ETAG),
        modified: header(response, LAST_MODIFIED),
    }
}

/// Where the part begins that an answer holds.
fn part_of(response: &Response<Body>) -> Option<u64> {
    let range = header(response, CONTENT_RANGE)?;
    let (first, _) = range.strip_prefix("bytes ")?.split_once('-')?;
    first.parse().ok()
}
