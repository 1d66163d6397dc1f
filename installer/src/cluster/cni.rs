//! What the network plugin needs to live with Multus and KubeVirt.
//!
//! In: the cluster. Out: a manifest for the plugin's chart, or nothing.

use serde_json::json;

use super::object::{chart_config, manifest};
use super::values::map;
use crate::config::{Cluster, Cni};
use crate::node::files::NodeFile;

pub(super) fn render_cni(cluster: &Cluster) -> Option<NodeFile> {
    match cluster.networks.cni {
        Cni::Cilium => {
            let values = map(json!({
                // Else it takes the configs of all others away, that of Multus too.
                "cni": {"exclusive": false},
                // Services must stay reachable from inside virtual machines.
                "socketLB": {"hostNamespaceOnly": true},
            }));
            let config = chart_config("rke2-cilium", &values);
            Some(manifest("harrow-cilium", &[config]))
        }
        Cni::Canal | Cni::Calico | Cni::Flannel => None,
    }
}
