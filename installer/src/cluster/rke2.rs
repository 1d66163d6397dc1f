//! RKE2's `config.yaml.d`: one file for each purpose.
//!
//! In: the inputs and what of RKE2 the node runs. Out: files for root alone. Keys are flags of
//! `rke2 server` and `rke2 agent` (docs.rke2.io, reference); an agent refuses those of a server.
//! No key is in two files, so that their order does not matter.

use serde::Serialize;

use super::reserve::kube_and_system;
use super::{CONFIG_DIR, ClusterInputs, Part, audit, is_witness, longhorn, yaml};
use crate::config::formats::{self, HttpUrl};
use crate::config::{Cluster, Cni, Ipv4Method, Mode, Profile, Vip};
use crate::disk::layout::DataPlace;
use crate::node::files::NodeFile;

/// Where RKE2 answers who wants to join.
const JOIN_PORT: u16 = 9345;
/// Port of `server_url` in Harvester's files: its own proxy leads from there to RKE2.
const HARVESTER_PORT: u16 = 443;
/// What the controller manager gives each node when nobody says.
const DEFAULT_NODE_MASK: u8 = 24;
/// Keeps all but the database away from a witness.
const WITNESS_TAINT: &str = "node-role.kubernetes.io/etcd=true:NoExecute";
/// With this label, Longhorn makes a disk of its folder on a node, or disks as the node says.
const DISK_LABEL: &str = "node.longhorn.io/create-default-disk";

/// How the node knows its cluster.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Membership<'a> {
    token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
}

/// The API as clients reach it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Api {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tls_san: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_san_security: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_policy_file: Option<&'static str>,
}

/// The networks; the same on every server.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Network {
    cni: [&'static str; 2],
    cluster_cidr: String,
    service_cidr: String,
    cluster_dns: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kube_controller_manager_arg: Vec<String>,
}

/// The node in Kubernetes.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Node<'a> {
    node_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_ip: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    node_label: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    node_taint: Vec<String>,
    /// Importers of disk images write to block devices without being root.
    nonroot_devices: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'static str>,
    kubelet_arg: Vec<String>,
}

/// Copies of the database.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Snapshots<'a> {
    etcd_snapshot_schedule_cron: &'a str,
    etcd_snapshot_retention: u32,
}

/// Only the database.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Witness {
    disable_apiserver: bool,
    disable_controller_manager: bool,
    disable_scheduler: bool,
}

/// The files of `config.yaml.d`, and the audit policy of a server.
pub(super) fn render_config(inputs: &ClusterInputs, part: Part) -> Vec<NodeFile> {
    let cluster = &inputs.config.cluster;
    let witness = is_witness(inputs.config);
    let mut files = vec![
        file("10-harrow-membership", &membership(&inputs.config.mode)),
        file("40-harrow-node", &node(inputs)),
    ];
    if part == Part::Agent {
        return files;
    }
    files.push(file("20-harrow-api", &api(inputs)));
    files.push(file("30-harrow-network", &network(cluster)));
    let snapshots = Snapshots {
        etcd_snapshot_schedule_cron: &cluster.snapshots.schedule,
        etcd_snapshot_retention: cluster.snapshots.retention,
    };
    files.push(file("50-harrow-snapshots", &snapshots));
    if witness {
        let only_votes = Witness {
            disable_apiserver: true,
            disable_controller_manager: true,
            disable_scheduler: true,
        };
        files.push(file("60-harrow-witness", &only_votes));
    } else {
        files.push(audit::render_policy());
    }
    files
}

fn file<T: Serialize>(name: &str, keys: &T) -> NodeFile {
    NodeFile::with_mode(
        &format!("{CONFIG_DIR}/{name}.yaml"),
        yaml::text(keys),
        0o600,
    )
}

fn membership(mode: &Mode) -> Membership<'_> {
    match mode {
        Mode::Create { token } => Membership {
            token: token.expose(),
            server: None,
        },
        Mode::Join { server_url, token } => Membership {
            token: token.expose(),
            server: formats::server_url(server_url)
                .ok()
                .map(|url| join_url(&url)),
        },
        Mode::InstallOnly => Membership {
            token: "",
            server: None,
        },
    }
}

/// Where RKE2 joins: at its own port, whether `server_url` names that of Harvester, which is the
/// default, or RKE2's. Another one is a load balancer's and stays.
fn join_url(url: &HttpUrl) -> String {
    let port = match url.port {
        HARVESTER_PORT => JOIN_PORT,
        other => other,
    };
    match url.host.contains(':') {
        true => format!("https://[{}]:{port}", url.host),
        false => format!("https://{}:{port}", url.host),
    }
}

