//! The addons: each a manifest with one or two charts.
//!
//! In: the cluster and the charts. Out: manifests of the addons that are on. Values are Harvester's
//! (harvester/addons, `rancherd-22-addons.yaml`), with a person's `values_content` over them.

mod observability;
mod platform;
mod vcluster;

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::Charts;
use super::object::{HelmChart, manifest, privileged_namespace, values_content};
use super::values::merge;
use crate::config::{AddonName, ChartValues, Cluster};
use crate::node::files::NodeFile;

/// One addon as it is installed.
struct Addon {
    /// Name of its manifest.
    name: &'static str,
    namespace: &'static str,
    /// Charts in order; the last is the addon itself, those before bring its kinds.
    charts: &'static [&'static str],
    /// Name of the release of the last one.
    release: &'static str,
}

fn addon(name: AddonName) -> Addon {
    let harvester = |name, chart: &'static [&'static str], release| Addon {
        name,
        namespace: "harvester-system",
        charts: chart,
        release,
    };
    match name {
        AddonName::Monitoring => Addon {
            name: "rancher-monitoring",
            namespace: "cattle-monitoring-system",
            charts: &["rancher-monitoring-crd", "rancher-monitoring"],
            release: "rancher-monitoring",
        },
        AddonName::Logging => Addon {
            name: "rancher-logging",
            namespace: "cattle-logging-system",
            charts: &["rancher-logging-crd", "rancher-logging"],
            release: "rancher-logging",
        },
        AddonName::Vcluster => Addon {
            name: "rancher-vcluster",
            namespace: "rancher-vcluster",
            charts: &["vcluster"],
            release: "rancher-vcluster",
        },
        AddonName::PciDevices => harvester(
            "pcidevices-controller",
            &["harvester-pcidevices-controller"],
            "pcidevices-controller",
        ),
        AddonName::Seeder => harvester("seeder", &["harvester-seeder"], "harvester-seeder"),
        AddonName::VmImport => harvester(
            "vm-import-controller",
            &["harvester-vm-import-controller"],
            "vm-import-controller",
        ),
        AddonName::Nvidia => harvester(
            "nvidia-driver-toolkit",
            &["nvidia-driver-runtime"],
            "nvidia-driver-toolkit",
        ),
        AddonName::KubeOvn => Addon {
            name: "kubeovn-operator",
            namespace: "kube-system",
            charts: &["kubeovn-operator-crd", "kubeovn-operator"],
            release: "kubeovn-operator",
        },
        AddonName::Descheduler => Addon {
            name: "descheduler",
            namespace: "kube-system",
            charts: &["descheduler"],
            release: "descheduler",
        },
    }
}

/// Charts of an addon.
pub(super) fn charts(name: AddonName) -> &'static [&'static str] {
    addon(name).charts
}

/// Our values for the last chart of an addon, with a person's over them.
fn values(name: AddonName, cluster: &Cluster, said: &ChartValues) -> Map<String, Json> {
    let mut values = match name {
        AddonName::Monitoring => observability::monitoring(cluster),
        AddonName::Logging => observability::logging(),
        // Three of its keys are the addon's own, and not the chart's.
        AddonName::Vcluster => return vcluster::values(said),
        AddonName::PciDevices => platform::harvester("harvester-pcidevices-controller"),
        AddonName::Seeder => platform::harvester("harvester-seeder"),
        AddonName::VmImport => platform::harvester("harvester-vm-import-controller"),
        AddonName::Nvidia => platform::nvidia(),
        AddonName::KubeOvn => platform::kubeovn(),
        AddonName::Descheduler => platform::descheduler(),
    };
    merge(&mut values, &said.0);
    values
}

/// The addons that are on. One whose chart the payload lacks is left out.
pub(super) fn render_addons(cluster: &Cluster, contents: &Charts) -> Vec<NodeFile> {
    let on = cluster.addons.iter();
    let addons = on.filter_map(|(name, said)| render_addon(*name, said, cluster, contents));
    let addons: Vec<NodeFile> = addons.collect();
    render_namespaces(cluster)
        .into_iter()
        .chain(addons)
        .collect()
}

/// Namespaces that addons share: to RKE2, each object belongs to one manifest.
fn render_namespaces(cluster: &Cluster) -> Option<NodeFile> {
    let names: BTreeSet<&str> = cluster.addons.keys().map(|a| addon(*a).namespace).collect();
    let own = names.into_iter().filter(|name| *name != "kube-system");
    let objects: Vec<String> = own.map(privileged_namespace).collect();
    (!objects.is_empty()).then(|| manifest("harrow-addon-namespaces", &objects))
}

fn render_addon(
    name: AddonName,
    said: &ChartValues,
    cluster: &Cluster,
    contents: &Charts,
) -> Option<NodeFile> {
    let addon = addon(name);
    let mut objects = Vec::new();
    let (last, before) = addon.charts.split_last()?;
    let chart = |name: &str, values_content| {
        Some(HelmChart {
            chart_content: Some(contents.content(name)?),
            target_namespace: addon.namespace.to_owned(),
            create_namespace: true,
            values_content,
            digest: contents.digest(name),
            ..HelmChart::default()
        })
    };
    if name == AddonName::PciDevices {
        objects.push(platform::vlan_configs());
    }
    for name in before {
        objects.push(chart(name, String::new())?.object(name));
    }
    let values = values_content(&values(name, cluster, said));
    objects.push(chart(last, values)?.object(addon.release));
    Some(manifest(&format!("harrow-addon-{}", addon.name), &objects))
}
