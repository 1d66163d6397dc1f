//! A config without problems, and one change for each rule that must find it.

use super::super::load::check_sources;
use super::super::problem::Code;
use super::super::source::{Source, SourceKind};

/// A config without problems, in which tests replace words.
pub const GOOD: &str = "token: secret
os:
  password: $6$salt$3aEJgflnzWuw1O3tr0IYSmhUY0cZ7iBQeBP392T7RXjLP3TKKu3ddIapQaCpbD4p9ioeGaVIjOHaym7HvCuUm0
  dns_nameservers: [10.0.0.2]
install:
  mode: create
  vip: 10.0.0.5
  management_interface:
    interfaces: [{name: ens3}, {name: ens4}]
    method: static
    ip: 10.0.0.10
    subnet_mask: 255.255.255.0
    gateway: 10.0.0.1
";

/// The codes that a config has besides `not-yet`.
pub fn codes(text: &str) -> Vec<(Code, String)> {
    let source = Source::yaml(SourceKind::File, "c.yaml", text);
    let problems = check_sources(&[source]).problems.0;
    let each = problems.into_iter().filter(|p| p.code != Code::NotYet);
    each.map(|p| (p.code, p.field)).collect()
}

/// What GOOD has after `old` is replaced by `new`.
pub fn with(old: &str, new: &str) -> Vec<(Code, String)> {
    assert!(GOOD.contains(old), "{old} is not in the good config");
    codes(&GOOD.replace(old, new))
}

#[test]
fn the_good_config_is_good() {
    assert_eq!(codes(GOOD), []);
}

