//! Longhorn: the storage of virtual machines.
//!
//! In: the cluster and the chart, or a node's disks. Out: a manifest, or a unit. Values and settings are those of Longhorn's
//! chart; where Harvester differs from Longhorn's defaults, so does this.

use serde_json::json;

use super::charts::LONGHORN;
use super::object::{HelmChart, manifest, privileged_namespace, values_content};
use super::values::{map, merge};
use super::{Charts, ClusterInputs, Part, is_witness};
use crate::config::{Cluster, Config};
use crate::disk::layout::DataPlace;
use crate::node::files::NodeFile;
use crate::node::render::DATA_DIR;

const NAMESPACE: &str = "longhorn-system";

/// The unit that tells Longhorn of a node's disks.
const DISKS_UNIT: &str = "/etc/systemd/system/harrow-longhorn-disks.service";

/// Whether a node has disks for Longhorn's v2 engine.
pub(super) fn has_v2_disks(config: &Config) -> bool {
    let storage = &config.cluster.storage;
    storage.v2_engine && !storage.v2_disks.is_empty() && !is_witness(config)
}

/// The v2 engine gets whole disks. Longhorn reads of them, and then of its folder too, in an
/// annotation of the node, which RKE2 can't be told: the kubelet's own rights are enough for it.
/// (longhorn.io, "Configuring Defaults for Nodes and Disks")
pub(super) fn render_disks(inputs: &ClusterInputs, part: Part) -> Vec<NodeFile> {
    let config = inputs.config;
    if !has_v2_disks(config) {
        return Vec::new();
    }
    let block = |path: &String| json!({"path": path, "diskType": "block", "allowScheduling": true});
    let folder = json!({"path": DATA_DIR, "diskType": "filesystem", "allowScheduling": true});
    let own = (config.storage.data != DataPlace::Nowhere).then_some(folder);
    let blocks = config.cluster.storage.v2_disks.iter().map(block);
    let disks: Vec<_> = own.into_iter().chain(blocks).collect();
    // A text of JSON has no single quote but in a path, and no path of a disk has one.
    let disks = json!(disks).to_string().replace('%', "%%");
    let (unit, name) = (part.unit(), inputs.hostname);
    let text = format!(
        "[Unit]\n\
         Description=Disks of Longhorn's v2 engine\n\
         Wants={unit}.service\n\
         After={unit}.service\n\
         StartLimitIntervalSec=0\n\n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart=/var/lib/rancher/rke2/bin/kubectl --kubeconfig /var/lib/rancher/rke2/agent/kubelet.kubeconfig annotate --overwrite node {name} 'node.longhorn.io/default-disks-config={disks}'\n\
         Restart=on-failure\n\
         RestartSec=15s\n"
    );
    vec![
        NodeFile::text(DISKS_UNIT, text),
        NodeFile::link(
            "/etc/systemd/system/multi-user.target.wants/harrow-longhorn-disks.service",
            DISKS_UNIT,
        ),
    ]
}

pub(super) fn render_longhorn(cluster: &Cluster, charts: &Charts) -> Option<NodeFile> {
    let storage = &cluster.storage;
    let mut settings = map(json!({
        "autoDeletePodWhenVolumeDetachedUnexpectedly": true,
        "blacklistForAutoDeletePodWhenVolumeDetachedUnexpectedly":
            "kubevirt.io/VirtualMachineInstance",
        "concurrentAutomaticEngineUpgradePerNodeLimit": 3,
        // Only nodes with a partition for it carry the label.
        "createDefaultDiskLabeledNodes": true,
        "defaultDataPath": DATA_DIR,
        "defaultReplicaCount": storage.replicas,
        "detachManuallyAttachedVolumesWhenCordoned": true,
        "guaranteedInstanceManagerCPU": 12,
        "nodeDrainPolicy": "allow-if-replica-is-stopped",
        "orphanResourceAutoDeletion": "instance",
        "priorityClass": "system-cluster-critical",
        "storageOverProvisioningPercentage": storage.overcommit,
        "storageReservedPercentageForDefaultDisk": 30,
        "taintToleration": "kubevirt.io/drain:NoSchedule",
        "v2DataEngine": storage.v2_engine,
    }));
    merge(&mut settings, &storage.longhorn);
    let values = map(json!({
        "csi": {"kubeletRootDir": "/var/lib/kubelet"},
        "defaultSettings": settings,
        "longhornDriver": {"priorityClass": "system-cluster-critical"},
        "longhornManager": {"priorityClass": "system-cluster-critical"},
        "longhornUI": {"priorityClass": "system-cluster-critical"},
        "persistence": {
            "defaultClass": true,
            "defaultClassReplicaCount": storage.replicas,
            // Disks of machines move with them.
            "migratable": true,
        },
    }));
    let chart = HelmChart {
        chart_content: Some(charts.content(LONGHORN)?),
        target_namespace: NAMESPACE.to_owned(),
        create_namespace: true,
        // To uninstall it because an upgrade failed would be the end of all volumes.
        failure_policy: Some("abort"),
        values_content: values_content(&values),
        digest: charts.digest(LONGHORN),
        ..HelmChart::default()
    };
    let objects = [privileged_namespace(NAMESPACE), chart.object(LONGHORN)];
    Some(manifest("harrow-longhorn", &objects))
}
