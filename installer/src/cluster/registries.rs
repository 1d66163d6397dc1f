//! `registries.yaml`: where containerd gets images from.
//!
//! In: `containerd-registry`, resolved. Out: the file of docs.rke2.io, "Private Registry
//! Configuration", for root alone; none when nothing is said.

use std::collections::BTreeMap;

use serde::Serialize;

use super::yaml;
use crate::config::{Mirror, Registries, RegistryHost, Secret};
use crate::node::files::NodeFile;

/// Where RKE2 finds it.
pub const PATH: &str = "/etc/rancher/rke2/registries.yaml";

#[derive(Serialize)]
struct File<'a> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    mirrors: BTreeMap<&'a str, MirrorKeys<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    configs: BTreeMap<&'a str, HostKeys<'a>>,
}

#[derive(Serialize)]
struct MirrorKeys<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    endpoint: Vec<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rewrite: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct HostKeys<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<Auth<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls<'a>>,
}

#[derive(Default, PartialEq, Serialize)]
struct Auth<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<&'a str>,
    /// RKE2 reads nothing else as a token (rancher/wharfie, pkg/registries/types.go).
    #[serde(rename = "identity_token", skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

#[derive(Default, PartialEq, Serialize)]
struct Tls<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<&'a str>,
    #[serde(skip_serializing_if = "yaml::is_off")]
    insecure_skip_verify: bool,
}

pub(super) fn render_registries(registries: &Registries) -> Option<NodeFile> {
    if *registries == Registries::default() {
        return None;
    }
    let mirrors = registries.mirrors.iter();
    let hosts = registries.hosts.iter();
    let file = File {
        mirrors: mirrors
            .map(|(name, m)| (name.as_str(), mirror(m)))
            .collect(),
        configs: hosts.map(|(name, h)| (name.as_str(), host(h))).collect(),
    };
    Some(NodeFile::with_mode(PATH, yaml::text(&file), 0o600))
}

fn mirror(mirror: &Mirror) -> MirrorKeys<'_> {
    MirrorKeys {
        endpoint: mirror.endpoints.iter().map(|url| &**url).collect(),
        rewrite: &mirror.rewrites,
    }
}

fn host(host: &RegistryHost) -> HostKeys<'_> {
    let auth = Auth {
        username: host.username.as_deref(),
        password: host.password.as_ref().map(Secret::expose),
        auth: host.auth.as_ref().map(Secret::expose),
        token: host.token.as_ref().map(Secret::expose),
    };
    let tls = Tls {
        ca_file: host.ca_file.as_deref(),
        cert_file: host.cert_file.as_deref(),
        key_file: host.key_file.as_deref(),
        insecure_skip_verify: host.insecure,
    };
    HostKeys {
        auth: (auth != Auth::default()).then_some(auth),
        tls: (tls != Tls::default()).then_some(tls),
    }
}
