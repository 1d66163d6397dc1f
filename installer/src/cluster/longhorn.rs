//! Longhorn: the storage of virtual machines.
//!
//! In: the cluster and the chart. Out: a manifest. Values and settings are those of Longhorn's
//! chart; where Harvester differs from Longhorn's defaults, so does this.

use serde_json::json;

use super::Charts;
use super::charts::LONGHORN;
use super::object::{HelmChart, manifest, privileged_namespace, values_content};
use super::values::{map, merge};
use crate::config::Cluster;
use crate::node::files::NodeFile;
use crate::node::render::DATA_DIR;

const NAMESPACE: &str = "longhorn-system";

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
