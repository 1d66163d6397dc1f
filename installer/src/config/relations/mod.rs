//! The rules between keys: one function each, without I/O, in a table.
//!
//! In: answers whose single values are checked. Out: problems by key. A value that could not
//! be read is passed over here; its own problem is said elsewhere.

mod access;
mod address;
mod bond;
mod devices;
mod disks;
mod free_keys;
mod links;
mod mode;
mod networks;
mod pods;
mod requests;
mod settings;
mod vip;

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::answers::Answers;
use super::formats;
use super::problem::Problems;

/// A rule between keys.
pub type Rule = fn(&Answers, &mut Problems);

/// Every rule.
pub const RULES: [Rule; 31] = [
    mode::mode_is_needed,
    mode::token_is_needed,
    mode::server_url_follows_mode,
    mode::only_create_decides_the_cluster,
    mode::create_needs_a_manager,
    access::somebody_can_log_in,
    access::hash_is_strong,
    access::files_are_distinct,
    address::static_is_complete,
    address::method_uses_its_keys,
    address::gateway_is_reachable,
    address::ipv6_is_complete,
    vip::vip_is_complete,
    vip::vip_is_free_and_near,
    networks::networks_are_apart,
    networks::dns_is_a_service,
    pods::pods_fit,
    bond::options_go_together,
    links::nics_are_used_once,
    links::links_are_complete,
    disks::disks_go_together,
    requests::requests_are_complete,
    settings::settings_are_known,
    settings::settings_are_usable,
    free_keys::labels_and_taints_are_kubernetes,
    free_keys::variables_are_usable,
    free_keys::headers_are_http,
    free_keys::pools_are_apart,
    devices::items_are_complete,
    devices::multipath_is_complete,
    networks::machines_are_outside,
];

/// Network of the pods when nobody says.
pub const POD_CIDR: &str = "10.52.0.0/16";
/// Network of the services when nobody says.
pub const SERVICE_CIDR: &str = "10.53.0.0/16";
/// Address of the cluster's DNS when nobody says.
pub const CLUSTER_DNS: &str = "10.53.0.10";
/// Most pods on a node when nobody says.
pub const MAX_PODS: u32 = 200;

/// Runs every rule.
pub fn check(answers: &Answers) -> Problems {
    let mut problems = Problems::default();
    for rule in RULES {
        rule(answers, &mut problems);
    }
    problems
}

/// An address that is given and readable.
fn ipv4(text: Option<&String>) -> Option<Ipv4Addr> {
    text?.trim().parse().ok()
}

/// The node's management network, when its address is fixed.
pub fn management_network(answers: &Answers) -> Option<(Ipv4Addr, IpNet)> {
    use super::answers::Method;
    let given = &answers.install.management_interface;
    if given.method != Some(Method::Static) {
        return None;
    }
    let ip = ipv4(given.ip.as_ref())?;
    let prefix = formats::subnet_mask(given.subnet_mask.as_deref()?).ok()?;
    Some((ip, around(ip.into(), prefix)?))
}

/// A network that is given, or its default.
pub fn cidr_or(text: Option<&String>, default: &str) -> Option<IpNet> {
    formats::cidr(text.map_or(default, String::as_str)).ok()
}

/// The network that an address is in.
fn around(address: IpAddr, prefix: u8) -> Option<IpNet> {
    IpNet::new(address, prefix).ok().map(|net| net.trunc())
}

#[cfg(test)]
pub mod tests;
