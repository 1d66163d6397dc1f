//! From a node's config to the files of its cluster: RKE2's config, and the manifests that RKE2
//! applies on the node that creates the cluster.
//!
//! In: [`ClusterInputs`], and the [`Charts`] of the payload. Out: [`NodeFile`]s; the same inputs
//! make the same bytes. Pure.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::node::files::NodeFile;

/// Where RKE2 finds the manifests: a link in its own folder leads here.
pub const MANIFESTS_DIR: &str = "/run/harrow/manifests";

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

/// Contents of charts, in base64, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Charts {
    /// There is no payload: a marker stands for each.
    #[default]
    Marked,
    /// Those of a payload.
    Payload(BTreeMap<String, String>),
}

/// Files that `harrow apply` writes at each boot.
pub fn render_node(_inputs: &ClusterInputs) -> Vec<NodeFile> {
    Vec::new()
}

/// Files that `harrow payload` writes on the node that creates the cluster, once the payload is there.
pub fn render_manifests(_inputs: &ClusterInputs, _charts: &Charts) -> Vec<NodeFile> {
    Vec::new()
}