/// Each row: what is replaced, by what, and the one code that comes.
#[test]
fn every_rule_finds_what_it_is_for() {
    for (old, new, code, field) in [
        (
            "  mode: create\n",
            "  poweroff: true\n",
            Code::Missing,
            "install.mode",
        ),
        ("token: secret\n", "", Code::Missing, "token"),
        (
            "token: secret\n",
            "token: secret\nserver_url: https://a:443\n",
            Code::ModeConflict,
            "server_url",
        ),
        (
            "vip: 10.0.0.5\n",
            "vip: 10.0.0.5\n  networks: {store: {interfaces: [{name: ens3}], vlan_id: 5}}\n",
            Code::DuplicateNic,
            "install.networks.store.interfaces",
        ),
        (
            "vip: 10.0.0.5\n",
            "vip: 10.0.0.5\n  networks: {store: {interfaces: [{name: ens3}, {name: ens4}], vlan_id: 5, bond_options: {miimon: 50}}}\n",
            Code::MethodIgnored,
            "install.networks.store.bond_options",
        ),
        (
            "vip: 10.0.0.5\n",
            "vip: 10.0.0.5\n  networks: {ens3: {interfaces: [{name: ens9}]}}\n",
            Code::DuplicateValue,
            "install.networks.ens3",
        ),
        (
            "vip: 10.0.0.5\n",
            "vip: 10.0.0.5\n  networks: {a-long-name-x: {interfaces: [{name: ens9}]}}\n",
            Code::BadValue,
            "install.networks.a-long-name-x",
        ),
        (
            "mode: create\n  vip: 10.0.0.5\n",
            "mode: join\n",
            Code::Missing,
            "server_url",
        ),
        ("  vip: 10.0.0.5\n", "", Code::NoVip, "install.vip"),
        (
            "install:\n",
            "install:\n  role: witness\n",
            Code::RoleConflict,
            "install.role",
        ),
        (
            "  password: $6$salt$3aEJgflnzWuw1O3tr0IYSmhUY0cZ7iBQeBP392T7RXjLP3TKKu3ddIapQaCpbD4p9ioeGaVIjOHaym7HvCuUm0\n",
            "",
            Code::NoLogin,
            "os",
        ),
        (
            "$6$salt$3aEJgflnzWuw1O3tr0IYSmhUY0cZ7iBQeBP392T7RXjLP3TKKu3ddIapQaCpbD4p9ioeGaVIjOHaym7HvCuUm0",
            "$1$salt$M6xQvx9eSlM4zTu69di5B/",
            Code::WeakHash,
            "os.password",
        ),
        (
            "os:\n",
            "os:\n  sshd: {disable_password_auth: true}\n",
            Code::NoSshLogin,
            "os.sshd.disable_password_auth",
        ),
        (
            "os:\n",
            "os:\n  write_files: [{path: /etc/a, content: b}, {path: /etc/a, content: c}]\n",
            Code::DuplicateValue,
            "os.write_files[1].path",
        ),
        (
            "    gateway: 10.0.0.1\n",
            "",
            Code::Missing,
            "install.management_interface.gateway",
        ),
        (
            "  dns_nameservers: [10.0.0.2]\n",
            "",
            Code::Missing,
            "os.dns_nameservers",
        ),
        (
            "gateway: 10.0.0.1",
            "gateway: 10.0.1.1",
            Code::GatewayUnreachable,
            "install.management_interface.gateway",
        ),
        (
            "gateway: 10.0.0.1",
            "gateway: 10.0.0.10",
            Code::GatewayUnreachable,
            "install.management_interface.gateway",
        ),
        (
            "ip: 10.0.0.10",
            "ip: 10.0.0.255",
            Code::BadHostAddress,
            "install.management_interface.ip",
        ),
        (
            "method: static",
            "method: static\n    mtu: 100",
            Code::OutOfRange,
            "install.management_interface.mtu",
        ),
        (
            "method: static",
            "method: static\n    ipv6: {method: static}",
            Code::Missing,
            "install.management_interface.ipv6.ip",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.10",
            Code::VipIsNode,
            "install.vip",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.1.5",
            Code::VipOutside,
            "install.vip",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  vip_mode: dhcp",
            Code::Missing,
            "install.vip_hw_addr",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  vip_hw_addr: 52:54:00:ec:0e:0b",
            Code::MethodIgnored,
            "install.vip_hw_addr",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  cluster_pod_cidr: 10.0.0.0/16",
            Code::NetworksOverlap,
            "install.cluster_pod_cidr",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  cluster_dns: 10.54.0.10",
            Code::DnsOutside,
            "install.cluster_dns",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  cluster_dns: 10.53.0.1",
            Code::DnsOutside,
            "install.cluster_dns",
        ),
        (
            "token:",
            "cluster: {max_pods: 400, node_cidr_mask: 24}\ntoken:",
            Code::PodsDontFit,
            "cluster.max_pods",
        ),
        (
            "token:",
            "cluster: {node_cidr_mask: 16}\ntoken:",
            Code::OneNode,
            "cluster.node_cidr_mask",
        ),
        (
            "method: static",
            "method: static\n    bond_options: {mode: balance-tlb, lacp_rate: fast}",
            Code::BondConflict,
            "install.management_interface.bond_options.lacp_rate",
        ),
        (
            "method: static",
            "method: static\n    bond_options: {mode: best}",
            Code::BadValue,
            "install.management_interface.bond_options.mode",
        ),
        (
            "method: static",
            "method: static\n    bond_options: {mimon: 100}",
            Code::UnknownKey,
            "install.management_interface.bond_options.mimon",
        ),
        (
            "name: ens4",
            "name: ens3",
            Code::DuplicateNic,
            "install.management_interface.interfaces[1]",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  networks: {storage: {interfaces: [{name: ens3}]}}",
            Code::DuplicateNic,
            "install.networks.storage.interfaces[0]",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  networks: {storage: {interfaces: [{name: ens7}], method: static, ip: 10.1.0.2}}",
            Code::Missing,
            "install.networks.storage.subnet_mask",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  device: /dev/sda\n  data_disk: /dev/sda",
            Code::SameDisk,
            "install.data_disk",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  device: {min_size: 2T, max_size: 1T}",
            Code::BadValue,
            "install.device.min_size",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  device: {max_size: 100G}",
            Code::DiskTooSmall,
            "install.device.max_size",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  networks: {storage: {interfaces: [{name: ens7}], method: static, ip: 10.1.0.2, subnet_mask: 24, ipv6: {method: static}}}",
            Code::Missing,
            "install.networks.storage.ipv6.ip",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  networks: {storage: {interfaces: [{name: ens7}], ip: 10.1.0.2}}",
            Code::MethodIgnored,
            "install.networks.storage.ip",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  networks: {storage: {interfaces: [{name: ens7}], method: static, ip: 10.0.0.5, subnet_mask: 24}}",
            Code::VipIsNode,
            "install.vip",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  networks: {storage: {interfaces: [{name: ens7}], method: static, ip: 10.0.0.10, subnet_mask: 24}}",
            Code::SameAddress,
            "install.networks.storage.ip",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  networks: {storage: {interfaces: [{name: ens7}], method: static, ip: 10.0.0.1, subnet_mask: 24}}",
            Code::SameAddress,
            "install.networks.storage.ip",
        ),
        (
            "method: static",
            "method: static\n    ipv6: {ip: 'fd00::11/64'}",
            Code::MethodIgnored,
            "install.management_interface.ipv6.ip",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  cluster_service_cidr: 10.54.0.0/29",
            Code::DnsOutside,
            "install.cluster_dns",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  cluster_pod_cidr: 10.54.0.0/24",
            Code::OneNode,
            "install.cluster_pod_cidr",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  cluster_pod_cidr: 10.54.0.0/25",
            Code::PodsDontFit,
            "install.cluster_pod_cidr",
        ),
        (
            "token:",
            "cluster: {max_pods: 4000, kube_reserved: {cpu: 10m, memory: 64Gi}}\ntoken:",
            Code::ReservedTooLittle,
            "cluster.kube_reserved.cpu",
        ),
        (
            "token:",
            "cluster: {max_pods: 4000, kube_reserved: {cpu: 1, memory: 2Gi}}\ntoken:",
            Code::ReservedTooLittle,
            "cluster.kube_reserved.memory",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  device: /dev/sda\n  allow_overwrite: true\n  wipe_disks_list: [/dev/sdb, /dev/sda]",
            Code::WipeConflict,
            "install.wipe_disks_list[1]",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  data_disk: /dev/sdb\n  allow_overwrite: true\n  wipe_disks_list: [/dev/sdb]",
            Code::WipeConflict,
            "install.wipe_disks_list[0]",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  webhooks: [{event: STARTED}]",
            Code::Missing,
            "install.webhooks[0].url",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  config_url: http://a/b\n  config_headers: {x: y}",
            Code::Insecure,
            "install.config_url",
        ),
        (
            "token:",
            "system_settings: {htp-proxy: x}\ntoken:",
            Code::NoMeaning,
            "system_settings.htp-proxy",
        ),
        (
            "vip: 10.0.0.5",
            "vip: 10.0.0.5\n  harvester: {longhorn: {default_settings: {guaranteedInstanceManagerCPU: 50}}}",
            Code::OutOfRange,
            "install.harvester.longhorn.default_settings.guaranteedInstanceManagerCPU",
        ),
    ] {
        assert_eq!(with(old, new), [(code, field.to_owned())], "{new}");
    }
}

