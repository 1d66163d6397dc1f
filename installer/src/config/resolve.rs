//! From [`Answers`] to [`Config`]: every default filled in, every rule checked.
//!
//! In: answers. Out: a config that can be planned and rendered, or all problems at once.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::answers::{Answers, InterfaceAnswers, ManagementAnswers, WriteFile};
use super::rules;

/// Bytes in a GiB.
const GIB: u64 = 1 << 30;

/// A resolved configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What the node does in a cluster.
    pub mode: Mode,
    /// The operating system.
    pub os: Os,
    /// The management network.
    pub management: Management,
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
        token: String,
    },
    /// Joins one.
    Join {
        /// URL of the cluster.
        server_url: String,
        /// The cluster's secret.
        token: String,
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
    /// The user's password as a crypt(3) hash, or in clear until [`Answers::hash_password`].
    pub password: Option<String>,
    /// DNS servers.
    pub dns: Vec<IpAddr>,
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
    /// Added to the kernel's command line.
    pub kernel_arguments: Vec<String>,
    /// Console of the node, such as `ttyS0,115200n8`; `None` means those of the installer.
    pub tty: Option<String>,
}

/// One file of `os.write_files`, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// The management network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Management {
    /// Which NICs; empty means every wired one.
    pub nics: Vec<NicSelector>,
    /// How it gets an IPv4 address.
    pub ipv4: Ipv4Method,
    /// MTU, when not the default.
    pub mtu: Option<u32>,
}

/// A NIC by one of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NicSelector {
    /// Interface name, such as `ens3`.
    Name(String),
    /// MAC address in lower case with colons.
    Mac(String),
}

/// How an interface gets its IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ipv4Method {
    /// From a DHCP server.
    Dhcp,
    /// A fixed address.
    Static(Ipv4Static),
    /// None.
    None,
}

/// A fixed IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipv4Static {
    /// The address.
    pub address: Ipv4Addr,
    /// Length of the network prefix, 1 to 32.
    pub prefix: u8,
    /// Default route.
    pub gateway: Ipv4Addr,
}

/// The disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The disk to install on.
    pub device: Option<String>,
    /// Sizes of partitions.
    pub sizes: Sizes,
}

/// Sizes that the config decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Size of VAR in bytes.
    pub var: u64,
}

/// Something wrong in a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, such as `os.hostname`.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: String,
}

/// All problems of a config; never empty as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Notes one more.
    pub fn add(&mut self, field: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Problem {
            field: field.to_owned(),
            message: message.into(),
            hint: hint.into(),
        });
    }

    /// The value of `result`; notes its (message, hint) under `field` when it is an error.
    fn check<T>(&mut self, field: &str, result: Result<T, rules::Wrong>) -> Option<T> {
        result
            .map_err(|wrong| self.add(field, wrong.message, wrong.hint))
            .ok()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "the config has {} problem{many}:", self.0.len())?;
        for problem in &self.0 {
            write!(f, "\n  {}: {}", problem.field, problem.message)?;
            if !problem.hint.is_empty() {
                write!(f, "\n    hint: {}", problem.hint)?;
            }
        }
        Ok(())
    }
}

/// Checks all rules and fills in the defaults.
pub fn resolve(answers: &Answers) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    if let Some(version) = answers.scheme_version.filter(|v| *v != 1) {
        problems.add(
            "scheme_version",
            format!("{version} is not known"),
            "1 is the only version",
        );
    }
    let mode = resolve_mode(answers, &mut problems);
    let os = resolve_os(answers, &mut problems);
    let management = resolve_management(answers, &mut problems);
    let var = match &answers.install.persistent_partition_size {
        None => 150 * GIB,
        Some(text) => problems
            .check(
                "install.persistent_partition_size",
                rules::size(text, 20 * GIB),
            )
            .unwrap_or(0),
    };
    if answers
        .install
        .data_disk
        .as_ref()
        .is_some_and(|d| answers.install.device.as_ref() != Some(d))
    {
        problems.add(
            "install.data_disk",
            "a second disk is not supported yet",
            "leave it out: Longhorn's data then lies on the install disk",
        );
    }
    if !problems.0.is_empty() {
        return Err(problems);
    }
    Ok(Config {
        // Without a problem the mode is there.
        mode: mode.unwrap_or(Mode::InstallOnly),
        os,
        management,
        storage: Storage {
            device: answers.install.device.clone(),
            sizes: Sizes { var },
        },
        poweroff: answers.install.poweroff.unwrap_or(false),
        automatic: answers.install.automatic.unwrap_or(false),
    })
}

