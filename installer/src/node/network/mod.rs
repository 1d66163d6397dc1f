//! The networks of a node as systemd-networkd's files.
//!
//! In: the networks of the config. Out: files of `/etc/systemd/network`. The management network
//! is the bridge [`BRIDGE`] over the bond [`BOND`], whatever its NICs are, so that the node's
//! address and MAC address have one place and virtual machines can be plugged in beside it. The
//! bridge knows VLANs: the node's own is that of the bridge itself, all others pass tagged.
//! Further networks are bonds of their own, or VLANs on NICs that another network has. Pure.

mod address;
mod bond;
pub mod gateway;
mod matching;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::config::{Config, Ipv4Method, Ipv6Method, NicSelector, NodeNetwork};

use super::files::NodeFile;
use address::Use;

/// The bridge that has the node's address: the one name that others may rely on.
pub const BRIDGE: &str = "mgmt-br";
/// The bond below it.
pub const BOND: &str = "mgmt-bo";
/// Folder of networkd's files.
pub const DIR: &str = "/etc/systemd/network";
/// What `network-online.target` waits for.
const WAIT_ONLINE: &str = "/etc/systemd/system/systemd-networkd-wait-online.service";
/// What no start waits for.
const NOT_AWAITED: &str = "no";
/// VLAN of untagged frames inside a bridge, as the kernel has it by itself.
const UNTAGGED: u16 = 1;

/// What of the config the files are made from.
#[derive(Debug, Clone, Copy)]
pub struct NetworkInputs<'a> {
    /// The management network.
    pub management: &'a NodeNetwork,
    /// Further networks.
    pub further: &'a BTreeMap<String, NodeNetwork>,
    /// Whether DNS servers are configured, so that nobody else's count.
    pub own_dns: bool,
    /// Whether NTP servers are configured.
    pub own_ntp: bool,
}

impl<'a> NetworkInputs<'a> {
    /// What a config says.
    pub fn of(config: &'a Config) -> Self {
        Self {
            management: &config.management,
            further: &config.networks,
            own_dns: !config.os.dns.is_empty(),
            own_ntp: !config.os.ntp.is_empty(),
        }
    }
}

/// A bond and what lies on it.
#[derive(Debug, Clone)]
pub struct Carrier<'a> {
    /// The bond's name.
    pub device: String,
    /// What decides on NICs, MTU and options.
    pub network: &'a NodeNetwork,
    /// Networks that are VLANs on it, with their tags.
    vlans: Vec<(u16, &'a str, &'a NodeNetwork)>,
}

/// Every device that the files make and give an address to, by the name of its network; the
/// management network's is [`BRIDGE`].
pub fn devices(config: &Config) -> Vec<(String, &NodeNetwork)> {
    let further = config.networks.iter();
    std::iter::once((BRIDGE.to_owned(), &config.management))
        .chain(further.map(|(name, network)| (name.clone(), network)))
        .collect()
}

/// Every bond that the files make: its device, and the network that has its NICs and options.
pub fn bonds(config: &Config) -> Vec<Carrier<'_>> {
    let (management, others) = carriers(&NetworkInputs::of(config));
    std::iter::once(management).chain(others).collect()
}

/// The files that bring all networks up.
pub fn render_network(inputs: &NetworkInputs) -> Vec<NodeFile> {
    let (management, others) = carriers(inputs);
    let mut files = render_management(inputs, &management);
    for carrier in &others {
        files.extend(render_carrier(inputs, carrier));
    }
    files
}

/// Groups networks by their NICs: one of each group has the bond, the others are VLANs on it.
fn carriers<'a>(inputs: &NetworkInputs<'a>) -> (Carrier<'a>, Vec<Carrier<'a>>) {
    let mut management = Carrier {
        device: BOND.to_owned(),
        network: inputs.management,
        vlans: Vec::new(),
    };
    let mut others: Vec<Carrier> = Vec::new();
    // Untagged ones first: whatever shares their NICs is a VLAN on them.
    let mut further: Vec<_> = inputs.further.iter().collect();
    further.sort_by_key(|(_, network)| network.vlan.is_some());
    for (name, network) in further {
        let shared = |carrier: &&mut Carrier| same_nics(&carrier.network.nics, &network.nics);
        let mut all = std::iter::once(&mut management).chain(&mut others);
        let tag = network.vlan.unwrap_or(UNTAGGED);
        if let Some(carrier) = all.find(shared) {
            carrier.vlans.push((tag, name, network));
            continue;
        }
        others.push(match network.vlan {
            None => Carrier {
                device: name.clone(),
                network,
                vlans: Vec::new(),
            },
            Some(tag) => Carrier {
                device: below(name),
                network,
                vlans: vec![(tag, name, network)],
            },
        });
    }
    (management, others)
}

