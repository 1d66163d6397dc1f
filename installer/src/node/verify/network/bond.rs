//! The NICs and options of a bond.

use crate::config::{NicSelector, NodeNetwork};
use crate::node::network::is_awaited;

use super::super::Check;
use super::seen::{Link, Seen};

/// Checks of a bond.
pub(super) fn check(name: &str, device: &str, network: &NodeNetwork, seen: &Seen) -> Vec<Check> {
    let mut checks = vec![check_members(name, device, network, seen)];
    let Some(options) = seen.bonds.get(device) else {
        let missing = "no such bond".to_owned();
        let check = format!("network {name} bond mode");
        checks.push(Check::equal(check, network.bond.mode.name(), missing));
        return checks;
    };
    let said = network.bond.options.iter();
    let mode = ("mode", network.bond.mode.name());
    for (option, wanted) in
        std::iter::once(mode).chain(said.map(|(key, value)| (key.as_str(), value.as_str())))
    {
        let check = format!("network {name} bond {option}");
        // Which NIC works may have changed since, that is what a bond is for.
        if option == "active_slave" {
            continue;
        }
        let file = if option == "missed_max" {
            "arp_missed_max"
        } else {
            option
        };
        let Some(actual) = options.get(file) else {
            checks.push(Check::skipped(check, "the kernel does not show it"));
            continue;
        };
        checks.push(Check::holds(check, same(wanted, actual), wanted, actual));
    }
    checks
}

/// sysfs shows words with their numbers (`slow 0`), and lists with blanks.
fn same(wanted: &str, actual: &str) -> bool {
    let words: Vec<&str> = actual.split_whitespace().collect();
    let list: Vec<&str> = wanted.split(',').map(str::trim).collect();
    let switch = match wanted {
        "on" => "1",
        "off" => "0",
        other => other,
    };
    words == list || words.contains(&wanted) || words.contains(&switch)
}

/// Every NIC that is meant is in the bond, and one at least has a cable.
fn check_members(name: &str, device: &str, network: &NodeNetwork, seen: &Seen) -> Check {
    let belongs = |link: &&Link| link.master.as_deref() == Some(device);
    let members: Vec<&Link> = seen.links.iter().filter(belongs).collect();
    let state = |link: &&Link| {
        let cable = if link.has_carrier() { "" } else { ", no link" };
        format!("{} ({}{cable})", link.ifname, link.own_mac())
    };
    let actual: Vec<String> = members.iter().map(state).collect();
    let actual = if actual.is_empty() {
        "none".to_owned()
    } else {
        actual.join(", ")
    };
    if network.nics.is_empty() && !is_awaited(network) {
        let why = format!("none is named and no address wanted; there: {actual}");
        return Check::skipped(format!("network {name} nics"), why);
    }
    let up = members.iter().any(|link| link.has_carrier());
    let all = network
        .nics
        .iter()
        .all(|nic| members.iter().any(|link| is(nic, link)));
    let expected: Vec<String> = network.nics.iter().map(words).collect();
    let expected = match expected.is_empty() {
        true => "wired NICs".to_owned(),
        false => expected.join(", "),
    };
    let holds = up && all && (network.nics.is_empty() || members.len() == network.nics.len());
    let expected = format!("{expected}; one with a link at least");
    Check::holds(format!("network {name} nics"), holds, expected, actual)
}

fn is(nic: &NicSelector, link: &Link) -> bool {
    let mac = nic.mac.as_deref().is_none_or(|mac| link.own_mac() == mac);
    let slot = nic.slot.is_none() || nic.slot == link.slot;
    let named = nic.mac.is_some() || nic.slot.is_some();
    let name = named || nic.name.as_deref() == Some(&link.ifname);
    link.is_physical() && mac && slot && name
}

fn words(nic: &NicSelector) -> String {
    let all = [&nic.mac, &nic.slot];
    let known: Vec<&str> = all.into_iter().flatten().map(String::as_str).collect();
    match known.is_empty() {
        true => nic.name.clone().unwrap_or_default(),
        false => known.join(" in "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_as_sysfs_shows_them() {
        for (wanted, actual, expected) in [
            ("802.3ad", "802.3ad 4", true),
            ("4", "802.3ad 4", true),
            ("active-backup", "802.3ad 4", false),
            ("100", "100", true),
            ("off", "0", true),
            ("on", "on 1", true),
            ("10.0.0.1,10.0.0.2", "10.0.0.1 10.0.0.2", true),
            ("10.0.0.1,10.0.0.3", "10.0.0.1 10.0.0.2", false),
        ] {
            assert_eq!(same(wanted, actual), expected, "{wanted} {actual}");
        }
    }
}