#[test]
fn what_goes_together_is_taken() {
    for new in [
        // The DNS follows the network of the services.
        "cluster_service_cidr: 10.54.0.0/16",
        // The name in the list is what allows the loss of the disk.
        "device: /dev/sda\n  wipe_disks_list: [/dev/sda]",
        "networks: {storage: {interfaces: [{name: ens7}]}}",
    ] {
        let new = format!("vip: 10.0.0.5\n  {new}");
        assert_eq!(with("vip: 10.0.0.5", &new), [], "{new}");
    }
    let reserved = "cluster: {kube_reserved: {cpu: 500m, memory: 3Gi}}\ntoken:";
    assert_eq!(with("token:", reserved), []);
    let mac = "vip_mode: dhcp\n  vip_hw_addr: 52:54:00:ec:0e:0b\n  vip: 10.0.0.5";
    let text = GOOD.replace("vip: 10.0.0.5", mac);
    let found = codes(&text.replace("name: ens4", "hw_addr: 52:54:00:ec:0e:0b"));
    assert_eq!(found, [(Code::SameAddress, "install.vip_hw_addr".into())]);
}

/// Whoever joins does not know the networks of the cluster.
#[test]
fn a_joiner_may_be_anywhere() {
    let text = GOOD
        .replace("mode: create\n  vip: 10.0.0.5", "mode: join")
        .replace("token:", "server_url: https://10.52.0.5:443\ntoken:")
        .replace("10.0.0.1", "10.52.0.1");
    assert_eq!(codes(&text), []);
    let said = text.replace("mode: join", "mode: join\n  cluster_pod_cidr: 10.52.0.0/16");
    let field = "install.cluster_pod_cidr".to_owned();
    assert!(codes(&said).contains(&(Code::NetworksOverlap, field)));
}
