//! What the API server notes of requests, in `/var/lib/rancher/rke2/server/logs/audit.log`.
//!
//! Out: a policy of audit.k8s.io/v1. Who changed what is noted, never the content: Secrets would
//! be in it. Reading is not noted, and neither is what components renew all the time.

use serde::Serialize;

use super::yaml;
use crate::node::files::NodeFile;

/// Where RKE2 finds it.
pub const PATH: &str = "/etc/rancher/rke2/harrow-audit-policy.yaml";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    api_version: &'static str,
    kind: &'static str,
    omit_stages: [&'static str; 1],
    rules: [Rule; 2],
}

#[derive(Default, Serialize)]
struct Rule {
    level: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    verbs: &'static [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    resources: &'static [Resources],
}

#[derive(Serialize)]
struct Resources {
    group: &'static str,
    resources: &'static [&'static str],
}

pub(super) fn render_policy() -> NodeFile {
    let policy = Policy {
        api_version: "audit.k8s.io/v1",
        kind: "Policy",
        omit_stages: ["RequestReceived"],
        rules: [
            // The first that fits counts; what none fits is not noted.
            Rule {
                level: "None",
                resources: &[
                    Resources {
                        group: "coordination.k8s.io",
                        resources: &["leases"],
                    },
                    Resources {
                        group: "",
                        resources: &["events", "nodes/status", "pods/status"],
                    },
                ],
                ..Rule::default()
            },
            Rule {
                level: "Metadata",
                verbs: &["create", "update", "patch", "delete", "deletecollection"],
                ..Rule::default()
            },
        ],
    };
    NodeFile::with_mode(PATH, yaml::text(&policy), 0o600)
}
