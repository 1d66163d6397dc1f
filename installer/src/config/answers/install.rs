//! `install:`, the install itself and what it makes of the disks and the network.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::secret::Secret;
use super::addons::Addons;
use super::disk::DeviceChoice;
use super::network::{LinkAnswers, ManagementAnswers};
use super::scalar::Scalar;
use super::url::UrlText;

/// What the node does in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstallMode {
    /// Starts a new cluster.
    Create,
    /// Joins one.
    Join,
    /// Only lays down the OS; configured later.
    Install,
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// Manages and works. Of more than five nodes, make the further ones `worker`.
    Default,
    /// Manages and works.
    Management,
    /// Only works.
    Worker,
    /// Only votes: holds the cluster's database, runs nothing else, keeps no data.
    Witness,
}

/// How the virtual IP is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VipMode {
    /// From a DHCP server.
    Dhcp,
    /// The address given here.
    Static,
}

/// `install:`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InstallAnswers {
    /// Install without asking.
    #[schemars(extend("x-default" = false))]
    pub automatic: Option<bool>,
    /// What the node does in a cluster. Needed.
    pub mode: Option<InstallMode>,
    /// What the node is for.
    #[schemars(extend("x-default" = "default"))]
    pub role: Option<NodeRole>,
    /// The disk to install on. EVERYTHING ON IT IS LOST. A path, or a rule that one disk fits.
    #[schemars(extend("x-form" = "disk"), example = &"/dev/disk/by-id/nvme-eui.0025388b910ca9e2")]
    pub device: Option<DeviceChoice>,
    /// A second disk for the data of virtual machines; the install disk when absent.
    #[schemars(extend("x-form" = "disk"), example = &"/dev/disk/by-id/wwn-0x5000c500a1b2c3d4")]
    pub data_disk: Option<DeviceChoice>,
    /// Size of /var: logs, container images, the cluster's database. At least 20Gi.
    #[schemars(extend("x-form" = "var-size", "x-default" = "150Gi"), example = &"200Gi")]
    pub persistent_partition_size: Option<String>,
    /// Whether the install disk and the data disk may be overwritten when they hold data. Without it,
    /// such a disk is refused, unless `wipe_disks_list` names it, or it holds an old install and
    /// `wipe_all_disks` is set.
    #[schemars(extend("x-default" = false))]
    pub allow_overwrite: Option<bool>,
    /// Wipe every disk that holds an old install, and no other.
    #[schemars(extend("x-default" = false))]
    pub wipe_all_disks: Option<bool>,
    /// Disks to wipe besides the install disk. One that is missing or failing is said and passed over.
    #[schemars(extend("x-form" = "disk"), example = ["/dev/sdb"])]
    pub wipe_disks_list: Vec<String>,
    /// The management network.
    pub management_interface: ManagementAnswers,
    /// Further networks, by name. The default route stays on the management network.
    pub networks: BTreeMap<String, LinkAnswers>,
    /// Virtual IP of the cluster: its API and web page answer there. Mode `create`.
    #[schemars(extend("x-form" = "node-ipv4"), example = &"10.0.0.5")]
    pub vip: Option<String>,
    /// How the virtual IP is found.
    #[schemars(extend("x-default" = "static"))]
    pub vip_mode: Option<VipMode>,
    /// MAC address that asks for the virtual IP; needed with `vip_mode: dhcp`.
    #[schemars(extend("x-form" = "mac"), example = &"52:54:00:ec:0e:0b")]
    pub vip_hw_addr: Option<String>,
    /// Network of the pods. Nodes that join to manage need the same; in a `worker` it does nothing.
    #[schemars(extend("x-form" = "ipv4-network", "x-default" = "10.52.0.0/16"))]
    pub cluster_pod_cidr: Option<String>,
    /// Network of the services. Nodes that join to manage need the same.
    #[schemars(extend("x-form" = "ipv4-network", "x-default" = "10.53.0.0/16"))]
    pub cluster_service_cidr: Option<String>,
    /// Address of the cluster's DNS, in the network of the services: its tenth one when absent.
    /// Nodes that join to manage need the same.
    #[schemars(extend("x-form" = "ipv4", "x-default" = "10.53.0.10"))]
    pub cluster_dns: Option<String>,
    /// Optional parts of the cluster.
    pub addons: Addons,
    /// Storage of the cluster.
    pub harvester: HarvesterAnswers,
    /// Requests made when an install starts, succeeds or fails.
    #[schemars(extend("x-not-yet" = true))]
    pub webhooks: Vec<Webhook>,
    /// URL of a config that is merged under this one, or over it when a seed disk, metadata or the
    /// image's defaults name it: http or https, or a path on the medium, from `/` on.
    #[schemars(extend("x-form" = "config-url"), example = &"https://10.0.0.9/node-1.yaml")]
    pub config_url: Option<UrlText>,
    /// HTTP headers sent with the request for `config_url`.
    #[schemars(extend("x-secret" = true))]
    pub config_headers: BTreeMap<String, Secret>,
    /// Certificate of the authority that vouches for the server of `config_url`, in PEM.
    #[schemars(extend("x-form" = "pem"))]
    pub config_ca: Option<String>,
    /// Power off after the install instead of rebooting.
    #[schemars(extend("x-default" = false))]
    pub poweroff: Option<bool>,
    /// Console of the node; those of the installer when absent.
    #[schemars(extend("x-form" = "console"), example = &"ttyS1,115200n8")]
    pub tty: Option<String>,
    /// URL of an ISO with the image, or of a folder with one (ending with `/`), when it is not on
    /// the medium. An ISO is read in parts, so its server has to know range requests.
    #[schemars(extend("x-form" = "url-template"))]
    pub iso_url: Option<UrlText>,
    /// Where artifacts of the cluster come from instead of the internet, for flavor `net`: the URL of
    /// a folder, or a registry as `oci://HOST/PATH` (`oci+http://` without TLS).
    #[schemars(extend("x-form" = "mirror-url"), example = &"https://mirror.example.org/harrow")]
    pub bundle_mirror: Option<UrlText>,
    /// Whether container images come from the internet and not from the medium.
    #[schemars(extend("x-default" = false, "x-no-meaning" = "the flavor of the image decides: net or full"))]
    pub with_net_images: Option<bool>,
    /// Install although the hardware is less than recommended.
    #[schemars(extend("x-default" = false, "x-no-meaning" = "Harrow refuses only what can't work"))]
    pub skipchecks: Option<bool>,
    /// Treat the machine as one with UEFI.
    #[schemars(extend("x-default" = false, "x-no-meaning" = "disks boot on UEFI and BIOS alike"))]
    pub force_efi: Option<bool>,
    /// Use a GPT.
    #[schemars(extend("x-default" = true, "x-no-meaning" = "every disk gets a GPT, with boot code for BIOS"))]
    pub force_gpt: Option<bool>,
    /// Use a partition table of the MBR kind.
    #[schemars(extend("x-default" = false))]
    pub force_mbr: Option<bool>,
    /// Keep the partitions that are there.
    #[schemars(extend("x-default" = false, "x-no-meaning" = "an install always makes its own partitions"))]
    pub no_format: Option<bool>,
    /// Of old Harvester configs.
    #[schemars(extend("x-default" = false, "x-no-meaning" = "the data of virtual machines always has a partition"))]
    pub no_data_partition: Option<bool>,
    /// More log lines.
    #[schemars(extend("x-default" = false, "x-no-meaning" = "the log of an install is always complete"))]
    pub debug: Option<bool>,
    /// Reserved by Harvester.
    #[schemars(extend("x-no-meaning" = "Harvester reserves it and does nothing with it"))]
    pub silent: Option<bool>,
    /// Where a raw disk image is made.
    #[schemars(extend("x-no-meaning" = "use harrow install --device FILE --size SIZE"))]
    pub rawdiskimagepath: Option<String>,
}

