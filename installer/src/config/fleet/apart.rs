//! What only one node of a cluster may have, and what all or none have: names, addresses, gateways,
//! one subnet, time servers.
//!
//! In: all configs alike. Out: problems of those that come later.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use super::{Fleet, machine_networks};
use crate::config::answers::Answers;
use crate::config::formats;
use crate::config::load::Checked;
use crate::config::problem::Code;
use crate::config::relations::{gateway, macs, management_network};

const VIP: &str = "install.vip";
const VIP_MAC: &str = "install.vip_hw_addr";

impl Fleet<'_> {
    pub(super) fn names_are_unique(&mut self) {
        let mut seen: HashMap<String, &Checked> = HashMap::new();
        for node in self.members.clone() {
            let Some(name) = node.answers.os.hostname.clone() else {
                continue;
            };
            // Each machine makes its own of it.
            if formats::is_template(&name) {
                continue;
            }
            if let Some(first) = seen.get(&name) {
                let message = format!("{name} is the name of {} already", first.main);
                let hint = "Kubernetes knows nodes by their names";
                self.add(node, Code::SameHostname, "os.hostname", message, hint);
            } else {
                seen.insert(name, node);
            }
        }
    }

    pub(super) fn addresses_are_unique(&mut self) {
        let mut seen: HashMap<String, (&Checked, String)> = HashMap::new();
        for node in self.members.clone() {
            for (field, address) in addresses_of(&node.answers) {
                match seen.get(&address) {
                    Some((first, other)) if !std::ptr::eq(*first, node) => {
                        // Every config of a cluster may name the one virtual IP.
                        if field == *other && [VIP, VIP_MAC].contains(&field.as_str()) {
                            continue;
                        }
                        let message = format!("{address} is {other} of {}", first.main);
                        self.add(node, Code::SameAddress, &field, message, "a free address");
                    }
                    Some(_) => {}
                    None => {
                        seen.insert(address, (node, field));
                    }
                }
            }
        }
    }

    pub(super) fn gateways_are_no_nodes(&mut self) {
        let mut gateways: HashMap<Ipv4Addr, &Checked> = HashMap::new();
        for node in &self.members {
            if let Some(ip) = gateway(&node.answers) {
                gateways.entry(ip).or_insert(node);
            }
        }
        for node in self.members.clone() {
            for (field, ip, _) in machine_networks(&node.answers) {
                // Its own gateway is checked with the node.
                let other = gateways.get(&ip);
                if let Some(other) = other.filter(|_| gateway(&node.answers) != Some(ip)) {
                    let message = format!("{ip} is the gateway of {}", other.main);
                    self.add(node, Code::SameAddress, &field, message, "a free address");
                }
            }
        }
    }

    pub(super) fn subnets_are_one(&mut self) {
        let mut first = None;
        for node in self.members.clone() {
            let Some((_, subnet)) = management_network(&node.answers) else {
                continue;
            };
            let (theirs, name) = *first.get_or_insert((subnet, &node.main));
            if theirs != subnet {
                let message = format!("in {subnet}, but {name} is in {theirs}");
                let hint = "a virtual IP is reached by ARP, which ends at a router";
                let field = "install.management_interface.ip";
                self.add(node, Code::SubnetDiffers, field, message, hint);
            }
        }
    }

    pub(super) fn time_is_one(&mut self) {
        let has = |n: &&Checked| !n.answers.os.ntp_servers.is_empty();
        let with = self.members.iter().filter(|n| has(n)).count();
        if with == 0 || with == self.members.len() {
            return;
        }
        for node in self.members.clone() {
            if !has(&node) {
                let message = "missing, but other nodes have time servers".to_owned();
                let hint = "clocks that differ break the cluster's database";
                self.add(node, Code::NtpDiffers, "os.ntp_servers", message, hint);
            }
        }
    }
}

/// Addresses that only one node may have, each with its key.
fn addresses_of(answers: &Answers) -> Vec<(String, String)> {
    let install = &answers.install;
    let fixed = machine_networks(answers).into_iter();
    let mut found: Vec<_> = fixed.map(|(key, ip, _)| (key, ip.to_string())).collect();
    let vip = install.vip.as_deref();
    let vip = vip.and_then(|t| t.trim().parse::<IpAddr>().ok());
    found.extend(vip.map(|ip| (VIP.to_owned(), ip.to_string())));
    found.extend(macs(answers));
    let mac = install.vip_hw_addr.as_deref();
    let mac = mac.and_then(|m| formats::mac(m).ok());
    found.extend(mac.map(|mac| (VIP_MAC.to_owned(), mac)));
    found
}
