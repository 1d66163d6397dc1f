//! The rules between keys: one function each, without I/O, in a table.
//!
//! In: answers whose single values are checked. Out: problems by key. A value that could not
//! be read is passed over here; its own problem is said elsewhere.

mod access;
mod addons;
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

use super::answers::{Answers, InstallMode, LinkAnswers, Method};
use super::formats;
use super::problem::Problems;

pub use links::macs;
pub use networks::{dns_of, overlap};
pub use pods::{mask_for, node_mask, room};

/// A rule between keys.
pub type Rule = fn(&Answers, &mut Problems);

/// Every rule.
pub const RULES: [Rule; 39] = [
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
    vip::vip_mac_is_free,
    vip::vip_is_in_the_certificate,
    networks::networks_are_apart,
    networks::dns_is_a_service,
    pods::pods_fit,
    pods::reservations_bear_the_pods,
    bond::options_go_together,
    links::nics_are_used_once,
    links::bonds_are_shared_whole,
    links::links_are_complete,
    links::addresses_are_used_once,
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
    devices::virtual_functions_are_of_use,
    addons::addons_find_what_they_need,
    addons::v2_engine_has_disks,
    networks::machines_are_outside,
];

/// Network of the pods when nobody says.
pub const POD_CIDR: &str = "10.52.0.0/16";
/// Network of the services when nobody says.
pub const SERVICE_CIDR: &str = "10.53.0.0/16";
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
    let given = &answers.install.management_interface;
    if given.method != Some(Method::Static) {
        return None;
    }
    let ip = ipv4(given.ip.as_ref())?;
    let prefix = formats::subnet_mask(given.subnet_mask.as_deref()?).ok()?;
    Some((ip, around(ip.into(), prefix)?))
}

/// The gateway of the management network; where that has no fixed address, one does nothing.
pub fn gateway(answers: &Answers) -> Option<Ipv4Addr> {
    management_network(answers)?;
    ipv4(answers.install.management_interface.gateway.as_ref())
}

/// A network that is given, or its default.
pub fn cidr_or(text: Option<&String>, default: &str) -> Option<IpNet> {
    formats::cidr(text.map_or(default, String::as_str)).ok()
}

/// A network of the cluster: what is said, or the default. Whoever joins does not know the
/// networks of the cluster, so there it is only what is said.
fn cluster_network(answers: &Answers, said: Option<&String>, default: &str) -> Option<IpNet> {
    if said.is_none() && answers.install.mode == Some(InstallMode::Join) {
        return None;
    }
    cidr_or(said, default)
}

/// The networks of pods and of services, as far as this config decides them.
pub fn cluster_networks(answers: &Answers) -> [(&'static str, Option<IpNet>); 2] {
    let install = &answers.install;
    let (pods, services) = (&install.cluster_pod_cidr, &install.cluster_service_cidr);
    [
        ("pod", cluster_network(answers, pods.as_ref(), POD_CIDR)),
        (
            "service",
            cluster_network(answers, services.as_ref(), SERVICE_CIDR),
        ),
    ]
}

/// The further networks of the node whose address is fixed, by name.
pub fn link_networks(answers: &Answers) -> Vec<(&str, Ipv4Addr, Option<IpNet>)> {
    let links = answers.install.networks.iter();
    let fixed = links.filter_map(|(name, link)| {
        let (ip, subnet) = link_network(link)?;
        Some((name.as_str(), ip, subnet))
    });
    fixed.collect()
}

/// The address of a further network, when it is fixed, and the network around it.
fn link_network(link: &LinkAnswers) -> Option<(Ipv4Addr, Option<IpNet>)> {
    if link.method != Some(Method::Static) {
        return None;
    }
    let ip = ipv4(link.ip.as_ref())?;
    let mask = link.subnet_mask.as_deref();
    let mask = mask.and_then(|m| formats::subnet_mask(m).ok());
    Some((ip, mask.and_then(|m| around(ip.into(), m))))
}

/// The network that an address is in.
fn around(address: IpAddr, prefix: u8) -> Option<IpNet> {
    IpNet::new(address, prefix).ok().map(|net| net.trunc())
}

#[cfg(test)]
pub mod tests;
