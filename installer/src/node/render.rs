//! Every file of a node, from its config: the one place that decides what they hold.
//!
//! In: [`NodeInputs`]. Out: [`NodeFile`]s; the same inputs make the same bytes. Pure.

use std::fmt::Write as _;
use std::path::Path;

use uuid::Uuid;

use crate::cluster::{self, ClusterInputs};
use crate::config::{
    Cluster, Config, Mode, NodeNetwork, Os, Overwrite, Secret, Sizes, Storage, formats,
};
use crate::disk::layout::{DataPlace, TableKind};

use super::accounts::{self, Accounts};
use super::files::{Content, NodeFile};
use super::machine::MachineSize;
use super::network::NetworkInputs;
use super::{multipath, network};

/// Folder with the node's ssh host keys, made at first boot by harrow-ssh-keys.service.
pub const SSH_KEYS_DIR: &str = "/var/lib/harrow/ssh";
/// Where Longhorn's data is mounted.
pub const DATA_DIR: &str = "/var/lib/longhorn";
/// Namespace of the ids that storage networks see.
const STORAGE_IDS: Uuid = Uuid::from_u128(0x6b0f_2d0e_7a51_4c39_9c7d_0d6a_54c2_e8b1);
/// Name of the live system.
const LIVE_HOSTNAME: &str = "harrow-live";

/// What a node's files are made from.
#[derive(Debug, Clone)]
pub struct NodeInputs<'a> {
    /// The node's config.
    pub config: &'a Config,
    /// The image's account files.
    pub accounts: &'a Accounts,
    /// 32 hex digits, see machine-id(5).
    pub machine_id: &'a str,
    /// The partition of Longhorn's data.
    pub data: Option<&'a Path>,
    /// How large the machine is.
    pub size: MachineSize,
}

/// Name of a node whose config gives none.
pub fn default_hostname(machine_id: &str) -> String {
    format!("harrow-{}", machine_id.get(..8).unwrap_or(machine_id))
}

/// The node's name.
pub fn hostname(config: &Config, machine_id: &str) -> String {
    let management = &config.management;
    let mac = management.mac.as_ref();
    let mac = mac.or_else(|| management.nics.first()?.mac.as_ref());
    let given = config.os.hostname.as_deref().and_then(|template| {
        let name = mac.map_or(template.to_owned(), |mac| {
            formats::put(template, "mac", mac)
        });
        let id = machine_id.get(..8).unwrap_or(machine_id);
        formats::filled(&formats::put(&name, "id", id))
    });
    given.unwrap_or_else(|| default_hostname(machine_id))
}

/// All files of an installed node. A file of `os.write_files` is stronger than one of ours.
pub fn render_node(inputs: &NodeInputs) -> Vec<NodeFile> {
    let os = &inputs.config.os;
    let name = hostname(inputs.config, inputs.machine_id);
    let mut files = render_identity(&name, inputs.machine_id);
    files.extend(accounts::render_accounts(
        inputs.accounts,
        inputs.config.cluster.profile,
        os.password.as_ref().map(Secret::expose),
        &os.ssh_authorized_keys,
    ));
    files.push(render_sshd(os));
    files.extend(network::render_network(&NetworkInputs::of(inputs.config)));
    files.extend(render_os(os));
    files.extend(multipath::render_multipath(os.multipath.as_ref()));
    if !os.first_commands.is_empty() {
        files.push(NodeFile::link(
            "/etc/systemd/system/multi-user.target.wants/harrow-first-commands.service",
            "/usr/lib/systemd/system/harrow-first-commands.service",
        ));
    }
    if let Some(device) = inputs.data {
        files.extend(render_data_mount(device));
    }
    files.extend(cluster::render_node(&ClusterInputs {
        config: inputs.config,
        hostname: &name,
        cpus: inputs.size.cpus,
        memory: inputs.size.memory,
    }));
    for file in &os.files {
        files.retain(|f| f.path != file.path);
        files.push(NodeFile {
            path: file.path.clone(),
            content: Content::File {
                bytes: file.content.clone(),
                mode: file.mode,
                owner: file.owner.clone(),
            },
        });
    }
    files
}

