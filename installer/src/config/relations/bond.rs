//! Options of bonds (the kernel's networking/bonding.rst): which there are, what they may say,
//! and in which modes they mean something.

use std::collections::BTreeMap;

use super::super::answers::{Answers, InterfaceAnswers, Scalar};
use super::super::problem::{Code, Problems};

const MODES: [&str; 7] = [
    "balance-rr",
    "active-backup",
    "balance-xor",
    "broadcast",
    "802.3ad",
    "balance-tlb",
    "balance-alb",
];

/// What an option may say.
enum Allowed {
    Number(u64, u64),
    Words(&'static [&'static str]),
    Any,
}

/// Name, values, and the modes in which it means something; none means all.
const OPTIONS: [(&str, Allowed, &[&str]); 24] = [
    ("mode", Allowed::Words(&MODES), &[]),
    ("miimon", Allowed::Number(0, 60_000), &[]),
    ("updelay", Allowed::Number(0, 600_000), &[]),
    ("downdelay", Allowed::Number(0, 600_000), &[]),
    ("use_carrier", Allowed::Number(0, 1), &[]),
    ("min_links", Allowed::Number(0, 64), &["802.3ad"]),
    (
        "lacp_rate",
        Allowed::Words(&["slow", "fast", "0", "1"]),
        &["802.3ad"],
    ),
    (
        "lacp_active",
        Allowed::Words(&["off", "on", "0", "1"]),
        &["802.3ad"],
    ),
    (
        "ad_select",
        Allowed::Words(&["stable", "bandwidth", "count", "0", "1", "2"]),
        &["802.3ad"],
    ),
    (
        "ad_actor_sys_prio",
        Allowed::Number(1, 65_535),
        &["802.3ad"],
    ),
    ("ad_actor_system", Allowed::Any, &["802.3ad"]),
    ("ad_user_port_key", Allowed::Number(0, 1023), &["802.3ad"]),
    (
        "xmit_hash_policy",
        Allowed::Words(&[
            "layer2",
            "layer2+3",
            "layer3+4",
            "encap2+3",
            "encap3+4",
            "vlan+srcmac",
        ]),
        &["balance-xor", "802.3ad", "balance-tlb"],
    ),
    (
        "primary",
        Allowed::Any,
        &["active-backup", "balance-tlb", "balance-alb"],
    ),
    (
        "primary_reselect",
        Allowed::Words(&["always", "better", "failure", "0", "1", "2"]),
        &["active-backup", "balance-tlb", "balance-alb"],
    ),
    (
        "active_slave",
        Allowed::Any,
        &["active-backup", "balance-tlb", "balance-alb"],
    ),
    (
        "fail_over_mac",
        Allowed::Words(&["none", "active", "follow", "0", "1", "2"]),
        &["active-backup"],
    ),
    ("num_grat_arp", Allowed::Number(0, 255), &["active-backup"]),
    ("num_unsol_na", Allowed::Number(0, 255), &["active-backup"]),
    (
        "arp_interval",
        Allowed::Number(0, 60_000),
        &["balance-rr", "active-backup", "balance-xor", "broadcast"],
    ),
    (
        "arp_ip_target",
        Allowed::Any,
        &["balance-rr", "active-backup", "balance-xor", "broadcast"],
    ),
    (
        "arp_validate",
        Allowed::Any,
        &["balance-rr", "active-backup", "balance-xor", "broadcast"],
    ),
    (
        "packets_per_slave",
        Allowed::Number(0, 65_535),
        &["balance-rr"],
    ),
    ("resend_igmp", Allowed::Number(0, 255), &[]),
];

/// Checks the options of every bond.
pub fn options_go_together(answers: &Answers, problems: &mut Problems) {
    let management = &answers.install.management_interface;
    check(
        "install.management_interface",
        &management.bond_options,
        &management.interfaces,
        problems,
    );
    for (name, link) in &answers.install.networks {
        let field = format!("install.networks.{name}");
        check(&field, &link.bond_options, &link.interfaces, problems);
    }
}

