//! What an install learns of its machine and notes in the node's config: the MAC addresses and
//! slots of NICs that are known by name, the MAC address of the node, and its name.
//!
//! In: answers and [`Known`]. Out: the answers with what was noted, and which keys those are. A
//! kernel may rename interfaces from boot to boot; what is noted stays.

use std::path::Path;

use crate::config::{Answers, InterfaceAnswers, formats};
use crate::facts::{self, NicFacts, Roots};
use crate::node::{machine, network::gateway};

/// What is known of the machine.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Its NICs.
    pub nics: Vec<NicFacts>,
    /// MAC address of the interface with the default route.
    pub uplink: Option<String>,
    /// The name that its DHCP server gave.
    pub dhcp_name: Option<String>,
}

/// Folder of networkd's leases, a file for each interface.
const LEASES: &str = "/run/systemd/netif/leases";

impl Known {
    /// This machine.
    pub fn probe() -> Self {
        let routes = gateway::default_routes().unwrap_or_else(|error| {
            tracing::warn!("looking for the default route: {error:#}");
            Vec::new()
        });
        let leases = std::fs::read_dir(LEASES).into_iter().flatten().flatten();
        let name = |entry: std::fs::DirEntry| {
            let text = std::fs::read_to_string(entry.path()).ok()?;
            let name = text.lines().find_map(|l| l.strip_prefix("HOSTNAME="))?;
            Some(name.to_owned())
        };
        Self {
            nics: facts::nics(&Roots::default()),
            uplink: routes.first().and_then(|route| {
                let address = Path::new("/sys/class/net").join(&route.dev).join("address");
                Some(std::fs::read_to_string(address).ok()?.trim().to_owned())
            }),
            dhcp_name: leases.filter_map(name).next(),
        }
    }
}

/// Notes what stays; gives the keys that were noted.
pub fn pin(answers: &mut Answers, known: &Known) -> Vec<String> {
    const FIELD: &str = "install.management_interface";
    let mut noted = Vec::new();
    let install = &mut answers.install;
    for (name, link) in &mut install.networks {
        let field = format!("install.networks.{name}");
        pin_nics(&field, &mut link.interfaces, known, &mut noted);
    }
    let management = &mut install.management_interface;
    pin_nics(FIELD, &mut management.interfaces, known, &mut noted);
    if management.hw_addr.as_deref().unwrap_or_default().is_empty() {
        let first = management.interfaces.first().map(|nic| find(nic, known));
        let by_route = || {
            known
                .nics
                .iter()
                .find(|n| Some(&n.mac) == known.uplink.as_ref())
        };
        let nic = first.unwrap_or_else(by_route);
        if let Some(nic) = nic.filter(|nic| nic.own_mac) {
            management.hw_addr = Some(nic.mac.clone());
            noted.push(format!("{FIELD}.hw_addr"));
        }
    }
    if let Some(template) = answers
        .os
        .hostname
        .clone()
        .filter(|n| formats::is_template(n))
    {
        let mut name = machine::put_identity(&template);
        let mac = answers.install.management_interface.hw_addr.as_deref();
        for (placeholder, value) in [("mac", mac), ("dhcp", known.dhcp_name.as_deref())] {
            name = value.map_or(name.clone(), |value| {
                formats::put(&name, placeholder, value)
            });
        }
        if name != template {
            answers.os.hostname = Some(name);
            noted.push("os.hostname".to_owned());
        }
    }
    noted
}

fn pin_nics(field: &str, nics: &mut [InterfaceAnswers], known: &Known, noted: &mut Vec<String>) {
    for (i, nic) in nics.iter_mut().enumerate() {
        let has = |text: &Option<String>| text.as_ref().is_some_and(|t| !t.is_empty());
        if has(&nic.hw_addr) || has(&nic.slot) {
            continue;
        }
        let Some(found) = find(nic, known) else {
            continue;
        };
        if found.own_mac {
            nic.hw_addr = Some(found.mac.clone());
            noted.push(format!("{field}.interfaces[{i}].hw_addr"));
        }
        let same = known.nics.iter().filter(|n| n.mac == found.mac).count();
        if (same > 1 || !found.own_mac) && found.slot.is_some() {
            nic.slot.clone_from(&found.slot);
            noted.push(format!("{field}.interfaces[{i}].slot"));
        }
    }
}

