//! The configs of a large cluster, for tests and benchmarks.

use harrow::config::{Checked, Source, SourceKind, check_sources};

/// A whole crypt(3) hash.
const HASH: &str = "$6$salt$3aEJgflnzWuw1O3tr0IYSmhUY0cZ7iBQeBP392T7RXjLP3TKKu3ddIapQaCpbD4p9ioeGaVIjOHaym7HvCuUm0";

/// Node `i` of up to 1000, all of which make a cluster without a problem: the first creates it,
/// the next two vote.
pub fn node(i: usize) -> Checked {
    let (head, mode) = if i == 0 {
        // A /14 has a /24 for each.
        (
            "",
            "create\n  vip: 10.0.0.5\n  cluster_pod_cidr: 10.128.0.0/14",
        )
    } else {
        ("server_url: https://10.0.0.5:443\n", "join\n  role: worker")
    };
    let votes = "join\n  cluster_pod_cidr: 10.128.0.0/14";
    let mode = if i == 1 || i == 2 { votes } else { mode };
    let text = format!(
        "{head}token: golden-secret\nos:\n  hostname: node-{i}\n  password: {HASH}\n  dns_nameservers: [10.0.0.2]\n  \
         ntp_servers: [10.0.0.3]\n  sysctls: {{vm.swappiness: 1, kernel.printk: 4 4 1 7}}\n  write_files:\n    \
         - {{path: /etc/motd, content: hello, permissions: '0644'}}\ninstall:\n  mode: {mode}\n  device: /dev/sda\n  \
         management_interface:\n    interfaces: [{{hw_addr: '52:54:00:00:{:02x}:{:02x}'}}]\n    method: static\n    \
         ip: 10.0.{}.{}\n    subnet_mask: 255.255.0.0\n    gateway: 10.0.0.1\n",
        i / 256,
        i % 256,
        10 + i / 250,
        1 + i % 250,
    );
    let name = format!("node-{i}.yaml");
    check_sources(&[Source::yaml(SourceKind::File, &name, text)])
}