fn resolve_mode(answers: &Answers, problems: &mut Problems) -> Option<Mode> {
    let token = answers.token.clone().filter(|t| !t.is_empty());
    let url = answers.server_url.clone().filter(|u| !u.is_empty());
    let mut need_token = || {
        if token.is_none() {
            problems.add(
                "token",
                "missing",
                "the secret that the nodes of the cluster share",
            );
        }
        token.clone().unwrap_or_default()
    };
    match answers.install.mode.as_deref() {
        Some("create") => {
            let token = need_token();
            if url.is_some() {
                problems.add(
                    "server_url",
                    "given, but install.mode is create",
                    "leave it out, or use install.mode: join",
                );
            }
            Some(Mode::Create { token })
        }
        Some("join") => {
            let token = need_token();
            if url.is_none() {
                problems.add(
                    "server_url",
                    "missing",
                    "the cluster to join, such as https://10.0.0.5:443",
                );
            }
            Some(Mode::Join {
                server_url: url.unwrap_or_default(),
                token,
            })
        }
        Some("install") => Some(Mode::InstallOnly),
        other => {
            let message = other.map_or("missing".to_owned(), |m| format!("{m:?} is not a mode"));
            problems.add("install.mode", message, "create, join or install");
            None
        }
    }
}

fn resolve_os(answers: &Answers, problems: &mut Problems) -> Os {
    let os = &answers.os;
    if os.password.is_none() && os.ssh_authorized_keys.is_empty() {
        problems.add(
            "os",
            "neither password nor ssh_authorized_keys is given, nobody could log in",
            "set os.ssh_authorized_keys or os.password",
        );
    }
    if let Some(name) = &os.hostname {
        problems.check("os.hostname", rules::hostname(name));
    }
    if let Some(password) = &os.password {
        problems.check("os.password", rules::password(password));
    }
    for (i, key) in os.ssh_authorized_keys.iter().enumerate() {
        problems.check(&format!("os.ssh_authorized_keys[{i}]"), rules::ssh_key(key));
    }
    let mut dns = Vec::new();
    for (i, server) in os.dns_nameservers.iter().enumerate() {
        dns.extend(problems.check(&format!("os.dns_nameservers[{i}]"), rules::address(server)));
    }
    for (i, server) in os.ntp_servers.iter().enumerate() {
        problems.check(&format!("os.ntp_servers[{i}]"), rules::host(server));
    }
    for (i, module) in os.modules.iter().enumerate() {
        problems.check(&format!("os.modules[{i}]"), rules::kernel_module(module));
    }
    let mut sysctls = BTreeMap::new();
    for (key, value) in &os.sysctls {
        let value = value.to_string();
        problems.check(&format!("os.sysctls.{key}"), rules::sysctl(key, &value));
        sysctls.insert(key.clone(), value);
    }
    let mut files = Vec::new();
    for (i, file) in os.write_files.iter().enumerate() {
        files.extend(resolve_file(
            &format!("os.write_files[{i}]"),
            file,
            problems,
        ));
    }
    for (i, path) in os.persistent_state_paths.iter().enumerate() {
        problems.check(
            &format!("os.persistent_state_paths[{i}]"),
            rules::persistent_path(path),
        );
    }
    let arguments = os
        .additional_kernel_arguments
        .as_deref()
        .unwrap_or_default();
    problems.check(
        "os.additional_kernel_arguments",
        rules::kernel_arguments(arguments),
    );
    let tty = answers.install.tty.as_deref();
    let tty = tty.and_then(|t| problems.check("install.tty", rules::console(t)));
    Os {
        hostname: os.hostname.clone(),
        ssh_authorized_keys: os
            .ssh_authorized_keys
            .iter()
            .map(|k| k.trim().to_owned())
            .collect(),
        password: os.password.clone(),
        dns,
        ntp: os.ntp_servers.clone(),
        modules: os.modules.clone(),
        sysctls,
        files,
        persistent_paths: os.persistent_state_paths.clone(),
        kernel_arguments: arguments.split_whitespace().map(str::to_owned).collect(),
        tty,
    }
}

