//! What a node is in its cluster, and what the node that creates one decides for all nodes.
//!
//! In: nothing; [`super::super::resolve`] makes it. Out: [`Cluster`]. `Debug` shows no secret.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde_json::{Map, Value as Json};

use super::super::answers::{Cni, NodeRole, UrlText};
use super::super::secret::Secret;

/// The cluster, as far as the config of one node has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// What the node is for.
    pub role: NodeRole,
    /// Further names and addresses of the cluster's API.
    pub sans: Vec<String>,
    /// Labels of the node.
    pub labels: BTreeMap<String, String>,
    /// Taints of the node, `KEY=VALUE:EFFECT`.
    pub taints: Vec<String>,
    /// Environment of all services.
    pub environment: BTreeMap<String, Secret>,
    /// The way to the internet, when there is no direct one.
    pub proxy: Proxy,
    /// Certificates of further authorities, in PEM.
    pub authorities: Vec<String>,
    /// The networks of pods and services.
    pub networks: Networks,
    /// How many pods the node runs.
    pub max_pods: u32,
    /// What Kubernetes' own services keep for themselves.
    pub kube_reserved: Reserved,
    /// What the operating system keeps for itself.
    pub system_reserved: Reserved,
    /// RKE2's own hardening.
    pub profile: Option<Profile>,
    /// Copies of the cluster's database.
    pub snapshots: Snapshots,
    /// Where container images come from.
    pub registries: Registries,
    /// Where artifacts come from instead of the internet, for flavor `net`.
    pub bundle_mirror: Option<UrlText>,
    /// The virtual IP.
    pub vip: Option<Vip>,
    /// Addresses for services of type LoadBalancer, by namespace; `global` is for all others.
    pub pools: BTreeMap<String, Vec<Pool>>,
    /// Storage.
    pub storage: ClusterStorage,
    /// How virtual machines run.
    pub machines: Machines,
    /// Which addons are on, each with what a person said for its chart.
    pub addons: BTreeMap<AddonName, ChartValues>,
    /// Manifest that registers the cluster at a Rancher.
    pub registration_url: Option<UrlText>,
}

/// The networks of pods and services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks {
    /// Network plugin under Multus.
    pub cni: Cni,
    /// Network of the pods.
    pub pods: IpNet,
    /// Prefix length of each node's part of it.
    pub node_mask: u8,
    /// Network of the services.
    pub services: IpNet,
    /// Address of the cluster's DNS.
    pub dns: IpAddr,
}

/// CPU and memory that are kept free; what is `None` follows from the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reserved {
    /// CPU in thousandths of a core.
    pub cpu: Option<u64>,
    /// Memory in bytes.
    pub memory: Option<u64>,
}

/// A profile of RKE2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// What the CIS benchmark asks for.
    Cis,
}

/// Copies of the cluster's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshots {
    /// When, as for cron.
    pub schedule: String,
    /// How many are kept.
    pub retention: u32,
}

/// `http-proxy`, or the variables of `os.environment`. `Debug` shows nothing: settings are secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxy {
    /// For `http://`; may hold a password.
    pub http: Option<Secret>,
    /// For `https://`; may hold a password.
    pub https: Option<Secret>,
    /// What is reached without one.
    pub none: Vec<String>,
}

impl Proxy {
    /// Whether there is one.
    pub fn is_used(&self) -> bool {
        self.http.is_some() || self.https.is_some()
    }
}

/// `containerd-registry`. `Debug` shows nothing: settings are secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Registries {
    /// Mirrors by the registry that they stand for.
    pub mirrors: BTreeMap<String, Mirror>,
    /// How to talk to a registry or mirror, by its host.
    pub hosts: BTreeMap<String, RegistryHost>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy(used: {})", self.is_used())
    }
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mirrors, hosts) = (self.mirrors.len(), self.hosts.len());
        write!(f, "Registries({mirrors} mirrors, {hosts} hosts)")
    }
}

/// Where the images of a registry come from instead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirror {
    /// URLs, tried in order.
    pub endpoints: Vec<UrlText>,
    /// Patterns of names and what stands for them there.
    pub rewrites: BTreeMap<String, String>,
}

/// How to talk to a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryHost {
    /// User.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// User and password in base64.
    pub auth: Option<Secret>,
    /// Token that stands for the user.
    pub token: Option<Secret>,
    /// Path of the authority's certificate on the node.
    pub ca_file: Option<String>,
    /// Path of the node's certificate.
    pub cert_file: Option<String>,
    /// Path of its key.
    pub key_file: Option<String>,
    /// Whether the certificate is not checked.
    pub insecure: bool,
}

/// The virtual IP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vip {
    /// An address given in the config.
    Static(Ipv4Addr),
    /// One from a DHCP server.
    Dhcp {
        /// MAC address that asks.
        mac: String,
        /// The address that is wished for.
        wish: Option<Ipv4Addr>,
    },
}

/// A pool of addresses as it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// A network.
    Network(IpNet),
    /// First and last.
    Range(IpAddr, IpAddr),
}

