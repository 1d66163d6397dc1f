//! Which servers stand for a registry, and how they are talked to.
//!
//! In: RKE2's `registries.yaml` (mirrors, credentials, TLS) and docker's `config.json`. Out:
//! [`Endpoint`]s in the order in which they are tried, the registry itself last, as containerd
//! does it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use regex_lite::Regex;
use serde::Deserialize;

use super::auth::Credentials;
use super::client::Tokens;
use crate::config::formats::http_url;
use crate::config::secret::Secret;

/// The server of docker.io.
const DOCKER_SERVER: &str = "registry-1.docker.io";

/// All that is known about registries.
#[derive(Debug, Default)]
pub struct Registries {
    file: File,
    docker: BTreeMap<String, Credentials>,
    /// Certificates that are trusted for all of them, in PEM.
    authorities: Option<String>,
    pub(super) tokens: Tokens,
}

/// `registries.yaml`.
#[derive(Debug, Clone, Default, Deserialize)]
struct File {
    #[serde(default)]
    mirrors: BTreeMap<String, Mirror>,
    #[serde(default)]
    configs: BTreeMap<String, HostConfig>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Mirror {
    #[serde(default)]
    endpoint: Vec<String>,
    #[serde(default)]
    rewrite: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct HostConfig {
    auth: Option<Auth>,
    tls: Option<Tls>,
}

#[derive(Debug, Clone, Deserialize)]
struct Auth {
    username: Option<String>,
    password: Option<Secret>,
    auth: Option<Secret>,
    #[serde(alias = "identitytoken")]
    identity_token: Option<Secret>,
    token: Option<Secret>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Tls {
    ca_file: Option<String>,
    cert_file: Option<String>,
    key_file: Option<String>,
    #[serde(default)]
    insecure_skip_verify: bool,
}

/// A server with images.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// URL of its interface, such as `https://quay.io/v2`.
    pub base: String,
    /// What credentials and certificates are looked up by.
    pub host: String,
    /// Certificates to trust, in PEM.
    pub ca: Option<String>,
    /// Whether any certificate is taken.
    pub trust_any: bool,
    /// What repositories are called there.
    pub rewrite: Vec<(Regex, String)>,
}

impl Endpoint {
    /// What a repository is called there: the first rule that fits, applied.
    pub fn repository(&self, repository: &str) -> String {
        let rule = self
            .rewrite
            .iter()
            .find(|(from, _)| from.is_match(repository));
        match rule {
            Some((from, to)) => from.replace_all(repository, to.as_str()).into_owned(),
            None => repository.to_owned(),
        }
    }
}

impl Registries {
    /// Reads `registries.yaml`, as RKE2 does.
    pub fn read_file(&mut self, path: &Path) -> anyhow::Result<()> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        self.file = serde_saphyr::from_str(&text)
            .map_err(|e| anyhow::anyhow!("in {}: {e}", path.display()))?;
        Ok(())
    }

    /// Reads docker's `config.json`.
    pub fn read_docker_config(&mut self, path: &Path) -> anyhow::Result<()> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        self.docker = Credentials::parse_docker_config(&text)
            .with_context(|| format!("in {}", path.display()))?;
        Ok(())
    }

    /// Trusts these certificates (PEM) for every registry, beside what `registries.yaml` says.
    pub fn trust(&mut self, authorities: Option<&str>) {
        self.authorities = authorities.map(str::to_owned);
    }

    /// The servers of a registry, in the order in which they are tried.
    pub fn endpoints(&self, host: &str) -> anyhow::Result<Vec<Endpoint>> {
        let mirror = self.file.mirrors.get(host);
        let mirror = mirror.or_else(|| self.file.mirrors.get("*"));
        let mut found = Vec::new();
        if let Some(mirror) = mirror {
            let rules = mirror.rewrite.iter().map(|(from, to)| {
                let from = Regex::new(from)
                    .with_context(|| format!("rewrite of {host} in registries.yaml: {from:?}"))?;
                Ok((from, to.clone()))
            });
            let rewrite: Vec<_> = rules.collect::<anyhow::Result<_>>()?;
            for url in &mirror.endpoint {
                let mut endpoint = self.endpoint(url)?;
                endpoint.rewrite.clone_from(&rewrite);
                found.push(endpoint);
            }
        }
        let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
        let local = name == "localhost" || name.starts_with("127.");
        let tls = self.file.configs.get(host).is_some_and(|c| c.tls.is_some());
        let scheme = match local && !tls && port != "443" {
            true => "http",
            false => "https",
        };
        let server = match host {
            "docker.io" => DOCKER_SERVER,
            other => other,
        };
        let mut own = self.endpoint(&format!("{scheme}://{server}"))?;
        if own.host == DOCKER_SERVER && !self.knows(DOCKER_SERVER) {
            own.host = "docker.io".to_owned();
            self.configure(&mut own)?;
        }
        found.push(own);
        Ok(found)
    }

    /// The server at a URL; `/v2` is its path when it has none.
    pub fn endpoint(&self, url: &str) -> anyhow::Result<Endpoint> {
        let whole = match url.contains("://") {
            true => url.to_owned(),
            false => format!("https://{url}"),
        };
        let parts = http_url(&whole).map_err(|wrong| {
            anyhow::anyhow!(
                "an endpoint of a registry: {} ({})",
                wrong.message,
                wrong.hint
            )
        })?;
        if parts.credentials {
            bail!("an endpoint of a registry with a password in its URL: it belongs under configs");
        }
        let base = whole.trim_end_matches('/');
        let start = base.find("://").map_or(0, |at| at + 3);
        let host = base[start..].split('/').next().unwrap_or_default();
        let base = match parts.path.trim_end_matches('/') {
            "" => format!("{base}/v2"),
            _ => base.to_owned(),
        };
        let mut endpoint = Endpoint {
            host: host.to_owned(),
            base,
            ca: self.authorities.clone(),
            trust_any: false,
            rewrite: Vec::new(),
        };
        self.configure(&mut endpoint)?;
        Ok(endpoint)
    }