/// What makes this machine itself on the network and on its storage networks.
fn render_identity(name: &str, machine_id: &str) -> Vec<NodeFile> {
    let short = name.split('.').next().unwrap_or(name);
    let names = if short == name {
        name.to_owned()
    } else {
        format!("{name} {short}")
    };
    let hosts = format!(
        "127.0.0.1 localhost\n127.0.1.1 {names}\n::1 localhost ip6-localhost ip6-loopback\n"
    );
    // Derived, as machine-id(5) wants its own kept from networks.
    let uuid = Uuid::new_v5(&STORAGE_IDS, machine_id.as_bytes());
    let simple = uuid.simple().to_string();
    let short_id = simple.get(..12).unwrap_or(&simple);
    let iqn = format!("InitiatorName=iqn.1993-08.org.debian:01:{short_id}\n");
    vec![
        NodeFile::text("/etc/hostname", format!("{name}\n")),
        NodeFile::text("/etc/hosts", hosts),
        NodeFile::with_mode("/etc/machine-id", format!("{machine_id}\n"), 0o444),
        NodeFile::with_mode("/etc/iscsi/initiatorname.iscsi", iqn, 0o600),
        NodeFile::text("/etc/nvme/hostid", format!("{uuid}\n")),
        NodeFile::text(
            "/etc/nvme/hostnqn",
            format!("nqn.2014-08.org.nvmexpress:uuid:{uuid}\n"),
        ),
    ]
}

fn render_sshd(os: &Os) -> NodeFile {
    let may_log_in = os.password.is_some() && os.password_login;
    let password = if may_log_in { "yes" } else { "no" };
    // The first one said counts, and this comes before Debian's own.
    let sftp = if os.sftp {
        "internal-sftp"
    } else {
        "/bin/false"
    };
    let text = format!(
        "HostKey {SSH_KEYS_DIR}/ssh_host_ed25519_key\n\
         HostKey {SSH_KEYS_DIR}/ssh_host_ecdsa_key\n\
         # Only the config says who may come in.\n\
         AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u\n\
         PasswordAuthentication {password}\n\
         KbdInteractiveAuthentication no\n\
         Subsystem sftp {sftp}\n\
         PermitRootLogin no\n\
         X11Forwarding no\n"
    );
    NodeFile::text("/etc/ssh/sshd_config.d/10-harrow.conf", text)
}

/// DNS servers and the domains in which short names are looked up.
pub fn render_names(os: &Os) -> Option<NodeFile> {
    let servers: Vec<String> = os.dns.iter().map(ToString::to_string).collect();
    let mut text = String::new();
    for (key, values) in [("DNS", &servers), ("Domains", &os.dns_search)] {
        if !values.is_empty() {
            // Writing to a String can't fail.
            let _ = writeln!(text, "{key}={}", values.join(" "));
        }
    }
    let path = "/etc/systemd/resolved.conf.d/20-harrow-config.conf";
    (!text.is_empty()).then(|| NodeFile::text(path, format!("[Resolve]\n{text}")))
}

/// DNS, NTP, kernel settings and modules.
fn render_os(os: &Os) -> Vec<NodeFile> {
    let words = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(" ");
    let mut files = Vec::new();
    files.extend(render_names(os));
    if !os.ntp.is_empty() {
        let servers = words(&mut os.ntp.iter().cloned());
        files.push(NodeFile::text(
            "/etc/systemd/timesyncd.conf.d/20-harrow-config.conf",
            format!("[Time]\nNTP={servers}\n"),
        ));
    }
    if !os.sysctls.is_empty() {
        let mut text = String::new();
        for (key, value) in &os.sysctls {
            // Writing to a String can't fail.
            let _ = writeln!(text, "{key} = {value}");
        }
        files.push(NodeFile::text("/etc/sysctl.d/90-harrow-config.conf", text));
    }
    if !os.modules.is_empty() {
        let text: String = os.modules.iter().map(|m| format!("{m}\n")).collect();
        files.push(NodeFile::text(
            "/etc/modules-load.d/90-harrow-config.conf",
            text,
        ));
    }
    files
}

