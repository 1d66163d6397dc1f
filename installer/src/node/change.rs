//! Another config on a running node: what it changes, and the change itself.
//!
//! In: the config that the node has and the one that it should have. Out: a [`Change`], which is
//! data; running it writes files and tells the services whose files they are ([`live`]). A change
//! of a network is on trial until somebody confirms it ([`trial`]).

pub mod live;
pub mod store;
pub mod trial;

use std::fmt;

use serde::Serialize;

use crate::config::{Config, Difference};

use super::files::{Content, NodeFile};

/// What is to be told after files changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// udev's rules and `.link` files.
    Udev,
    /// systemd-networkd.
    Network,
    /// systemd-resolved.
    Dns,
    /// systemd-timesyncd.
    Time,
    /// Kernel settings.
    Sysctl,
    /// Kernel modules; one that is loaded stays.
    Modules,
    /// The SSH server.
    Ssh,
    /// The machine's name.
    Hostname,
}

/// What a new config means for a running node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Keys that differ.
    pub keys: Vec<Difference>,
    /// Services that take it up now.
    pub live: Vec<Service>,
    /// What takes effect only at the next boot, and why.
    pub reboot: Vec<String>,
    /// What was decided by the install, and stays.
    pub never: Vec<String>,
}

/// Files that are read when they are needed, so that nobody has to be told.
const READ_ANEW: [&str; 9] = [
    "/etc/ssh/authorized_keys.d/",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/gshadow",
    "/etc/sudoers.d/",
    "/etc/hosts",
    "/etc/profile.d/",
    "/etc/crictl.yaml",
];

/// Whose files lie where.
const OWNERS: [(&str, Service); 9] = [
    ("/etc/udev/rules.d/", Service::Udev),
    ("/etc/systemd/network/", Service::Network),
    ("/etc/systemd/resolved.conf", Service::Dns),
    ("/etc/systemd/timesyncd.conf", Service::Time),
    ("/etc/sysctl.d/", Service::Sysctl),
    ("/etc/modules-load.d/", Service::Modules),
    ("/etc/ssh/sshd_config.d/", Service::Ssh),
    ("/etc/ssh/sshd_config", Service::Ssh),
    ("/etc/hostname", Service::Hostname),
];

/// Keys that only an install reads.
const AT_INSTALL: [&str; 8] = [
    "install.device",
    "install.data_disk",
    "install.force_mbr",
    "install.wipe",
    "install.allow_overwrite",
    "install.persistent_partition_size",
    "os.after_install_chroot_commands",
    "install.iso_url",
];

impl Change {
    /// Compares configs by their keys and by the files that they make.
    pub fn new(
        keys: Vec<Difference>,
        (old, old_files): (&Config, &[NodeFile]),
        (new, new_files): (&Config, &[NodeFile]),
    ) -> Self {
        let mut live = Vec::new();
        let mut reboot = Vec::new();
        for path in changed(old_files, new_files) {
            if let Some((_, service)) = OWNERS.iter().find(|(top, _)| path.starts_with(top)) {
                live.push(*service);
                if path.ends_with(".link") {
                    live.push(Service::Udev);
                }
            } else if !READ_ANEW.iter().any(|top| path.starts_with(top)) {
                reboot.push(format!("{path}: who reads it does so when it starts"));
            }
        }
        live.sort_unstable();
        live.dedup();
        if live.contains(&Service::Hostname) && new.mode != crate::config::Mode::InstallOnly {
            reboot.push("os.hostname: the cluster knows this node by its name".to_owned());
        }
        for (name, differs) in [
            (
                "os.additional_kernel_arguments",
                old.os.kernel_arguments != new.os.kernel_arguments,
            ),
            (
                "os.persistent_state_paths",
                old.os.persistent_paths != new.os.persistent_paths,
            ),
            ("install.tty", old.os.tty != new.os.tty),
        ] {
            if differs {
                reboot.push(format!("{name}: read by the boot loader or before PID 1"));
            }
        }
        if old
            .os
            .sysctls
            .keys()
            .any(|key| !new.os.sysctls.contains_key(key))
        {
            reboot.push("os.sysctls: one that is gone keeps its value until then".to_owned());
        }
        if old
            .os
            .modules
            .iter()
            .any(|name| !new.os.modules.contains(name))
        {
            reboot.push("os.modules: one that is gone stays loaded until then".to_owned());
        }
        let is_of_install = |d: &&Difference| AT_INSTALL.iter().any(|top| d.key.starts_with(top));
        let never = keys.iter().filter(is_of_install);
        let never = never.map(|d| format!("{}: only an install reads it", d.key));
        Self {
            never: never.collect(),
            keys,
            live,
            reboot,
        }
    }