fn check(
    network: &str,
    options: &BTreeMap<String, Scalar>,
    nics: &[InterfaceAnswers],
    problems: &mut Problems,
) {
    let field = |name: &str| format!("{network}.bond_options.{name}");
    let said = options.get("mode").map(ToString::to_string);
    let mode = match said.as_deref() {
        None => Some("active-backup"),
        Some(text) => mode_of(text),
    };
    for (name, value) in options {
        let value = value.to_string();
        let Some((_, allowed, modes)) = OPTIONS.iter().find(|(n, _, _)| n == name) else {
            let near = OPTIONS
                .iter()
                .filter(|_| name.len() < 40)
                .map(|(known, _, _)| (strsim::damerau_levenshtein(name, known), known))
                .min()
                .filter(|(distance, _)| *distance <= 2);
            let hint = near.map_or_else(
                || "the kernel's documentation of bonding lists them".to_owned(),
                |(_, known)| format!("did you mean {known}?"),
            );
            let message = "bonds have no such option";
            problems.add(Code::UnknownKey, field(name), message, hint);
            continue;
        };
        if let Some((code, hint)) = wrong_value(name, allowed, &value) {
            let message = format!("{value:?} is not one of its values");
            problems.add(code, field(name), message, hint);
        } else if let Some(mode) = mode.filter(|m| !modes.is_empty() && !modes.contains(m)) {
            problems.add(
                Code::BondConflict,
                field(name),
                format!("means nothing in mode {mode}"),
                format!("it goes with {}", modes.join(", ")),
            );
        }
    }
    let number = |name: &str| {
        options
            .get(name)
            .and_then(|v| v.to_string().parse::<u64>().ok())
    };
    if number("miimon").is_some_and(|n| n > 0) && number("arp_interval").is_some_and(|n| n > 0) {
        let message = "a link is watched by miimon or by ARP, not by both";
        problems.add(
            Code::BondConflict,
            field("arp_interval"),
            message,
            "leave one out",
        );
    }
    for name in ["updelay", "downdelay"] {
        if number("miimon") == Some(0) && number(name).is_some_and(|n| n > 0) {
            let message = "needs miimon, which is off";
            problems.add(Code::BondConflict, field(name), message, "miimon: 100");
        }
    }
    if let Some(primary) = options.get("primary").map(ToString::to_string) {
        let known = nics.iter().any(|n| n.name.as_deref() == Some(&primary));
        if !known && !nics.is_empty() && nics.iter().all(|n| n.name.is_some()) {
            let message = format!("{primary} is not a NIC of this bond");
            problems.add(
                Code::BondConflict,
                field("primary"),
                message,
                "one of its interfaces",
            );
        }
    }
}

/// The kernel takes numbers for modes too.
fn mode_of(text: &str) -> Option<&'static str> {
    let by_number = text.parse::<usize>().ok().and_then(|n| MODES.get(n));
    let by_name = MODES.iter().find(|m| **m == text);
    by_number.or(by_name).copied()
}

fn wrong_value(name: &str, allowed: &Allowed, value: &str) -> Option<(Code, String)> {
    match allowed {
        Allowed::Any => None,
        Allowed::Words(_) if name == "mode" && mode_of(value).is_some() => None,
        Allowed::Words(words) => {
            (!words.contains(&value)).then(|| (Code::NotOneOf, words.join(", ")))
        }
        Allowed::Number(min, max) => match value.parse::<u64>() {
            Ok(n) if (*min..=*max).contains(&n) => None,
            _ => Some((Code::OutOfRange, format!("{min} to {max}"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GOOD, codes};
    use super::*;

    #[test]
    fn options_of_real_configs_are_fine() {
        for options in [
            "{mode: balance-tlb, miimon: 100}",
            "{mode: 802.3ad, lacp_rate: fast, xmit_hash_policy: layer3+4}",
            "{mode: 4, min_links: 1}",
            "{mode: active-backup, primary: ens3}",
        ] {
            let text = GOOD.replace(
                "method: static",
                &format!("method: static\n    bond_options: {options}"),
            );
            assert_eq!(codes(&text), [], "{options}");
        }
    }

    #[test]
    fn contradictions_are_found() {
        for (options, code) in [
            ("{miimon: 100, arp_interval: 100}", Code::BondConflict),
            ("{miimon: 0, updelay: 200}", Code::BondConflict),
            ("{primary: ens9}", Code::BondConflict),
            ("{mode: 802.3ad, lacp_rate: quick}", Code::NotOneOf),
            ("{miimon: -1}", Code::OutOfRange),
        ] {
            let text = GOOD.replace(
                "method: static",
                &format!("method: static\n    bond_options: {options}"),
            );
            let found: Vec<Code> = codes(&text).into_iter().map(|(code, _)| code).collect();
            assert_eq!(found, [code], "{options}");
        }
    }
}
