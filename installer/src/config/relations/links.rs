//! NICs and the further networks on them.

use std::collections::HashMap;

use super::super::answers::{Answers, InterfaceAnswers, Method};
use super::super::formats;
use super::super::problem::{Code, Problems};
use super::address::{are_without_effect, ipv6_is_whole, special};
use super::{gateway, link_network, link_networks, management_network};

/// Most letters of a network's name: the kernel takes 15, and the bond below a VLAN has 3 more.
const LONGEST: usize = 12;

/// A NIC belongs to one network, unless VLANs keep them apart.
pub fn nics_are_used_once(answers: &Answers, problems: &mut Problems) {
    let install = &answers.install;
    let management = &install.management_interface;
    let mut seen = HashMap::new();
    let mut note = |network: &str, nics: &[InterfaceAnswers], vlan: u32| {
        for (i, nic) in nics.iter().enumerate() {
            let field = format!("{network}.interfaces[{i}]");
            if nic.name.is_none() && nic.hw_addr.is_none() && nic.slot.is_none() {
                let hint = "name: ens3, or hw_addr: a MAC address";
                problems.add(
                    Code::Missing,
                    field,
                    "neither name nor hw_addr is given",
                    hint,
                );
                continue;
            }
            let mac = nic.hw_addr.as_deref().and_then(|m| formats::mac(m).ok());
            let names = [nic.name.clone(), mac];
            for name in names.into_iter().flatten() {
                let key = (name.clone(), vlan);
                if let Some(first) = seen.insert(key, field.clone()) {
                    problems.add(
                        Code::DuplicateNic,
                        field.clone(),
                        format!("{name} is {first} already"),
                        "name each NIC once; with a vlan_id of its own a network may share it",
                    );
                    break;
                }
            }
        }
    };
    note(
        "install.management_interface",
        &management.interfaces,
        tag(management.vlan_id),
    );
    for (name, link) in &install.networks {
        let field = format!("install.networks.{name}");
        note(&field, &link.interfaces, tag(link.vlan_id));
    }
}

/// The VLAN of a network; 1 is that of untagged frames.
fn tag(vlan: Option<u32>) -> u32 {
    vlan.filter(|v| *v > 1).unwrap_or(0)
}

/// Networks with different VLANs share a bond, so all of its NICs or none.
pub fn bonds_are_shared_whole(answers: &Answers, problems: &mut Problems) {
    let install = &answers.install;
    let management = "install.management_interface".to_owned();
    let given = &install.management_interface;
    let mut seen = vec![(management, &given.interfaces, tag(given.vlan_id))];
    for (name, link) in &install.networks {
        let field = format!("install.networks.{name}");
        let has = |nics: &[InterfaceAnswers], nic: &InterfaceAnswers| {
            nics.iter().any(|other| same_nic(nic, other))
        };
        let sharing = |nics: &&Vec<InterfaceAnswers>| link.interfaces.iter().any(|n| has(nics, n));
        // That both have the same VLAN is said of the NIC.
        let found = seen
            .iter()
            .find(|(_, nics, vlan)| *vlan != tag(link.vlan_id) && sharing(nics));
        if let Some((other, nics, _)) = found {
            let whole = nics.len() == link.interfaces.len()
                && nics.iter().all(|nic| has(&link.interfaces, nic));
            if !whole {
                problems.add(
                    Code::DuplicateNic,
                    format!("{field}.interfaces"),
                    format!("shares some NICs with {other}, but not all"),
                    "NICs of one network are one bond: name all of them, or none",
                );
            } else if !link.bond_options.is_empty() {
                problems.add(
                    Code::MethodIgnored,
                    format!("{field}.bond_options"),
                    format!("does nothing: {other} has the same NICs and decides"),
                    "leave it out",
                );
            }
        }
        seen.push((field, &link.interfaces, tag(link.vlan_id)));
    }
}

/// Whether both say the same of a NIC.
fn same_nic(one: &InterfaceAnswers, other: &InterfaceAnswers) -> bool {
    let mac = |nic: &InterfaceAnswers| nic.hw_addr.as_deref().and_then(|m| formats::mac(m).ok());
    match (mac(one), mac(other)) {
        (Some(one), Some(other)) => one == other,
        _ => {
            (one.name.is_some() && one.name == other.name)
                || (one.slot.is_some() && one.slot == other.slot)
        }
    }
}

