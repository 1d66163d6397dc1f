//! The networks of a node, in their own types.
//!
//! In: answers. Out: [`NodeNetwork`]s. What is missing or does not go together is said by the
//! rules between keys.

use std::collections::BTreeMap;

use super::super::answers::{
    Answers, InterfaceAnswers, Ipv6Answers, Ipv6Mode, LinkAnswers, Method, Scalar,
};
use super::super::formats::{self, BondFault};
use super::super::resolved::{
    Bond, Ipv4Method, Ipv4Static, Ipv6Method, Ipv6Static, NicSelector, NodeNetwork,
};
use super::Values;

const FIELD: &str = "install.management_interface";

/// The management network.
pub(super) fn management(answers: &Answers, values: &mut Values) -> NodeNetwork {
    let given = &answers.install.management_interface;
    let mac = given.hw_addr.as_deref().filter(|m| !m.is_empty());
    let mac = mac.and_then(|m| values.check(&format!("{FIELD}.hw_addr"), formats::mac(m)));
    let fixed = Fixed {
        ip: given.ip.as_deref(),
        mask: given.subnet_mask.as_deref(),
        gateway: given.gateway.as_deref(),
    };
    NodeNetwork {
        nics: nics(FIELD, &given.interfaces, values),
        bond: bond(&given.bond_options),
        mac,
        vlan: vlan(FIELD, given.vlan_id, values),
        mtu: given.mtu.filter(|m| *m != 0),
        ipv4: match given.method {
            None | Some(Method::Dhcp) => Ipv4Method::Dhcp,
            Some(Method::None) => Ipv4Method::None,
            // A default route is a part of it.
            Some(Method::Static) => fixed
                .read(FIELD, values)
                .filter(|fixed| fixed.gateway.is_some())
                .map_or(Ipv4Method::None, Ipv4Method::Static),
        },
        ipv6: ipv6(FIELD, &given.ipv6, values),
    }
}

/// All others. What leads outside is the management network's.
pub(super) fn further(answers: &Answers, values: &mut Values) -> BTreeMap<String, NodeNetwork> {
    let networks = answers.install.networks.iter();
    let usable = networks.filter(|(name, _)| formats::interface_name(name).is_ok());
    let each = usable.map(|(name, link)| (name.clone(), further_one(name, link, values)));
    let mut networks: BTreeMap<String, NodeNetwork> = each.collect();
    networks.retain(|_, network| !network.nics.is_empty());
    networks
}

fn further_one(name: &str, link: &LinkAnswers, values: &mut Values) -> NodeNetwork {
    let field = format!("install.networks.{name}");
    let fixed = Fixed {
        ip: link.ip.as_deref(),
        mask: link.subnet_mask.as_deref(),
        gateway: None,
    };
    let mut ipv6 = ipv6(&field, &link.ipv6, values);
    if let Ipv6Method::Static(fixed) = &mut ipv6 {
        fixed.gateway = None;
    }
    NodeNetwork {
        nics: nics(&field, &link.interfaces, values),
        bond: bond(&link.bond_options),
        mac: None,
        vlan: vlan(&field, link.vlan_id, values),
        mtu: link.mtu.filter(|m| *m != 0),
        ipv4: match link.method {
            None | Some(Method::None) => Ipv4Method::None,
            Some(Method::Dhcp) => Ipv4Method::Dhcp,
            Some(Method::Static) => fixed
                .read(&field, values)
                .map_or(Ipv4Method::None, Ipv4Method::Static),
        },
        ipv6,
    }
}

/// What is said of a fixed address.
struct Fixed<'a> {
    ip: Option<&'a str>,
    mask: Option<&'a str>,
    gateway: Option<&'a str>,
}

impl Fixed<'_> {
    fn read(&self, field: &str, values: &mut Values) -> Option<Ipv4Static> {
        let mut address = |key: &str, value: Option<&str>| {
            values.check(&format!("{field}.{key}"), formats::ipv4(value?))
        };
        let ip = address("ip", self.ip);
        let gateway = address("gateway", self.gateway);
        let mask = formats::subnet_mask(self.mask?);
        let prefix = values.check(&format!("{field}.subnet_mask"), mask);
        Some(Ipv4Static {
            address: ip?,
            prefix: prefix?,
            gateway,
        })
    }
}

fn ipv6(field: &str, given: &Ipv6Answers, values: &mut Values) -> Ipv6Method {
    match given.method {
        None | Some(Ipv6Mode::Slaac) => Ipv6Method::Slaac,
        Some(Ipv6Mode::Dhcp) => Ipv6Method::Dhcp,
        Some(Ipv6Mode::None) => Ipv6Method::None,
        Some(Ipv6Mode::Static) => {
            ipv6_static(field, given, values).map_or(Ipv6Method::None, Ipv6Method::Static)
        }
    }
}

fn ipv6_static(field: &str, given: &Ipv6Answers, values: &mut Values) -> Option<Ipv6Static> {
    let net = formats::ipv6_prefix(given.ip.as_deref()?);
    let net = values.check(&format!("{field}.ipv6.ip"), net)?;
    let gateway = given
        .gateway
        .as_deref()
        .and_then(|gateway| values.check(&format!("{field}.ipv6.gateway"), formats::ipv6(gateway)));
    Some(Ipv6Static {
        address: net.addr(),
        prefix: net.prefix_len(),
        gateway,
    })
}

fn vlan(field: &str, id: Option<u32>, values: &mut Values) -> Option<u16> {
    let id = formats::vlan_id(i64::from(id?));
    values.check(&format!("{field}.vlan_id"), id).flatten()
}

/// What the rules between keys find wrong is left out.
fn bond(given: &BTreeMap<String, Scalar>) -> Bond {
    let texts = given.iter().map(|(k, v)| (k.clone(), v.to_string()));
    let mut options: BTreeMap<String, String> = texts.collect();
    let faults = formats::bond(&options);
    let of_value = |fault: &BondFault| *fault != BondFault::Conflict;
    for (name, _, _) in faults.iter().filter(|(_, fault, _)| of_value(fault)) {
        options.remove(name);
    }
    let mode = options.remove("mode");
    let mode = mode.and_then(|text| formats::bond_mode(&text).ok());
    Bond {
        mode: mode.unwrap_or_default(),
        options,
    }
}

fn nics(field: &str, given: &[InterfaceAnswers], values: &mut Values) -> Vec<NicSelector> {
    let each = given.iter().enumerate();
    each.filter_map(|(i, nic)| one_nic(&format!("{field}.interfaces[{i}]"), nic, values))
        .collect()
}

/// Of what is known, the name counts only when nothing else does; the bond's `primary` names it.
fn one_nic(field: &str, nic: &InterfaceAnswers, values: &mut Values) -> Option<NicSelector> {
    let said = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    let mac = said(&nic.hw_addr);
    let mac = mac.and_then(|mac| values.check(&format!("{field}.hw_addr"), formats::mac(&mac)));
    let slot = said(&nic.slot).filter(|slot| {
        let right = formats::slot(slot);
        values.check(&format!("{field}.slot"), right).is_some()
    });
    let name = said(&nic.name);
    let name = name
        .and_then(|name| values.check(&format!("{field}.name"), formats::interface_name(&name)));
    let known = mac.is_some() || slot.is_some() || name.is_some();
    known.then_some(NicSelector { name, mac, slot })
}
