//! The node's own address, for a node that gets one from a DHCP server.
//!
//! In: the config, the address with its network. Out: what RKE2 is told of it, and its proxy's
//! exceptions with that network. RKE2 would take the first address of the interface with the
//! default route, and that can be the virtual IP while the node has it. A node with a fixed
//! address has all this from its config.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::Serialize;

use super::{CONFIG_DIR, proxy, yaml};
use crate::config::{Config, Ipv4Method, Mode, Vip, formats};
use crate::node::files::NodeFile;

/// Read by RKE2's unit after its other environment.
const ENVIRONMENT: &str = "/run/harrow/address.env";

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Own {
    node_ip: String,
}

/// Whether a node's address has to be found where it runs.
pub fn address_is_found(config: &Config) -> bool {
    config.management.ipv4 == Ipv4Method::Dhcp && super::Part::of(config).is_some()
}

/// Addresses that are the cluster's and never a node's own, as far as the config has them.
pub fn addresses_of_cluster(config: &Config) -> Vec<Ipv4Addr> {
    let mut all = Vec::new();
    match &config.cluster.vip {
        Some(Vip::Static(address)) => all.push(*address),
        Some(Vip::Dhcp { wish, .. }) => all.extend(*wish),
        None => {}
    }
    if let Mode::Join { server_url, .. } = &config.mode {
        let host = formats::server_url(server_url).ok().map(|url| url.host);
        all.extend(host.and_then(|host| host.parse::<Ipv4Addr>().ok()));
    }
    all
}

/// Files for a node that has this address.
pub fn render_address(config: &Config, own: Ipv4Net) -> Vec<NodeFile> {
    let node_ip = own.addr().to_string();
    let path = format!("{CONFIG_DIR}/45-harrow-address.yaml");
    let mut files = vec![NodeFile::with_mode(
        &path,
        yaml::text(&Own { node_ip }),
        0o600,
    )];
    if config.cluster.proxy.is_used() {
        let mut without = proxy::without_proxy(config);
        without.push(own.trunc().to_string());
        let value = proxy::quoted(&without.join(","));
        let text = format!("NO_PROXY={value}\n");
        files.push(NodeFile::with_mode(ENVIRONMENT, text, 0o600));
    }
    files
}
