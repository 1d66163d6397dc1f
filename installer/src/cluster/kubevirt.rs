//! KubeVirt and CDI: the resources that tell their operators what to run.
//!
//! In: the config. Out: manifests. Fields are those of kubevirt.io/v1 and cdi.kubevirt.io/v1beta1.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::object::{Meta, Spec, manifest, object};
use super::proxy::without_proxy;
use super::storage;
use crate::config::{Cluster, Config, Secret};
use crate::node::files::NodeFile;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KubeVirt {
    image_pull_policy: &'static str,
    configuration: Configuration,
    workload_update_strategy: UpdateStrategy,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UpdateStrategy {
    workload_update_methods: [&'static str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_guest_memory_overhead_ratio: Option<String>,
    developer_configuration: Developer,
    /// A node that is drained moves its machines away, and waits for those that can't move no
    /// longer than it must.
    eviction_strategy: &'static str,
    live_update_configuration: LiveUpdate,
    #[serde(skip_serializing_if = "Map::is_empty")]
    migrations: Map<String, Json>,
    network: Network,
    #[serde(skip_serializing_if = "Option::is_none")]
    permitted_host_devices: Option<HostDevices>,
    vm_rollout_strategy: &'static str,
    /// TPM and firmware variables outlive a machine's stop there.
    vm_state_storage_class: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Developer {
    cpu_allocation_ratio: u32,
    feature_gates: Vec<&'static str>,
    memory_overcommit: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LiveUpdate {
    max_hotplug_ratio: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Network {
    default_network_interface: &'static str,
    permit_bridge_interface_on_pod_network: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HostDevices {
    pci_host_devices: Vec<PciDevice>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PciDevice {
    pci_vendor_selector: String,
    resource_name: String,
}

pub(super) fn render_kubevirt(cluster: &Cluster) -> NodeFile {
    let machines = &cluster.machines;
    let devices = machines.pci_devices.iter().map(|(id, name)| PciDevice {
        pci_vendor_selector: id.clone(),
        resource_name: name.clone(),
    });
    let devices: Vec<PciDevice> = devices.collect();
    let mut feature_gates = vec!["CPUManager", "DeclarativeHotplugVolumes", "Snapshot"];
    if cluster.uses_pci_devices() {
        feature_gates.push("HostDevices");
    }
    let state_class = machines.state_class.clone();
    let spec = KubeVirt {
        image_pull_policy: "IfNotPresent",
        configuration: Configuration {
            additional_guest_memory_overhead_ratio: machines.memory_overhead.clone(),
            developer_configuration: Developer {
                // Of a whole, and KubeVirt counts how many of a machine's CPUs share one.
                cpu_allocation_ratio: (machines.cpu_overcommit / 100).max(1),
                feature_gates,
                memory_overcommit: machines.memory_overcommit,
            },
            eviction_strategy: "LiveMigrateIfPossible",
            live_update_configuration: LiveUpdate {
                max_hotplug_ratio: machines.hotplug_ratio,
            },
            migrations: machines.migrations.clone(),
            network: Network {
                // A machine bridged to the pod network has the pod's address, so it can't move.
                default_network_interface: "masquerade",
                permit_bridge_interface_on_pod_network: false,
            },
            permitted_host_devices: (!devices.is_empty()).then_some(HostDevices {
                pci_host_devices: devices,
            }),
            vm_rollout_strategy: "LiveUpdate",
            vm_state_storage_class: state_class.unwrap_or_else(|| storage::STATE.to_owned()),
        },
        workload_update_strategy: UpdateStrategy {
            workload_update_methods: ["LiveMigrate"],
        },
    };
    let resource = object(
        ("kubevirt.io/v1", "KubeVirt"),
        Meta::within("kubevirt", "kubevirt"),
        Spec { spec },
    );
    manifest("harrow-kubevirt", &[resource])
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cdi {
    image_pull_policy: &'static str,
    config: CdiConfig,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CdiConfig {
    feature_gates: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    import_proxy: Option<ImportProxy>,
    scratch_space_storage_class: &'static str,
}

#[derive(Serialize)]
struct ImportProxy {
    #[serde(rename = "HTTPProxy", skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    #[serde(rename = "HTTPSProxy", skip_serializing_if = "Option::is_none")]
    https: Option<String>,
    #[serde(rename = "noProxy")]
    none: String,
}

pub(super) fn render_cdi(config: &Config) -> NodeFile {
    let proxy = &config.cluster.proxy;
    let url = |url: &Option<Secret>| url.as_ref().map(|url| url.expose().to_owned());
    let spec = Cdi {
        image_pull_policy: "IfNotPresent",
        config: CdiConfig {
            feature_gates: ["HonorWaitForFirstConsumer"],
            import_proxy: proxy.is_used().then(|| ImportProxy {
                http: url(&proxy.http),
                https: url(&proxy.https),
                none: without_proxy(config).join(","),
            }),
            scratch_space_storage_class: storage::DEFAULT,
        },
    };
    let resource = object(
        ("cdi.kubevirt.io/v1beta1", "CDI"),
        Meta::named("cdi"),
        Spec { spec },
    );
    manifest("harrow-cdi", &[resource])
}
