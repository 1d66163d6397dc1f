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
pub const RULES: [Rule; 32] = [
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
    address::mtu_is_usable,
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
pub mod tests {
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
                "mode: create\n  vip: 10.0.0.5\n",
                "mode: join\n",
                Code::Missing,
                "server_url",
            ),
            (
                "token: secret\n",
                "token: secret\nserver_url: ''\n",
                Code::NoVip,
                "install.vip",
            ),
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
                Code::PodsDontFit,
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
                "vip: 10.0.0.5\n  wipe_all_disks: true\n  wipe_disks_list: [/dev/sda]",
                Code::WipeConflict,
                "install.wipe_disks_list",
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
            let found = if code == Code::NoVip {
                with("  vip: 10.0.0.5\n", "")
            } else {
                with(old, new)
            };
            assert_eq!(found, [(code, field.to_owned())], "{new}");
        }
    }
}