fn api(inputs: &ClusterInputs) -> Api {
    let cluster = &inputs.config.cluster;
    let mut names = Vec::new();
    match &cluster.vip {
        Some(Vip::Static(address)) => names.push(address.to_string()),
        Some(Vip::Dhcp { wish, .. }) => names.extend(wish.map(|address| address.to_string())),
        None => {}
    }
    if let Mode::Join { server_url, .. } = &inputs.config.mode {
        // The servers share a certificate, so each must know the name that all are reached by.
        names.extend(formats::server_url(server_url).ok().map(|url| url.host));
    }
    names.extend(cluster.sans.iter().cloned());
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let unknown = matches!(cluster.vip, Some(Vip::Dhcp { .. }));
    Api {
        tls_san: names,
        // The address is not known before a DHCP server gives it: the certificate learns it when
        // it is first used.
        tls_san_security: unknown.then_some(false),
        audit_policy_file: (!is_witness(inputs.config)).then_some(audit::PATH),
    }
}

fn network(cluster: &Cluster) -> Network {
    let networks = &cluster.networks;
    let mask = networks.node_mask;
    let mask = (mask != DEFAULT_NODE_MASK).then(|| format!("node-cidr-mask-size={mask}"));
    Network {
        cni: ["multus", plugin(networks.cni)],
        cluster_cidr: networks.pods.to_string(),
        service_cidr: networks.services.to_string(),
        cluster_dns: networks.dns.to_string(),
        kube_controller_manager_arg: mask.into_iter().collect(),
    }
}

/// RKE2's name of a network plugin.
pub(super) fn plugin(cni: Cni) -> &'static str {
    match cni {
        Cni::Canal => "canal",
        Cni::Calico => "calico",
        Cni::Cilium => "cilium",
        Cni::Flannel => "flannel",
    }
}

fn node<'a>(inputs: &ClusterInputs<'a>) -> Node<'a> {
    let config = inputs.config;
    let cluster = &config.cluster;
    let witness = is_witness(config);
    let mut labels = cluster.labels.clone();
    if config.storage.data != DataPlace::Nowhere && !witness {
        let value = match longhorn::has_v2_disks(config) {
            true => "config",
            false => "true",
        };
        let label = labels.entry(DISK_LABEL.to_owned());
        label.or_insert_with(|| value.to_owned());
    }
    let mut taints = cluster.taints.clone();
    if witness {
        taints.insert(0, WITNESS_TAINT.to_owned());
    }
    // A virtual IP is on the same interface, and must not be taken for the node's own.
    let node_ip = match &config.management.ipv4 {
        Ipv4Method::Static(fixed) => Some(fixed.address.to_string()),
        Ipv4Method::Dhcp | Ipv4Method::None => None,
    };
    Node {
        node_name: inputs.hostname,
        node_ip,
        node_label: labels.iter().map(|(k, v)| format!("{k}={v}")).collect(),
        node_taint: taints,
        nonroot_devices: true,
        profile: cluster.profile.map(|Profile::Cis| "cis"),
        kubelet_arg: kubelet(inputs),
    }
}

fn kubelet(inputs: &ClusterInputs) -> Vec<String> {
    let cluster = &inputs.config.cluster;
    let (kube, system) = kube_and_system(cluster, inputs.cpus, inputs.memory);
    let mut args = vec![format!("max-pods={}", cluster.max_pods)];
    for (key, amount) in [("kube-reserved", kube), ("system-reserved", system)] {
        // In the largest unit that shows it exactly.
        let memory = match amount.memory.is_multiple_of(1 << 20) {
            true => format!("{}Mi", amount.memory >> 20),
            false => amount.memory.to_string(),
        };
        args.push(format!("{key}=cpu={}m,memory={memory}", amount.cpu));
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rke2_is_joined_at_its_own_port() {
        for (said, joined) in [
            ("https://10.0.0.5:443", "https://10.0.0.5:9345"),
            ("https://10.0.0.5", "https://10.0.0.5:9345"),
            (
                "https://cluster.example.org/",
                "https://cluster.example.org:9345",
            ),
            ("https://10.0.0.5:9345", "https://10.0.0.5:9345"),
            ("https://10.0.0.5:8443", "https://10.0.0.5:8443"),
            ("https://[fd00::5]:443", "https://[fd00::5]:9345"),
        ] {
            let url = formats::server_url(said).unwrap();
            assert_eq!(join_url(&url), joined);
        }
    }
}
