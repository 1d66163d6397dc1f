use super::super::Status;
use super::*;
use crate::config::{Source, SourceKind, check_sources};

const LINKS: &str = r#"[
  {"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"link_type":"loopback","address":"00:00:00:00:00:00",
   "addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
  {"ifindex":2,"ifname":"ens3","flags":["UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"52:54:00:12:34:56","master":"mgmt-bo",
   "linkinfo":{"info_slave_kind":"bond"},"addr_info":[]},
  {"ifindex":3,"ifname":"ens4","flags":["UP"],"mtu":1500,"link_type":"ether","address":"52:54:00:12:34:56",
   "permaddr":"52:54:00:12:34:57","master":"mgmt-bo","addr_info":[]},
  {"ifindex":4,"ifname":"mgmt-bo","flags":["UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"52:54:00:12:34:56","master":"mgmt-br",
   "linkinfo":{"info_kind":"bond","info_data":{"mode":"active-backup"}},"addr_info":[]},
  {"ifindex":5,"ifname":"mgmt-br","flags":["UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"52:54:00:12:34:56",
   "linkinfo":{"info_kind":"bridge","info_data":{}},
   "addr_info":[{"family":"inet","local":"10.0.0.10","prefixlen":24,"scope":"global"},
                {"family":"inet","local":"10.0.0.5","prefixlen":32,"scope":"global"},
                {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]},
  {"ifindex":6,"ifname":"store","flags":["UP","LOWER_UP"],"mtu":9000,"link_type":"ether","address":"52:54:00:12:34:56",
   "linkinfo":{"info_kind":"vlan","info_data":{"protocol":"802.1Q","id":30}},
   "addr_info":[{"family":"inet","local":"10.3.0.10","prefixlen":24,"scope":"global","dynamic":true}]}]"#;

const VLANS: &str = r#"[
  {"ifname":"mgmt-bo","vlans":[{"vlan":1,"flags":["PVID","Egress Untagged"]},{"vlan":20},{"vlan":30}]},
  {"ifname":"mgmt-br","vlans":[{"vlan":20,"flags":["PVID","Egress Untagged"]},{"vlan":30}]}]"#;

const CONFIG: &str = "token: secret
os:
  dns_nameservers: [10.0.0.2, fd00::2]
  dns_search: [Example.org]
install:
  mode: create
  networks:
    store: {interfaces: [{name: ens3}, {hw_addr: '52:54:00:12:34:57'}], vlan_id: 30, method: dhcp, mtu: 9000}
  management_interface:
    interfaces: [{name: ens3}, {hw_addr: '52:54:00:12:34:57'}]
    hw_addr: '52:54:00:12:34:56'
    vlan_id: 20
    bond_options: {primary: ens3}
    method: static
    ip: 10.0.0.10
    subnet_mask: 255.255.255.0
    gateway: 10.0.0.1
";

fn config(text: &str) -> Config {
    let checked = check_sources(&[Source::yaml(SourceKind::File, "c.yaml", text)]);
    checked.usable_config().unwrap()
}

fn seen() -> Seen {
    let option = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let options = [("mode", "active-backup 1"), ("primary", "ens3")].map(option);
    Seen {
        links: seen::parse_links(LINKS.as_bytes()).unwrap(),
        bonds: [(BOND.to_owned(), options.into())].into(),
        vlans: seen::parse_vlans(VLANS.as_bytes()).unwrap(),
        routes: vec![network::gateway::DefaultRoute {
            gateway: Some("10.0.0.1".parse().unwrap()),
            dev: BRIDGE.into(),
        }],
        answering: vec![BRIDGE.into()],
        resolv: "# x\nnameserver 10.0.0.2\nnameserver fd00::2\nsearch example.org\n".into(),
        conflicts: Vec::new(),
    }
}

fn differing(config: &Config, seen: &Seen) -> Vec<String> {
    let checks = check_all(config, seen).into_iter();
    let differs = checks.filter(|check| check.status == Status::Differs);
    differs.map(|check| check.check).collect()
}

#[test]
fn a_node_as_its_config_says() {
    let found = differing(&config(CONFIG), &seen());
    assert!(found.is_empty(), "{found:?}");
}

/// Each row: what the config says instead, and what differs then.
#[test]
fn every_difference_of_the_config_is_found() {
    for (old, new, check) in [
        ("ip: 10.0.0.10", "ip: 10.0.0.11", "network mgmt address"),
        ("vlan_id: 20", "vlan_id: 21", "network mgmt vlan"),
        ("vlan_id: 20", "vlan_id: 0", "network mgmt vlan"),
        ("vlan_id: 30", "vlan_id: 31", "network store vlan"),
        ("mtu: 9000", "mtu: 1500", "network store mtu"),
        ("primary: ens3", "mode: 802.3ad", "network mgmt bond mode"),
        (
            "primary: ens3",
            "primary: ens4",
            "network mgmt bond primary",
        ),
        (
            "'52:54:00:12:34:57'}]\n    hw",
            "'52:54:00:12:34:58'}]\n    hw",
            "network mgmt nics",
        ),
        (
            "hw_addr: '52:54:00:12:34:56'",
            "hw_addr: '52:54:00:12:34:59'",
            "network mgmt mac",
        ),
        ("gateway: 10.0.0.1", "gateway: 10.0.0.2", "default route"),
        ("10.0.0.2, fd", "10.0.0.9, fd", "dns"),
        ("Example.org", "example.com", "dns search"),
        (
            "method: static",
            "ipv6: {method: static, ip: 'fd00::9/64'}\n    method: static",
            "network mgmt ipv6",
        ),
        (
            "method: static",
            "ipv6: {method: dhcp}\n    method: static",
            "network mgmt ipv6",
        ),
        ("method: static", "method: dhcp", "network mgmt address"),
    ] {
        assert!(CONFIG.contains(old), "{old}");
        let found = differing(&config(&CONFIG.replacen(old, new, 1)), &seen());
        assert!(found.contains(&check.to_owned()), "{new}: {found:?}");
    }
}

#[test]
fn every_difference_of_the_machine_is_found() {
    let config = config(CONFIG);
    let silent = Seen {
        answering: Vec::new(),
        ..seen()
    };
    assert_eq!(differing(&config, &silent), ["default route"]);
    let mut stray = seen();
    stray.routes.push(network::gateway::DefaultRoute {
        gateway: None,
        dev: "store".into(),
    });
    assert_eq!(differing(&config, &stray), ["default route"]);
    let mut no_link = seen();
    for link in &mut no_link.links {
        link.flags.retain(|flag| flag != "LOWER_UP");
    }
    assert_eq!(differing(&config, &no_link), ["network mgmt nics"]);
    let mut gone = seen();
    gone.links.retain(|link| link.ifname != BRIDGE);
    assert!(differing(&config, &gone).contains(&"network mgmt address".to_owned()));
    let mut uplink = seen();
    uplink
        .vlans
        .get_mut(BOND)
        .unwrap()
        .retain(|vlan| vlan.vlan != 20);
    assert_eq!(differing(&config, &uplink), ["network mgmt vlan"]);
}

#[test]
fn an_address_that_others_have_is_said_until_it_is_ours() {
    let line = "mgmt-br: Dropping address 10.0.0.10, as an address conflict was detected.";
    let text = format!("{line}\nmgmt-br: Gained carrier\n{line}\n");
    let mut seen = seen();
    seen.conflicts = seen::parse_conflicts(&text);
    assert_eq!(seen.conflicts, [line]);
    assert!(
        differing(&config(CONFIG), &seen).is_empty(),
        "it is there by now"
    );
    let bridge = seen
        .links
        .iter_mut()
        .find(|link| link.ifname == BRIDGE)
        .unwrap();
    bridge.addr_info.clear();
    let found = differing(&config(CONFIG), &seen);
    assert!(
        found.contains(&"duplicate addresses".to_owned()),
        "{found:?}"
    );
}
