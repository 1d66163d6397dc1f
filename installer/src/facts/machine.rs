//! The whole machine as one value: disks, NICs, CPUs, memory.
//!
//! In: where `/sys`, `/proc` and `/dev` are. Out: [`Facts`], which `harrow facts` prints and
//! `harrow config check --facts` reads on any machine. Reads only.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{DiskFacts, Roots, children, disk_names, probe_sysfs, read};

/// What a machine is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Version of Harrow that read them.
    pub harrow: String,
    /// Threads that the kernel runs on.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// Disks.
    pub disks: Vec<DiskFacts>,
    /// Wired NICs.
    pub nics: Vec<NicFacts>,
}

/// A NIC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicFacts {
    /// Interface name.
    pub name: String,
    /// MAC address, in lower case with colons.
    pub mac: String,
}

/// Reads this machine. A disk that can't be read is left out.
pub fn probe(roots: &Roots, dev: &Path) -> Facts {
    let block = roots.sys.join("block");
    let links = links_of(dev);
    let disk = |name: String| {
        let path = Path::new("/dev").join(&name);
        let dir = block.join(&name);
        let disk = probe_sysfs(&path, &dir, roots).ok().flatten()?;
        let real = fs::canonicalize(&dir).unwrap_or(dir.clone());
        Some(DiskFacts {
            links: links
                .iter()
                .filter(|(_, target)| *target == name)
                .map(|(link, _)| link.clone())
                .collect(),
            rotational: read(&dir.join("queue/rotational")).map(|r| r == "1"),
            transport: transport_of(&real.to_string_lossy()).map(str::to_owned),
            ..disk
        })
    };
    let cpuinfo = fs::read_to_string(roots.proc.join("cpuinfo")).unwrap_or_default();
    let cpus = cpuinfo
        .lines()
        .filter(|l| l.starts_with("processor"))
        .count();
    let meminfo = fs::read_to_string(roots.proc.join("meminfo")).unwrap_or_default();
    Facts {
        harrow: env!("CARGO_PKG_VERSION").to_owned(),
        cpus: u32::try_from(cpus).unwrap_or(0),
        memory: memory_of(&meminfo).unwrap_or(0),
        disks: disk_names(&block).into_iter().filter_map(disk).collect(),
        nics: nics_of(&roots.sys.join("class/net")),
    }
}

/// `MemTotal` of proc_meminfo(5), which is in KiB.
fn memory_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// How a disk is attached, from the path of its device in sysfs.
fn transport_of(path: &str) -> Option<&'static str> {
    let has = |part: &str| path.contains(part);
    match () {
        () if has("/nvme") => Some("nvme"),
        () if has("/virtio") => Some("virtio"),
        () if has("/usb") => Some("usb"),
        () if has("/rport-") => Some("fc"),
        () if has("/end_device-") || has("/sas_") => Some("sas"),
        () if has("/ata") => Some("sata"),
        () => None,
    }
}

/// Every link below `/dev/disk` with the kernel's name of its target.
fn links_of(dev: &Path) -> Vec<(PathBuf, String)> {
    let mut links = Vec::new();
    for kind in ["by-id", "by-path"] {
        let dir = dev.join("disk").join(kind);
        for name in children(&dir) {
            let target = fs::read_link(dir.join(&name)).unwrap_or_default();
            if let Some(target) = target.file_name() {
                let link = Path::new("/dev/disk").join(kind).join(&name);
                links.push((link, target.to_string_lossy().into_owned()));
            }
        }
    }
    links
}

/// Ethernet links (ARPHRD_ETHER is 1) with a device behind them.
fn nics_of(net: &Path) -> Vec<NicFacts> {
    children(net)
        .into_iter()
        .filter(|name| net.join(name).join("device").exists())
        .filter(|name| read(&net.join(name).join("type")).as_deref() == Some("1"))
        .filter_map(|name| {
            let mac = read(&net.join(&name).join("address"))?;
            Some(NicFacts { name, mac })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_read_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("sys/devices/pci0/virtio1/block/vda/size", "2097152\n");
        put("sys/devices/pci0/virtio1/block/vda/ro", "0\n");
        put(
            "sys/devices/pci0/virtio1/block/vda/queue/logical_block_size",
            "512\n",
        );
        put("sys/devices/pci0/virtio1/block/vda/queue/rotational", "1\n");
        put("sys/block/loop0/size", "0\n");
        put("sys/class/net/ens3/device/x", "");
        put("sys/class/net/ens3/type", "1\n");
        put("sys/class/net/ens3/address", "52:54:00:12:34:56\n");
        put("sys/class/net/lo/type", "772\n");
        put("proc/cpuinfo", "processor : 0\nprocessor : 1\n");
        put("proc/meminfo", "MemTotal:    2048 kB\nMemFree: 1 kB\n");
        put("proc/self/mountinfo", "");
        put("dev/disk/by-id/placeholder", "");
        let link = dir.path().join("dev/disk/by-id/virtio-disk1");
        std::os::unix::fs::symlink("../../vda", link).unwrap();
        let vda = dir.path().join("sys/devices/pci0/virtio1/block/vda");
        std::os::unix::fs::symlink(vda, dir.path().join("sys/block/vda")).unwrap();
        let roots = Roots {
            sys: dir.path().join("sys"),
            proc: dir.path().join("proc"),
        };
        let facts = probe(&roots, &dir.path().join("dev"));
        assert_eq!((facts.cpus, facts.memory), (2, 2 << 20));
        assert_eq!(facts.nics.len(), 1);
        assert_eq!(facts.disks.len(), 1);
        let disk = &facts.disks[0];
        assert_eq!(disk.size, 1 << 30);
        assert_eq!(disk.transport.as_deref(), Some("virtio"));
        assert_eq!(disk.links, [Path::new("/dev/disk/by-id/virtio-disk1")]);
        let json = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), facts);
    }
}
