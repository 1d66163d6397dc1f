//! `os:`, the operating system of the node.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::secret::Secret;
use super::scalar::Scalar;

/// `os:`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OsAnswers {
    /// Name of the node, unique in its cluster; made from the machine's id when absent. `{serial}`,
    /// `{uuid}`, `{mac}`, `{id}` and `{dhcp}` in it stand for the machine's serial number, its
    /// UUID, the MAC address of its network, the beginning of its machine id, and the name that
    /// its DHCP server gives at the install, which notes what comes out.
    #[schemars(extend("x-form" = "host-name-template"), example = &"node-1")]
    pub hostname: Option<String>,
    /// Public keys that may log in as `rancher`, in OpenSSH's form, or `github:USER`, whose keys
    /// are fetched at the install. A key or a password is needed.
    #[schemars(extend("x-form" = "ssh-key"), example = ["ssh-ed25519 AAAAC3... me@here"])]
    pub ssh_authorized_keys: Vec<String>,
    /// Password of `rancher`, in clear or as a crypt(3) hash (`$6$...`, `$y$...`).
    /// The node keeps only the hash.
    #[schemars(extend("x-form" = "password", "x-secret" = true), example = &"$6$salt$...")]
    pub password: Option<Secret>,
    /// The SSH server.
    pub sshd: SshdAnswers,
    /// DNS servers; needed with `install.management_interface.method: static`.
    #[schemars(extend("x-form" = "nameserver"), example = ["10.0.0.2", "fd00::2"])]
    pub dns_nameservers: Vec<String>,
    /// Domains in which short names are looked up.
    #[schemars(extend("x-form" = "domain"), example = ["example.org"])]
    pub dns_search: Vec<String>,
    /// NTP servers, names or addresses. All nodes of a cluster should have some, or none.
    #[schemars(extend("x-form" = "ntp-server"), example = ["0.pool.ntp.org"])]
    pub ntp_servers: Vec<String>,
    /// Kernel modules loaded at every boot.
    #[schemars(extend("x-form" = "module"), example = ["vhost_net"])]
    pub modules: Vec<String>,
    /// Kernel settings, as for sysctl.
    #[schemars(example = BTreeMap::from([("net.ipv4.ip_forward", "1")]))]
    pub sysctls: BTreeMap<String, Scalar>,
    /// Environment variables of all services; `http_proxy`, `https_proxy` and `no_proxy` are
    /// the proxy of the node.
    #[schemars(extend("x-secret" = true), example = BTreeMap::from([("https_proxy", "http://proxy:3128")]))]
    pub environment: BTreeMap<String, Secret>,
    /// Labels of the node in Kubernetes.
    #[schemars(example = BTreeMap::from([("topology.kubernetes.io/zone", "zone1")]))]
    pub labels: BTreeMap<String, Scalar>,
    /// Taints of the node in Kubernetes: `key=value:Effect`.
    #[schemars(extend("x-form" = "taint"), example = ["dedicated=gpu:NoSchedule"])]
    pub taints: Vec<String>,
    /// Files written at every boot. One of these is stronger than a file of Harrow.
    pub write_files: Vec<WriteFile>,
    /// Folders kept across reboots besides the standard ones, absolute. What is not declared
    /// does not survive a reboot.
    #[schemars(extend("x-form" = "persistent-path"), example = ["/etc/site"])]
    pub persistent_state_paths: Vec<String>,
    /// Commands of a shell, run once as root when the installed system starts for the first time,
    /// before its cluster. Each has 10 minutes; what they say is in the journal.
    #[schemars(extend("x-secret" = true))]
    pub after_install_chroot_commands: Vec<Secret>,
    /// Added to the kernel's command line, words with spaces between.
    #[schemars(extend("x-form" = "kernel-arguments"), example = &"intel_iommu=on iommu=pt")]
    pub additional_kernel_arguments: Option<String>,
    /// Certificates of authorities that the node trusts besides the usual ones, in PEM.
    #[schemars(extend("x-form" = "pem"))]
    pub additional_ca: Vec<String>,
    /// Disks that are reached over several paths (multipath).
    pub external_storage_config: ExternalStorage,
}

/// `os.sshd:`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SshdAnswers {
    /// Whether files can be transferred with SFTP, which scp uses too.
    #[schemars(extend("x-default" = false))]
    pub sftp: Option<bool>,
    /// Whether passwords are refused over SSH, so that only keys log in.
    #[schemars(extend("x-default" = false))]
    pub disable_password_auth: Option<bool>,
}

/// One of `os.write_files`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WriteFile {
    /// How the content is written: plain when absent, `b64` (or `base64`), `gz` (or `gzip`), or
    /// `gz+b64` (or `gzip+base64`).
    #[schemars(extend("x-form" = "encoding"), example = &"b64")]
    pub encoding: String,
    /// The content, encoded.
    #[schemars(extend("x-secret" = true))]
    pub content: Secret,
    /// `user` or `user:group`.
    #[schemars(extend("x-form" = "owner", "x-default" = "root:root"), example = &"root:root")]
    pub owner: String,
    /// Where it goes, absolute.
    #[schemars(extend("x-form" = "file-path"), example = &"/etc/motd")]
    pub path: String,
    /// Permissions in octal.
    #[schemars(extend("x-form" = "permissions", "x-default" = "0644"), example = &"0600")]
    pub permissions: String,
}

/// `os.external_storage_config:`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExternalStorage {
    /// Whether multipath is on. When it is off, no disk is taken, so that none of Longhorn's is.
    #[schemars(extend("x-default" = false))]
    pub enabled: Option<bool>,
    /// Which disks multipath takes.
    pub multi_path_config: MultiPath,
}

/// `os.external_storage_config.multi_path_config:`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MultiPath {
    /// Disks that multipath leaves alone.
    pub blacklist: Vec<StorageDevice>,
    /// World wide ids of disks that multipath leaves alone, as regular expressions.
    #[schemars(extend("x-form" = "multipath-pattern"), example = [".*"])]
    pub blacklist_wwids: Vec<String>,
    /// Disks that multipath takes all the same.
    pub blacklist_exceptions: Vec<StorageDevice>,
    /// World wide ids of disks that multipath takes all the same, as regular expressions.
    #[schemars(extend("x-form" = "multipath-pattern"), example = ["^36001405.*"])]
    pub blacklist_exception_wwids: Vec<String>,
}

/// A kind of disk, as multipath.conf(5) has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StorageDevice {
    /// Vendor, as a regular expression; `!` in front means all others.
    #[schemars(extend("x-form" = "multipath-pattern"), example = &"DELL")]
    pub vendor: String,
    /// Product, as a regular expression; `!` in front means all others.
    #[schemars(extend("x-form" = "multipath-pattern"), example = &"POWERVAULT")]
    pub product: String,
}
