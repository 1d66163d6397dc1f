//! What the operating system of a node does for its cluster.
//!
//! In: the config and what of RKE2 the node runs. Out: kernel modules and settings, the unit to
//! start, the environment, and what people at a root shell need.

use std::fmt::Write as _;

use super::{PAYLOAD_DIR, Part, is_witness, proxy};
use crate::config::{AddonName, Cluster, Config, Profile};
use crate::disk::layout::DataPlace;
use crate::node::files::NodeFile;

/// Socket of RKE2's containerd.
const CONTAINERD: &str = "unix:///run/k3s/containerd/containerd.sock";
/// The key to the cluster, on its servers.
const KUBECONFIG: &str = "/etc/rancher/rke2/rke2.yaml";
/// Pages of 2 MiB that Longhorn's v2 engine wants on each node.
const V2_PAGES: u32 = 1024;

pub(super) fn render_host(config: &Config, part: Part) -> Vec<NodeFile> {
    let modules: String = modules(config).iter().map(|m| format!("{m}\n")).collect();
    let mut sysctls = String::new();
    for (key, value) in sysctls_of(config) {
        // Writing to a String can't fail.
        let _ = writeln!(sysctls, "{key} = {value}");
    }
    let unit = part.unit();
    let mut files = vec![
        NodeFile::text("/etc/modules-load.d/20-harrow-cluster.conf", modules),
        NodeFile::text("/etc/sysctl.d/20-harrow-cluster.conf", sysctls),
        NodeFile::link(
            &format!("/etc/systemd/system/multi-user.target.wants/{unit}.service"),
            &format!("/usr/lib/systemd/system/{unit}.service"),
        ),
        NodeFile::text("/etc/profile.d/harrow-cluster.sh", profile(part)),
        NodeFile::text(
            "/etc/crictl.yaml",
            format!("runtime-endpoint: {CONTAINERD}\nimage-endpoint: {CONTAINERD}\n"),
        ),
    ];
    files.extend(render_sudo(part));
    files.extend(render_passthrough(config));
    files.extend(render_devices(config));
    if !is_witness(config) {
        // Longhorn looks for it before its first volume asks for the socket.
        files.push(NodeFile::link(
            "/etc/systemd/system/multi-user.target.wants/iscsid.service",
            "/usr/lib/systemd/system/iscsid.service",
        ));
    }
    if config.storage.data != DataPlace::Nowhere {
        // Longhorn would begin a disk of its own in the empty folder.
        let text = "[Unit]\nAfter=var-lib-longhorn.mount\n";
        let path = format!("/etc/systemd/system/{unit}.service.d/10-harrow-data.conf");
        files.push(NodeFile::text(&path, text));
    }
    files
}

/// Modules that somebody uses before anything loads them. Those of the CPU (kvm_intel, kvm_amd)
/// and of devices come by themselves.
fn modules(config: &Config) -> Vec<&'static str> {
    let cluster = &config.cluster;
    let mut modules = vec!["br_netfilter", "overlay"];
    if is_witness(config) {
        return modules;
    }
    modules.extend([
        "kvm",
        "tun",
        "vhost_net",
        "iscsi_tcp",
        "dm_crypt",
        "nvme_tcp",
    ]);
    if cluster.uses_pci_devices() {
        modules.extend(["vfio", "vfio_iommu_type1", "vfio_pci"]);
    }
    if cluster.storage.v2_engine {
        modules.extend(["ublk_drv", "uio_pci_generic"]);
        if !cluster.uses_pci_devices() {
            modules.push("vfio_pci");
        }
    }
    modules
}

/// Gives the devices that are for virtual machines to vfio, when that is loaded.
fn render_passthrough(config: &Config) -> Option<NodeFile> {
    let devices = config.cluster.machines.pci_devices.iter();
    let ids: Vec<String> = devices.map(|(id, _)| id.to_ascii_lowercase()).collect();
    if ids.is_empty() || is_witness(config) {
        return None;
    }
    let text = format!("options vfio-pci ids={}\n", ids.join(","));
    Some(NodeFile::text("/etc/modprobe.d/harrow-vfio.conf", text))
}

/// The unit that makes virtual functions, and takes devices from drivers that had them first: those
/// of the initrd know nothing of the config.
fn render_devices(config: &Config) -> Vec<NodeFile> {
    let machines = &config.cluster.machines;
    let asked = !machines.pci_devices.is_empty() || !machines.sriov.is_empty();
    if !asked || is_witness(config) {
        return Vec::new();
    }
    const UNIT: &str = "/etc/systemd/system/harrow-devices.service";
    let text = "[Unit]\n\
         Description=Devices for virtual machines\n\
         # NICs have their drivers; those of all else come with the coldplug, and find their devices taken.\n\
         After=systemd-modules-load.service systemd-udev-trigger.service network.target\n\
         Before=harrow-coldplug.service rke2-server.service rke2-agent.service\n\n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStartPre=-/usr/sbin/modprobe vfio-pci\n\
         ExecStart=/usr/bin/harrow devices\n";
    vec![
        NodeFile::text(UNIT, text),
        NodeFile::link(
            "/etc/systemd/system/multi-user.target.wants/harrow-devices.service",
            UNIT,
        ),
    ]
}

