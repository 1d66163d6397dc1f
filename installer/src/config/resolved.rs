//! The config of a node after every rule and default: what is planned and rendered.
//!
//! In: nothing; [`super::resolve`] makes it. Out: [`Config`]. `Debug` shows no secret.

mod cluster;
mod network;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::answers::{DeviceChoice, UrlText};
use super::secret::Secret;
use crate::disk::layout::{DataPlace, TableKind};

pub use network::{Bond, Ipv4Method, Ipv4Static, Ipv6Method, Ipv6Static, NicSelector, NodeNetwork};

pub use cluster::{
    AddonName, ChartValues, Cluster, ClusterStorage, DriverChart, Machines, Mirror, Networks, Pool,
    Profile, Proxy, Registries, RegistryHost, Reserved, SnapshotClasses, Snapshots, Vip,
    VirtualFunctions,
};

/// A resolved configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What the node does in a cluster.
    pub mode: Mode,
    /// What it is there.
    pub cluster: Cluster,
    /// The operating system.
    pub os: Os,
    /// The management network.
    pub management: NodeNetwork,
    /// Further networks by their names; none has the default route.
    pub networks: BTreeMap<String, NodeNetwork>,
    /// The disks.
    pub storage: Storage,
    /// Power off after the install instead of rebooting.
    pub poweroff: bool,
    /// Install without a person.
    pub automatic: bool,
}

/// What the node does in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Starts a new cluster.
    Create {
        /// Secret that other nodes join with.
        token: Secret,
    },
    /// Joins one.
    Join {
        /// URL of the cluster.
        server_url: UrlText,
        /// The cluster's secret.
        token: Secret,
    },
    /// Only lays down the OS; configured later.
    InstallOnly,
}

/// `os:`, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Os {
    /// Name of the node; `None` means one made from the machine id.
    pub hostname: Option<String>,
    /// OpenSSH public keys of the user `rancher`.
    pub ssh_authorized_keys: Vec<String>,
    /// The user's password as a crypt(3) hash.
    pub password: Option<Secret>,
    /// Whether files can be transferred with SFTP.
    pub sftp: bool,
    /// Whether a password may log in over SSH, when there is one.
    pub password_login: bool,
    /// DNS servers.
    pub dns: Vec<IpAddr>,
    /// Domains in which short names are looked up.
    pub dns_search: Vec<String>,
    /// NTP servers.
    pub ntp: Vec<String>,
    /// Kernel modules.
    pub modules: Vec<String>,
    /// Kernel settings, in order of their names.
    pub sysctls: BTreeMap<String, String>,
    /// Files to write at boot.
    pub files: Vec<FileToWrite>,
    /// Folders kept on VAR besides the standard ones.
    pub persistent_paths: Vec<String>,
    /// Run once when the installed system starts for the first time.
    pub first_commands: Vec<Secret>,
    /// Added to the kernel's command line.
    pub kernel_arguments: Vec<String>,
    /// Console of the node, such as `ttyS0,115200n8`; `None` means those of the installer.
    pub tty: Option<String>,
    /// Which disks multipath takes; `None` when it is off.
    pub multipath: Option<Multipath>,
}

/// `os.external_storage_config`, when it is on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Multipath {
    /// What multipath leaves alone.
    pub blacklist: StorageKinds,
    /// What of that it takes all the same.
    pub exceptions: StorageKinds,
}

/// Disks by what they say of themselves, as multipath.conf(5) names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageKinds {
    /// Vendor and product, at least one of the two.
    pub devices: Vec<(Option<String>, Option<String>)>,
    /// World wide ids.
    pub wwids: Vec<String>,
}

/// One file of `os.write_files`, decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct FileToWrite {
    /// Absolute path.
    pub path: String,
    /// The bytes.
    pub content: Vec<u8>,
    /// Owner as `user` and group.
    pub owner: (String, String),
    /// Permission bits.
    pub mode: u32,
}

impl fmt::Debug for FileToWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "FileToWrite({}, {} bytes)",
            self.path,
            self.content.len()
        )
    }
}

/// The disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The disk to install on.
    pub device: Option<DeviceChoice>,
    /// A second disk, other than the install disk, for the data of virtual machines.
    pub data_disk: Option<DeviceChoice>,
    /// Sizes of partitions.
    pub sizes: Sizes,
    /// Where Longhorn's data lies.
    pub data: DataPlace,
    /// Which partition table the install disk gets.
    pub table: TableKind,
    /// What may be lost.
    pub overwrite: Overwrite,
}

/// The config's word on disks that hold data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overwrite {
    /// The disks that the install needs may hold data.
    pub allowed: bool,
    /// Every disk with an old install is wiped, and those that the install needs may hold data.
    pub wipe_all: bool,
    /// Paths of further disks to wipe.
    pub wipe: Vec<String>,
}

/// Sizes that the config decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Size of VAR in bytes.
    pub var: u64,
}
