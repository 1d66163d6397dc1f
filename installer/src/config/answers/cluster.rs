//! `cluster:`, Harrow's own keys about how nodes run what is on them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::secret::Secret;
use super::url::UrlText;

/// Network plugin under Multus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cni {
    /// Flannel's network with Calico's policies.
    Canal,
    /// Calico.
    Calico,
    /// Cilium.
    Cilium,
    /// Flannel alone.
    Flannel,
}

/// RKE2's own hardening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// As RKE2 is.
    None,
    /// What the CIS benchmark asks for.
    Cis,
}

/// `cluster:`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterAnswers {
    /// Most pods on this node. Beyond 250 the cluster's nodes need larger parts of the pod
    /// network, see `node_cidr_mask`.
    #[schemars(range(min = 10, max = 4000), extend("x-default" = 200))]
    pub max_pods: Option<u32>,
    /// Prefix length of each node's part of the pod network: 24 has room for 254 pods. Follows
    /// from `max_pods` when absent. Can't change once the cluster exists.
    #[schemars(range(min = 16, max = 28), example = 23)]
    pub node_cidr_mask: Option<u32>,
    /// What Kubernetes' own services keep for themselves; follows from the machine when absent.
    pub kube_reserved: Reservation,
    /// What the operating system keeps for itself; follows from the machine when absent.
    pub system_reserved: Reservation,
    /// Network plugin under Multus.
    #[schemars(extend("x-default" = "canal"))]
    pub cni: Option<Cni>,
    /// Addresses for services of type LoadBalancer, by namespace; `global` is for all others.
    /// Each is a network or a range.
    #[schemars(extend("x-form" = "pool"), example = BTreeMap::from([("global", ["10.0.0.100-10.0.0.120"])]))]
    pub ip_pools: BTreeMap<String, Vec<String>>,
    /// Charts of further storage drivers, for disks other than the node's own.
    pub csi_charts: Vec<CsiChart>,
    /// Storage class that keeps the state of virtual machines, among it their TPM; one of Harrow's
    /// own when absent. Machines move only if two nodes can mount its volumes at once.
    #[schemars(extend("x-form" = "object-name"), example = &"longhorn")]
    pub vm_state_storage_class: Option<String>,
    /// PCI devices that virtual machines may have: the node gives up all of that kind. A node that has some and joins needs them too,
    /// for the modules and kernel arguments; they are permitted by what mode `create` says.
    pub pci_devices: Vec<PciDevice>,
    /// Devices of this node that are divided into virtual functions (SR-IOV) at each boot. For
    /// virtual machines to have one, its kind is one of `pci_devices`.
    pub sriov: Vec<SriovDevice>,
    /// Disks of this node that Longhorn's v2 engine gets, whole; what they hold is lost. The engine is
    /// turned on by `longhorn-v2-data-engine-enabled` of `system_settings`, on each node.
    #[schemars(extend("x-form" = "disk"), example = ["/dev/disk/by-id/nvme-eui.0025388b910ca9e3"])]
    pub longhorn_v2_disks: Vec<String>,
    /// RKE2's own hardening: pods are restricted unless their namespace says otherwise, and the
    /// kernel has to be as the kubelet wants it. All nodes of a cluster should have the same.
    #[schemars(extend("x-default" = "none"))]
    pub profile: Option<Profile>,
    /// Copies of the cluster's database.
    pub etcd_snapshots: EtcdSnapshots,
}

/// CPU and memory that are kept free.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reservation {
    /// CPU, in cores or thousandths of one.
    #[schemars(extend("x-form" = "cpu"), example = &"500m")]
    pub cpu: Option<String>,
    /// Memory.
    #[schemars(extend("x-form" = "memory"), example = &"2Gi")]
    pub memory: Option<String>,
}

/// One of `cluster.csi_charts`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CsiChart {
    /// Name of the chart.
    #[schemars(extend("x-form" = "chart-name"), example = &"csi-driver-nfs")]
    pub name: String,
    /// URL of its repository.
    #[schemars(extend("x-form" = "url"))]
    pub repo: Option<UrlText>,
    /// Its version.
    pub version: Option<String>,
    /// Values for it, as YAML in a text.
    #[schemars(extend("x-form" = "yaml", "x-secret" = true))]
    pub values_content: Option<Secret>,
}

/// One of `cluster.pci_devices`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PciDevice {
    /// Vendor and device, in hexadecimal.
    #[schemars(extend("x-form" = "pci-id"), example = &"10de:1eb8")]
    pub vendor_selector: String,
    /// The name by which virtual machines ask for it.
    #[schemars(extend("x-form" = "device-name"), example = &"nvidia.com/TU104GL")]
    pub resource_name: String,
}

/// One of `cluster.sriov`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SriovDevice {
    /// Its PCI address, or the name of the NIC.
    #[schemars(extend("x-form" = "sriov-device"), example = &"0000:3b:00.0")]
    pub device: String,
    /// How many virtual functions it gets.
    #[schemars(range(min = 1, max = 65535), example = 8)]
    pub virtual_functions: Option<u32>,
}

/// `cluster.etcd_snapshots:`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EtcdSnapshots {
    /// When, as for cron.
    #[schemars(extend("x-form" = "cron", "x-default" = "0 */12 * * *"))]
    pub schedule: Option<String>,
    /// How many are kept.
    #[schemars(range(min = 1, max = 1000), extend("x-default" = 5))]
    pub retention: Option<u32>,
}
