//! Networks of the node: the management network and further ones.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::Scalar;

/// How an interface gets its IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// From a DHCP server.
    Dhcp,
    /// The address given here.
    Static,
    /// None at all.
    None,
}

/// How an interface gets its IPv6 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ipv6Mode {
    /// From router advertisements.
    Slaac,
    /// From a DHCPv6 server.
    Dhcp,
    /// The address given here.
    Static,
    /// None at all.
    None,
}

/// `install.management_interface:`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ManagementAnswers {
    /// The NICs, by name, MAC or slot, which become the bond `mgmt-bo`; every wired NIC that no
    /// other network has when absent. The node's address is that of the bridge `mgmt-br` over it.
    pub interfaces: Vec<InterfaceAnswers>,
    /// How it gets its IPv4 address.
    #[schemars(extend("x-default" = "dhcp"))]
    pub method: Option<Method>,
    /// IPv4 address, for `static`.
    #[schemars(extend("x-form" = "node-ipv4"), example = &"10.0.0.11")]
    pub ip: Option<String>,
    /// Network mask, for `static`; a prefix length is fine too.
    #[schemars(extend("x-form" = "mask"), example = &"255.255.255.0")]
    pub subnet_mask: Option<String>,
    /// Default route, for `static`.
    #[schemars(extend("x-form" = "ipv4"), example = &"10.0.0.1")]
    pub gateway: Option<String>,
    /// IPv6 beside IPv4.
    pub ipv6: Ipv6Answers,
    /// Options of the bond, with the kernel's names: `mode`, `miimon`, `lacp_rate`,
    /// `xmit_hash_policy`, `primary`, ... Active-backup with `miimon: 100` when absent.
    #[schemars(example = BTreeMap::from([("mode", "802.3ad")]))]
    pub bond_options: BTreeMap<String, Scalar>,
    /// Largest packet in bytes, at least 576; 0 means the default.
    #[schemars(range(min = 0, max = 9000), extend("x-form" = "mtu", "x-default" = 1500))]
    pub mtu: Option<u32>,
    /// MAC address of the bridge `mgmt-br`; that of its first NIC when absent, which an install
    /// notes here, so that DHCP servers know the node.
    #[schemars(extend("x-form" = "mac"), example = &"52:54:00:12:34:56")]
    pub hw_addr: Option<String>,
    /// VLAN of the management network; 0 or 1 mean untagged.
    #[schemars(range(min = 0, max = 4094), extend("x-form" = "vlan-id", "x-default" = 0))]
    pub vlan_id: Option<u32>,
    /// Whether the default route goes over this network.
    #[schemars(extend("x-no-meaning" = "the management network always has the default route"))]
    pub default_route: Option<bool>,
}

/// One of `install.networks`: a network that does not have the default route.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LinkAnswers {
    /// The NICs, by name, MAC or slot, which become a bond.
    pub interfaces: Vec<InterfaceAnswers>,
    /// How it gets its IPv4 address.
    #[schemars(extend("x-default" = "none"))]
    pub method: Option<Method>,
    /// IPv4 address, for `static`.
    #[schemars(extend("x-form" = "node-ipv4"), example = &"10.1.0.11")]
    pub ip: Option<String>,
    /// Network mask, for `static`; a prefix length is fine too.
    #[schemars(extend("x-form" = "mask"), example = &"255.255.255.0")]
    pub subnet_mask: Option<String>,
    /// Of old Harvester configs.
    #[schemars(extend("x-form" = "ipv4", "x-no-meaning" = "only the management network has a default route"))]
    pub gateway: Option<String>,
    /// IPv6 beside IPv4.
    pub ipv6: Ipv6Answers,
    /// Options of the bond, as in `install.management_interface.bond_options`.
    pub bond_options: BTreeMap<String, Scalar>,
    /// Largest packet in bytes, at least 576; 0 means the default.
    #[schemars(range(min = 0, max = 9000), extend("x-form" = "mtu", "x-default" = 1500))]
    pub mtu: Option<u32>,
    /// VLAN of the network; 0 or 1 mean untagged.
    #[schemars(range(min = 0, max = 4094), extend("x-form" = "vlan-id", "x-default" = 0))]
    pub vlan_id: Option<u32>,
    /// Of old Harvester configs.
    #[schemars(extend("x-no-meaning" = "only the management network has a default route"))]
    pub default_route: Option<bool>,
}

/// `ipv6:` of a network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ipv6Answers {
    /// How the interface gets its IPv6 addresses.
    #[schemars(extend("x-default" = "slaac"))]
    pub method: Option<Ipv6Mode>,
    /// Address with prefix length, for `static`.
    #[schemars(extend("x-form" = "ipv6-prefix"), example = &"fd00::11/64")]
    pub ip: Option<String>,
    /// Default route, for `static`.
    #[schemars(extend("x-form" = "ipv6"), example = &"fd00::1")]
    pub gateway: Option<String>,
}

/// A NIC by name, MAC or slot; the name is the weakest, since kernels rename interfaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InterfaceAnswers {
    /// Interface name.
    #[schemars(extend("x-form" = "interface"), example = &"ens3")]
    pub name: Option<String>,
    /// MAC address; spelled `hwAddr` by Harvester. An install notes it where only a name is given.
    #[schemars(extend("x-form" = "mac"), example = &"52:54:00:12:34:56")]
    pub hw_addr: Option<String>,
    /// Where it is plugged in, as udev's `ID_PATH` and `harrow facts` have it; with a MAC address
    /// both must fit. An install notes it where the MAC address alone would not tell NICs apart.
    #[schemars(extend("x-form" = "slot"), example = &"pci-0000:00:03.0")]
    pub slot: Option<String>,
}
