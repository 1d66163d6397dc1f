//! The networks of a node.
//!
//! In: nothing; [`super::super::resolve`] makes them. Out: [`NodeNetwork`].

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::formats::BondMode;

/// A network that the node is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeNetwork {
    /// Which NICs; empty means every wired one, which only the management network has.
    pub nics: Vec<NicSelector>,
    /// How they work together.
    pub bond: Bond,
    /// MAC address of the management network's bridge; that of the first NIC when `None`.
    pub mac: Option<String>,
    /// VLAN; `None` means untagged.
    pub vlan: Option<u16>,
    /// MTU, when not the default.
    pub mtu: Option<u32>,
    /// How it gets an IPv4 address.
    pub ipv4: Ipv4Method,
    /// How it gets IPv6 addresses.
    pub ipv6: Ipv6Method,
}

/// How the NICs of a bond work together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bond {
    /// How traffic is spread.
    pub mode: BondMode,
    /// All other options, by the kernel's names; those that are said.
    pub options: BTreeMap<String, String>,
}

/// A NIC by what it is known by; at least one of the three.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NicSelector {
    /// Interface name, such as `ens3`; the weakest, since kernels rename interfaces.
    pub name: Option<String>,
    /// MAC address in lower case with colons.
    pub mac: Option<String>,
    /// Where it is plugged in, as udev's `ID_PATH` has it.
    pub slot: Option<String>,
}

impl NicSelector {
    /// Whether both mean the same NIC, as far as they say.
    pub fn is_same(&self, other: &Self) -> bool {
        let same = |one: &Option<String>, other: &Option<String>| match (one, other) {
            (Some(one), Some(other)) => Some(one == other),
            _ => None,
        };
        let (mac, slot) = (same(&self.mac, &other.mac), same(&self.slot, &other.slot));
        match (mac, slot) {
            (Some(mac), Some(slot)) => mac && slot,
            (Some(known), None) | (None, Some(known)) => known,
            (None, None) => same(&self.name, &other.name) == Some(true),
        }
    }
}

/// How an interface gets its IPv4 address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Ipv4Method {
    /// From a DHCP server.
    #[default]
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
    /// Default route; the management network's alone.
    pub gateway: Option<Ipv4Addr>,
}

/// How an interface gets its IPv6 addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Ipv6Method {
    /// From router advertisements.
    #[default]
    Slaac,
    /// From a DHCPv6 server.
    Dhcp,
    /// A fixed address.
    Static(Ipv6Static),
    /// None, not even a link-local one.
    None,
}

/// A fixed IPv6 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipv6Static {
    /// The address.
    pub address: Ipv6Addr,
    /// Length of the network prefix.
    pub prefix: u8,
    /// Default route; the management network's alone.
    pub gateway: Option<Ipv6Addr>,
}
