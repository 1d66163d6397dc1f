//! Whether somebody has the virtual IP already.
//!
//! In: the config of a node that creates a cluster, and the addresses of this machine. Out: an error
//! that names who answered; a warning where nobody could be asked. Asked by ARP probes
//! (RFC 5227), which claim nothing and leave no trace in anybody's tables.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context as _;
use ipnet::Ipv4Net;
use serde::Deserialize;

use crate::config::{Config, Mode, Vip};
use crate::failure::{Failure, Kind};
use crate::sys::cmd::Cmd;

/// How many probes are sent, a second apart.
const PROBES: &str = "3";
/// Seconds until nobody answers any more.
const SECONDS: &str = "4";
/// When `arping` itself does not come back.
const PATIENCE: Duration = Duration::from_secs(30);

/// A link of this machine, as `ip -json address` has it.
#[derive(Debug, Deserialize)]
struct Link {
    // Links that were not asked for are there as empty objects.
    #[serde(default)]
    ifname: String,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Debug, Deserialize)]
struct Address {
    local: Ipv4Addr,
    prefixlen: u8,
}

/// Asks for the VIP of a cluster that `config` creates. What could not be asked is a warning.
pub fn check_vip(config: &Config) -> anyhow::Result<Option<String>> {
    let (Mode::Create { .. }, Some(Vip::Static(vip))) = (&config.mode, &config.cluster.vip) else {
        return Ok(None);
    };
    let unasked = |why: String| Ok(Some(format!("whether somebody has the VIP {vip}: {why}")));
    let asked = Cmd::new("ip").args(["-json", "-4", "address", "show", "up", "scope", "global"]);
    let links = match asked.run() {
        Ok(output) => parse_links(&output.stdout)?,
        Err(error) => return unasked(format!("not asked, {error}")),
    };
    let Some(link) = link_to(*vip, &links) else {
        return unasked("not asked, no link of this machine is in its network".to_owned());
    };
    let probe = Cmd::new("arping").args(["-D", "-c", PROBES, "-w", SECONDS, "-I", link]);
    let output = match probe.arg(vip.to_string()).limit(PATIENCE).run_any() {
        Ok(output) => output,
        Err(error) => return unasked(format!("not asked, {error}")),
    };
    match output.status.code() {
        Some(0) => Ok(None),
        Some(1) => Err(Failure::error(
            Kind::ConfigInvalid,
            format!(
                "the virtual IP {vip} is taken: {} answers for it on {link}",
                who(&output.text()).unwrap_or("somebody")
            ),
            "set install.vip to an address that nobody has, or find out who has it; \
             nothing was changed on any disk",
        )),
        _ => unasked(format!("arping could not ask: {}", output.stderr.trim())),
    }
}

fn parse_links(json: &[u8]) -> anyhow::Result<Vec<Link>> {
    serde_json::from_slice(json).context("reading what `ip -json address` says")
}

/// The first link in whose network `vip` is.
fn link_to(vip: Ipv4Addr, links: &[Link]) -> Option<&str> {
    let near = |address: &Address| {
        Ipv4Net::new(address.local, address.prefixlen).is_ok_and(|net| net.contains(&vip))
    };
    let link = links.iter().find(|link| link.addr_info.iter().any(near))?;
    Some(&link.ifname)
}

/// The hardware address in `Unicast reply from 10.0.0.9 [02:00:00:00:00:09] 0.6ms`.
fn who(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once('[')?;
    let (address, _) = rest.split_once(']')?;
    Some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &[u8] = br#"[{},{"ifname":"lo","addr_info":[]},
        {"ifname":"ens3","addr_info":[{"family":"inet","local":"10.0.2.15","prefixlen":24,"scope":"global"}]},
        {"ifname":"ens4","addr_info":[{"local":"192.168.0.2","prefixlen":30}]}]"#;

    #[test]
    fn the_link_is_that_of_the_network() {
        let links = parse_links(SAID).unwrap();
        for (vip, link) in [
            ("10.0.2.100", Some("ens3")),
            ("192.168.0.1", Some("ens4")),
            ("192.168.0.5", None),
        ] {
            assert_eq!(link_to(vip.parse().unwrap(), &links), link, "{vip}");
        }
        assert!(parse_links(b"nonsense").is_err());
    }

    #[test]
    fn who_answers_is_named() {
        let said = "ARPING 10.0.0.9 from 0.0.0.0 v\nUnicast reply from 10.0.0.9 [02:00:00:00:00:09]  0.6ms\n";
        assert_eq!(who(said), Some("02:00:00:00:00:09"));
        assert_eq!(who("Sent 3 probes\nReceived 0 response(s)"), None);
    }
}
