//! What the machine says of its networks, read once.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::config::{Config, Ipv4Method};
use crate::node::network;
use crate::node::network::gateway::{self, DefaultRoute};
use crate::sys::cmd::Cmd;

/// Everything that the checks look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub links: Vec<Link>,
    /// Options of bonds, by device and by the kernel's name, as sysfs has them.
    pub bonds: BTreeMap<String, BTreeMap<String, String>>,
    /// VLANs of ports of bridges, by device.
    pub vlans: BTreeMap<String, Vec<PortVlan>>,
    pub routes: Vec<DefaultRoute>,
    /// Of these, the devices whose router answers.
    pub answering: Vec<String>,
    /// What programs get that don't go through resolved's stub.
    pub resolv: String,
    /// What networkd said of addresses that others have.
    pub conflicts: Vec<String>,
}

/// A link as `ip -json -details address show` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Link {
    pub ifname: String,
    #[serde(default)]
    pub address: String,
    #[serde(default)]
    pub permaddr: Option<String>,
    #[serde(default)]
    pub master: Option<String>,
    #[serde(default)]
    pub flags: Vec<String>,
    pub mtu: u32,
    #[serde(default)]
    pub link_type: String,
    #[serde(default)]
    pub linkinfo: Option<LinkInfo>,
    #[serde(default)]
    pub addr_info: Vec<Address>,
    /// udev's `ID_PATH`, which `ip` does not know.
    #[serde(skip)]
    pub slot: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct LinkInfo {
    #[serde(default)]
    pub info_kind: Option<String>,
    #[serde(default)]
    pub info_data: Json,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Address {
    pub family: String,
    #[serde(default)]
    pub local: String,
    #[serde(default)]
    pub prefixlen: u8,
    #[serde(default)]
    pub scope: String,
    #[serde(default)]
    pub dynamic: bool,
}

/// A VLAN as `bridge -json vlan show` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct PortVlan {
    pub vlan: u16,
    #[serde(default)]
    pub flags: Vec<String>,
}

impl Link {
    /// Whether no software made it.
    pub fn is_physical(&self) -> bool {
        let kind = self.linkinfo.as_ref().and_then(|i| i.info_kind.as_ref());
        self.link_type == "ether" && kind.is_none()
    }

    /// Whether a cable is in, and somebody at its other end.
    pub fn has_carrier(&self) -> bool {
        self.flags.iter().any(|flag| flag == "LOWER_UP")
    }

    /// The MAC address that it was made with.
    pub fn own_mac(&self) -> &str {
        self.permaddr.as_deref().unwrap_or(&self.address)
    }
}

impl Seen {
    /// Asks the machine.
    pub fn read(config: &Config) -> anyhow::Result<Self> {
        let output = Cmd::new("ip")
            .args(["-json", "-details", "address", "show"])
            .run()?;
        let mut links = parse_links(&output.stdout)?;
        for link in &mut links {
            link.slot = slot_of(&link.ifname);
        }
        let net = Path::new("/sys/class/net");
        let bonds = links.iter().filter_map(|link| {
            let options = read_options(&net.join(&link.ifname).join("bonding"))?;
            Some((link.ifname.clone(), options))
        });
        let routes = gateway::default_routes()?;
        let mut answering = Vec::new();
        for route in &routes {
            if gateway::answers(route)? {
                answering.push(route.dev.clone());
            }
        }
        let mut conflicts = read_conflicts()?;
        for (device, network) in network::devices(config) {
            let link = links.iter().find(|link| link.ifname == device);
            if let (Ipv4Method::Static(fixed), Some(link)) = (&network.ipv4, link) {
                let asked = probe(link, fixed.address);
                // All else is worth knowing too.
                let asked = asked.inspect_err(|error| tracing::warn!("{error:#}"));
                conflicts.extend(asked.ok().flatten());
            }
        }
        Ok(Self {
            bonds: bonds.collect(),
            vlans: read_vlans()?,
            links,
            routes,
            answering,
            resolv: fs::read_to_string("/run/systemd/resolve/resolv.conf").unwrap_or_default(),
            conflicts,
        })
    }

    /// The link of this name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.ifname == name)
    }
}

pub(super) fn parse_links(bytes: &[u8]) -> anyhow::Result<Vec<Link>> {
    serde_json::from_slice(bytes).context("reading the output of `ip -json address show`")
}

/// What udev noted of a NIC (its database is text, one `E:KEY=VALUE` a line).
fn slot_of(name: &str) -> Option<String> {
    let index = fs::read_to_string(Path::new("/sys/class/net").join(name).join("ifindex")).ok()?;
    let noted = fs::read_to_string(format!("/run/udev/data/n{}", index.trim())).ok()?;
    let path = noted.lines().find_map(|l| l.strip_prefix("E:ID_PATH="))?;
    Some(path.to_owned())
}

fn read_options(dir: &Path) -> Option<BTreeMap<String, String>> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    let option = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        // Some can only be read by root, some only of LACP.
        let value = fs::read_to_string(entry.path()).ok()?;
        Some((name, value.trim().to_owned()))
    };
    Some(entries.filter_map(option).collect())
}

fn read_vlans() -> anyhow::Result<BTreeMap<String, Vec<PortVlan>>> {
    let output = Cmd::new("bridge").args(["-json", "vlan", "show"]).run()?;
    parse_vlans(&output.stdout)
}

pub(super) fn parse_vlans(bytes: &[u8]) -> anyhow::Result<BTreeMap<String, Vec<PortVlan>>> {
    #[derive(Deserialize)]
    struct Port {
        ifname: String,
        #[serde(default)]
        vlans: Vec<PortVlan>,
    }
    if bytes.trim_ascii().is_empty() {
        return Ok(BTreeMap::new());
    }
    let ports: Vec<Port> =
        serde_json::from_slice(bytes).context("reading the output of `bridge -json vlan show`")?;
    Ok(ports.into_iter().map(|p| (p.ifname, p.vlans)).collect())
}

/// Whether another machine answers to an address that this one should have and has not.
/// networkd 257 says nothing of it: it goes on asking until the address is free.
fn probe(link: &Link, address: Ipv4Addr) -> anyhow::Result<Option<String>> {
    let is_there = |a: &Address| a.local.parse() == Ok(address);
    if !link.has_carrier() || link.addr_info.iter().any(is_there) {
        return Ok(None);
    }
    // arping(8): with -D, 1 means that somebody answered.
    let asked = Cmd::new("arping")
        .args(["-D", "-q", "-c", "2", "-w", "3", "-I", &link.ifname])
        .arg(address.to_string())
        .run_any()?;
    let taken = asked.status.code() == Some(1);
    Ok(taken.then(|| format!("{address} on {} is another machine's", link.ifname)))
}

/// networkd's words when a probe was answered.
const CONFLICT: &str = "address conflict was detected";

fn read_conflicts() -> anyhow::Result<Vec<String>> {
    let output = Cmd::new("journalctl")
        .args(["--boot", "--unit=systemd-networkd.service"])
        .args(["--priority=warning", "--output=cat", "--lines=2000"])
        .run()?;
    Ok(parse_conflicts(&output.text()))
}

pub(super) fn parse_conflicts(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| line.contains(CONFLICT)) {
        if found.iter().all(|known| known != line) {
            found.push(line.to_owned());
        }
    }
    found
}
