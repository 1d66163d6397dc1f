//! The whole machine as one value: disks, NICs, CPUs, memory.
//!
//! In: where `/sys`, `/proc` and `/dev` are. Out: [`Facts`], which `harrow facts` prints and
//! `harrow config check --facts` reads on any machine. Reads only.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::around::Around;
use super::{DiskFacts, Roots, children, disk_names, group, holds, probe_sysfs, read};

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
    /// Whether the MAC address is the NIC's own, and not made up at each boot.
    #[serde(default = "yes")]
    pub own_mac: bool,
    /// Where it is plugged in, as udev's `ID_PATH` has it.
    #[serde(default)]
    pub slot: Option<String>,
}

/// What facts of older versions mean.
fn yes() -> bool {
    true
}

/// Reads this machine and what its disks hold. A disk that can't be read says why.
pub fn probe(roots: &Roots) -> Facts {
    let cpuinfo = fs::read_to_string(roots.proc.join("cpuinfo")).unwrap_or_default();
    let cpus = cpuinfo
        .lines()
        .filter(|l| l.starts_with("processor"))
        .count();
    let meminfo = fs::read_to_string(roots.proc.join("meminfo")).unwrap_or_default();
    let mut disks = each_disk(roots);
    holds::read_all(&mut disks, roots);
    Facts {
        harrow: env!("CARGO_PKG_VERSION").to_owned(),
        cpus: u32::try_from(cpus).unwrap_or(0),
        memory: memory_of(&meminfo).unwrap_or(0),
        disks: group::group(disks),
        nics: nics(roots),
    }
}

/// The disks of this machine without what they hold: quick, and reads none of them.
pub fn list(roots: &Roots) -> Vec<DiskFacts> {
    group::group(each_disk(roots))
}

/// Every disk and every path to one.
fn each_disk(roots: &Roots) -> Vec<DiskFacts> {
    let around = match Around::read(roots) {
        Ok(around) => around,
        Err(error) => {
            tracing::warn!("looking for disks: {error:#}");
            return Vec::new();
        }
    };
    let block = roots.sys.join("block");
    let disk = |name: String| {
        let dir = block.join(&name);
        let path = match read(&dir.join("dm/name")) {
            Some(map) => Path::new("/dev/mapper").join(map),
            None => Path::new("/dev").join(&name),
        };
        match probe_sysfs(&path, &dir, &around) {
            Ok(found) => found,
            Err(error) => Some(DiskFacts {
                path,
                name,
                unreadable: Some(format!("{error:#}")),
                ..DiskFacts::default()
            }),
        }
    };
    disk_names(&block).into_iter().filter_map(disk).collect()
}

/// `MemTotal` of proc_meminfo(5), which is in KiB.
fn memory_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The wired NICs: Ethernet links (ARPHRD_ETHER is 1) with a device behind them.
pub fn nics(roots: &Roots) -> Vec<NicFacts> {
    let net = &roots.sys.join("class/net");
    children(net)
        .into_iter()
        .filter(|name| net.join(name).join("device").exists())
        .filter(|name| read(&net.join(name).join("type")).as_deref() == Some("1"))
        .filter_map(|name| {
            // In a bond all have one address.
            let burnt_in = read(&net.join(&name).join("bonding_slave/perm_hwaddr"));
            let is_member = burnt_in.is_some();
            let mac = burnt_in.or_else(|| read(&net.join(&name).join("address")))?;
            // NET_ADDR_PERM is 0.
            let made = read(&net.join(&name).join("addr_assign_type"));
            let index = read(&net.join(&name).join("ifindex"));
            let slot = index.and_then(|index| {
                let noted = fs::read_to_string(roots.udev.join(format!("data/n{index}"))).ok()?;
                let path = noted.lines().find_map(|l| l.strip_prefix("E:ID_PATH="))?;
                Some(path.to_owned())
            });
            Some(NicFacts {
                own_mac: is_member || made.is_none_or(|made| made == "0"),
                name,
                mac,
                slot,
            })
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
        put("sys/class/net/ens3/ifindex", "2\n");
        put("sys/class/net/ens3/addr_assign_type", "1\n");
        put("run/udev/data/n2", "I:1\nE:ID_PATH=pci-0000:00:03.0\n");
        put("sys/class/net/lo/type", "772\n");
        put("proc/cpuinfo", "processor : 0\nprocessor : 1\n");
        put("proc/meminfo", "MemTotal:    2048 kB\nMemFree: 1 kB\n");
        put("proc/self/mountinfo", "");
        put("dev/disk/by-id/placeholder", "");
        let link = dir.path().join("dev/disk/by-id/virtio-disk1");
        std::os::unix::fs::symlink("../../vda", link).unwrap();
        let vda = dir.path().join("sys/devices/pci0/virtio1/block/vda");
        std::os::unix::fs::symlink(vda, dir.path().join("sys/block/vda")).unwrap();
        let facts = probe(&Roots::below(dir.path()));
        assert_eq!((facts.cpus, facts.memory), (2, 2 << 20));
        assert_eq!(facts.nics.len(), 1);
        assert_eq!(facts.nics[0].slot.as_deref(), Some("pci-0000:00:03.0"));
        assert!(!facts.nics[0].own_mac);
        assert_eq!(facts.disks.len(), 1);
        let disk = &facts.disks[0];
        assert_eq!(disk.size, 1 << 30);
        assert_eq!(disk.transport.as_deref(), Some("virtio"));
        assert_eq!(disk.links, [Path::new("/dev/disk/by-id/virtio-disk1")]);
        let json = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), facts);
    }
}
