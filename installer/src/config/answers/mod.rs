//! What a person or a source said: every key optional, nothing decided.
//!
//! Key names are those of SUSE Harvester's configuration (scheme_version 1), so that its files
//! keep working, plus Harrow's own. The doc comments here become the descriptions of the JSON
//! Schema and docs/config.md. What a field says beside its type:
//!
//! - `x-default`: what counts when nobody says anything;
//! - `x-form`: the form of a text, see [`super::forms`];
//! - `x-secret`: never shown;
//! - `x-no-meaning`: accepted for Harvester's sake, with the reason why it does nothing;
//! - `x-not-yet`: checked, but nothing acts on it yet.

mod addons;
mod cluster;
mod disk;
mod install;
mod network;
mod os;
mod scalar;
mod url;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use addons::{Addon, Addons};
pub use cluster::{ClusterAnswers, Cni, Profile, Reservation, SriovDevice};
pub use disk::{DeviceChoice, DiskRule, Pick};
pub use install::{InstallAnswers, InstallMode, NodeRole, VipMode};
pub use network::{InterfaceAnswers, Ipv6Answers, Ipv6Mode, LinkAnswers, Method};
pub use os::{ExternalStorage, OsAnswers, StorageDevice, WriteFile};
pub use scalar::Scalar;
pub use url::UrlText;

use super::secret::Secret;

/// The whole configuration of a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Answers {
    /// Version of the schema; 1 is the only one.
    #[schemars(range(min = 1, max = 1), extend("x-default" = 1))]
    pub scheme_version: Option<u32>,
    /// URL of an existing cluster, for `install.mode: join`: its virtual IP or a DNS name for
    /// it. RKE2 is joined at port 9345, also when this names 443 or none; another port is taken for
    /// that of a load balancer. Must be left out in mode `create`.
    #[schemars(extend("x-form" = "server-url"), example = &"https://10.0.0.5:443")]
    pub server_url: Option<UrlText>,
    /// Secret that all nodes of a cluster share; needed in the modes `create` and `join`.
    #[schemars(extend("x-form" = "token", "x-secret" = true))]
    pub token: Option<Secret>,
    /// Further names and addresses that the certificate of the cluster's API is made for.
    #[schemars(extend("x-form" = "host"), example = ["cluster.example.org"])]
    pub sans: Vec<String>,
    /// Settings of Harvester by their names. `additional-ca`, `containerd-registry`, `http-proxy`,
    /// `longhorn-v2-data-engine-enabled` and `ntp-servers` are of the node, so each node needs
    /// them; the others are of the cluster, and count in mode `create`.
    #[schemars(extend("x-secret" = true))]
    pub system_settings: BTreeMap<String, Secret>,
    /// The operating system of the node.
    pub os: OsAnswers,
    /// The install itself, and the management network.
    pub install: InstallAnswers,
    /// The cluster: how nodes run what is on them. Harrow's own.
    pub cluster: ClusterAnswers,
}
