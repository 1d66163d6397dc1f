//! Values of the addons about nodes, devices and networks.

use serde_json::{Map, Value as Json, json};

use super::super::object::{Meta, Spec, object};
use super::super::values::map;

/// Version of Harvester's charts and images in the payload.
const HARVESTER: &str = "v1.8.2";
/// That of the image with NVIDIA's tools, which is not released with them.
const NVIDIA: &str = "v1.8-20260706";

/// A controller of Harvester. Its chart pulls always, which fails without a registry although the
/// image is there.
pub(super) fn harvester(name: &str) -> Map<String, Json> {
    map(json!({
        "fullnameOverride": name,
        "image": {"pullPolicy": "IfNotPresent", "tag": HARVESTER},
    }))
}

/// The driver itself is NVIDIA's: `driverLocation` has to be said.
pub(super) fn nvidia() -> Map<String, Json> {
    map(json!({
        "fullnameOverride": "nvidia-driver-runtime",
        "image": {"pullPolicy": "IfNotPresent", "tag": NVIDIA},
    }))
}

/// The kind in which Harvester's network controller has the NICs of networks of machines. The
/// controller of PCI devices waits for it to exist, to leave those NICs alone; here there are none.
pub(super) fn vlan_configs() -> String {
    let spec = json!({
        "group": "network.harvesterhci.io",
        "names": {
            "kind": "VlanConfig",
            "listKind": "VlanConfigList",
            "plural": "vlanconfigs",
            "singular": "vlanconfig",
        },
        "scope": "Cluster",
        "versions": [{
            "name": "v1beta1",
            "served": true,
            "storage": true,
            "schema": {"openAPIV3Schema": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
            }},
        }],
    });
    object(
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        Meta::named("vlanconfigs.network.harvesterhci.io"),
        Spec { spec },
    )
}

pub(super) fn kubeovn() -> Map<String, Json> {
    map(json!({
        "configurationSpec": {
            "ipv4": {
                "joinCIDR": "100.64.0.0/16",
                "podCIDR": "10.54.0.0/16",
                "podGateway": "10.54.0.1",
                "serviceCIDR": "10.55.0.0/16",
            },
            "networking": {"networkType": "geneve"},
        },
        "enableConfiguration": true,
        "fullnameOverride": "harvester-kubeovn-operator",
        "image": {"pullPolicy": "IfNotPresent"},
    }))
}

/// Namespaces whose pods stay where they are.
const SYSTEM_NAMESPACES: [&str; 7] = [
    "cattle-logging-system",
    "cattle-monitoring-system",
    "cattle-system",
    "harvester-system",
    "kube-system",
    "kubevirt",
    "longhorn-system",
];

/// Moves virtual machines alone, by live migration.
pub(super) fn descheduler() -> Map<String, Json> {
    let balance = json!({
        "evictableNamespaces": {"exclude": SYSTEM_NAMESPACES},
        "thresholds": {"cpu": 30, "memory": 30},
        "targetThresholds": {"cpu": 50, "memory": 50},
    });
    let evictor = json!({
        "evictLocalStoragePods": true,
        "ignorePvcPods": false,
        "labelSelector": {"matchExpressions": [
            {"key": "kubevirt.io", "operator": "In", "values": ["virt-launcher"]},
        ]},
        "nodeFit": true,
    });
    map(json!({
        "kind": "Deployment",
        "deschedulingInterval": "5m",
        "replicas": 1,
        "cmdOptions": {"v": 3, "feature-gates": "EvictionsInBackground=true"},
        "deschedulerPolicy": {
            "maxNoOfPodsToEvictPerNode": 5,
            "profiles": [{
                "name": "default",
                "pluginConfig": [
                    {"name": "DefaultEvictor", "args": evictor},
                    {"name": "LowNodeUtilization", "args": balance},
                ],
                "plugins": {"balance": {"enabled": ["LowNodeUtilization"]}},
            }],
        },
    }))
}
