//! How a device gets its addresses: `[Network]` and all that belongs to it.

use std::fmt::Write as _;

use crate::config::{Ipv4Method, Ipv6Method, NodeNetwork};

use super::NetworkInputs;

/// What a network is to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// The default route, DNS and all else from outside come over it.
    Management,
    /// Only its own addresses are reached over it.
    Further,
}

/// The family that a network is there for; `None` when it has no address.
pub(super) fn family(network: &NodeNetwork) -> Option<&'static str> {
    match (&network.ipv4, &network.ipv6) {
        (Ipv4Method::None, Ipv6Method::None) => None,
        (Ipv4Method::None, _) => Some("ipv6"),
        _ => Some("ipv4"),
    }
}

/// The sections; `more` are further lines of `[Network]`.
pub(super) fn render(
    network: &NodeNetwork,
    inputs: &NetworkInputs,
    usage: Use,
    more: &str,
) -> String {
    let mut text = String::from("[Network]\n");
    let dhcp = match (&network.ipv4, &network.ipv6) {
        (Ipv4Method::Dhcp, Ipv6Method::Dhcp) => "yes",
        (Ipv4Method::Dhcp, _) => "ipv4",
        (_, Ipv6Method::Dhcp) => "ipv6",
        _ => "no",
    };
    let local = match network.ipv6 {
        Ipv6Method::None => "no",
        _ => "ipv6",
    };
    let advertised = match network.ipv6 {
        Ipv6Method::Slaac | Ipv6Method::Dhcp => "yes",
        Ipv6Method::Static(_) | Ipv6Method::None => "no",
    };
    // Writing to a String can't fail.
    let _ = writeln!(
        text,
        "DHCP={dhcp}\nLinkLocalAddressing={local}\nIPv6AcceptRA={advertised}"
    );
    if matches!(network.ipv4, Ipv4Method::Static(_)) {
        // An address that does not depend on anybody is there without a cable too.
        text.push_str("ConfigureWithoutCarrier=yes\n");
    }
    // A cable that is out for a while must not take the node's address away.
    text.push_str("IgnoreCarrierLoss=yes\n");
    text.push_str(more);
    render_fixed(&mut text, network, usage);
    render_dhcp4(&mut text, network, inputs, usage);
    render_dhcp6(&mut text, network, inputs, usage);
    render_advertised(&mut text, network, inputs, usage);
    text
}

fn render_fixed(text: &mut String, network: &NodeNetwork, usage: Use) {
    let management = usage == Use::Management;
    if let Ipv4Method::Static(fixed) = &network.ipv4 {
        let _ = write!(
            text,
            "\n[Address]\nAddress={}/{}\n# Nobody else may have it: it is asked for before it is used.\nDuplicateAddressDetection=ipv4\n",
            fixed.address, fixed.prefix
        );
        if let Some(gateway) = fixed.gateway.filter(|_| management) {
            let _ = write!(text, "\n[Route]\nGateway={gateway}\n");
            // Of a network of one address, the router is outside.
            if fixed.prefix == 32 {
                text.push_str("GatewayOnLink=yes\n");
            }
        }
    }
    if let Ipv6Method::Static(fixed) = &network.ipv6 {
        let _ = write!(
            text,
            "\n[Address]\nAddress={}/{}\n",
            fixed.address, fixed.prefix
        );
        if let Some(gateway) = fixed.gateway.filter(|_| management) {
            let _ = write!(text, "\n[Route]\nGateway={gateway}\n");
        }
    }
}

fn render_dhcp4(text: &mut String, network: &NodeNetwork, inputs: &NetworkInputs, usage: Use) {
    if network.ipv4 != Ipv4Method::Dhcp {
        return;
    }
    text.push_str(
        "\n[DHCPv4]\n# The same address for the installer and for the node.\nClientIdentifier=mac\n",
    );
    // The node's name is decided before any server is asked.
    text.push_str("UseHostname=no\n");
    if usage == Use::Further {
        text.push_str("UseGateway=no\nUseRoutes=no\nUseDNS=no\nUseNTP=no\n");
        return;
    }
    for (own, key) in [(inputs.own_dns, "UseDNS"), (inputs.own_ntp, "UseNTP")] {
        if own {
            let _ = writeln!(text, "{key}=no");
        }
    }
}

/// Advertisements can name a DHCPv6 server, also where it need not be asked.
fn render_dhcp6(text: &mut String, network: &NodeNetwork, inputs: &NetworkInputs, usage: Use) {
    if !matches!(network.ipv6, Ipv6Method::Slaac | Ipv6Method::Dhcp) {
        return;
    }
    text.push_str("\n[DHCPv6]\n# As above: by MAC address, and not by what is installed.\nDUIDType=link-layer\nIAID=1\nUseHostname=no\n");
    if network.ipv6 == Ipv6Method::Dhcp {
        text.push_str(
            "# A server is looked for, whether a router says so or not.\nWithoutRA=solicit\n",
        );
    }
    let further = usage == Use::Further;
    for (refused, key) in [
        (further || inputs.own_dns, "UseDNS"),
        (further || inputs.own_ntp, "UseNTP"),
    ] {
        if refused {
            let _ = writeln!(text, "{key}=no");
        }
    }
}

fn render_advertised(text: &mut String, network: &NodeNetwork, inputs: &NetworkInputs, usage: Use) {
    if !matches!(network.ipv6, Ipv6Method::Slaac | Ipv6Method::Dhcp) {
        return;
    }
    let further = usage == Use::Further;
    let mut lines = String::new();
    if network.ipv6 == Ipv6Method::Dhcp {
        lines.push_str("# The address is the server's to give.\nUseAutonomousPrefix=no\n");
    }
    if further {
        lines.push_str("UseGateway=no\nUseRoutePrefix=no\n");
    }
    if further || inputs.own_dns {
        lines.push_str("UseDNS=no\n");
    }
    if !lines.is_empty() {
        let _ = write!(text, "\n[IPv6AcceptRA]\n{lines}");
    }
}
