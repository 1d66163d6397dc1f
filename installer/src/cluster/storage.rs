//! Storage classes, snapshot classes, and the charts of further storage drivers.
//!
//! In: the cluster. Out: manifests. `longhorn`, the default class, is made by Longhorn's chart.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Charts;
use super::object::{HelmChart, Meta, Texts, manifest, object, texts, values_content};
use crate::config::{Cluster, SnapshotClasses};
use crate::node::files::NodeFile;

/// The default class, of Longhorn's chart.
pub(super) const DEFAULT: &str = "longhorn";
/// Class of the state of virtual machines.
pub(super) const STATE: &str = "vmstate-persistence";
/// Name of Longhorn's driver.
const LONGHORN: &str = "driver.longhorn.io";
/// Where charts of drivers go: most want to be critical for the system.
const DRIVERS_NAMESPACE: &str = "kube-system";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StorageClass {
    provisioner: &'static str,
    allow_volume_expansion: bool,
    reclaim_policy: &'static str,
    volume_binding_mode: &'static str,
    parameters: Texts,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotClass {
    driver: String,
    deletion_policy: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    parameters: Texts,
}

pub(super) fn render_storage(cluster: &Cluster) -> NodeFile {
    let storage = &cluster.storage;
    let replicas = storage.replicas.to_string();
    let common = [
        ("numberOfReplicas", &*replicas),
        ("staleReplicaTimeout", "30"),
    ];
    let mut objects = Vec::new();
    if cluster.machines.state_class.is_none() {
        // A file system that two nodes can mount at once, as while a machine moves: a volume that
        // is itself migratable is a block device.
        let mut parameters = texts(common);
        parameters.insert("migratable".to_owned(), "false".to_owned());
        objects.push(storage_class(STATE, parameters));
    }
    if storage.v2_engine {
        let mut parameters = texts(common);
        parameters.insert("dataEngine".to_owned(), "v2".to_owned());
        parameters.insert("migratable".to_owned(), "true".to_owned());
        objects.push(storage_class("longhorn-v2", parameters));
    }
    objects.extend(snapshot_classes(&storage.snapshot_classes));
    manifest("harrow-storage", &objects)
}

fn storage_class(name: &str, parameters: Texts) -> String {
    let body = StorageClass {
        provisioner: LONGHORN,
        allow_volume_expansion: true,
        reclaim_policy: "Delete",
        volume_binding_mode: "Immediate",
        parameters,
    };
    object(
        ("storage.k8s.io/v1", "StorageClass"),
        Meta::named(name),
        body,
    )
}

/// Longhorn's two as Harvester has them, and those of `csi-driver-config`. For each driver, that for
/// snapshots is the default: KubeVirt takes it.
fn snapshot_classes(said: &BTreeMap<String, SnapshotClasses>) -> Vec<String> {
    let mut all = said.clone();
    let longhorn = all.entry(LONGHORN.to_owned()).or_default();
    let name = |name: &str| Some(name.to_owned());
    longhorn.snapshot = longhorn.snapshot.take().or(name("longhorn-snapshot"));
    longhorn.backup = longhorn.backup.take().or(name("longhorn"));
    let mut objects = Vec::new();
    for (driver, classes) in &all {
        let parameters = |kind| match driver == LONGHORN {
            true => texts([("type", kind)]),
            false => Texts::new(),
        };
        let mut add = |name: &str, parameters: Texts, annotations: Texts| {
            let body = SnapshotClass {
                driver: driver.clone(),
                deletion_policy: "Delete",
                parameters,
            };
            objects.push(object(
                ("snapshot.storage.k8s.io/v1", "VolumeSnapshotClass"),
                Meta::named(name).annotated(annotations),
                body,
            ));
        };
        if let Some(name) = &classes.snapshot {
            let key = "snapshot.storage.kubernetes.io/is-default-class";
            add(name, parameters("snap"), texts([(key, "true")]));
        }
        if let Some(name) = classes
            .backup
            .as_ref()
            .filter(|b| classes.snapshot.as_ref() != Some(b))
        {
            add(name, parameters("bak"), Texts::new());
        }
    }
    objects
}

/// One manifest for each chart of `cluster.csi_charts`: from the payload when that has the chart,
/// else from its repository.
pub(super) fn render_drivers(cluster: &Cluster, charts: &Charts) -> Vec<NodeFile> {
    let mut files = Vec::new();
    for driver in &cluster.storage.charts {
        let content = match driver.repo {
            Some(_) => charts.own_content(&driver.name),
            None => charts.content(&driver.name),
        };
        if content.is_none() && driver.repo.is_none() {
            continue;
        }
        let remote = content.is_none();
        let chart = HelmChart {
            chart: remote.then(|| driver.name.clone()),
            repo: driver.repo.as_deref().filter(|_| remote).map(str::to_owned),
            version: driver.version.clone().filter(|_| remote),
            digest: content.as_ref().and_then(|_| charts.digest(&driver.name)),
            chart_content: content,
            target_namespace: DRIVERS_NAMESPACE.to_owned(),
            create_namespace: false,
            failure_policy: Some("abort"),
            values_content: values_content(&driver.values.0),
        };
        let name = format!("harrow-csi-{}", driver.name);
        files.push(manifest(&name, &[chart.object(&driver.name)]));
    }
    files
}
