//! kube-vip: the virtual IP, and the addresses of services of type LoadBalancer.
//!
//! In: the cluster. Out: a manifest, or nothing when there is neither a VIP nor a pool. Variables
//! and rights are those of kube-vip (`pkg/kubevip/config_envvar.go`, its documentation).
//!
//! A fixed VIP belongs to the servers' API: kube-vip elects one that has it, beside its own
//! addresses, so everything that a server listens on answers there, RKE2's port for joining too.
//! One from DHCP is that of a service of type LoadBalancer, since kube-vip asks with a MAC of its
//! own only for services; it is on a server all the same, as kube-vip runs only there.

use serde::Serialize;
use serde_json::json;

use super::object::{Meta, Spec, Texts, manifest, object, texts};
use super::rights::{Rule, binding, role, service_account};
use super::workload::{
    Affinity, Capabilities, Container, PodMeta, PodSpec, PodTemplate, SecurityContext, Selector,
    Toleration, Variable, Workload,
};
use crate::config::{Cluster, Vip};
use crate::node::files::NodeFile;

/// The image that the payload brings.
pub const IMAGE: &str = "ghcr.io/kube-vip/kube-vip:v1.2.1";

pub(super) const NAMESPACE: &str = "kube-system";
const NAME: &str = "kube-vip";
const ROLE: &str = "system:kube-vip-role";
/// Service that has the VIP from DHCP.
const SERVICE: &str = "harrow-vip";

/// What kube-vip asks of the API.
const RULES: [Rule; 6] = [
    Rule {
        api_groups: &[""],
        resources: &["services/status"],
        verbs: &["update"],
    },
    Rule {
        api_groups: &[""],
        resources: &["services", "endpoints"],
        verbs: &["list", "get", "watch", "update"],
    },
    Rule {
        api_groups: &[""],
        resources: &["nodes"],
        verbs: &["list", "get", "watch", "update", "patch"],
    },
    Rule {
        api_groups: &["coordination.k8s.io"],
        resources: &["leases"],
        verbs: &["list", "get", "watch", "update", "create"],
    },
    Rule {
        api_groups: &["discovery.k8s.io"],
        resources: &["endpointslices"],
        verbs: &["list", "get", "watch", "update"],
    },
    Rule {
        api_groups: &[""],
        resources: &["pods"],
        verbs: &["list"],
    },
];

pub(super) fn render_kube_vip(cluster: &Cluster) -> Option<NodeFile> {
    if cluster.vip.is_none() && cluster.pools.is_empty() {
        return None;
    }
    let mut objects = vec![
        service_account(NAMESPACE, NAME),
        role(None, ROLE, &RULES),
        binding(None, "system:kube-vip-binding", ROLE, (NAMESPACE, NAME)),
        daemon_set(cluster.vip.as_ref()),
    ];
    if let Some(Vip::Dhcp { mac, wish }) = &cluster.vip {
        objects.push(service(mac, wish.map(|address| address.to_string())));
    }
    Some(manifest("harrow-kube-vip", &objects))
}

fn daemon_set(vip: Option<&Vip>) -> String {
    let labels = texts([("app.kubernetes.io/name", NAME)]);
    let spec = Workload {
        replicas: None,
        selector: Selector {
            match_labels: labels.clone(),
        },
        template: PodTemplate {
            metadata: PodMeta { labels },
            spec: PodSpec {
                service_account_name: NAME,
                priority_class_name: "system-node-critical",
                host_network: true,
                containers: vec![container(vip)],
                affinity: Affinity::control_plane(),
                tolerations: Toleration::all(),
            },
        },
    };
    object(
        ("apps/v1", "DaemonSet"),
        Meta::within(NAMESPACE, NAME),
        Spec { spec },
    )
}

fn container(vip: Option<&Vip>) -> Container {
    let fixed = match vip {
        Some(Vip::Static(address)) => Some(address.to_string()),
        Some(Vip::Dhcp { .. }) | None => None,
    };
    let mut env = vec![Variable {
        name: "vip_nodename",
        value: None,
        value_from: Some(json!({"fieldRef": {"fieldPath": "spec.nodeName"}})),
    }];
    let has_fixed = if fixed.is_some() { "true" } else { "false" };
    // Which interface is left to kube-vip, which takes that of the default route: its name need
    // not be the same on every server.
    for (name, value) in [
        ("vip_arp", "true"),
        ("vip_subnet", "32"),
        ("cp_enable", has_fixed),
        ("cp_namespace", NAMESPACE),
        ("svc_enable", "true"),
        ("vip_leaderelection", "true"),
        ("vip_leasename", "plndr-cp-lock"),
        ("vip_leaseduration", "5"),
        ("vip_renewdeadline", "3"),
        ("vip_retryperiod", "1"),
        ("prometheus_server", ":2112"),
    ] {
        env.push(variable(name, value));
    }
    if let Some(address) = &fixed {
        env.push(variable("port", "6443"));
        env.push(variable("address", address));
    }
    Container {
        name: NAME,
        image: IMAGE.to_owned(),
        image_pull_policy: "IfNotPresent",
        command: Vec::new(),
        args: vec!["manager"],
        env,
        security_context: Some(SecurityContext {
            capabilities: Capabilities {
                add: &["NET_ADMIN", "NET_RAW"],
                drop: &["ALL"],
            },
        }),
    }
}

fn variable(name: &'static str, value: &str) -> Variable {
    Variable {
        name,
        value: Some(value.to_owned()),
        value_from: None,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceSpec {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "loadBalancerIP")]
    load_balancer_ip: &'static str,
    selector: Texts,
    ports: [Port; 2],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    name: &'static str,
    port: u16,
    target_port: u16,
    protocol: &'static str,
}

/// The service whose address is the VIP: RKE2's ingress answers there, and beside it whatever the
/// server listens on.
fn service(mac: &str, wish: Option<String>) -> String {
    let port = |name, port| Port {
        name,
        port,
        target_port: port,
        protocol: "TCP",
    };
    let mut annotations = texts([
        // From a DHCP server.
        ("kube-vip.io/loadbalancerIPs", "0.0.0.0"),
        ("kube-vip.io/hwaddr", mac),
        // Nodes join there before the ingress runs.
        ("kube-vip.io/allow-reconcile-without-endpoints", "true"),
    ]);
    if let Some(wish) = wish {
        annotations.insert("kube-vip.io/requestedIP".to_owned(), wish);
    }
    let spec = ServiceSpec {
        kind: "LoadBalancer",
        load_balancer_ip: "0.0.0.0",
        selector: texts([("app.kubernetes.io/name", "rke2-ingress-nginx")]),
        ports: [port("https", 443), port("http", 80)],
    };
    object(
        ("v1", "Service"),
        Meta::within(NAMESPACE, SERVICE).annotated(annotations),
        Spec { spec },
    )
}