/// A unit for Longhorn's partition that nothing of the boot waits for.
fn render_data_mount(device: &Path) -> Vec<NodeFile> {
    let device = device.display().to_string();
    let check = format!("systemd-fsck@{}.service", escape_path(&device));
    let unit = format!("{}.mount", escape_path(DATA_DIR));
    let text = format!(
        "[Unit]\nDescription=Data of Longhorn\n\
         # Not part of local-fs.target: a large or absent disk must not keep the node from starting.\n\
         DefaultDependencies=no\nRequires={check}\nAfter={check}\n\
         Conflicts=umount.target\nBefore=umount.target\n\n\
         [Mount]\nWhat={device}\nWhere={DATA_DIR}\nType=ext4\nOptions=nosuid,nodev\n"
    );
    vec![
        NodeFile::text(&format!("/etc/systemd/system/{unit}"), text),
        NodeFile::link(
            &format!("/etc/systemd/system/multi-user.target.wants/{unit}"),
            &format!("/etc/systemd/system/{unit}"),
        ),
    ]
}

/// A path in a unit's name, as `systemd-escape --path` writes it.
fn escape_path(path: &str) -> String {
    let mut out = String::new();
    for (i, byte) in path.trim_matches('/').bytes().enumerate() {
        match byte {
            b'/' => out.push('-'),
            b'.' if i == 0 => out.push_str("\\x2e"),
            b if b.is_ascii_alphanumeric() || b == b'_' || b == b'.' || b == b':' => {
                out.push(char::from(b))
            }
            // Writing to a String can't fail.
            b => drop(write!(out, "\\x{b:02x}")),
        }
    }
    out
}

/// The live system: the network of a config when one says something of it, DHCP on every other
/// wired NIC, a root shell on the consoles, and the installer.
pub fn render_live(machine_id: &str, config: Option<&Config>) -> Vec<NodeFile> {
    let mut files = render_identity(LIVE_HOSTNAME, machine_id);
    files.extend(network::render_each_nic());
    if let Some(config) = config {
        files.extend(network::render_network(&NetworkInputs::of(config)));
        files.extend(render_names(&config.os));
    }
    // Disks of this machine's former life are looked at, never brought to life: an active volume
    // group would keep its disk from being installed on.
    files.push(NodeFile::link(
        "/etc/udev/rules.d/69-lvm.rules",
        "/dev/null",
    ));
    for unit in ["getty@.service", "serial-getty@.service"] {
        let text = "# Whoever is at the console of a live system owns the machine anyway.\n\
                    [Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --noreset --noclear - ${TERM}\n";
        files.push(NodeFile::text(
            &format!("/etc/systemd/system/{unit}.d/10-harrow-live.conf"),
            text,
        ));
    }
    files
}

/// For a node whose config is missing or damaged: on the network, but nobody may log in who
/// could not before.
pub fn fallback_config() -> Config {
    Config {
        mode: Mode::InstallOnly,
        cluster: Cluster::default(),
        os: Os {
            hostname: None,
            ssh_authorized_keys: Vec::new(),
            password: None,
            sftp: false,
            password_login: false,
            dns: Vec::new(),
            dns_search: Vec::new(),
            ntp: Vec::new(),
            modules: Vec::new(),
            sysctls: std::collections::BTreeMap::new(),
            files: Vec::new(),
            persistent_paths: Vec::new(),
            first_commands: Vec::new(),
            kernel_arguments: Vec::new(),
            tty: None,
            multipath: None,
        },
        management: NodeNetwork::default(),
        networks: std::collections::BTreeMap::new(),
        storage: Storage {
            device: None,
            data_disk: None,
            sizes: Sizes { var: 0 },
            data: DataPlace::Here,
            table: TableKind::Gpt,
            overwrite: Overwrite::default(),
        },
        poweroff: false,
        automatic: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped_as_systemd_does() {
        // From `systemd-escape --path`.
        for (path, name) in [
            ("/var/lib/longhorn", "var-lib-longhorn"),
            (
                "/dev/disk/by-partuuid/aa-bb",
                r"dev-disk-by\x2dpartuuid-aa\x2dbb",
            ),
            ("/.a/b c", r"\x2ea-b\x20c"),
        ] {
            assert_eq!(escape_path(path), name);
        }
    }
}
