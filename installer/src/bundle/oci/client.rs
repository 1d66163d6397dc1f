//! Talking to a registry: who we are, single answers, and pushing.
//!
//! In: an [`Endpoint`], a repository, what is wanted. Out: a [`Fetch`] for large things, which
//! carries the authorization that is known, or the answer itself. The interface is that of the
//! OCI distribution specification, v1.1; tokens are those of Docker's "Token Authentication".

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde::Deserialize;

use super::super::Digest;
use super::auth::{Challenge, Credentials};
use super::manifest;
use super::registries::{Endpoint, Registries};
use crate::config::formats::{http_url, masked_url};
use crate::config::secret::Secret;
use crate::failure::{Failure, Kind};
use crate::sys::net::exchange::{Body, Method, Reply};
use crate::sys::net::{Fetch, SMALL};

/// How long a question of the protocol may take with all its tries.
const PATIENCE: Duration = Duration::from_secs(30);

/// Values of `Authorization`, by the URL of a repository.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<BTreeMap<String, Secret>>);

/// What is to be done in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read.
    Pull,
    /// To read and write.
    Push,
}

/// An answer of a token server.
#[derive(Deserialize)]
struct Token {
    token: Option<Secret>,
    access_token: Option<Secret>,
}

impl Registries {
    /// What fetches `path` (such as `blobs/sha256:…`) of a repository, with the authorization
    /// that is known.
    pub fn fetch(&self, endpoint: &Endpoint, repository: &str, path: &str) -> Fetch {
        let place = place(endpoint, repository);
        let mut fetch = bare(endpoint, &format!("{place}/{path}"));
        if path.starts_with("manifests/") {
            let accept = Secret::new(manifest::ACCEPT);
            fetch.headers.push(("Accept".to_owned(), accept));
        }
        let tokens = self.tokens.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = tokens.get(&place) {
            let header = ("Authorization".to_owned(), value.clone());
            fetch.headers.push(header);
        }
        fetch
    }

    /// Finds out what the registry wants to know of us, and remembers the answer.
    pub fn log_in(
        &self,
        endpoint: &Endpoint,
        repository: &str,
        access: Access,
    ) -> anyhow::Result<()> {
        let reply = bare(endpoint, &format!("{}/", endpoint.base)).ask()?;
        let challenges = reply.headers("www-authenticate");
        let challenges: Vec<Challenge> = challenges.flat_map(Challenge::parse).collect();
        let credentials = self.credentials(&endpoint.host)?;
        let value = match (challenges.first(), &credentials) {
            (Some(Challenge::Bearer(_)), Some(Credentials::Token(token))) => {
                Some(Secret::new(format!("Bearer {}", token.expose())))
            }
            (Some(Challenge::Bearer(parameters)), _) => {
                let name = endpoint.repository(repository);
                let actions = match access {
                    Access::Pull => "pull",
                    Access::Push => "pull,push",
                };
                let scope = format!("repository:{name}:{actions}");
                let token = self.token(endpoint, parameters, &scope, credentials.as_ref());
                token.with_context(|| format!("asking for a token for {name}"))?
            }
            (Some(Challenge::Basic), Some(credentials)) => credentials.basic(),
            _ => None,
        };
        let value = value.ok_or_else(|| refused(endpoint, repository, credentials.is_some()))?;
        let mut tokens = self.tokens.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(place(endpoint, repository), value);
        Ok(())
    }

    /// A token of the server that a challenge names; `None` when it gives none to us.
    fn token(
        &self,
        endpoint: &Endpoint,
        parameters: &BTreeMap<String, String>,
        scope: &str,
        credentials: Option<&Credentials>,
    ) -> anyhow::Result<Option<Secret>> {
        let realm = parameters.get("realm").map_or("", String::as_str);
        let url = http_url(realm).map_err(|wrong| anyhow!(wrong.message))?;
        if endpoint.base.starts_with("https:") && !url.secure {
            bail!(
                "{} is not https, and would see a password",
                masked_url(realm)
            );
        }
        let mut query = vec![("scope", scope)];
        if let Some(service) = parameters.get("service") {
            query.push(("service", service));
        }
        let reply = match credentials {
            Some(Credentials::Identity(token)) => {
                query.push(("grant_type", "refresh_token"));
                query.push(("client_id", "harrow"));
                query.push(("refresh_token", token.expose()));
                let form = encode(&query);
                let kind = "application/x-www-form-urlencoded";
                let body = Body::Bytes(kind, form.as_bytes());
                bare(endpoint, realm).exchange(Method::Post, body)?
            }
            other => {
                let joint = if realm.contains('?') { '&' } else { '?' };
                let mut fetch = bare(endpoint, &format!("{realm}{joint}{}", encode(&query)));
                if let Some(basic) = other.and_then(Credentials::basic) {
                    fetch.headers.push(("Authorization".to_owned(), basic));
                }
                fetch.ask()?
            }
        };
        if matches!(reply.status, 400 | 401 | 403) {
            return Ok(None);
        }
        if !reply.is_success() {
            bail!("{} answers {}", masked_url(realm), reply.status);
        }
        let token: Token = serde_json::from_slice(&reply.bytes)
            .map_err(|_| anyhow!("{} gives no token", masked_url(realm)))?;
        let token = token.token.or(token.access_token);
        Ok(token.map(|token| Secret::new(format!("Bearer {}", token.expose()))))
    }

