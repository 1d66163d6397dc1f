//! `install.addons:`, optional parts of the cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::secret::Secret;

/// `install.addons:`. All are off unless enabled. Only in mode `create`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Addons {
    /// Monitoring: Prometheus, Grafana, alerts.
    pub rancher_monitoring: Addon,
    /// Logging: collects the logs of nodes and pods.
    pub rancher_logging: Addon,
    /// A Rancher of its own, in a virtual cluster.
    pub rancher_vcluster: Addon,
    /// PCI passthrough and SR-IOV for virtual machines.
    pub harvester_pcidevices_controller: Addon,
    /// Out-of-band management of nodes over IPMI and Redfish.
    pub harvester_seeder: Addon,
    /// Imports virtual machines from VMware and OpenStack.
    pub harvester_vm_import_controller: Addon,
    /// NVIDIA's vGPU driver.
    pub nvidia_driver_toolkit: Addon,
    /// Kube-OVN, an overlay network for virtual machines.
    pub kubeovn_operator: Addon,
    /// Moves pods away from nodes that are too full.
    pub descheduler: Addon,
}

/// One addon.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Addon {
    /// Whether it is installed.
    #[schemars(extend("x-default" = false))]
    pub enabled: Option<bool>,
    /// Values for its chart, as YAML in a text.
    #[schemars(extend("x-form" = "yaml", "x-secret" = true))]
    pub values_content: Option<Secret>,
}
