//! Values of rancher_vcluster: a virtual cluster with a Rancher in it.
//!
//! In: what a person said. `hostname`, `rancherVersion` and `bootstrapPassword` are Harvester's keys
//! for the Rancher; all others are the chart's own. Out: values of the chart of vcluster, 0.20 and
//! later, which refuses keys that it does not know.

use serde_json::{Map, Value as Json, json};

use super::super::values::{map, merge};
use crate::config::ChartValues;

const RANCHER_VERSION: &str = "2.14.2";
const CERT_MANAGER_VERSION: &str = "v1.21.1";

pub(super) fn values(said: &ChartValues) -> Map<String, Json> {
    let mut said = said.0.clone();
    let mut take = |key: &str| match said.remove(key) {
        Some(Json::String(text)) => Some(text),
        Some(Json::Null) | None => None,
        Some(other) => Some(other.to_string()),
    };
    let hostname = take("hostname").unwrap_or_default();
    let version = take("rancherVersion").unwrap_or_else(|| RANCHER_VERSION.to_owned());
    let version = version.trim_start_matches('v');
    let password = take("bootstrapPassword");
    let mut rancher = map(json!({
        "hostname": hostname,
        "replicas": 1,
        "ingress": {"tls": {"source": "rancher"}},
    }));
    rancher.extend(password.map(|password| ("bootstrapPassword".to_owned(), password.into())));
    let text = |values: &Map<String, Json>| super::values_content(values);
    let mut values = map(json!({
        "controlPlane": {
            "statefulSet": {"persistence": {"volumeClaim": {"enabled": true, "size": "50Gi"}}},
        },
        "sync": {"toHost": {"ingresses": {"enabled": true}}},
        "experimental": {"deploy": {"vcluster": {"helm": [
            {
                "chart": {
                    "name": "cert-manager",
                    "repo": "https://charts.jetstack.io",
                    "version": CERT_MANAGER_VERSION,
                },
                "release": {"name": "cert-manager", "namespace": "cert-manager"},
                "values": text(&map(json!({"crds": {"enabled": true}}))),
            },
            {
                "chart": {
                    "name": "rancher",
                    "repo": "https://releases.rancher.com/server-charts/latest",
                    "version": version,
                },
                "release": {"name": "rancher", "namespace": "cattle-system"},
                "values": text(&rancher),
            },
        ]}}},
    }));
    merge(&mut values, &said);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_addon_go_to_rancher() {
        let said = map(json!({
            "hostname": "r.example.org",
            "rancherVersion": "v2.13.0",
            "bootstrapPassword": "first",
            "sync": {"toHost": {"ingresses": {"enabled": false}}},
        }));
        let values = values(&ChartValues(said));
        assert!(!values.contains_key("hostname") && !values.contains_key("rancherVersion"));
        let values = Json::Object(values);
        assert_eq!(values["sync"]["toHost"]["ingresses"]["enabled"], false);
        let rancher = &values["experimental"]["deploy"]["vcluster"]["helm"][1];
        assert_eq!(rancher["chart"]["version"], "2.13.0");
        let text = rancher["values"].as_str().unwrap();
        assert!(text.contains("hostname: r.example.org\n"), "{text}");
        assert!(text.contains("bootstrapPassword: first\n"), "{text}");
    }
}
