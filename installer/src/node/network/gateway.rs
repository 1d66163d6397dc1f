//! Whether the way out is there: the default route, and a router that answers.
//!
//! In: nothing, or an address. Out: the route, and yes or no.

use std::net::IpAddr;

use anyhow::Context as _;
use serde::Deserialize;

use crate::sys::cmd::Cmd;

/// A default route, as `ip -json route show default` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DefaultRoute {
    /// The router.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// The interface.
    #[serde(default)]
    pub dev: String,
}

/// Reads the default routes of IPv4 and IPv6.
pub fn default_routes() -> anyhow::Result<Vec<DefaultRoute>> {
    let mut routes = Vec::new();
    for family in ["-4", "-6"] {
        let output = Cmd::new("ip")
            .args(["-json", family, "route", "show", "default"])
            .run()?;
        routes.extend(parse_routes(&output.stdout)?);
    }
    Ok(routes)
}

fn parse_routes(bytes: &[u8]) -> anyhow::Result<Vec<DefaultRoute>> {
    // Old versions say nothing at all where there is no route.
    if bytes.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(bytes).context("reading the output of `ip -json route show default`")
}

/// Whether a router answers. One that lets no ping pass still answers who has its address.
pub fn answers(route: &DefaultRoute) -> anyhow::Result<bool> {
    let Some(gateway) = route.gateway else {
        return Ok(false);
    };
    let (address, dev) = (gateway.to_string(), route.dev.as_str());
    let ping = Cmd::new("ping")
        .args(["-n", "-q", "-c", "1", "-W", "1", "-I", dev, &address])
        .run_any()?;
    if ping.status.success() {
        return Ok(true);
    }
    let family = if gateway.is_ipv4() { "-4" } else { "-6" };
    let output = Cmd::new("ip")
        .args(["-json", family, "neigh", "show", &address, "dev", dev])
        .run()?;
    parse_neighbour(&output.stdout)
}

/// ip-neighbour(8): an entry that was asked for now and is still not known is FAILED or INCOMPLETE.
fn parse_neighbour(bytes: &[u8]) -> anyhow::Result<bool> {
    #[derive(Deserialize)]
    struct Neighbour {
        #[serde(default)]
        state: Vec<String>,
    }
    if bytes.trim_ascii().is_empty() {
        return Ok(false);
    }
    let found: Vec<Neighbour> =
        serde_json::from_slice(bytes).context("reading the output of `ip -json neigh show`")?;
    let known = |state: &String| matches!(state.as_str(), "REACHABLE" | "PERMANENT");
    Ok(found.iter().any(|n| n.state.iter().any(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_and_neighbours() {
        let routes = br#"[{"dst":"default","gateway":"10.0.0.1","dev":"mgmt-br","protocol":"static","flags":[]},
            {"dst":"default","dev":"ppp0","flags":[]}]"#;
        let routes = parse_routes(routes).unwrap();
        assert_eq!(routes[0].gateway, Some("10.0.0.1".parse().unwrap()));
        assert_eq!((routes[1].gateway, routes[1].dev.as_str()), (None, "ppp0"));
        assert_eq!(parse_routes(b"[]\n").unwrap(), []);
        assert_eq!(parse_routes(b"").unwrap(), []);
        for (state, answers) in [("REACHABLE", true), ("STALE", false), ("FAILED", false)] {
            let text = format!(
                r#"[{{"dst":"10.0.0.1","lladdr":"52:54:00:12:34:56","state":["{state}"]}}]"#
            );
            assert_eq!(
                parse_neighbour(text.as_bytes()).unwrap(),
                answers,
                "{state}"
            );
        }
        assert!(!parse_neighbour(b"[]").unwrap());
    }
}
