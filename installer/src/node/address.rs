//! Finds the address that a DHCP server gave this node, and tells RKE2.
//!
//! In: the config, addresses and default routes of the kernel. Out: a file of RKE2's config. Runs
//! each time before RKE2 starts, since virtual IPs and addresses of services come and go on the
//! same interface.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Context as _;
use ipnet::Ipv4Net;
use serde::Deserialize;

use super::files::{self, Names};
use super::source;
use super::state::ApplyState;
use crate::cluster;
use crate::failure::{Failure, Kind};
use crate::sys::cmd::Cmd;

/// A default route, as `ip -j route` has it.
#[derive(Debug, Deserialize)]
struct Route {
    /// Empty for one over several interfaces.
    #[serde(default)]
    dev: String,
    /// What the node is called by who is reached this way.
    prefsrc: Option<Ipv4Addr>,
    #[serde(default)]
    metric: u32,
}

/// An interface, as `ip -j address` has it.
#[derive(Debug, Deserialize)]
struct Interface {
    #[serde(default)]
    ifname: String,
    #[serde(default)]
    addr_info: Vec<Info>,
}

#[derive(Debug, Deserialize)]
struct Info {
    local: Option<Ipv4Addr>,
    #[serde(default)]
    prefixlen: u8,
    /// It ends some time: a DHCP server gave it.
    #[serde(default)]
    dynamic: bool,
}

/// Writes what RKE2 needs to know, when this node's address is not in its config.
pub fn run() -> anyhow::Result<()> {
    ApplyState::of_this_boot()?;
    let config = source::read_config(Path::new(source::OEM_DIR))?;
    if !cluster::address_is_found(&config) {
        return Ok(());
    }
    let ask = |what: &[&str]| -> anyhow::Result<String> {
        let words = ["-j", "-4"].iter().chain(what);
        Ok(Cmd::new("ip").args(words).run()?.text())
    };
    let routes = ask(&["route", "show", "default"])?;
    let interfaces = ask(&["address", "show", "scope", "global"])?;
    let others = cluster::addresses_of_cluster(&config);
    let own = choose(&parse(&routes)?, &parse(&interfaces)?, &others).ok_or_else(|| {
        Failure::error(
            Kind::NodeDiffers,
            "no interface with a default route has an IPv4 address of this node's own",
            "look at `ip address`: a DHCP server has to give an address and a router",
        )
    })?;
    for file in cluster::render_address(&config, own) {
        files::write(Path::new("/"), &file, &Names::root_only())?;
    }
    Ok(())
}

/// `ip` says nothing at all where there is nothing.
fn parse<T: serde::de::DeserializeOwned>(text: &str) -> anyhow::Result<Vec<T>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(text).context("reading what ip says of addresses and routes")
}

/// The node's own address: of the best default route, that which the DHCP server gave with it,
/// else the first that has an end, else the first with a network around it. Virtual IPs stand
/// alone (/32) and for ever.
fn choose(routes: &[Route], interfaces: &[Interface], others: &[Ipv4Addr]) -> Option<Ipv4Net> {
    let mut routes: Vec<&Route> = routes.iter().collect();
    routes.sort_by_key(|route| route.metric);
    routes.into_iter().find_map(|route| {
        let interface = interfaces.iter().find(|i| i.ifname == route.dev)?;
        let infos = interface.addr_info.iter();
        let own: Vec<(&Info, Ipv4Net)> = infos
            .filter_map(|info| Some((info, Ipv4Net::new(info.local?, info.prefixlen).ok()?)))
            .filter(|(_, net)| !others.contains(&net.addr()))
            .collect();
        let of_route = own.iter().find(|(_, n)| Some(n.addr()) == route.prefsrc);
        let given = || own.iter().find(|(info, _)| info.dynamic);
        let in_network = || own.iter().find(|(_, net)| net.prefix_len() < 32);
        let best = of_route.or_else(given).or_else(in_network);
        best.map(|(_, net)| *net)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = r#"[
        {"dst":"default","gateway":"10.0.9.1","dev":"ens4","protocol":"dhcp","metric":2048,"flags":[]},
        {"dst":"default","gateway":"10.0.0.1","dev":"ens3","protocol":"dhcp","metric":1024,"flags":[]}]"#;
    const WITH_SOURCE: &str = r#"[{"dst":"default","gateway":"10.0.0.1","dev":"ens3","prefsrc":"10.0.0.11","metric":1024}]"#;
    /// A virtual IP first, as on a node that had it before its lease was renewed.
    const ADDRESSES: &str = r#"[{},
        {"ifindex":2,"ifname":"ens3","addr_info":[
            {"family":"inet","local":"10.0.0.5","prefixlen":32,"scope":"global"},
            {"family":"inet","local":"10.0.0.100","prefixlen":32,"scope":"global"},
            {"family":"inet","local":"10.0.0.11","prefixlen":24,"scope":"global","dynamic":true}]},
        {"ifindex":3,"ifname":"ens4","addr_info":[
            {"family":"inet","local":"10.0.9.11","prefixlen":24,"scope":"global","dynamic":true}]}]"#;

    fn chosen(routes: &str, addresses: &str, others: &[&str]) -> Option<String> {
        let others: Vec<Ipv4Addr> = others.iter().map(|o| o.parse().unwrap()).collect();
        let (routes, addresses) = (parse(routes).unwrap(), parse(addresses).unwrap());
        choose(&routes, &addresses, &others).map(|net| net.to_string())
    }

    #[test]
    fn the_own_address_is_that_of_the_dhcp_server() {
        let own = Some("10.0.0.11/24".to_owned());
        assert_eq!(chosen(ROUTES, ADDRESSES, &["10.0.0.5"]), own);
        // A VIP from DHCP that the config does not know.
        assert_eq!(chosen(ROUTES, ADDRESSES, &[]), own);
        assert_eq!(chosen(WITH_SOURCE, ADDRESSES, &[]), own);
        // The lease has no end.
        let for_ever = ADDRESSES.replace(",\"dynamic\":true", "");
        assert_eq!(chosen(ROUTES, &for_ever, &[]), own);
    }

    #[test]
    fn clouds_give_addresses_that_stand_alone() {
        let alone = ADDRESSES.replace("/24", "/32").replace(":24", ":32");
        let own = Some("10.0.0.11/32".to_owned());
        assert_eq!(chosen(ROUTES, &alone, &[]), own);
    }

    #[test]
    fn the_virtual_ip_is_nobodys_own() {
        let vip = r#"[{"ifname":"ens3","addr_info":[{"local":"10.0.0.5","prefixlen":24,"dynamic":true}]}]"#;
        assert_eq!(chosen(ROUTES, vip, &["10.0.0.5"]), None);
        assert_eq!(chosen("", ADDRESSES, &[]), None);
        assert_eq!(chosen(ROUTES, "[]", &[]), None);
        assert!(parse::<Route>("no json").is_err());
    }
}
