//! The options of a bond: which modes take each, and its values.
//!
//! In: an option's name or value. Out: whether the kernel takes it. Names, numbers and ranges are
//! those of the Linux kernel (`drivers/net/bonding/bond_options.c`).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::bond::BondMode::{self, ActiveBackup, Alb, Broadcast, Lacp, RoundRobin, Tlb, Xor};
use super::{Wrong, interface_name, mac, quoted, wrong};

/// What an option's value may be.
pub enum Value {
    /// A number in this range.
    Number(u32, u32),
    /// One of these words, or its number.
    Words(&'static [(&'static str, u8)]),
    /// Up to 16 IPv4 addresses, separated by commas.
    Addresses,
    /// Up to 16 IPv6 addresses, separated by commas.
    Addresses6,
    /// An interface of the bond.
    Interface,
    /// A MAC address.
    Mac,
}

use Value::{Addresses, Addresses6, Interface, Mac, Number, Words};

const ANY: &[BondMode] = &BondMode::ALL;
const WITH_ARP: &[BondMode] = &[RoundRobin, ActiveBackup, Xor, Broadcast];
const WITH_PRIMARY: &[BondMode] = &[ActiveBackup, Tlb, Alb];
const ONLY_LACP: &[BondMode] = &[Lacp];
const SWITCH: Value = Words(&[("off", 0), ("on", 1)]);
const MILLISECONDS: Value = Number(0, i32::MAX as u32);

/// Every option: its name, the modes that take it, its values.
pub const OPTIONS: &[(&str, &[BondMode], Value)] = &[
    ("active_slave", WITH_PRIMARY, Interface),
    ("ad_actor_sys_prio", ONLY_LACP, Number(1, 65535)),
    ("ad_actor_system", ONLY_LACP, Mac),
    (
        "ad_select",
        ONLY_LACP,
        Words(&[("stable", 0), ("bandwidth", 1), ("count", 2)]),
    ),
    ("ad_user_port_key", ONLY_LACP, Number(0, 1023)),
    ("all_slaves_active", ANY, SWITCH),
    ("arp_all_targets", ANY, Words(&[("any", 0), ("all", 1)])),
    ("arp_interval", WITH_ARP, MILLISECONDS),
    ("arp_ip_target", ANY, Addresses),
    ("arp_missed_max", WITH_ARP, Number(1, 255)),
    (
        "arp_validate",
        WITH_ARP,
        Words(&[
            ("none", 0),
            ("active", 1),
            ("backup", 2),
            ("all", 3),
            ("filter", 4),
            ("filter_active", 5),
            ("filter_backup", 6),
        ]),
    ),
    ("downdelay", ANY, MILLISECONDS),
    (
        "fail_over_mac",
        ANY,
        Words(&[("none", 0), ("active", 1), ("follow", 2)]),
    ),
    ("lacp_active", ONLY_LACP, SWITCH),
    ("lacp_rate", ONLY_LACP, Words(&[("slow", 0), ("fast", 1)])),
    ("lp_interval", ANY, Number(1, i32::MAX as u32)),
    ("miimon", ANY, MILLISECONDS),
    ("min_links", ANY, MILLISECONDS),
    // The name of `arp_missed_max` in the kernel's documentation of netlink.
    ("missed_max", WITH_ARP, Number(1, 255)),
    ("ns_ip6_target", ANY, Addresses6),
    ("num_grat_arp", ANY, Number(0, 255)),
    ("num_unsol_na", ANY, Number(0, 255)),
    ("packets_per_slave", &[RoundRobin], Number(0, 65535)),
    ("peer_notif_delay", ANY, Number(0, 300_000)),
    ("primary", WITH_PRIMARY, Interface),
    (
        "primary_reselect",
        WITH_PRIMARY,
        Words(&[("always", 0), ("better", 1), ("failure", 2)]),
    ),
    ("resend_igmp", ANY, Number(0, 255)),
    ("tlb_dynamic_lb", &[Tlb, Alb], SWITCH),
    ("updelay", ANY, MILLISECONDS),
    ("use_carrier", ANY, SWITCH),
    // The kernel takes it in every mode; these are the ones that balance, for some
    // of their traffic at least.
    (
        "xmit_hash_policy",
        &[Xor, Lacp, Tlb, Alb],
        Words(&[
            ("layer2", 0),
            ("layer3+4", 1),
            ("layer2+3", 2),
            ("encap2+3", 3),
            ("encap3+4", 4),
            ("vlan+srcmac", 5),
        ]),
    ),
];

/// Names of all options.
fn bond_option_names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|(name, _, _)| *name).chain(["mode"])
}

/// A name that is no option, with the nearest that is when that is wanted.
pub fn wrong_name(key: &str, suggest: bool) -> Result<(), Wrong> {
    let near = bond_option_names()
        .filter(|known| suggest && known.len().abs_diff(key.len()) <= 2)
        .map(|known| (strsim::damerau_levenshtein(key, known), known))
        .min()
        .filter(|(distance, _)| *distance <= 2);
    let hint = match near {
        Some((_, known)) => format!("did you mean {known}?"),
        None => "such as mode, miimon, primary, lacp_rate, xmit_hash_policy".to_owned(),
    };
    wrong(format!("{} is not a bond option", quoted(key)), hint)
}

/// Whether a text is one of an option's values.
pub fn bond_value(values: &Value, text: &str) -> Result<(), Wrong> {
    match values {
        Number(least, most) => match text.parse::<u32>() {
            Ok(number) if (*least..=*most).contains(&number) => Ok(()),
            _ => wrong(
                format!("{} is not a number from {least} to {most}", quoted(text)),
                "such as 100",
            ),
        },
        Words(words) => {
            let same = |(word, number): &(&str, u8)| *word == text || number.to_string() == text;
            if words.iter().any(same) {
                return Ok(());
            }
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            wrong(
                format!("{} is not one of its values", quoted(text)),
                format!("one of {}", names.join(", ")),
            )
        }
        Addresses => addresses::<Ipv4Addr>(text, "IPv4"),
        Addresses6 => addresses::<Ipv6Addr>(text, "IPv6"),
        Interface => interface_name(text).map(drop),
        Mac => mac(text).map(drop),
    }
}

fn addresses<T: FromStr>(text: &str, family: &str) -> Result<(), Wrong> {
    let good = |a: &str| a.trim().parse::<T>().is_ok();
    if text.split(',').all(good) && text.split(',').count() <= 16 {
        return Ok(());
    }
    wrong(
        format!("{} is not a list of {family} addresses", quoted(text)),
        "1 to 16 addresses separated by commas",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_once() {
        let names: Vec<&str> = OPTIONS.iter().map(|(name, _, _)| *name).collect();
        assert!(names.is_sorted());
        assert_eq!(
            names.len(),
            names
                .iter()
                .collect::<std::collections::BTreeSet<_>>()
                .len()
        );
    }
}
