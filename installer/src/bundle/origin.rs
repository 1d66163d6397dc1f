//! Where the bytes of a bundle come from: upstream, or a mirror of all of it.
//!
//! In: text such as `https://mirror.example/harrow`, `oci://registry.example/prefix` or a folder.
//! Out: [`Origin`]. A mirror that is a folder, or a folder that a web server serves, holds
//! `blobs/sha256/HEX` for every file, manifest, config and layer. One in a registry holds images
//! under their own repositories, and what is no part of an image as blobs of the repository
//! [`REPOSITORY`].

use std::fmt;
use std::path::PathBuf;

use anyhow::bail;

use super::Digest;
use super::oci::{Endpoint, Reference, Registries};
use crate::config::formats::{http_url, masked_url};

/// Where the blobs of a bundle lie in a registry.
pub const REPOSITORY: &str = "harrow/bundle";

/// Where the bytes come from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// The URLs and registries that the bundle names.
    Upstream,
    /// A folder of this machine.
    Folder(PathBuf),
    /// A folder behind a URL.
    Web(String),
    /// A registry, and what repositories begin with there.
    Registry(Endpoint, String),
}

/// A place to try for a blob.
#[derive(Debug, Clone)]
pub(super) enum Place {
    File(PathBuf),
    Url(String),
    Registry {
        endpoint: Box<Endpoint>,
        repository: String,
        path: String,
    },
}

/// What a blob is to the place that it comes from.
#[derive(Debug, Clone)]
pub(super) enum Role {
    /// A file with an upstream URL.
    File(String),
    /// A manifest or an index of an image.
    Manifest(Reference),
    /// A layer or the config of an image.
    Blob(Reference),
}

impl Origin {
    /// Understands what a person wrote; folders need not exist.
    pub fn parse(text: &str, registries: &Registries) -> anyhow::Result<Self> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme, rest.trim_end_matches('/')),
            None if looks_like_registry(text) => bail!(
                "{text:?} is no folder: a registry is written as oci://{text}, a URL with https://"
            ),
            None => return Ok(Self::Folder(PathBuf::from(text))),
        };
        let server = match scheme {
            "http" | "https" => {
                http_url(text).map_err(|wrong| anyhow::anyhow!(wrong.message))?;
                return Ok(Self::Web(text.trim_end_matches('/').to_owned()));
            }
            "oci" => "https",
            "oci+http" => "http",
            other => bail!("{other}:// is not known: https://, http://, oci://, oci+http:// are"),
        };
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if !prefix.is_empty() {
            format!("x.example/{prefix}/y:1").parse::<Reference>()?;
        }
        let endpoint = registries.endpoint(&format!("{server}://{host}"))?;
        Ok(Self::Registry(endpoint, prefix.to_owned()))
    }

    /// What a repository is called in a registry with this prefix.
    pub fn repository(prefix: &str, repository: &str) -> String {
        match prefix {
            "" => repository.to_owned(),
            prefix => format!("{prefix}/{repository}"),
        }
    }

    /// Where a blob may be, in the order in which to try.
    pub(super) fn places(
        &self,
        digest: Digest,
        role: &Role,
        registries: &Registries,
    ) -> anyhow::Result<Vec<Place>> {
        let blob = format!("blobs/{}", digest.oci());
        let manifest = format!("manifests/{}", digest.oci());
        let place = |endpoint: &Endpoint, repository: &str, path: &str| Place::Registry {
            endpoint: Box::new(endpoint.clone()),
            repository: repository.to_owned(),
            path: path.to_owned(),
        };
        Ok(match (self, role) {
            (Self::Folder(dir), _) => vec![Place::File(dir.join(blob_path(digest)))],
            (Self::Web(base), _) => vec![Place::Url(format!("{base}/{}", blob_path(digest)))],
            (Self::Upstream, Role::File(url)) => vec![Place::Url(url.clone())],
            (Self::Upstream, Role::Manifest(image) | Role::Blob(image)) => {
                let path = match role {
                    Role::Manifest(_) => &manifest,
                    _ => &blob,
                };
                let endpoints = registries.endpoints(&image.host)?;
                let all = endpoints.iter();
                all.map(|e| place(e, &image.repository, path)).collect()
            }
            (Self::Registry(endpoint, prefix), role) => {
                let in_bundle = || {
                    let repository = Self::repository(prefix, REPOSITORY);
                    place(endpoint, &repository, &blob)
                };
                match role {
                    Role::File(_) => vec![in_bundle()],
                    // An index can't be pushed without all of its platforms.
                    Role::Manifest(_) => vec![in_bundle()],
                    Role::Blob(image) => {
                        let repository = Self::repository(prefix, &image.repository);
                        vec![place(endpoint, &repository, &blob)]
                    }
                }
            }
        })
    }
}

/// Path of a blob in a mirror that is a folder.
pub fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{digest}")
}

/// `registry.example:5000/x` or `127.0.0.1:5000`, which no folder is called by chance.
fn looks_like_registry(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    let port = first.rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| port.parse::<u16>().is_ok())
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream => f.write_str("upstream"),
            Self::Folder(dir) => write!(f, "{}", dir.display()),
            Self::Web(base) => f.write_str(&masked_url(base)),
            Self::Registry(endpoint, prefix) => write!(f, "oci://{}/{prefix}", endpoint.host),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Url(url) => f.write_str(&masked_url(url)),
            Self::Registry {
                endpoint,
                repository,
                path,
            } => write!(f, "{}/{repository}/{path}", endpoint.base),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_understood() {
        let none = Registries::default();
        let shown = |text: &str| Origin::parse(text, &none).unwrap();
        assert!(matches!(shown("cache/mirror"), Origin::Folder(_)));
        assert!(matches!(shown("/srv/x:y"), Origin::Folder(_)));
        assert!(matches!(shown("https://h/x/"), Origin::Web(base) if base == "https://h/x"));
        match shown("oci+http://127.0.0.1:5000/a/b/") {
            Origin::Registry(endpoint, prefix) => {
                assert_eq!(endpoint.base, "http://127.0.0.1:5000/v2");
                assert_eq!(Origin::repository(&prefix, "c/d"), "a/b/c/d");
            }
            other => panic!("{other}"),
        }
        for (text, why) in [
            ("reg.example:5000/x", "oci://reg.example:5000/x"),
            ("ftp://x", "is not known"),
            ("oci://x/UPPER", "lower-case"),
            ("https://", "is not a URL"),
        ] {
            let error = format!("{:#}", Origin::parse(text, &none).unwrap_err());
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