/// The bond below a VLAN of this name.
pub fn below(name: &str) -> String {
    format!("{name}-bo")
}

fn same_nics(one: &[NicSelector], other: &[NicSelector]) -> bool {
    let is_there = |nic: &NicSelector| other.iter().any(|o| o.is_same(nic));
    !one.is_empty() && one.len() == other.len() && one.iter().all(is_there)
}

/// Bond, bridge, and the node's address.
fn render_management(inputs: &NetworkInputs, carrier: &Carrier) -> Vec<NodeFile> {
    let management = carrier.network;
    let mac = management.mac.clone();
    let mac = mac.or_else(|| management.nics.first().and_then(|nic| nic.mac.clone()));
    let mut files = render_bond(carrier, mac.as_deref());
    let mut uplink = format!(
        "[Match]\nName={BOND}\n\n{}[Network]\nBridge={BRIDGE}\nLinkLocalAddressing=no\n",
        link_section(management.mtu, "no")
    );
    // What the switch sends untagged stays one network inside the bridge too.
    let _ = write!(
        uplink,
        "\n[BridgeVLAN]\nPVID={UNTAGGED}\nEgressUntagged={UNTAGGED}\n"
    );
    let own = management.vlan.unwrap_or(UNTAGGED);
    let mut port = format!("\n[BridgeVLAN]\nPVID={own}\nEgressUntagged={own}\n");
    let tags = carrier.vlans.iter().map(|(tag, _, _)| *tag);
    for tag in management.vlan.into_iter().chain(tags.clone()) {
        if tag != UNTAGGED {
            let _ = writeln!(uplink, "VLAN={tag}");
        }
    }
    for tag in tags {
        let _ = writeln!(port, "VLAN={tag}");
    }
    files.push(file(&format!("20-{BOND}.network"), uplink));
    let netdev = format!(
        "[NetDev]\nName={BRIDGE}\nKind=bridge\n{}\n\
         [Bridge]\nVLANFiltering=yes\n# One uplink makes no loop, and an address must not wait.\nSTP=no\nForwardDelaySec=0\n",
        mac_line(mac.as_deref())
    );
    files.push(file(&format!("10-{BRIDGE}.netdev"), netdev));
    let vlans = vlan_lines(carrier);
    let text = format!(
        "[Match]\nName={BRIDGE}\n\n{}{}",
        link_section(management.mtu, online(management)),
        address::render(management, inputs, Use::Management, &vlans),
    );
    files.push(file(&format!("20-{BRIDGE}.network"), text + &port));
    files.extend(render_vlans(inputs, carrier));
    if !is_awaited(management) {
        files.push(NodeFile::link(WAIT_ONLINE, "/dev/null"));
    }
    files
}

/// A bond that has an address itself, or only VLANs with addresses.
fn render_carrier(inputs: &NetworkInputs, carrier: &Carrier) -> Vec<NodeFile> {
    let mac = carrier.network.nics.first().and_then(|n| n.mac.as_deref());
    let mut files = render_bond(carrier, mac);
    let vlans = vlan_lines(carrier);
    let sections = match carrier.network.vlan {
        None => address::render(carrier.network, inputs, Use::Further, &vlans),
        Some(_) => format!("[Network]\nLinkLocalAddressing=no\n{vlans}"),
    };
    let text = format!(
        "[Match]\nName={}\n\n{}{sections}",
        carrier.device,
        link_section(carrier.network.mtu, "no")
    );
    files.push(file(&format!("20-{}.network", carrier.device), text));
    files.extend(render_vlans(inputs, carrier));
    files
}