fn sysctls_of(config: &Config) -> Vec<(&'static str, u32)> {
    let mut sysctls = vec![
        ("fs.inotify.max_user_instances", 8192),
        ("fs.inotify.max_user_watches", 524_288),
        ("net.ipv4.ip_forward", 1),
    ];
    if config.cluster.storage.v2_engine && !is_witness(config) {
        sysctls.push(("vm.nr_hugepages", V2_PAGES));
    }
    if config.cluster.profile == Some(Profile::Cis) {
        // As RKE2's share/rke2/rke2-cis-sysctl.conf has them.
        sysctls.extend([
            ("kernel.panic", 10),
            ("kernel.panic_on_oops", 1),
            ("vm.overcommit_memory", 1),
            ("vm.panic_on_oom", 0),
        ]);
    }
    sysctls
}

/// Folders with the cluster's programs.
fn programs() -> String {
    format!("/var/lib/rancher/rke2/bin:{PAYLOAD_DIR}/rke2/bin:{PAYLOAD_DIR}/bin")
}

/// The same for `sudo kubectl`, which reads no profile.
fn render_sudo(part: Part) -> Vec<NodeFile> {
    // Debian's own, with the cluster's programs.
    const SYSTEM: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    const ENVIRONMENT: &str = "/etc/harrow/sudo.env";
    let mut text = format!("Defaults secure_path=\"{SYSTEM}:{}\"\n", programs());
    let mut files = Vec::new();
    if part == Part::Server {
        // Writing to a String can't fail.
        let _ = writeln!(text, "Defaults env_file={ENVIRONMENT}");
        files.push(NodeFile::text(
            ENVIRONMENT,
            format!("KUBECONFIG={KUBECONFIG}\n"),
        ));
    }
    files.push(NodeFile::with_mode(
        "/etc/sudoers.d/harrow-cluster",
        text,
        0o440,
    ));
    files
}

/// Programs for everybody; the key to the cluster only for root, who alone can read it.
fn profile(part: Part) -> String {
    let mut text = format!(
        "# Programs of the cluster: kubectl, crictl, ctr, rke2, virtctl.\n\
         PATH=\"$PATH:{}\"\n",
        programs()
    );
    if part == Part::Server {
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "if [ \"$(id -u)\" -eq 0 ]; then\n    export KUBECONFIG={KUBECONFIG}\nfi"
        );
    }
    text
}

/// `os.environment`, for all services and for who logs in.
pub(super) fn render_environment(cluster: &Cluster) -> Vec<NodeFile> {
    if cluster.environment.is_empty() {
        return Vec::new();
    }
    let mut manager = "[Manager]\n".to_owned();
    let mut login = String::new();
    for (name, value) in &cluster.environment {
        let value = value.expose();
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        // systemd takes a % for a specifier; pam_env does not.
        let _ = writeln!(
            manager,
            "DefaultEnvironment=\"{name}={}\"",
            escaped.replace('%', "%%")
        );
        let _ = writeln!(login, "{name}={}", proxy::quoted(value));
    }
    vec![
        NodeFile::with_mode(
            "/etc/systemd/system.conf.d/90-harrow-environment.conf",
            manager,
            0o600,
        ),
        NodeFile::with_mode("/etc/environment", login, 0o600),
    ]
}

/// Certificates of further authorities. What is written in Go, so all of Kubernetes, trusts every
/// certificate in this folder (`crypto/x509`, root_linux.go).
pub(super) fn render_authorities(cluster: &Cluster) -> Vec<NodeFile> {
    let numbered = cluster.authorities.iter().enumerate();
    let file = |(i, pem): (usize, &String)| {
        let path = format!("/etc/ssl/certs/harrow-additional-{}.pem", i + 1);
        NodeFile::text(&path, format!("{}\n", pem.trim_end()))
    };
    numbered.map(file).collect()
}

impl Cluster {
    /// Whether virtual machines get devices of the node.
    pub fn uses_pci_devices(&self) -> bool {
        let addons = [AddonName::PciDevices, AddonName::Nvidia];
        let machines = &self.machines;
        let asked = !machines.pci_devices.is_empty() || !machines.sriov.is_empty();
        asked || addons.iter().any(|a| self.addons.contains_key(a))
    }
}
