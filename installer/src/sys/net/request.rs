//! One attempt of a request: its redirects, its answer, and whether trying again makes sense.

use std::io::Read as _;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use jiff::Timestamp;
use ureq::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Timeout};

use super::proxy::Proxies;
use super::{Answer, Fetch, wrong_input};
use crate::config::formats::{self, HttpUrl, http_url, masked_url};
use crate::failure::{Failure, Kind};

/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// How an attempt ended.
pub(super) enum Attempt<T = Answer> {
    /// With an answer.
    Done(T),
    /// With an error that stays.
    Final(anyhow::Error),
    /// With an error that may go away, perhaps after a time that the server said.
    Again(anyhow::Error, Option<Duration>),
}

/// How long a server may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Time {
    /// For redirects, head and body together.
    Until(Instant),
    /// For each sign of life.
    Stall(Duration),
}

/// A request that can be made.
pub(super) struct Request<'a> {
    fetch: &'a Fetch,
    pub(super) url: HttpUrl,
    /// Sets of roots, tried one after the other: rustls takes only one at a time.
    roots: Vec<RootCerts>,
}

impl<'a> Request<'a> {
    /// Checks all that can be checked without a network.
    pub(super) fn new(fetch: &'a Fetch) -> anyhow::Result<Self> {
        let url = http_url(&fetch.url).map_err(wrong_input)?;
        for (name, value) in &fetch.headers {
            formats::http_header(name, value.expose()).map_err(wrong_input)?;
        }
        let mut roots = Vec::new();
        if let Some(pem) = &fetch.ca {
            roots.push(RootCerts::new_with_certs(&certificates(pem)?));
        }
        roots.push(RootCerts::WebPki);
        Ok(Self { fetch, url, roots })
    }

    /// One attempt, of at most `time`.
    pub(super) fn attempt(&self, time: Duration) -> Attempt {
        match self.answer(Time::Until(Instant::now() + time), &[]) {
            Ok(mut response) if response.status().is_success() => self.read(&mut response),
            Ok(response) => refusal(&response),
            Err(attempt) => attempt,
        }
    }

    /// The answer after all redirects, with its body still to be read. `more` are headers.
    pub(super) fn answer(
        &self,
        time: Time,
        more: &[(&str, String)],
    ) -> Result<Response<Body>, Attempt> {
        let mut here = (self.fetch.url.clone(), self.url.clone());
        for _ in 0..=REDIRECTS {
            let response = self.send(&here.0, &here.1, time, more)?;
            let status = response.status();
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            here = next(&here, &response).map_err(Attempt::Final)?;
        }
        Err(Attempt::Final(anyhow!("more than {REDIRECTS} redirects")))
    }

    fn send(
        &self,
        text: &str,
        url: &HttpUrl,
        time: Time,
        more: &[(&str, String)],
    ) -> Result<Response<Body>, Attempt> {
        let mut headers = more.to_vec();
        if is_same_server(&self.url, url) {
            let own = self.fetch.headers.iter();
            headers.extend(own.map(|(name, value)| (&**name, value.expose().to_owned())));
        }
        self.try_roots(url, time, |agent| {
            let mut request = agent.get(text);
            for (name, value) in &headers {
                request = request.header(*name, value);
            }
            request.call()
        })
    }

