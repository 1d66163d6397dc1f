//! kube-vip's cloud provider, which gives services of type LoadBalancer their addresses.
//!
//! In: the pools. Out: a manifest, or nothing without a pool. The ConfigMap is that of the
//! provider's README; a namespace's key is looked up first, then `global`, but every `cidr-` before
//! any `range-`, so all pools are written in one way.

use std::net::IpAddr;

use ipnet::IpNet;

use super::kube_vip::NAMESPACE;
use super::object::{Data, Meta, Spec, Texts, manifest, object, texts};
use super::rights::{Rule, binding, role, service_account};
use super::workload::{
    Affinity, Container, PodMeta, PodSpec, PodTemplate, Selector, Toleration, Workload,
};
use crate::config::{Cluster, Pool};
use crate::node::files::NodeFile;

/// The image that the payload brings.
pub const IMAGE: &str = "ghcr.io/kube-vip/kube-vip-cloud-provider:v0.0.12";

const NAME: &str = "kube-vip-cloud-provider";
const ACCOUNT: &str = "kube-vip-cloud-controller";
const ROLE: &str = "system:kube-vip-cloud-controller-role";

const RULES: [Rule; 3] = [
    Rule {
        api_groups: &["coordination.k8s.io"],
        resources: &["leases"],
        verbs: &["get", "create", "update", "list", "watch"],
    },
    Rule {
        api_groups: &[""],
        resources: &["configmaps", "endpoints", "events", "services/status"],
        verbs: &["*"],
    },
    Rule {
        api_groups: &[""],
        resources: &["nodes", "services"],
        verbs: &["list", "get", "watch", "update"],
    },
];

pub(super) fn render_pools(cluster: &Cluster) -> Option<NodeFile> {
    if cluster.pools.is_empty() {
        return None;
    }
    let objects = [
        object(
            ("v1", "ConfigMap"),
            Meta::within(NAMESPACE, "kubevip"),
            Data {
                data: keys(cluster),
            },
        ),
        service_account(NAMESPACE, ACCOUNT),
        role(None, ROLE, &RULES),
        binding(
            None,
            "system:kube-vip-cloud-controller-binding",
            ROLE,
            (NAMESPACE, ACCOUNT),
        ),
        deployment(),
    ];
    Some(manifest("harrow-kube-vip-cloud-provider", &objects))
}

/// The pools as keys of the ConfigMap.
fn keys(cluster: &Cluster) -> Texts {
    let mut pools = cluster.pools.values().flatten();
    let networks_alone = pools.all(|pool| matches!(pool, Pool::Network(_)));
    let kind = if networks_alone { "cidr" } else { "range" };
    let text = |pool: &Pool| match (pool, networks_alone) {
        (Pool::Network(network), true) => network.to_string(),
        (Pool::Network(network), false) => {
            let (first, last) = usable(network);
            format!("{first}-{last}")
        }
        (Pool::Range(first, last), _) => format!("{first}-{last}"),
    };
    let mut keys = Texts::new();
    for (namespace, pools) in &cluster.pools {
        let pools: Vec<String> = pools.iter().map(text).collect();
        keys.insert(format!("{kind}-{namespace}"), pools.join(","));
    }
    keys
}

/// The first and last address of a network that a service can have.
fn usable(network: &IpNet) -> (IpAddr, IpAddr) {
    let mut hosts = network.hosts();
    let first = hosts.next().unwrap_or(network.addr());
    let last = match network {
        IpNet::V4(v4) if v4.prefix_len() < 31 => {
            std::net::Ipv4Addr::from(u32::from(v4.broadcast()) - 1).into()
        }
        _ => network.broadcast(),
    };
    (first, last)
}

fn deployment() -> String {
    let labels = texts([("app.kubernetes.io/name", NAME)]);
    let spec = Workload {
        replicas: Some(1),
        selector: Selector {
            match_labels: labels.clone(),
        },
        template: PodTemplate {
            metadata: PodMeta { labels },
            spec: PodSpec {
                service_account_name: ACCOUNT,
                priority_class_name: "system-cluster-critical",
                host_network: false,
                containers: vec![Container {
                    name: NAME,
                    image: IMAGE.to_owned(),
                    image_pull_policy: "IfNotPresent",
                    command: vec![
                        "/kube-vip-cloud-provider",
                        "--leader-elect-resource-name=kube-vip-cloud-controller",
                    ],
                    args: Vec::new(),
                    env: Vec::new(),
                    security_context: None,
                }],
                affinity: Affinity::control_plane(),
                tolerations: Toleration::all(),
            },
        },
    };
    object(
        ("apps/v1", "Deployment"),
        Meta::within(NAMESPACE, NAME),
        Spec { spec },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_of(pools: &[(&str, &[Pool])]) -> Vec<(String, String)> {
        let pools = pools.iter().map(|(n, p)| ((*n).to_owned(), p.to_vec()));
        let cluster = Cluster {
            pools: pools.collect(),
            ..Cluster::default()
        };
        keys(&cluster).into_iter().collect()
    }

    #[test]
    fn all_pools_are_written_in_one_way() {
        let network = |text: &str| Pool::Network(text.parse().unwrap());
        let range = Pool::Range("10.0.1.5".parse().unwrap(), "10.0.1.9".parse().unwrap());
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let (a, b) = (network("10.0.0.0/24"), network("10.0.2.0/31"));
        assert_eq!(
            keys_of(&[("global", &[a, b]), ("x", &[b])]),
            [
                pair("cidr-global", "10.0.0.0/24,10.0.2.0/31"),
                pair("cidr-x", "10.0.2.0/31")
            ]
        );
        assert_eq!(
            keys_of(&[("global", &[a, b]), ("x", &[range])]),
            [
                pair("range-global", "10.0.0.1-10.0.0.254,10.0.2.0-10.0.2.1"),
                pair("range-x", "10.0.1.5-10.0.1.9")
            ]
        );
    }
}
