//! Workloads of Kubernetes (apps/v1): what kube-vip and its cloud provider need of them.
//!
//! Out: types for the `spec` of a DaemonSet or a Deployment.

use serde::Serialize;
use serde_json::Value as Json;

use super::object::Texts;
use super::yaml;

/// `spec.template` of a workload, and `spec` around it.
#[derive(Debug, Serialize)]
pub(super) struct Workload {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    pub selector: Selector,
    pub template: PodTemplate,
}

/// Which pods are meant.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Selector {
    pub match_labels: Texts,
}

/// A pod as a workload makes it.
#[derive(Debug, Serialize)]
pub(super) struct PodTemplate {
    pub metadata: PodMeta,
    pub spec: PodSpec,
}

/// `metadata` of such a pod.
#[derive(Debug, Serialize)]
pub(super) struct PodMeta {
    pub labels: Texts,
}

/// `spec` of a pod.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub service_account_name: &'static str,
    pub priority_class_name: &'static str,
    #[serde(skip_serializing_if = "yaml::is_off")]
    pub host_network: bool,
    pub containers: Vec<Container>,
    pub affinity: Affinity,
    pub tolerations: Vec<Toleration>,
}

/// One container.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    pub name: &'static str,
    pub image: String,
    pub image_pull_policy: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<Variable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
}

/// A variable of a container.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Variable {
    pub name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from: Option<Json>,
}

/// What a container may do.
#[derive(Debug, Serialize)]
pub(super) struct SecurityContext {
    pub capabilities: Capabilities,
}

/// Capabilities of the kernel.
#[derive(Debug, Serialize)]
pub(super) struct Capabilities {
    pub add: &'static [&'static str],
    pub drop: &'static [&'static str],
}

/// Which nodes a pod is for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Affinity {
    pub node_affinity: NodeAffinity,
}

/// Nodes that a pod needs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeAffinity {
    pub required_during_scheduling_ignored_during_execution: NodeSelector,
}

/// Any of these.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeSelector {
    pub node_selector_terms: Vec<NodeTerm>,
}

/// All of these.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeTerm {
    pub match_expressions: Vec<Expression>,
}

/// One condition on a node's labels.
#[derive(Debug, Serialize)]
pub(super) struct Expression {
    pub key: &'static str,
    pub operator: &'static str,
}

impl Affinity {
    /// Nodes whose API server runs.
    pub fn control_plane() -> Self {
        let expression = Expression {
            key: "node-role.kubernetes.io/control-plane",
            operator: "Exists",
        };
        let term = NodeTerm {
            match_expressions: vec![expression],
        };
        Self {
            node_affinity: NodeAffinity {
                required_during_scheduling_ignored_during_execution: NodeSelector {
                    node_selector_terms: vec![term],
                },
            },
        }
    }
}

/// A taint that a pod can live with.
#[derive(Debug, Serialize)]
pub(super) struct Toleration {
    pub effect: &'static str,
    pub operator: &'static str,
}

impl Toleration {
    /// Every taint.
    pub fn all() -> Vec<Self> {
        let of = |effect| Self {
            effect,
            operator: "Exists",
        };
        vec![of("NoSchedule"), of("NoExecute")]
    }
}