    /// Makes a request with each set of roots until one fits the server's certificate.
    pub(super) fn try_roots(
        &self,
        url: &HttpUrl,
        time: Time,
        mut call: impl FnMut(&Agent) -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, Attempt> {
        let mut last = None;
        for roots in &self.roots {
            let config = match time {
                Time::Until(end) => {
                    let left = end.saturating_duration_since(Instant::now());
                    Agent::config_builder().timeout_global(Some(left.max(Duration::from_millis(1))))
                }
                Time::Stall(limit) => Agent::config_builder()
                    .timeout_resolve(Some(limit))
                    .timeout_connect(Some(limit))
                    .timeout_send_request(Some(limit))
                    .timeout_recv_response(Some(limit))
                    .timeout_per_read(Some(limit)),
            };
            let config = config
                .max_redirects(0)
                .proxy(Proxies::of_this_process().of(url))
                .http_status_as_error(false)
                .accept_encoding("identity")
                .user_agent(concat!("harrow/", env!("CARGO_PKG_VERSION")))
                .tls_config(
                    TlsConfig::builder()
                        .root_certs(roots.clone())
                        .disable_verification(self.fetch.trust_any)
                        .build(),
                )
                .build();
            match call(&Agent::new_with_config(config)) {
                Ok(response) => return Ok(response),
                Err(error) => {
                    let why = reason(&error);
                    let untrusted = why.contains("UnknownIssuer");
                    last = Some(judge(why));
                    if !untrusted {
                        break;
                    }
                }
            }
        }
        // There is at least one set of roots.
        Err(last.unwrap_or_else(|| Attempt::Final(anyhow!("no certificates to trust"))))
    }

    fn read(&self, response: &mut Response<Body>) -> Attempt {
        let limit = self.fetch.limit;
        let header = response.headers().get(CONTENT_TYPE);
        let content_type = header.and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
        let mut bytes = Vec::new();
        let reader = response.body_mut().as_reader();
        match reader.take(limit as u64 + 1).read_to_end(&mut bytes) {
            Err(error) => Attempt::Again(anyhow!("reading the answer: {error}"), None),
            Ok(_) if bytes.len() > limit => Attempt::Final(Failure::error(
                Kind::ConfigInvalid,
                format!("the file is larger than {limit} bytes"),
                "this is not the address of a config",
            )),
            Ok(_) => Attempt::Done(Answer {
                bytes,
                content_type,
            }),
        }
    }
}

/// Whether headers with secrets may go there: the same server, or the same host by https after
/// http.
fn is_same_server(first: &HttpUrl, now: &HttpUrl) -> bool {
    let upgraded = now.secure && !first.secure;
    first.host.eq_ignore_ascii_case(&now.host)
        && (upgraded || (first.port, first.secure) == (now.port, now.secure))
}

/// Where a redirect leads.
fn next(
    (text, url): &(String, HttpUrl),
    response: &Response<Body>,
) -> anyhow::Result<(String, HttpUrl)> {
    let location = response.headers().get(LOCATION);
    let Some(location) = location.and_then(|l| l.to_str().ok()) else {
        return Err(anyhow!(
            "a redirect ({}) that leads nowhere",
            response.status()
        ));
    };
    let mut there = join(text, location);
    if http_url(&there).is_ok_and(|target| is_same_server(url, &target) && !target.credentials) {
        there = with_user_of(text, &there);
    }
    let shown = masked_url(&there);
    let target = http_url(&there)
        .map_err(|wrong| anyhow!("a redirect that can't be followed: {}", wrong.message))?;
    if url.secure && !target.secure {
        return Err(anyhow!(
            "a redirect from https to {shown}, which would not be secret any more"
        ));
    }
    tracing::debug!("redirected to {shown}");
    Ok((there, target))
}

/// A URL with the user and password of another: those of the first request hold for all that
/// its server sends it to, as the headers do.
fn with_user_of(first: &str, there: &str) -> String {
    let authority = |url: &str| {
        let start = url.find("://").map_or(0, |at| at + 3);
        let length = url[start..].find(['/', '?', '#']);
        (start, length.map_or(url.len(), |length| start + length))
    };
    let (start, end) = authority(first);
    let user = first[start..end].rsplit_once('@').map(|(user, _)| user);
    let (start, _) = authority(there);
    match user {
        Some(user) => format!("{}{user}@{}", &there[..start], &there[start..]),
        None => there.to_owned(),
    }
}

/// A reference (RFC 3986, 4.2) against the URL that it was found at.
fn join(base: &str, reference: &str) -> String {
    let end = base.find(['?', '#']).unwrap_or(base.len());
    let base = &base[..end];
    let authority = base.find("://").map_or(0, |at| at + 3);
    let path = base[authority..]
        .find('/')
        .map_or(base.len(), |at| authority + at);
    let lead = reference.split(['/', '?', '#']).next().unwrap_or_default();
    if lead.contains(':') {
        reference.to_owned()
    } else if reference.starts_with("//") {
        format!("{}:{reference}", base.split(':').next().unwrap_or("https"))
    } else if reference.starts_with('/') {
        format!("{}{reference}", &base[..path])
    } else if reference.starts_with('?') {
        format!("{base}{reference}")
    } else {
        let folder = base[path..]
            .rfind('/')
            .map_or("/", |at| &base[path..=path + at]);
        format!("{}{folder}{reference}", &base[..path])
    }
}

/// A server's refusal, inside the error that speaks of it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the server answers {said}")]
pub struct Refused {
    /// Status of HTTP.
    pub status: u16,
    said: String,
}

/// An answer that is neither success nor redirect.
pub(super) fn refusal<T>(response: &Response<Body>) -> Attempt<T> {
    let status = response.status();
    let error = anyhow::Error::new(Refused {
        status: status.as_u16(),
        said: status.to_string(),
    });
    let header = response.headers().get(RETRY_AFTER);
    let after = header.and_then(|value| value.to_str().ok());
    match status.as_u16() {
        408 | 425 | 429 | 500..=599 => {
            let now = Timestamp::now();
            Attempt::Again(error, after.and_then(|text| parse_retry_after(text, now)))
        }
        _ => Attempt::Final(error),
    }
}

/// How long a server asks to be left alone: seconds, or a date (RFC 9110, 10.2.3).
fn parse_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(then.duration_since(now)).unwrap_or_default())
}

