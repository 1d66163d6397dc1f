//! What the API server notes of requests, in `/var/lib/rancher/rke2/server/logs/audit.log`.
//!
//! Out: a policy of audit.k8s.io/v1. Who changed what is noted, and who read a Secret, never the
//! content. No other reading is noted, and neither is what components renew all the time: first
//! come the rules for what is not, in the order of how often it fits.

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
    rules: Vec<Rule>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    level: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    users: &'static [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    user_groups: &'static [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    verbs: &'static [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    resources: &'static [Resources],
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "<[_]>::is_empty")]
    urls: &'static [&'static str],
}

#[derive(Serialize)]
struct Resources {
    group: &'static str,
    resources: &'static [&'static str],
}

/// Verbs that change nothing.
const READING: &[&str] = &["get", "list", "watch"];
/// Verbs that change something.
const CHANGING: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];

/// The first that fits counts; what none fits is not noted.
fn rules() -> Vec<Rule> {
    let none = |rule: Rule| Rule {
        level: "None",
        ..rule
    };
    let metadata = |rule: Rule| Rule {
        level: "Metadata",
        ..rule
    };
    const CORE: &str = "";
    vec![
        // Signs of life, and what is said of them, by everyone all the time.
        none(Rule {
            resources: &[
                Resources {
                    group: "coordination.k8s.io",
                    resources: &["leases"],
                },
                Resources {
                    group: CORE,
                    resources: &["events", "nodes/status", "pods/status"],
                },
                Resources {
                    group: "events.k8s.io",
                    resources: &["events"],
                },
            ],
            ..Rule::default()
        }),
        // Whether the API is well, which versions and kinds it has.
        none(Rule {
            urls: &[
                "/healthz*",
                "/livez*",
                "/readyz*",
                "/version",
                "/metrics",
                "/openapi*",
                "/api",
                "/apis",
                "/api/*",
                "/apis/*",
            ],
            ..Rule::default()
        }),
        // Parts of Kubernetes look after all that is there.
        none(Rule {
            users: &[
                "system:apiserver",
                "system:kube-controller-manager",
                "system:kube-proxy",
                "system:kube-scheduler",
                "system:rke2-controller",
                "system:rke2-supervisor",
            ],
            verbs: READING,
            ..Rule::default()
        }),
        none(Rule {
            user_groups: &["system:nodes", "system:serviceaccounts:kube-system"],
            verbs: READING,
            ..Rule::default()
        }),
        // May this one do that? Asked for every request to what aggregates the API.
        none(Rule {
            resources: &[
                Resources {
                    group: "authentication.k8s.io",
                    resources: &["tokenreviews"],
                },
                Resources {
                    group: "authorization.k8s.io",
                    resources: &["subjectaccessreviews", "selfsubjectaccessreviews"],
                },
            ],
            ..Rule::default()
        }),
        metadata(Rule {
            verbs: READING,
            resources: &[Resources {
                group: CORE,
                resources: &["secrets"],
            }],
            ..Rule::default()
        }),
        none(Rule {
            verbs: READING,
            ..Rule::default()
        }),
        metadata(Rule {
            verbs: CHANGING,
            ..Rule::default()
        }),
    ]
}

pub(super) fn render_policy() -> NodeFile {
    let policy = Policy {
        api_version: "audit.k8s.io/v1",
        kind: "Policy",
        omit_stages: ["RequestReceived"],
        rules: rules(),
    };
    NodeFile::with_mode(PATH, yaml::text(&policy), 0o600)
}