/// The MACs that NICs are named by, each with its key.
pub fn macs(answers: &Answers) -> Vec<(String, String)> {
    let install = &answers.install;
    let management = &install.management_interface.interfaces;
    let management = ("install.management_interface".to_owned(), management);
    let links = install.networks.iter();
    let links = links.map(|(name, link)| (format!("install.networks.{name}"), &link.interfaces));
    let mut found = Vec::new();
    for (network, nics) in std::iter::once(management).chain(links) {
        for (i, nic) in nics.iter().enumerate() {
            let mac = nic.hw_addr.as_deref().and_then(|m| formats::mac(m).ok());
            found.extend(mac.map(|mac| (format!("{network}.interfaces[{i}].hw_addr"), mac)));
        }
    }
    found
}

/// An address belongs to one network of the node, and none is the router's.
pub fn addresses_are_used_once(answers: &Answers, problems: &mut Problems) {
    let mut seen: HashMap<_, String> = HashMap::new();
    if let Some(gateway) = gateway(answers) {
        seen.insert(gateway, "the gateway".into());
    }
    if let Some((ip, _)) = management_network(answers) {
        seen.insert(ip, "install.management_interface.ip".into());
    }
    for (name, ip, _) in link_networks(answers) {
        let field = format!("install.networks.{name}.ip");
        if let Some(first) = seen.get(&ip) {
            let message = format!("{ip} is {first} already");
            problems.add(Code::SameAddress, field, message, "a free address");
        } else {
            seen.insert(ip, field);
        }
    }
}

/// What a further network needs.
pub fn links_are_complete(answers: &Answers, problems: &mut Problems) {
    for (name, link) in &answers.install.networks {
        let field = format!("install.networks.{name}");
        if let Err(wrong) = formats::interface_name(name) {
            problems.add(Code::BadValue, field.clone(), wrong.message, wrong.hint);
        }
        if ["mgmt-br", "mgmt-bo"].contains(&name.as_str()) {
            let message = "the management network has this name";
            problems.add(Code::DuplicateValue, field.clone(), message, "another name");
        }
        let is_nic = |nic: &InterfaceAnswers| nic.name.as_deref() == Some(name);
        let all = answers.install.networks.values().map(|l| &l.interfaces);
        let management = &answers.install.management_interface.interfaces;
        if name == "lo" || all.chain([management]).flatten().any(is_nic) {
            let message = "an interface of the machine has this name";
            let hint = "another name: the network gets an interface of its own";
            problems.add(Code::DuplicateValue, field.clone(), message, hint);
        }
        if name.len() > LONGEST {
            let message = format!("longer than {LONGEST} letters");
            let hint = "a shorter name: its interfaces are named after it";
            problems.add(Code::BadValue, field.clone(), message, hint);
        }
        if link.interfaces.is_empty() {
            let hint = "a list of NICs: name or hw_addr";
            problems.add(
                Code::Missing,
                format!("{field}.interfaces"),
                "missing",
                hint,
            );
        }
        ipv6_is_whole(&field, &link.ipv6, problems);
        if link.method != Some(Method::Static) {
            let method = match link.method {
                Some(Method::Dhcp) => "with method dhcp",
                Some(Method::None) => "with method none",
                _ => "without a method, which means none",
            };
            let keys = [("ip", &link.ip), ("subnet_mask", &link.subnet_mask)];
            are_without_effect(&field, method, &keys, problems);
            continue;
        }
        if let Some((ip, Some(subnet))) = link_network(link)
            && let Some(what) = special(ip, &subnet)
        {
            problems.add(
                Code::BadHostAddress,
                format!("{field}.ip"),
                format!("{ip} is the {what} address of {subnet}"),
                "an address between the first and the last",
            );
        }
        for (key, value) in [("ip", &link.ip), ("subnet_mask", &link.subnet_mask)] {
            if value.is_none() {
                let hint = "method static needs ip and subnet_mask";
                problems.add(Code::Missing, format!("{field}.{key}"), "missing", hint);
            }
        }
    }
}