    fn knows(&self, host: &str) -> bool {
        self.file.configs.contains_key(host) || self.docker.contains_key(host)
    }

    fn configure(&self, endpoint: &mut Endpoint) -> anyhow::Result<()> {
        let Some(tls) = self.config(&endpoint.host).and_then(|c| c.tls.as_ref()) else {
            return Ok(());
        };
        if tls.cert_file.is_some() || tls.key_file.is_some() {
            bail!(
                "{} in registries.yaml: certificates of a client can't be used here",
                endpoint.host
            );
        }
        if let Some(path) = &tls.ca_file {
            let pem = std::fs::read_to_string(path);
            let mut pem = pem.with_context(|| format!("reading the CA {path}"))?;
            if let Some(more) = &self.authorities {
                pem = format!("{pem}\n{more}");
            }
            endpoint.ca = Some(pem);
        }
        endpoint.trust_any = tls.insecure_skip_verify;
        Ok(())
    }

    fn config(&self, host: &str) -> Option<&HostConfig> {
        let configs = &self.file.configs;
        configs.get(host).or_else(|| configs.get("*"))
    }

    /// What proves who we are to a server.
    pub(super) fn credentials(&self, host: &str) -> anyhow::Result<Option<Credentials>> {
        let Some(auth) = self.config(host).and_then(|c| c.auth.clone()) else {
            return Ok(self.docker.get(host).cloned());
        };
        let context = || format!("the credentials of {host} in registries.yaml");
        Ok(match auth {
            Auth {
                username: Some(user),
                password: Some(password),
                ..
            } => Some(Credentials::Password(user, password)),
            Auth {
                auth: Some(auth), ..
            } => Some(Credentials::of_basic(&auth).with_context(context)?),
            Auth {
                identity_token: Some(token),
                ..
            } => Some(Credentials::Identity(token)),
            Auth {
                token: Some(token), ..
            } => Some(Credentials::Token(token)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Registries {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut registries = Registries::default();
        registries.read_file(file.path()).unwrap();
        registries
    }

    fn bases(registries: &Registries, host: &str) -> Vec<String> {
        let all = registries.endpoints(host).unwrap();
        all.into_iter().map(|e| e.base).collect()
    }

    #[test]
    fn mirrors_come_before_the_registry() {
        let registries = read(
            "mirrors:\n  docker.io:\n    endpoint: [https://m.example:5000, 'http://n.example/v2/hub/']\n    \
             rewrite: {'^rancher/(.*)': 'copy/$1'}\n  '*':\n    endpoint: [all.example]\n",
        );
        let hub = registries.endpoints("docker.io").unwrap();
        assert_eq!(
            bases(&registries, "docker.io"),
            [
                "https://m.example:5000/v2",
                "http://n.example/v2/hub",
                "https://registry-1.docker.io/v2"
            ]
        );
        assert_eq!(hub[0].host, "m.example:5000");
        assert_eq!(hub[0].repository("rancher/pause"), "copy/pause");
        assert_eq!(hub[0].repository("other/pause"), "other/pause");
        assert_eq!(hub[2].repository("rancher/pause"), "rancher/pause");
        assert_eq!(hub[2].host, "docker.io", "credentials are found by it");
        assert_eq!(
            bases(&registries, "quay.io"),
            ["https://all.example/v2", "https://quay.io/v2"]
        );
        let none = Registries::default();
        assert_eq!(bases(&none, "127.0.0.1:5000"), ["http://127.0.0.1:5000/v2"]);
    }

    #[test]
    fn authorities_hold_for_all_registries() {
        let own = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(own.path(), "own").unwrap();
        let path = own.path().display();
        let mut registries = read(&format!(
            "configs:\n  a.example:\n    tls: {{ca_file: {path}}}\n"
        ));
        let ca = |registries: &Registries, host: &str| registries.endpoint(host).unwrap().ca;
        assert_eq!(ca(&registries, "b.example"), None);
        registries.trust(Some("site"));
        assert_eq!(ca(&registries, "a.example").unwrap(), "own\nsite");
        assert_eq!(ca(&registries, "b.example").unwrap(), "site");
        let hub = registries.endpoints("docker.io").unwrap();
        assert_eq!(hub[0].ca.as_deref(), Some("site"));
    }

    #[test]
    fn credentials_of_the_file_come_first() {
        let mut registries = read(
            "configs:\n  a.example:\n    auth: {username: u, password: hunter2}\n  \
             b.example:\n    tls: {insecure_skip_verify: true}\n  \
             c.example:\n    tls: {cert_file: /x, key_file: /y}\n",
        );
        registries.docker.insert(
            "b.example".to_owned(),
            Credentials::Identity(Secret::new("hunter2")),
        );
        let of = |host: &str| registries.credentials(host).unwrap();
        assert!(matches!(of("a.example"), Some(Credentials::Password(u, _)) if u == "u"));
        assert!(matches!(of("b.example"), Some(Credentials::Identity(_))));
        assert!(of("x.example").is_none());
        assert!(registries.endpoint("b.example").unwrap().trust_any);
        let error = registries.endpoints("c.example").unwrap_err().to_string();
        assert!(error.contains("c.example"), "{error}");
        assert!(!format!("{registries:?}").contains("hunter2"));
        assert!(registries.endpoint("https://u:p@h").is_err());
    }
}