/// What an error of the network says, without the URL.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) => "the URL can't be used".to_owned(),
        ureq::Error::HostNotFound => "the host's name is not known".to_owned(),
        ureq::Error::Timeout(Timeout::PerRead) => "the server has stalled".to_owned(),
        ureq::Error::Timeout(_) => "no complete answer in time".to_owned(),
        other => other.to_string(),
    }
}

/// Whether an error of the network may go away.
fn judge(why: String) -> Attempt {
    const CERTIFICATE: &str = "invalid peer certificate";
    // A clock that is wrong now may be right in a minute.
    let clock = why.contains("Expired") || why.contains("NotValidYet") || why.contains("expired");
    if !why.contains(CERTIFICATE) || clock {
        return Attempt::Again(anyhow!(why), None);
    }
    Attempt::Final(Failure::error(
        Kind::ConfigMissing,
        format!("the server's certificate is not trusted: {why}"),
        "give the CA's certificate, or use the name that is in the server's",
    ))
}

/// The certificates of a PEM file; at least one.
fn certificates(pem: &str) -> anyhow::Result<Vec<Certificate<'static>>> {
    let mut found = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(_) => return Err(bad_ca("the CA's PEM is damaged")),
        }
    }
    match found.is_empty() {
        true => Err(bad_ca("the CA holds no certificate")),
        false => Ok(found),
    }
}

fn bad_ca(message: &str) -> anyhow::Error {
    const HINT: &str = "the whole of it, with its BEGIN CERTIFICATE and END CERTIFICATE lines";
    Failure::error(Kind::ConfigInvalid, message, HINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_wait_is_seconds_or_a_date() {
        let now: Timestamp = "1994-11-06T08:49:07Z".parse().unwrap();
        for (text, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let wait = seconds.map(Duration::from_secs);
            assert_eq!(parse_retry_after(text, now), wait, "{text}");
        }
    }

    #[test]
    fn references_are_joined() {
        let base = "http://u:p@a:8080/b/c?d#e";
        for (reference, joined) in [
            ("https://x/y", "https://x/y"),
            ("//x/y", "http://x/y"),
            ("/x", "http://u:p@a:8080/x"),
            ("x/y:z", "http://u:p@a:8080/b/x/y:z"),
            ("?x", "http://u:p@a:8080/b/c?x"),
            ("ftp:x", "ftp:x"),
        ] {
            assert_eq!(join(base, reference), joined);
        }
        assert_eq!(join("http://a", "x"), "http://a/x");
        assert_eq!(join("http://a", "/x"), "http://a/x");
    }

    #[test]
    fn a_user_follows_a_redirect_to_the_same_server() {
        for (first, there, whole) in [
            ("http://u:p@a/x", "http://a/y?z", "http://u:p@a/y?z"),
            ("http://u:p@a", "https://a", "https://u:p@a"),
            ("http://a/x@y", "http://a/z", "http://a/z"),
        ] {
            assert_eq!(with_user_of(first, there), whole);
        }
    }

    #[test]
    fn secrets_go_to_the_same_server_only() {
        let url = |text: &str| http_url(text).unwrap();
        let first = url("http://a/x");
        for (now, same) in [
            ("http://A/y", true),
            ("https://a/y", true),
            ("http://a:81/y", false),
            ("http://b/y", false),
        ] {
            assert_eq!(is_same_server(&first, &url(now)), same, "{now}");
        }
        assert!(!is_same_server(&url("https://a"), &url("https://a:444")));
    }
}
