//! The proxy of RKE2 and of what fetches its payload.
//!
//! In: the config. Out: environment files of systemd (`EnvironmentFile=`), for root alone, since a
//! proxy's URL can hold a password. RKE2 hands the variables on to containerd and kubelet.

use std::fmt::Write as _;

use super::Part;
use crate::config::{Config, Ipv4Method, Mode, Proxy, Secret, Vip, formats};
use crate::node::files::NodeFile;

/// What never goes through a proxy on a node: itself, and what the cluster answers for.
const OWN: [&str; 5] = ["localhost", "127.0.0.0/8", "::1", ".svc", ".cluster.local"];
/// The unit that fetches the payload.
const PAYLOAD_UNIT: &str = "harrow-payload";

pub(super) fn render_proxy(config: &Config, part: Part) -> Vec<NodeFile> {
    let proxy = &config.cluster.proxy;
    if !proxy.is_used() {
        return Vec::new();
    }
    let without = without_proxy(config).join(",");
    let mut text = String::new();
    let url = |url: &Option<Secret>| url.as_ref().map(|url| url.expose().to_owned());
    for (name, value) in [
        ("HTTP_PROXY", url(&proxy.http)),
        ("HTTPS_PROXY", url(&proxy.https)),
        ("NO_PROXY", Some(without)),
    ] {
        if let Some(value) = value {
            // Writing to a String can't fail.
            let _ = writeln!(text, "{name}={}", quoted(&value));
        }
    }
    let file = |unit: &str| NodeFile::with_mode(&format!("/etc/default/{unit}"), &*text, 0o600);
    vec![file(part.unit()), file(PAYLOAD_UNIT)]
}

/// Hosts, domains and networks that are reached without a proxy: those of the cluster, then what
/// was said.
pub(super) fn without_proxy(config: &Config) -> Vec<String> {
    let networks = &config.cluster.networks;
    let mut all = OWN.map(str::to_owned).to_vec();
    all.push(networks.pods.to_string());
    all.push(networks.services.to_string());
    if let Ipv4Method::Static(fixed) = &config.management.ipv4
        && let Ok(subnet) = ipnet::Ipv4Net::new(fixed.address, fixed.prefix)
    {
        all.push(subnet.trunc().to_string());
    }
    match &config.cluster.vip {
        Some(Vip::Static(address)) => all.push(address.to_string()),
        Some(Vip::Dhcp { wish, .. }) => all.extend(wish.map(|address| address.to_string())),
        None => {}
    }
    if let Mode::Join { server_url, .. } = &config.mode {
        all.extend(formats::server_url(server_url).ok().map(|url| url.host));
    }
    let Proxy { none, .. } = &config.cluster.proxy;
    for item in none {
        if !all.contains(item) {
            all.push(item.clone());
        }
    }
    all
}

/// A value as systemd.exec(5) reads it from an environment file.
pub(super) fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            text.push('\\');
        }
        text.push(c);
    }
    text + "\""
}
