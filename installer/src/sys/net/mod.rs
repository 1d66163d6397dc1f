//! HTTP: fetching a small file, patiently, and reading a large one in parts ([`remote`]).
//!
//! In: a [`Fetch`]: URL, headers, a CA, limits of time and size. Out: the bytes, or an error
//! that says what the server or the network said last; [`exchange`] is for protocols, where every
//! answer says something. TLS is rustls with the Mozilla roots, and
//! the given CA beside them. Errors and logs never show a header's value, nor user, password or
//! query of a URL.

pub mod exchange;
mod proxy;
pub mod remote;
mod request;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::wait;
use crate::config::formats::{self, masked_url};
use crate::config::secret::Secret;
use crate::failure::{Failure, Kind};
pub use request::Refused;
use request::{Attempt, Request};

/// Time for one attempt.
const ATTEMPT: Duration = Duration::from_secs(20);
/// The shortest attempt, when little time is left.
const SHORTEST: Duration = Duration::from_secs(1);
/// Pauses between attempts: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(8);
/// The longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The largest file that is taken, unless said otherwise.
pub const SMALL: usize = 1 << 20;

/// What to fetch.
#[derive(Clone)]
pub struct Fetch {
    /// A URL of http or https; user and password in it are sent as basic authentication.
    pub url: String,
    /// Headers to send, as name and value. They stay behind when a redirect leads to another
    /// server.
    pub headers: Vec<(String, Secret)>,
    /// Certificates in PEM that are trusted beside the Mozilla roots.
    pub ca: Option<String>,
    /// Takes any certificate. Only for what is checked in another way.
    pub trust_any: bool,
    /// Time for all of it: attempts, redirects, body and pauses.
    pub patience: Duration,
    /// The largest body in bytes, unpacked.
    pub limit: usize,
}

/// What came.
#[derive(Clone)]
pub struct Answer {
    /// The body.
    pub bytes: Vec<u8>,
    /// What the server says that it is; may be empty.
    pub content_type: String,
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fetch({})", masked_url(&self.url))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A config holds secrets.
        write!(
            f,
            "Answer({} bytes, {})",
            self.bytes.len(),
            self.content_type
        )
    }
}

impl Fetch {
    /// A request without headers and CA, for at most [`SMALL`] bytes.
    pub fn new(url: impl Into<String>, patience: Duration) -> Self {
        Self {
            url: url.into(),
            headers: Vec::new(),
            ca: None,
            trust_any: false,
            patience,
            limit: SMALL,
        }
    }

    /// Fetches it. Tries again, with growing pauses or those that the server asks for, as long as
    /// it can't be reached or has a fault of its own; what it refuses (4xx but 408, 425 and 429), a certificate that is not
    /// trusted and a body that is too large are final.
    pub fn run(&self) -> anyhow::Result<Answer> {
        let request = Request::new(self).with_context(|| self.doing())?;
        self.patiently(|time| request.attempt(time))
    }

    /// What is done, for errors.
    fn doing(&self) -> String {
        format!("fetching {}", masked_url(&self.url))
    }

    /// Calls `attempt` with the time that it may take until it is done, or its error is final,
    /// or patience is over.
    fn patiently<T>(&self, attempt: impl Fn(Duration) -> Attempt<T>) -> anyhow::Result<T> {
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let left = self.patience.saturating_sub(start.elapsed());
            let (error, asked) = match attempt(left.clamp(SHORTEST, ATTEMPT)) {
                Attempt::Done(answer) => return Ok(answer),
                Attempt::Final(error) => return Err(error).with_context(|| self.doing()),
                Attempt::Again(error, asked) => (error, asked),
            };
            let left = self.patience.saturating_sub(start.elapsed());
            // A server that wants to be left alone for longer is asked once more at the end.
            let rest = left.saturating_sub(SHORTEST).max(pause);
            let now = asked.map_or(pause, |asked| asked.min(LONGEST_PAUSE).min(rest).max(pause));
            let doing = self.doing();
            if left <= now {
                let waited = start.elapsed().as_secs();
                return Err(error).with_context(|| format!("{doing}, tried for {waited} s"));
            }
            tracing::debug!("{doing}: {error:#}; again in {now:?}");
            wait::pause_for(now);
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Fetches a config: as [`Fetch::run`], but refuses a web page, which is what portals and
    /// servers with a login send instead.
    pub fn run_for_config(&self) -> anyhow::Result<Vec<u8>> {
        let answer = self.run()?;
        if is_page(&answer) {
            return Err(Failure::error(
                Kind::ConfigInvalid,
                format!(
                    "{} is a web page (HTML), not a config",
                    masked_url(&self.url)
                ),
                "the address of the plain file; a login or proxy may be in between",
            ));
        }
        Ok(answer.bytes)
    }
}

/// Whether an answer is HTML. Servers that call YAML `text/html` exist, so the body decides.
fn is_page(answer: &Answer) -> bool {
    let named = answer.content_type.contains("html");
    begins_as_page(&answer.bytes, named)
}

/// Whether the beginning of a file is that of a web page; `named` is whether its server says so.
pub fn begins_as_page(bytes: &[u8], named: bool) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let start = bytes.trim_ascii_start();
    let start = start[..start.len().min(16)].to_ascii_lowercase();
    let page = ["<!doctype", "<html", "<head", "<body", "<?xml", "<!--"];
    (named && start.starts_with(b"<")) || page.iter().any(|tag| start.starts_with(tag.as_bytes()))
}

/// A rule's verdict as an error.
fn wrong_input(wrong: formats::Wrong) -> anyhow::Error {
    Failure::error(Kind::ConfigInvalid, wrong.message, wrong.hint)
}