    /// The answer to a small question, after logging in when that is asked for.
    pub fn ask(&self, endpoint: &Endpoint, repository: &str, path: &str) -> anyhow::Result<Reply> {
        let limit = usize::try_from(manifest::LIMIT).unwrap_or(SMALL);
        let ask = || {
            let mut fetch = self.fetch(endpoint, repository, path);
            fetch.limit = limit;
            fetch.ask()
        };
        self.with_login(endpoint, repository, Access::Pull, ask)
    }

    /// Calls `ask`, and once more after logging in when the answer is that we have to.
    fn with_login(
        &self,
        endpoint: &Endpoint,
        repository: &str,
        access: Access,
        ask: impl Fn() -> anyhow::Result<Reply>,
    ) -> anyhow::Result<Reply> {
        let reply = ask()?;
        if reply.status != 401 {
            return Ok(reply);
        }
        self.log_in(endpoint, repository, access)?;
        let reply = ask()?;
        match reply.status {
            401 | 403 => Err(refused(endpoint, repository, true)),
            _ => Ok(reply),
        }
    }

    /// Pushes a blob that lies in a file, unless it is there.
    pub fn push_blob(
        &self,
        endpoint: &Endpoint,
        repository: &str,
        digest: Digest,
        path: &Path,
    ) -> anyhow::Result<()> {
        let context = || format!("pushing {digest} to {}", place(endpoint, repository));
        let blob = format!("blobs/{}", digest.oci());
        let access = Access::Push;
        let there = self.with_login(endpoint, repository, access, || {
            let fetch = self.fetch(endpoint, repository, &blob);
            fetch.exchange(Method::Head, Body::None)
        });
        if there.with_context(context)?.is_success() {
            return Ok(());
        }
        let begun = self.with_login(endpoint, repository, access, || {
            let fetch = self.fetch(endpoint, repository, "blobs/uploads/");
            fetch.exchange(Method::Post, Body::None)
        });
        let begun = begun.with_context(context)?;
        let Some(location) = begun.header("location").filter(|_| begun.status == 202) else {
            return Err(said(&begun)).with_context(context);
        };
        let mut fetch = self.fetch(endpoint, repository, "");
        // The same host answers; some say only the path.
        let joint = if location.contains('?') { '&' } else { '?' };
        let root = endpoint.base.find("://").map_or(0, |at| at + 3);
        let root = endpoint.base[root..]
            .find('/')
            .map_or("", |at| &endpoint.base[..root + at]);
        fetch.url = match location.starts_with('/') {
            true => format!("{root}{location}{joint}digest={}", digest.oci()),
            false => format!("{location}{joint}digest={}", digest.oci()),
        };
        let stored = fetch.exchange(Method::Put, Body::File(path));
        let stored = stored.with_context(context)?;
        match stored.status {
            201 | 204 => Ok(()),
            _ => Err(said(&stored)).with_context(context),
        }
    }

    /// Pushes a manifest under a tag or digest; what it names must be there.
    pub fn push_manifest(
        &self,
        endpoint: &Endpoint,
        repository: &str,
        name: &str,
        (media_type, bytes): (&str, &[u8]),
    ) -> anyhow::Result<()> {
        let reply = self.with_login(endpoint, repository, Access::Push, || {
            let mut fetch = self.fetch(endpoint, repository, &format!("manifests/{name}"));
            fetch.headers.retain(|(header, _)| header != "Accept");
            fetch.exchange(Method::Put, Body::Bytes(media_type, bytes))
        });
        let context = || format!("pushing {name} to {}", place(endpoint, repository));
        let reply = reply.with_context(context)?;
        match reply.is_success() {
            true => Ok(()),
            false => Err(said(&reply)).with_context(context),
        }
    }
}

/// URL of a repository.
fn place(endpoint: &Endpoint, repository: &str) -> String {
    format!("{}/{}", endpoint.base, endpoint.repository(repository))
}

fn bare(endpoint: &Endpoint, url: &str) -> Fetch {
    let mut fetch = Fetch::new(url, PATIENCE);
    fetch.ca.clone_from(&endpoint.ca);
    fetch.trust_any = endpoint.trust_any;
    fetch
}

/// A registry that does not let us in; `known` is whether there were credentials.
pub(crate) fn refused(endpoint: &Endpoint, repository: &str, known: bool) -> anyhow::Error {
    let why = match known {
        true => "does not take the credentials that are given",
        false => "needs credentials",
    };
    Failure::error(
        Kind::ArtifactRefused,
        format!("the registry {} {why} for {repository}", endpoint.host),
        format!(
            "give them for {:?} in docker's config.json (--docker-config FILE), or under configs in \
             registries.yaml (--registries FILE); a repository that does not exist looks the same",
            endpoint.host
        ),
    )
}

/// What a registry says in its answer.
fn said(reply: &Reply) -> anyhow::Error {
    let text = String::from_utf8_lossy(&reply.bytes);
    let text: String = text.trim().chars().take(300).collect();
    anyhow!("the registry answers {}: {text}", reply.status)
}

/// A query of a URL, or a form (application/x-www-form-urlencoded).
fn encode(pairs: &[(&str, &str)]) -> String {
    let word = |text: &str| -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        let each = text.bytes().map(|b| match plain(b) {
            true => char::from(b).to_string(),
            false => format!("%{b:02X}"),
        });
        each.collect()
    };
    let all: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{}={}", word(key), word(value)))
        .collect();
    all.join("&")
}
