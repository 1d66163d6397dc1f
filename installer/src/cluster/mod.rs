//! From a node's config to the files of its cluster: RKE2's config, and the manifests that RKE2
//! applies on the node that creates the cluster.
//!
//! In: [`ClusterInputs`], and the [`Charts`] of the payload. Out: [`NodeFile`]s; the same inputs
//! make the same bytes. Pure.

mod addons;
mod address;
mod audit;
mod charts;
mod cni;
mod host;
mod kube_vip;
mod kubevirt;
mod longhorn;
mod object;
mod pools;
mod proxy;
mod registration;
mod registries;
mod reserve;
mod rights;
mod rke2;
mod storage;
mod values;
mod workload;
mod yaml;

use crate::config::{Config, Mode, NodeRole};
use crate::node::files::NodeFile;

pub use address::{address_is_found, addresses_of_cluster, render_address};
pub use audit::PATH as AUDIT_PATH;
pub use charts::Charts;
pub use kube_vip::IMAGE as KUBE_VIP_IMAGE;
pub use pools::IMAGE as CLOUD_PROVIDER_IMAGE;
pub use registries::PATH as REGISTRIES_PATH;
pub use reserve::{Amount, kube_and_system};

/// Where RKE2 finds the manifests: a link in its own folder leads here.
pub const MANIFESTS_DIR: &str = "/run/harrow/manifests";
/// Where the payload is found, wherever it lies.
pub const PAYLOAD_DIR: &str = "/run/harrow/payload";
/// Folder of RKE2's config. It outlives boots, so what was not rendered is taken away there.
pub const CONFIG_DIR: &str = "/etc/rancher/rke2/config.yaml.d";

/// What the files are made from.
#[derive(Debug, Clone, Copy)]
pub struct ClusterInputs<'a> {
    /// The node's config.
    pub config: &'a Config,
    /// The node's name.
    pub hostname: &'a str,
    /// Threads that the kernel runs on.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
}

/// What of RKE2 a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Manages, and works unless it is a witness.
    Server,
    /// Only works.
    Agent,
}

impl Part {
    /// What a node runs; nothing when it is in no cluster.
    pub fn of(config: &Config) -> Option<Self> {
        match (&config.mode, config.cluster.role) {
            (Mode::InstallOnly, _) => None,
            (Mode::Join { .. }, NodeRole::Worker) => Some(Self::Agent),
            _ => Some(Self::Server),
        }
    }

    /// Name of its unit, without the suffix.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Server => "rke2-server",
            Self::Agent => "rke2-agent",
        }
    }
}

/// Whether a file is the link by which RKE2 starts at boot.
pub fn starts_rke2(file: &NodeFile) -> bool {
    let wants = "/etc/systemd/system/multi-user.target.wants/rke2-";
    file.path.starts_with(wants)
}

/// Whether a node only votes.
fn is_witness(config: &Config) -> bool {
    config.cluster.role == NodeRole::Witness && matches!(config.mode, Mode::Join { .. })
}

/// Files that `harrow apply` writes at each boot; none for a node in no cluster, but for what
/// the config says of its environment and of authorities.
pub fn render_node(inputs: &ClusterInputs) -> Vec<NodeFile> {
    let cluster = &inputs.config.cluster;
    let mut files = host::render_environment(cluster);
    files.extend(host::render_authorities(cluster));
    let Some(part) = Part::of(inputs.config) else {
        return files;
    };
    files.extend(rke2::render_config(inputs, part));
    files.extend(registries::render_registries(&cluster.registries));
    files.extend(proxy::render_proxy(inputs.config, part));
    files.extend(host::render_host(inputs.config, part));
    files.extend(longhorn::render_disks(inputs, part));
    files.extend(registration::render_registration(cluster));
    files
}

/// Files that `harrow payload` writes on the node that creates the cluster, once the payload is
/// there; none on any other. See [`Charts::missing`] for what a payload lacks.
pub fn render_manifests(inputs: &ClusterInputs, charts: &Charts) -> Vec<NodeFile> {
    let config = inputs.config;
    let cluster = &config.cluster;
    if !matches!(config.mode, Mode::Create { .. }) {
        return Vec::new();
    }
    let operator = |name: &str| {
        let target = format!("{PAYLOAD_DIR}/manifests/{name}.yaml");
        NodeFile::link(&format!("{MANIFESTS_DIR}/{name}.yaml"), &target)
    };
    let mut files = charts::OPERATORS.map(operator).to_vec();
    files.extend(cni::render_cni(cluster));
    files.extend(kube_vip::render_kube_vip(cluster));
    files.extend(pools::render_pools(cluster));
    files.push(kubevirt::render_kubevirt(cluster));
    files.push(kubevirt::render_cdi(config));
    files.extend(longhorn::render_longhorn(cluster, charts));
    files.push(storage::render_storage(cluster));
    files.extend(storage::render_drivers(cluster, charts));
    files.extend(addons::render_addons(cluster, charts));
    files
}
