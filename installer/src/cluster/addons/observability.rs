//! Values of rancher_monitoring and rancher_logging.

use serde_json::{Map, Value as Json, json};

use super::super::storage;
use super::super::values::{map, merge};
use crate::config::{Cluster, Vip};

/// A volume for one of the stores.
fn claim(size: &str) -> Json {
    json!({"spec": {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        "storageClassName": storage::DEFAULT,
    }})
}

/// What a container asks for, and what it may have at most: CPU and memory.
fn resources((cpu, memory): (&str, &str), (most_cpu, most_memory): (&str, &str)) -> Json {
    json!({
        "requests": {"cpu": cpu, "memory": memory},
        "limits": {"cpu": most_cpu, "memory": most_memory},
    })
}

pub(super) fn monitoring(cluster: &Cluster) -> Map<String, Json> {
    let mut values = map(json!({
        // Rancher's own pages, which are not here.
        "rancherMonitoring": {"enabled": false},
        "alertmanager": {
            "enabled": true,
            "alertmanagerSpec": {
                "resources": resources(("100m", "100Mi"), ("1000m", "600Mi")),
                "retention": "120h",
                "storage": {"volumeClaimTemplate": claim("5Gi")},
            },
        },
        "grafana": {
            "persistence": {
                "enabled": true,
                "type": "pvc",
                "accessModes": ["ReadWriteOnce"],
                "size": "2Gi",
                "storageClassName": storage::DEFAULT,
            },
            "resources": resources(("100m", "200Mi"), ("200m", "500Mi")),
        },
        "prometheus": {
            "prometheusSpec": {
                "evaluationInterval": "1m",
                "resources": resources(("750m", "1750Mi"), ("1000m", "2500Mi")),
                "retention": "5d",
                "retentionSize": "50GiB",
                "scrapeInterval": "1m",
                "storageSpec": {"volumeClaimTemplate": claim("50Gi")},
            },
        },
        "prometheus-node-exporter": {
            "resources": resources(("100m", "30Mi"), ("200m", "180Mi")),
        },
    }));
    let vip = match &cluster.vip {
        Some(Vip::Static(address)) => Some(address),
        Some(Vip::Dhcp { wish, .. }) => wish.as_ref(),
        None => None,
    };
    if let Some(vip) = vip {
        let url = |service: &str| {
            // Through the API, which asks who it is; nothing else leads there from outside.
            format!(
                "https://{vip}:6443/api/v1/namespaces/cattle-monitoring-system/services/http:{service}/proxy/"
            )
        };
        let urls = json!({
            "alertmanager": {"alertmanagerSpec": {
                "externalUrl": url("rancher-monitoring-alertmanager:9093"),
            }},
            "prometheus": {"prometheusSpec": {
                "externalUrl": url("rancher-monitoring-prometheus:9090"),
            }},
        });
        merge(&mut values, &map(urls));
    }
    values
}

pub(super) fn logging() -> Map<String, Json> {
    map(json!({
        "additionalLoggingSources": {
            "rke2": {"enabled": true},
            "kubeAudit": {
                "enabled": true,
                "auditFilename": "audit.log",
                "pathPrefix": "/var/lib/rancher/rke2/server/logs/",
                "loggingRef": "kube-audit",
                "fluentbit": {
                    "logTag": "kube-audit",
                    "tolerations": [
                        {
                            "key": "node-role.kubernetes.io/control-plane",
                            "operator": "Exists",
                            "effect": "NoSchedule",
                        },
                        {
                            "key": "node-role.kubernetes.io/etcd",
                            "operator": "Exists",
                            "effect": "NoExecute",
                        },
                    ],
                },
            },
        },
        "disablePvc": true,
        "fluentbit": {"resources": resources(("50m", "50Mi"), ("200m", "200Mi"))},
        "fluentd": {"resources": resources(("100m", "200Mi"), ("1000m", "800Mi"))},
        "systemdLogPath": "/var/log/journal",
    }))
}