    /// Whether the node could be lost by it.
    pub fn is_of_network(&self) -> bool {
        self.live.contains(&Service::Network)
    }
}

/// Paths whose content differs, is new or gone.
pub fn changed(old: &[NodeFile], new: &[NodeFile]) -> Vec<String> {
    let find = |files: &[NodeFile], path: &str| -> Option<Content> {
        let found = files.iter().find(|file| file.path == path);
        found.map(|file| file.content.clone())
    };
    let mut paths: Vec<String> = old.iter().chain(new).map(|f| f.path.clone()).collect();
    paths.sort();
    paths.dedup();
    paths.retain(|path| find(old, path) != find(new, path));
    paths
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.keys.is_empty() {
            return writeln!(f, "nothing differs from the config of this node");
        }
        for key in &self.keys {
            writeln!(f, "{key}")?;
        }
        for service in &self.live {
            writeln!(f, "now: {service:?}")?;
        }
        for line in &self.reboot {
            writeln!(f, "at the next boot: {line}")?;
        }
        for line in &self.never {
            writeln!(f, "not on this node: {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, SourceKind, check_sources, differences};
    use crate::node::accounts::Accounts;
    use crate::node::machine;
    use crate::node::render::{NodeInputs, render_node};

    const BASE: &str = "token: t\nos: {hostname: a, ntp_servers: [10.0.0.3], sysctls: {vm.swappiness: 1}}\ninstall: {mode: create, device: /dev/sda}\n";

    fn change(new: &str) -> Change {
        let read = |text: &str| check_sources(&[Source::yaml(SourceKind::File, "f", text)]);
        let (old, new) = (read(BASE), read(new));
        let accounts = Accounts::default();
        let config = |checked: &crate::config::Checked| checked.usable_config().unwrap();
        let (one, other) = (config(&old), config(&new));
        let files = |config: &Config| {
            render_node(&NodeInputs {
                config,
                accounts: &accounts,
                machine_id: "0",
                data: None,
                size: machine::UNKNOWN,
            })
        };
        let keys = differences(&old, &new);
        Change::new(keys, (&one, &files(&one)), (&other, &files(&other)))
    }

    /// Each row: what is said instead, what is told now, and whether a boot is needed.
    #[test]
    fn every_change_goes_to_who_can_take_it_up() {
        use Service::{Dns, Network, Ssh, Sysctl, Time};
        for (old, new, live, reboot) in [
            ("[10.0.0.3]", "[10.0.0.4]", vec![Time], false),
            ("swappiness: 1", "swappiness: 2", vec![Sysctl], false),
            (
                "sysctls: {vm.swappiness: 1}",
                "modules: []",
                vec![Sysctl],
                true,
            ),
            (
                "hostname: a",
                "hostname: a, dns_nameservers: [10.0.0.2]",
                vec![Network, Dns],
                false,
            ),
            (
                "hostname: a",
                "hostname: a, sshd: {sftp: true}",
                vec![Ssh],
                false,
            ),
            (
                "hostname: a",
                "hostname: a, additional_kernel_arguments: quiet",
                vec![],
                true,
            ),
            (
                "hostname: a",
                "hostname: a, environment: {A: b}",
                vec![],
                true,
            ),
            (
                "create,",
                "create, management_interface: {mtu: 9000},",
                vec![Network],
                false,
            ),
            (
                "hostname: a",
                "hostname: a, ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBtU7Kq3Y0mZ4c4o8m1uO9bq1n4E2iZJp0m7nYkq7Z9v me]",
                vec![],
                false,
            ),
        ] {
            assert!(BASE.contains(old), "{old}");
            let change = change(&BASE.replacen(old, new, 1));
            assert_eq!(change.live, live, "{new}: {change:?}");
            assert_eq!(!change.reboot.is_empty(), reboot, "{new}: {change:?}");
            assert_eq!(change.is_of_network(), live.contains(&Network));
            assert!(!change.keys.is_empty());
        }
        let none = change(BASE);
        assert!(none.keys.is_empty() && none.live.is_empty() && none.reboot.is_empty());
        let disk = change(&BASE.replace("/dev/sda", "/dev/sdb"));
        assert_eq!(disk.never.len(), 1, "{disk:?}");
    }
}