/// The NIC that is meant, when it is there.
fn find<'a>(nic: &InterfaceAnswers, known: &'a Known) -> Option<&'a NicFacts> {
    let mac = nic
        .hw_addr
        .as_deref()
        .and_then(|mac| formats::mac(mac).ok());
    known.nics.iter().find(|found| match (&mac, &nic.slot) {
        (Some(mac), Some(slot)) => found.mac == *mac && found.slot.as_ref() == Some(slot),
        (Some(mac), None) => found.mac == *mac,
        (None, Some(slot)) => found.slot.as_ref() == Some(slot),
        (None, None) => Some(&found.name) == nic.name.as_ref(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, SourceKind, check_sources};

    fn known() -> Known {
        let nic = |name: &str, last: u8, slot: u8, own_mac| NicFacts {
            name: name.into(),
            mac: format!("52:54:00:12:34:{last:02x}"),
            own_mac,
            slot: Some(format!("pci-0000:00:{slot:02x}.0")),
        };
        Known {
            nics: vec![
                nic("ens3", 1, 3, true),
                nic("ens4", 2, 4, true),
                nic("ens5", 2, 5, true),
                nic("ens6", 6, 6, false),
            ],
            uplink: Some("52:54:00:12:34:02".into()),
            dhcp_name: Some("Given.example.org".into()),
        }
    }

    fn pinned(text: &str) -> (Answers, Vec<String>) {
        let checked = check_sources(&[Source::yaml(SourceKind::File, "f", text)]);
        let mut answers = checked.answers;
        let noted = pin(&mut answers, &known());
        (answers, noted)
    }

    #[test]
    fn names_become_what_stays() {
        let (answers, noted) = pinned(
            "install:\n  management_interface: {interfaces: [{name: ens3}, {name: ens5}, {name: ens6}, {name: gone}]}\n  \
             networks: {store: {interfaces: [{hw_addr: '52:54:00:12:34:01'}]}}\n",
        );
        let nics = &answers.install.management_interface.interfaces;
        let known = |i: usize| (nics[i].hw_addr.as_deref(), nics[i].slot.as_deref());
        assert_eq!(known(0), (Some("52:54:00:12:34:01"), None));
        assert_eq!(
            known(1),
            (Some("52:54:00:12:34:02"), Some("pci-0000:00:05.0"))
        );
        assert_eq!(known(2), (None, Some("pci-0000:00:06.0")));
        assert_eq!(known(3), (None, None));
        assert_eq!(
            nics[0].name.as_deref(),
            Some("ens3"),
            "the bond's primary names it"
        );
        let mac = answers.install.management_interface.hw_addr.as_deref();
        assert_eq!(mac, Some("52:54:00:12:34:01"));
        assert_eq!(
            noted,
            [
                "install.management_interface.interfaces[0].hw_addr",
                "install.management_interface.interfaces[1].hw_addr",
                "install.management_interface.interfaces[1].slot",
                "install.management_interface.interfaces[2].slot",
                "install.management_interface.hw_addr",
            ]
        );
    }

    #[test]
    fn without_nics_the_way_out_decides_and_names_are_made() {
        let (answers, noted) = pinned("os: {hostname: 'n-{mac}'}\n");
        let mac = answers.install.management_interface.hw_addr.as_deref();
        assert_eq!(mac, Some("52:54:00:12:34:02"));
        assert_eq!(answers.os.hostname.as_deref(), Some("n-525400123402"));
        assert_eq!(
            noted,
            ["install.management_interface.hw_addr", "os.hostname"]
        );
        let (answers, _) = pinned("os: {hostname: '{dhcp}'}\n");
        assert_eq!(answers.os.hostname.as_deref(), Some("given.example.org"));
        let (answers, noted) = pinned(
            "os: {hostname: a}\ninstall: {management_interface: {hw_addr: '52:54:00:00:00:09'}}\n",
        );
        assert_eq!(answers.os.hostname.as_deref(), Some("a"));
        assert!(noted.is_empty(), "{noted:?}");
    }
}
