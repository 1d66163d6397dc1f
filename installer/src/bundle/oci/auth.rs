//! Who we are to a registry: credentials, and what its challenges ask for.
//!
//! In: docker's `config.json`, or what `registries.yaml` says; the values of `WWW-Authenticate`.
//! Out: [`Credentials`] by host, [`Challenge`]s. Nothing here is ever shown.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use crate::config::secret::Secret;

/// How docker calls its own registry, besides `docker.io`.
const DOCKER_HUB: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "docker.io"];

/// What proves who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User and password.
    Password(String, Secret),
    /// A token that gives tokens (OAuth 2's refresh token).
    Identity(Secret),
    /// A token that is sent as it is.
    Token(Secret),
}

/// docker's `config.json`.
#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    helper: Option<String>,
}

#[derive(Default, Deserialize)]
struct DockerAuth {
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
    registrytoken: Option<Secret>,
}

impl Credentials {
    /// Those of docker's `config.json`, by host. Programs that keep them elsewhere are not asked.
    pub fn parse_docker_config(text: &str) -> anyhow::Result<BTreeMap<String, Self>> {
        let config: DockerConfig =
            serde_json::from_str(text).context("this is no config.json of docker")?;
        let mut found = BTreeMap::new();
        for (place, auth) in config.auths {
            let host = host_of(&place);
            let context = || format!("the credentials of {host}");
            if let Some(credentials) = auth.read().with_context(context)? {
                found.insert(host, credentials);
            }
        }
        if found.is_empty() && (config.helper.is_some() || !config.helpers.is_empty()) {
            tracing::warn!("docker's config.json names a credential helper, which is not asked");
        }
        Ok(found)
    }

    /// User and password out of their usual form, base64 of `USER:PASSWORD`.
    pub fn of_basic(auth: &Secret) -> anyhow::Result<Self> {
        let bytes = BASE64.decode(auth.expose().trim());
        let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((user, password)) = text.as_deref().and_then(|text| text.split_once(':')) else {
            bail!("auth is not base64 of USER:PASSWORD");
        };
        Ok(Self::Password(
            user.to_owned(),
            Secret::new(password.trim_end_matches('\0')),
        ))
    }

    /// The value of `Authorization` for `Basic`, when these are user and password.
    pub fn basic(&self) -> Option<Secret> {
        match self {
            Self::Password(user, password) => {
                let both = format!("{user}:{}", password.expose());
                Some(Secret::new(format!("Basic {}", BASE64.encode(both))))
            }
            Self::Identity(_) | Self::Token(_) => None,
        }
    }
}

impl DockerAuth {
    fn read(self) -> anyhow::Result<Option<Credentials>> {
        let some = |secret: Option<Secret>| secret.filter(|s| !s.is_empty());
        if let Some(token) = some(self.identitytoken) {
            return Ok(Some(Credentials::Identity(token)));
        }
        if let Some(token) = some(self.registrytoken) {
            return Ok(Some(Credentials::Token(token)));
        }
        match (some(self.auth), self.username, some(self.password)) {
            (Some(auth), _, _) => Credentials::of_basic(&auth).map(Some),
            (None, Some(user), Some(password)) => Ok(Some(Credentials::Password(user, password))),
            _ => Ok(None),
        }
    }
}

/// `https://index.docker.io/v1/` as `docker.io`, the others without scheme and path.
fn host_of(place: &str) -> String {
    let rest = place.split_once("://").map_or(place, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or(rest);
    match DOCKER_HUB.contains(&host) {
        true => "docker.io".to_owned(),
        false => host.to_owned(),
    }
}

/// What a server asks for (RFC 9110, 11.6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// User and password.
    Basic,
    /// A token of another server, with what to ask it for.
    Bearer(BTreeMap<String, String>),
}

impl Challenge {
    /// Those in a header that we can answer.
    pub fn parse(header: &str) -> Vec<Self> {
        let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
        let mut rest = header.trim_start_matches([' ', ',']);
        while !rest.is_empty() {
            let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            match after.strip_prefix('=') {
                Some(value) => {
                    let (value, after) = parse_value(value);
                    if let Some((_, parameters)) = found.last_mut() {
                        parameters.insert(word.to_ascii_lowercase(), value);
                    }
                    rest = after;
                }
                None => {
                    found.push((word.to_ascii_lowercase(), BTreeMap::new()));
                    rest = after;
                }
            }
            rest = rest.trim_start_matches([' ', ',']);
        }
        let known = found.into_iter().filter_map(|(scheme, parameters)| {
            match (scheme.as_str(), parameters.contains_key("realm")) {
                ("basic", _) => Some(Self::Basic),
                ("bearer", true) => Some(Self::Bearer(parameters)),
                _ => None,
            }
        });
        known.collect()
    }
}

/// A token or a quoted text, and what comes after it.
fn parse_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |parameters: &[(&str, &str)]| {
            let all = parameters.iter();
            let all = all.map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            Challenge::Bearer(all.collect())
        };
        let realm = ("realm", "https://a/token");
        for (header, challenges) in [
            ("", vec![]),
            ("Basic realm=\"a\"", vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            ("Negotiate, Basic realm=x", vec![Challenge::Basic]),
            ("Bearer scope=\"x\"", vec![]),
            (
                "Bearer realm=\"https://a/token\",service=\"s\", scope=\"repository:a:pull,push\"",
                vec![bearer(&[
                    realm,
                    ("service", "s"),
                    ("scope", "repository:a:pull,push"),
                ])],
            ),
            (
                "Bearer realm=\"https://a/token\", error=\"a \\\"b\\\"\", Basic realm=\"x\"",
                vec![bearer(&[realm, ("error", "a \"b\"")]), Challenge::Basic],
            ),
            ("Bearer realm=\"https://a/token", vec![bearer(&[realm])]),
        ] {
            assert_eq!(Challenge::parse(header), challenges, "{header}");
        }
    }

    #[test]
    fn credentials_of_docker() {
        let text = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "dTpwOnE="},
            "quay.io": {"username": "robot", "password": "hunter2"},
            "a.example:5000": {"auth": "", "identitytoken": "hunter2"},
            "empty.example": {}
        }, "HttpHeaders": {}}"#;
        let found = Credentials::parse_docker_config(text).unwrap();
        let password = |user: &str, password: &str| {
            Credentials::Password(user.to_owned(), Secret::new(password))
        };
        assert_eq!(found["docker.io"], password("u", "p:q"));
        assert_eq!(found["quay.io"], password("robot", "hunter2"));
        let basic = found["docker.io"].basic().unwrap();
        assert_eq!(basic.expose(), "Basic dTpwOnE=");
        assert_eq!(found.len(), 3);
        assert!(!format!("{found:?}").contains("hunter2"));
        for (text, why) in [
            ("[", "config.json"),
            (r#"{"auths": {"x": {"auth": "hunter2"}}}"#, "USER:PASSWORD"),
        ] {
            let error = Credentials::parse_docker_config(text).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
