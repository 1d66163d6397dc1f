//! Options of a bond, by the kernel's names in the config and by networkd's in its files.
//!
//! What networkd has no word for is set by udev, which sees a bond before networkd starts it.

use std::fmt::Write as _;

use crate::config::{Bond, NicSelector};

use super::super::files::NodeFile;

/// How a value is written.
#[derive(Clone, Copy)]
enum Form {
    /// As it is.
    Same,
    /// A number of milliseconds.
    Milliseconds,
    /// A number of seconds.
    Seconds,
    /// `on` or `off`, also as a number.
    Switch,
    /// Addresses with commas between.
    List,
    /// One of these words, which the kernel also knows by their numbers.
    Words(&'static [&'static str]),
}

use Form::{List, Milliseconds, Same, Seconds, Switch, Words};

/// networkd's words, systemd.netdev(5).
const NETWORKD: &[(&str, &str, Form)] = &[
    ("ad_actor_sys_prio", "AdActorSystemPriority", Same),
    ("ad_actor_system", "AdActorSystem", Same),
    (
        "ad_select",
        "AdSelect",
        Words(&["stable", "bandwidth", "count"]),
    ),
    ("ad_user_port_key", "AdUserPortKey", Same),
    ("all_slaves_active", "AllSlavesActive", Switch),
    ("arp_all_targets", "ARPAllTargets", Words(&["any", "all"])),
    ("arp_interval", "ARPIntervalSec", Milliseconds),
    ("arp_ip_target", "ARPIPTargets", List),
    ("arp_missed_max", "ARPMissedMax", Same),
    (
        "arp_validate",
        "ARPValidate",
        Words(&["none", "active", "backup", "all"]),
    ),
    ("downdelay", "DownDelaySec", Milliseconds),
    (
        "fail_over_mac",
        "FailOverMACPolicy",
        Words(&["none", "active", "follow"]),
    ),
    ("lacp_rate", "LACPTransmitRate", Words(&["slow", "fast"])),
    ("lp_interval", "LearnPacketIntervalSec", Seconds),
    ("miimon", "MIIMonitorSec", Milliseconds),
    ("min_links", "MinLinks", Same),
    ("missed_max", "ARPMissedMax", Same),
    ("num_grat_arp", "GratuitousARP", Same),
    ("num_unsol_na", "GratuitousARP", Same),
    ("packets_per_slave", "PacketsPerSlave", Same),
    ("peer_notif_delay", "PeerNotifyDelaySec", Milliseconds),
    (
        "primary_reselect",
        "PrimaryReselectPolicy",
        Words(&["always", "better", "failure"]),
    ),
    ("resend_igmp", "ResendIGMP", Same),
    ("tlb_dynamic_lb", "DynamicTransmitLoadBalancing", Switch),
    ("updelay", "UpDelaySec", Milliseconds),
    (
        "xmit_hash_policy",
        "TransmitHashPolicy",
        Words(&["layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4"]),
    ),
];

/// Options of a NIC of the bond.
const OF_MEMBERS: [(&str, &str); 2] =
    [("primary", "PrimarySlave"), ("active_slave", "ActiveSlave")];

/// How often a link is looked at when nobody says.
const MIIMON: &str = "100";

/// The section `[Bond]`.
pub(super) fn section(bond: &Bond) -> String {
    let mut text = format!("[Bond]\nMode={}\n", bond.mode.name());
    for (name, value) in all(bond) {
        if let Some((key, value)) = word(name, value) {
            // Writing to a String can't fail.
            let _ = writeln!(text, "{key}={value}");
        }
    }
    text
}

/// All options, with how links are watched: nothing would notice a cable that is out otherwise.
fn all(bond: &Bond) -> Vec<(&str, &str)> {
    let said = bond.options.iter();
    let mut all: Vec<(&str, &str)> = said.map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let watched = ["miimon", "arp_interval"];
    if !watched.iter().any(|key| bond.options.contains_key(*key)) {
        all.push(("miimon", MIIMON));
    }
    all
}

/// An option in networkd's words.
fn word(name: &str, value: &str) -> Option<(&'static str, String)> {
    let (_, key, form) = NETWORKD.iter().find(|(known, _, _)| *known == name)?;
    let value = match form {
        Same => value.to_owned(),
        Milliseconds => format!("{value}ms"),
        Seconds => format!("{value}s"),
        Switch => (if matches!(value, "on" | "1") {
            "yes"
        } else {
            "no"
        })
        .to_owned(),
        List => value
            .split(',')
            .map(str::trim)
            .collect::<Vec<_>>()
            .join(" "),
        Words(words) => {
            let number = value.parse::<usize>().ok().and_then(|n| words.get(n));
            let same = words.iter().find(|word| **word == value);
            (*number.or(same)?).to_owned()
        }
    };
    Some((key, value))
}

/// Lines of a NIC's `[Network]`.
pub(super) fn member_lines(bond: &Bond, nic: Option<&NicSelector>) -> String {
    let name = nic.and_then(|nic| nic.name.as_deref());
    let mut text = String::new();
    for (option, key) in OF_MEMBERS {
        let meant = bond.options.get(option).map(String::as_str);
        if meant.is_some() && meant == name {
            let _ = writeln!(text, "{key}=yes");
        }
    }
    text
}

/// What networkd has no word for.
pub(super) fn rules(device: &str, bond: &Bond) -> Option<NodeFile> {
    let of_member = |name: &str| OF_MEMBERS.iter().any(|(known, _)| *known == name);
    let mut text = String::new();
    for (name, value) in all(bond) {
        if word(name, value).is_none() && !of_member(name) {
            let _ = write!(text, ", ATTR{{bonding/{name}}}=\"{value}\"");
        }
    }
    if text.is_empty() {
        return None;
    }
    let path = format!("/etc/udev/rules.d/70-harrow-{device}.rules");
    let text = format!(
        "# Options that systemd-networkd does not know; the bond is not up yet.\n\
         ACTION==\"add\", SUBSYSTEM==\"net\", KERNEL==\"{device}\"{text}\n"
    );
    Some(NodeFile::text(&path, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::formats::BOND_OPTIONS;

    #[test]
    fn every_option_has_a_place() {
        for (name, _, _) in BOND_OPTIONS {
            let networkd = NETWORKD.iter().any(|(known, _, _)| known == name);
            let member = OF_MEMBERS.iter().any(|(known, _)| known == name);
            let udev = ["lacp_active", "ns_ip6_target", "use_carrier"];
            assert_eq!(
                1,
                usize::from(networkd) + usize::from(member) + usize::from(udev.contains(name)),
                "{name}"
            );
        }
    }
}