/// Storage of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStorage {
    /// How many copies of a volume there are.
    pub replicas: u32,
    /// Longhorn's `defaultSettings`, by its own names.
    pub longhorn: Map<String, Json>,
    /// Whether Longhorn's v2 engine is on.
    pub v2_engine: bool,
    /// Paths of whole disks that it gets of this node.
    pub v2_disks: Vec<String>,
    /// Percent of a disk's size that volumes may add up to.
    pub overcommit: u32,
    /// Charts of further storage drivers.
    pub charts: Vec<DriverChart>,
    /// `csi-driver-config`: snapshot classes by the driver's name.
    pub snapshot_classes: BTreeMap<String, SnapshotClasses>,
}

/// Snapshot classes of a storage driver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotClasses {
    /// For snapshots.
    pub snapshot: Option<String>,
    /// For backups.
    pub backup: Option<String>,
}

/// One of `cluster.csi_charts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverChart {
    /// Name of the chart.
    pub name: String,
    /// URL of its repository.
    pub repo: Option<UrlText>,
    /// Its version.
    pub version: Option<String>,
    /// Values for it.
    pub values: ChartValues,
}

/// How virtual machines run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machines {
    /// Percent of a node's CPUs that machines may add up to.
    pub cpu_overcommit: u32,
    /// Percent of a node's memory that they may add up to.
    pub memory_overcommit: u32,
    /// How often a running machine's CPU and memory may be multiplied.
    pub hotplug_ratio: u32,
    /// Factor for the memory that a machine needs beside its own, as text; `None` for KubeVirt's.
    pub memory_overhead: Option<String>,
    /// `kubevirt-migration`: KubeVirt's `spec.configuration.migrations`.
    pub migrations: Map<String, Json>,
    /// Storage class of their state; `None` for Harrow's own.
    pub state_class: Option<String>,
    /// PCI devices that they may have: vendor and device, and the name to ask for.
    pub pci_devices: Vec<(String, String)>,
    /// Devices of this node that get virtual functions.
    pub sriov: Vec<VirtualFunctions>,
}

/// One of `cluster.sriov`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualFunctions {
    /// PCI address, or name of the NIC.
    pub device: String,
    /// How many.
    pub count: u32,
}

/// Values for a chart, which may hold secrets: `Debug` does not show them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ChartValues(pub Map<String, Json>);

impl fmt::Debug for ChartValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChartValues({} keys)", self.0.len())
    }
}

/// An optional part of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddonName {
    /// `rancher_monitoring`
    Monitoring,
    /// `rancher_logging`
    Logging,
    /// `rancher_vcluster`
    Vcluster,
    /// `harvester_pcidevices_controller`
    PciDevices,
    /// `harvester_seeder`
    Seeder,
    /// `harvester_vm_import_controller`
    VmImport,
    /// `nvidia_driver_toolkit`
    Nvidia,
    /// `kubeovn_operator`
    KubeOvn,
    /// `descheduler`
    Descheduler,
}

impl AddonName {
    /// Every addon.
    pub const ALL: [Self; 9] = [
        Self::Monitoring,
        Self::Logging,
        Self::Vcluster,
        Self::PciDevices,
        Self::Seeder,
        Self::VmImport,
        Self::Nvidia,
        Self::KubeOvn,
        Self::Descheduler,
    ];

    /// Its key in `install.addons`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Monitoring => "rancher_monitoring",
            Self::Logging => "rancher_logging",
            Self::Vcluster => "rancher_vcluster",
            Self::PciDevices => "harvester_pcidevices_controller",
            Self::Seeder => "harvester_seeder",
            Self::VmImport => "harvester_vm_import_controller",
            Self::Nvidia => "nvidia_driver_toolkit",
            Self::KubeOvn => "kubeovn_operator",
            Self::Descheduler => "descheduler",
        }
    }
}

impl Default for Cluster {
    /// What counts when nobody says anything, with Harvester's documented defaults.
    fn default() -> Self {
        Self {
            role: NodeRole::Default,
            sans: Vec::new(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            environment: BTreeMap::new(),
            proxy: Proxy::default(),
            authorities: Vec::new(),
            networks: Networks::default(),
            max_pods: 200,
            kube_reserved: Reserved::default(),
            system_reserved: Reserved::default(),
            profile: None,
            snapshots: Snapshots {
                schedule: "0 */12 * * *".to_owned(),
                retention: 5,
            },
            registries: Registries::default(),
            bundle_mirror: None,
            vip: None,
            pools: BTreeMap::new(),
            storage: ClusterStorage {
                replicas: 3,
                longhorn: Map::new(),
                v2_engine: false,
                v2_disks: Vec::new(),
                overcommit: 200,
                charts: Vec::new(),
                snapshot_classes: BTreeMap::new(),
            },
            machines: Machines {
                cpu_overcommit: 1600,
                memory_overcommit: 150,
                hotplug_ratio: 4,
                memory_overhead: Some("1.5".to_owned()),
                migrations: Map::new(),
                state_class: None,
                pci_devices: Vec::new(),
                sriov: Vec::new(),
            },
            addons: BTreeMap::new(),
            registration_url: None,
        }
    }
}

impl Default for Networks {
    fn default() -> Self {
        let network = |bytes: [u8; 4]| {
            let network = ipnet::Ipv4Net::new(bytes.into(), 16);
            IpNet::V4(network.unwrap_or_default())
        };
        Self {
            cni: Cni::Canal,
            pods: network([10, 52, 0, 0]),
            node_mask: 24,
            services: network([10, 53, 0, 0]),
            dns: Ipv4Addr::new(10, 53, 0, 10).into(),
        }
    }
}
