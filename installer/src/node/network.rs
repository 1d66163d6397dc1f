//! The management network as systemd-networkd's and resolved's files.
//!
//! In: [`Management`] and the DNS servers. Out: files of `/etc/systemd/network`. One NIC is
//! used as it is; several become the bond `mgmt-bo` (active-backup, link watched every 100 ms).

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::config::{Ipv4Method, Management, NicSelector};

use super::files::NodeFile;

/// Name of the bond over several management NICs.
pub const BOND: &str = "mgmt-bo";

/// Physical wired NICs: an Ethernet link that no software made (systemd.network(5), `Kind=`).
const EVERY_WIRED_NIC: &str = "Type=ether\nKind=!*\n";

/// Whether the management network is a bond. A fixed address can be on one link only.
pub fn is_bonded(management: &Management) -> bool {
    let fixed = matches!(management.ipv4, Ipv4Method::Static(_));
    management.nics.len() > 1 || (management.nics.is_empty() && fixed)
}

/// The files that bring the management network up.
pub fn render_network(management: &Management, dns: &[IpAddr]) -> Vec<NodeFile> {
    let link = render_link_section(management.mtu);
    let address = render_address_sections(management, dns);
    if !is_bonded(management) {
        let wanted = render_match(management.nics.first(), NicUse::Alone);
        let text = format!("[Match]\n{wanted}\n{link}{address}");
        return vec![NodeFile::text("/etc/systemd/network/10-mgmt.network", text)];
    }
    let members: Vec<String> = match management.nics.as_slice() {
        [] => vec![EVERY_WIRED_NIC.to_owned()],
        nics => nics
            .iter()
            .map(|nic| render_match(Some(nic), NicUse::Bonded))
            .collect(),
    };
    let mut files: Vec<NodeFile> = members
        .iter()
        .enumerate()
        .map(|(i, wanted)| {
            let path = format!("/etc/systemd/network/10-{BOND}-{i}.network");
            NodeFile::text(
                &path,
                format!("[Match]\n{wanted}\n{link}[Network]\nBond={BOND}\n"),
            )
        })
        .collect();
    let netdev = format!(
        "[NetDev]\nName={BOND}\nKind=bond\n# The first member's, so that DHCP servers know the node.\nMACAddress=none\n\n\
         [Bond]\nMode=active-backup\nMIIMonitorSec=100ms\n"
    );
    files.push(NodeFile::text(
        &format!("/etc/systemd/network/10-{BOND}.netdev"),
        netdev,
    ));
    let no_new_mac = format!("[Match]\nOriginalName={BOND}\n\n[Link]\nMACAddressPolicy=none\n");
    files.push(NodeFile::text(
        &format!("/etc/systemd/network/10-{BOND}.link"),
        no_new_mac,
    ));
    let text = format!("[Match]\nName={BOND}\n\n{link}{address}");
    files.push(NodeFile::text(
        &format!("/etc/systemd/network/20-{BOND}.network"),
        text,
    ));
    files
}

/// How a NIC is used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NicUse {
    Alone,
    Bonded,
}

/// Lines of `[Match]`. A bond gives all members one MAC, so there the burnt-in one counts.
fn render_match(nic: Option<&NicSelector>, usage: NicUse) -> String {
    match nic {
        None => EVERY_WIRED_NIC.to_owned(),
        Some(NicSelector::Name(name)) => format!("Name={name}\n"),
        Some(NicSelector::Mac(mac)) if usage == NicUse::Bonded => {
            format!("PermanentMACAddress={mac}\nKind=!*\n")
        }
        Some(NicSelector::Mac(mac)) => format!("MACAddress={mac}\nKind=!*\n"),
    }
}

fn render_link_section(mtu: Option<u32>) -> String {
    mtu.map_or_else(String::new, |mtu| format!("[Link]\nMTUBytes={mtu}\n\n"))
}

fn render_address_sections(management: &Management, dns: &[IpAddr]) -> String {
    let mut text = String::from("[Network]\n");
    // Writing to a String can't fail.
    let _ = match &management.ipv4 {
        Ipv4Method::None => writeln!(text, "DHCP=no\nLinkLocalAddressing=no\nIPv6AcceptRA=no"),
        Ipv4Method::Dhcp => writeln!(text, "DHCP=ipv4"),
        Ipv4Method::Static(fixed) => writeln!(
            text,
            "Address={}/{}\nGateway={}",
            fixed.address, fixed.prefix, fixed.gateway
        ),
    };
    for server in dns {
        let _ = writeln!(text, "DNS={server}");
    }
    if management.ipv4 == Ipv4Method::Dhcp {
        text.push_str("\n[DHCPv4]\n# The same address for the installer and for the node.\nClientIdentifier=mac\n");
        if !dns.is_empty() {
            text.push_str("UseDNS=no\n");
        }
    }
    text
}