fn resolve_file(field: &str, file: &WriteFile, problems: &mut Problems) -> Option<FileToWrite> {
    let path = problems.check(&format!("{field}.path"), rules::file_path(&file.path));
    let content = problems.check(
        &format!("{field}.content"),
        rules::decode(&file.encoding, &file.content),
    );
    let mode = problems.check(
        &format!("{field}.permissions"),
        rules::permissions(&file.permissions),
    );
    let owner = problems.check(&format!("{field}.owner"), rules::owner(&file.owner));
    Some(FileToWrite {
        path: path?,
        content: content?,
        owner: owner?,
        mode: mode?,
    })
}

fn resolve_management(answers: &Answers, problems: &mut Problems) -> Management {
    const FIELD: &str = "install.management_interface";
    let given = &answers.install.management_interface;
    let mut nics = Vec::new();
    for (i, nic) in given.interfaces.iter().enumerate() {
        nics.extend(problems.check(&format!("{FIELD}.interfaces[{i}]"), resolve_nic(nic)));
    }
    let ipv4 = match given.method.as_deref() {
        None | Some("" | "dhcp") => Ipv4Method::Dhcp,
        Some("none") => Ipv4Method::None,
        Some("static") => {
            if answers.os.dns_nameservers.is_empty() {
                problems.add(
                    "os.dns_nameservers",
                    "missing",
                    "a static address needs DNS servers",
                );
            }
            resolve_static(given, problems).map_or(Ipv4Method::None, Ipv4Method::Static)
        }
        Some(other) => {
            problems.add(
                &format!("{FIELD}.method"),
                format!("{other:?} is not a method"),
                "dhcp, static or none",
            );
            Ipv4Method::None
        }
    };
    let mtu = given.mtu.filter(|m| *m != 0);
    if let Some(mtu) = mtu.filter(|m| !(576..=9000).contains(m)) {
        problems.add(
            &format!("{FIELD}.mtu"),
            format!("{mtu} is out of range"),
            "0 or 576 to 9000",
        );
    }
    Management { nics, ipv4, mtu }
}

fn resolve_nic(nic: &InterfaceAnswers) -> Result<NicSelector, rules::Wrong> {
    let name = nic.name.as_deref().filter(|n| !n.is_empty());
    match nic.hw_addr.as_deref().filter(|m| !m.is_empty()) {
        // The MAC stays when a kernel renames the interface, so it wins over the name.
        Some(mac) => rules::mac(mac).map(NicSelector::Mac),
        None => rules::interface_name(name.unwrap_or_default()).map(NicSelector::Name),
    }
}

fn resolve_static(given: &ManagementAnswers, problems: &mut Problems) -> Option<Ipv4Static> {
    let mut need = |key: &str, value: &Option<String>| {
        let field = format!("install.management_interface.{key}");
        match value.as_deref() {
            Some(text) => problems.check(&field, rules::ipv4(text)),
            None => {
                problems.add(
                    &field,
                    "missing",
                    "method static needs ip, subnet_mask and gateway",
                );
                None
            }
        }
    };
    let address = need("ip", &given.ip);
    let mask = need("subnet_mask", &given.subnet_mask);
    let gateway = need("gateway", &given.gateway);
    let (address, mask, gateway) = (address?, mask?, gateway?);
    let prefix = problems.check(
        "install.management_interface.subnet_mask",
        rules::prefix(mask),
    )?;
    problems.check(
        "install.management_interface.gateway",
        rules::gateway(address, mask, gateway),
    )?;
    Some(Ipv4Static {
        address,
        prefix,
        gateway,
    })
}
