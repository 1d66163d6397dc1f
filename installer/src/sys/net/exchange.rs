//! Talking to a server by a protocol over HTTP: any method, a body to send, every status an
//! answer.
//!
//! In: a [`Fetch`] for the place, a [`Method`] and a [`Body`]. Out: a [`Reply`] with status,
//! headers and bytes. Faults of the network and of the server (5xx, 408, 425, 429) are tried
//! again as in [`Fetch::run`]; redirects are followed when only asking.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use ureq::SendBody;
use ureq::http;

use super::Fetch;
use super::request::{Attempt, Request, Time, refusal};

/// Time without a sign of life while a body is sent.
const STALL: Duration = Duration::from_secs(60);

/// What is asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The file.
    Get,
    /// What would be said of the file.
    Head,
    /// To take something.
    Post,
    /// To store something.
    Put,
}

/// What is sent along.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// Nothing.
    None,
    /// Bytes of a type.
    Bytes(&'a str, &'a [u8]),
    /// A file's bytes.
    File(&'a Path),
}

/// What the server answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status of HTTP.
    pub status: u16,
    headers: http::HeaderMap,
    /// The body.
    pub bytes: Vec<u8>,
}

impl Reply {
    /// A header's value, when it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All values of a header.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let all = self.headers.get_all(name).into_iter();
        all.filter_map(|value| value.to_str().ok())
    }

    /// Whether it was done.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Fetch {
    /// Asks for the file, whatever the answer; at most [`Fetch::limit`] bytes of it.
    pub fn ask(&self) -> anyhow::Result<Reply> {
        self.exchange(Method::Get, Body::None)
    }

    /// Does a step of a protocol.
    pub fn exchange(&self, method: Method, body: Body<'_>) -> anyhow::Result<Reply> {
        let request = Request::new(self).with_context(|| self.doing())?;
        self.patiently(|time| {
            let answer = match method {
                Method::Get => request.answer(Time::Until(Instant::now() + time), &[]),
                _ => self.send(&request, method, body),
            };
            match answer {
                Ok(response) => self.reply(response),
                Err(Attempt::Again(error, after)) => Attempt::Again(error, after),
                Err(Attempt::Final(error)) => Attempt::Final(error),
                Err(Attempt::Done(_)) => Attempt::Final(anyhow!("an answer without a head")),
            }
        })
    }

    fn send(
        &self,
        request: &Request<'_>,
        method: Method,
        body: Body<'_>,
    ) -> Result<http::Response<ureq::Body>, Attempt> {
        let headers = self.headers.iter();
        request.try_roots(&request.url, Time::Stall(STALL), |agent| {
            if method == Method::Head {
                let mut call = agent.head(&self.url);
                for (name, value) in headers.clone() {
                    call = call.header(name, value.expose());
                }
                return call.call();
            }
            let mut call = match method {
                Method::Put => agent.put(&self.url),
                _ => agent.post(&self.url),
            };
            for (name, value) in headers.clone() {
                call = call.header(name, value.expose());
            }
            match body {
                Body::None => call.send_empty(),
                Body::Bytes(kind, bytes) => call.header("Content-Type", kind).send(bytes),
                Body::File(path) => {
                    let file = File::open(path)?;
                    let size = file.metadata()?.len();
                    let mut file = file.take(size);
                    call.header("Content-Type", "application/octet-stream")
                        .header("Content-Length", size.to_string())
                        .send(SendBody::from_reader(&mut file))
                }
            }
        })
    }

    fn reply(&self, mut response: http::Response<ureq::Body>) -> Attempt<Reply> {
        let status = response.status().as_u16();
        if matches!(status, 408 | 425 | 429 | 500..=599) {
            return refusal(&response);
        }
        let mut bytes = Vec::new();
        let reader = response.body_mut().as_reader();
        match reader.take(self.limit as u64 + 1).read_to_end(&mut bytes) {
            Err(error) => Attempt::Again(anyhow!("reading the answer: {error}"), None),
            Ok(_) if bytes.len() > self.limit => {
                Attempt::Final(anyhow!("the answer is larger than {} bytes", self.limit))
            }
            Ok(_) => Attempt::Done(Reply {
                status,
                headers: response.headers().clone(),
                bytes,
            }),
        }
    }
}