/// `install.harvester:`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HarvesterAnswers {
    /// The default storage class.
    pub storage_class: StorageClass,
    /// Longhorn.
    pub longhorn: Longhorn,
    /// For Harvester's developers.
    #[schemars(extend("x-default" = false, "x-no-meaning" = "for Harvester's own tests"))]
    pub enable_go_cover_dir: Option<bool>,
}

/// `install.harvester.storage_class:`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StorageClass {
    /// How many copies of a volume there are. A cluster of one node needs 1.
    #[schemars(range(min = 1, max = 3), extend("x-default" = 3))]
    pub replica_count: Option<u32>,
}

/// `install.harvester.longhorn:`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Longhorn {
    /// Settings of Longhorn by its own names, among them `guaranteedInstanceManagerCPU` (0 to
    /// 12 percent) and `storageReservedPercentageForDefaultDisk` (0 to 30 percent).
    #[schemars(example = BTreeMap::from([("guaranteedInstanceManagerCPU", 6)]))]
    pub default_settings: BTreeMap<String, Scalar>,
}

/// When a webhook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum WebhookEvent {
    /// The install begins.
    Started,
    /// It is complete.
    Succeeded,
    /// It ended early.
    Failed,
}

/// One of `install.webhooks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Webhook {
    /// When it is called.
    pub event: Option<WebhookEvent>,
    /// Method of the request.
    #[schemars(extend("x-form" = "http-method", "x-default" = "GET"), example = &"POST")]
    pub method: Option<String>,
    /// URL; `{{.Hostname}}` stands for the node's name.
    #[schemars(extend("x-form" = "url-template", "x-secret" = true))]
    pub url: Option<Secret>,
    /// Headers, each with one value or several.
    #[schemars(extend("x-secret" = true))]
    pub headers: BTreeMap<String, Vec<Secret>>,
    /// Body of the request.
    #[schemars(extend("x-secret" = true))]
    pub payload: Option<Secret>,
    /// Whether the server's certificate is not checked.
    #[schemars(extend("x-default" = false))]
    pub insecure: Option<bool>,
    /// User and password for the server; spelled `basicAuth` by Harvester.
    pub basic_auth: BasicAuth,
}

/// `basic_auth:` of a webhook.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BasicAuth {
    /// User.
    pub user: Option<String>,
    /// Password.
    #[schemars(extend("x-secret" = true))]
    pub password: Option<Secret>,
}
