//! What a person or a source said: every key optional, nothing decided.
//!
//! In: YAML text. Out: [`Answers`]. Key names are those of SUSE Harvester's configuration
//! (scheme_version 1), so that its files keep working; camelCase is accepted beside
//! snake_case. An unknown key is an error.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The whole configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answers {
    /// Version of the schema; 1 when absent.
    #[serde(alias = "schemeVersion")]
    pub scheme_version: Option<u32>,
    /// URL of an existing cluster to join, such as `https://VIP:443`.
    #[serde(alias = "serverUrl")]
    pub server_url: Option<String>,
    /// Shared secret of the cluster.
    pub token: Option<String>,
    /// The operating system of the node.
    pub os: OsAnswers,
    /// The install itself.
    pub install: InstallAnswers,
}

/// `os:`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OsAnswers {
    /// Name of the node; made from the machine id when absent.
    pub hostname: Option<String>,
    /// Public keys that may log in as `rancher`, in OpenSSH's form.
    #[serde(alias = "sshAuthorizedKeys")]
    pub ssh_authorized_keys: Vec<String>,
    /// Password of `rancher`, in clear or as a crypt(3) hash; stored hashed.
    pub password: Option<String>,
    /// DNS servers.
    #[serde(alias = "dnsNameservers")]
    pub dns_nameservers: Vec<String>,
    /// NTP servers, names or addresses.
    #[serde(alias = "ntpServers")]
    pub ntp_servers: Vec<String>,
    /// Kernel modules loaded at every boot.
    pub modules: Vec<String>,
    /// Kernel settings, as for sysctl.
    pub sysctls: BTreeMap<String, Scalar>,
    /// Files written at every boot.
    #[serde(alias = "writeFiles")]
    pub write_files: Vec<WriteFile>,
    /// Folders kept across reboots besides the standard ones, absolute.
    #[serde(alias = "persistentStatePaths")]
    pub persistent_state_paths: Vec<String>,
    /// Added to the kernel's command line.
    #[serde(alias = "additionalKernelArguments")]
    pub additional_kernel_arguments: Option<String>,
}

/// A YAML scalar that is used as text: `1`, `true` and `"1"` are all fine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Anything else.
    Text(String),
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(b) => write!(f, "{b}"),
            Self::Int(n) => write!(f, "{n}"),
            Self::Text(t) => f.write_str(t),
        }
    }
}

/// One of `os.write_files`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WriteFile {
    /// `""` (plain) or `b64`.
    pub encoding: String,
    /// The content, encoded.
    pub content: String,
    /// `user` or `user:group`; root when absent.
    pub owner: String,
    /// Where it goes, absolute.
    pub path: String,
    /// Octal mode such as `"0644"`.
    pub permissions: String,
}

/// `install:`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InstallAnswers {
    /// Install without asking.
    pub automatic: Option<bool>,
    /// `create`, `join` or `install` (the binaries only).
    pub mode: Option<String>,
    /// The disk to install on: a path.
    pub device: Option<String>,
    /// A second disk for Longhorn's data; the install disk when absent.
    #[serde(alias = "dataDisk")]
    pub data_disk: Option<String>,
    /// Size of /var, such as `150Gi`.
    #[serde(alias = "persistentPartitionSize")]
    pub persistent_partition_size: Option<String>,
    /// The management network.
    #[serde(alias = "managementInterface")]
    pub management_interface: ManagementAnswers,
    /// Power off after the install instead of rebooting.
    pub poweroff: Option<bool>,
    /// Console of the node, such as `ttyS0,115200n8`.
    pub tty: Option<String>,
}

/// `install.management_interface:`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ManagementAnswers {
    /// The NICs, by name or MAC; every wired NIC when absent.
    pub interfaces: Vec<InterfaceAnswers>,
    /// `dhcp` (default), `static` or `none`.
    pub method: Option<String>,
    /// IPv4 address, for `static`.
    pub ip: Option<String>,
    /// Network mask such as `255.255.255.0`, for `static`.
    #[serde(alias = "subnetMask")]
    pub subnet_mask: Option<String>,
    /// Default route, for `static`.
    pub gateway: Option<String>,
    /// MTU; 0 means the default of 1500.
    pub mtu: Option<u32>,
}

/// One of `install.management_interface.interfaces`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InterfaceAnswers {
    /// Interface name.
    pub name: Option<String>,
    /// MAC address.
    #[serde(rename = "hwAddr", alias = "hw_addr")]
    pub hw_addr: Option<String>,
}