/// The bond itself and its NICs.
fn render_bond(carrier: &Carrier, mac: Option<&str>) -> Vec<NodeFile> {
    let (device, network) = (&carrier.device, carrier.network);
    let mut files = Vec::new();
    for (i, (wanted, nic)) in matching::members(&network.nics).into_iter().enumerate() {
        // Every wired NIC comes after those that are named.
        let number = if nic.is_some() { 10 } else { 15 };
        let text = format!(
            "[Match]\n{wanted}\n{}[Network]\nBond={device}\n{}",
            link_section(network.mtu, "no"),
            bond::member_lines(&network.bond, nic)
        );
        files.push(file(&format!("{number}-{device}-{i}.network"), text));
    }
    let netdev = format!(
        "[NetDev]\nName={device}\nKind=bond\n{}\n{}",
        mac_line(mac),
        bond::section(&network.bond)
    );
    files.push(file(&format!("10-{device}.netdev"), netdev));
    let mut made = device.clone();
    if device == BOND {
        made = format!("{BOND} {BRIDGE}");
    }
    let no_new_mac = format!("[Match]\nOriginalName={made}\n\n[Link]\nMACAddressPolicy=none\n");
    files.push(file(&format!("10-{device}.link"), no_new_mac));
    files.extend(bond::rules(device, &network.bond));
    files
}

/// Which NICs and switches see a MAC address: always the same, so that DHCP servers and switches
/// know the node.
fn mac_line(mac: Option<&str>) -> String {
    match mac {
        Some(mac) => format!("MACAddress={mac}\n"),
        None => "# That of the first NIC.\nMACAddress=none\n".to_owned(),
    }
}

fn vlan_lines(carrier: &Carrier) -> String {
    let lines = carrier
        .vlans
        .iter()
        .map(|(_, name, _)| format!("VLAN={name}\n"));
    lines.collect()
}

fn render_vlans(inputs: &NetworkInputs, carrier: &Carrier) -> Vec<NodeFile> {
    let mut files = Vec::new();
    for (tag, name, network) in &carrier.vlans {
        let netdev = format!("[NetDev]\nName={name}\nKind=vlan\n\n[VLAN]\nId={tag}\n");
        files.push(file(&format!("10-{name}.netdev"), netdev));
        let text = format!(
            "[Match]\nName={name}\nKind=vlan\n\n{}{}",
            link_section(network.mtu, "no"),
            address::render(network, inputs, Use::Further, "")
        );
        files.push(file(&format!("20-{name}.network"), text));
    }
    files
}

/// The live system and what is left of its NICs: DHCP on each by itself, since nobody knows yet
/// which of them leads anywhere.
pub fn render_each_nic() -> Vec<NodeFile> {
    let any = NodeNetwork::default();
    let nothing = BTreeMap::new();
    let inputs = NetworkInputs {
        management: &any,
        further: &nothing,
        own_dns: false,
        own_ntp: false,
    };
    let text = format!(
        "[Match]\n{}\n{}{}",
        matching::EVERY_WIRED_NIC,
        link_section(None, "yes"),
        address::render(&any, &inputs, Use::Management, "")
    );
    vec![file("90-each-nic.network", text)]
}

/// Whether the config promises that a network has an address. One that may come from some router is
/// no promise.
pub fn is_awaited(network: &NodeNetwork) -> bool {
    online(network) != NOT_AWAITED
}

/// What of a network the node's start waits for, within its limit.
fn online(network: &NodeNetwork) -> &'static str {
    match address::family(network) {
        // A wait could only end as a failure.
        None => NOT_AWAITED,
        _ if network.ipv4 == Ipv4Method::None && network.ipv6 == Ipv6Method::Slaac => NOT_AWAITED,
        Some("ipv6") => "routable\nRequiredFamilyForOnline=ipv6",
        Some(_) => "routable\nRequiredFamilyForOnline=ipv4",
    }
}

fn link_section(mtu: Option<u32>, online: &str) -> String {
    let mtu = mtu.map_or_else(String::new, |mtu| format!("MTUBytes={mtu}\n"));
    format!("[Link]\n{mtu}RequiredForOnline={online}\n\n")
}

fn file(name: &str, text: String) -> NodeFile {
    NodeFile::text(&format!("{DIR}/{name}"), text)
}
