//! Devices of this node that are for virtual machines: virtual functions are made, and drivers
//! of the host let go of what is not theirs.
//!
//! In: `cluster.sriov` and `cluster.pci_devices`, sysfs. Out: `sriov_numvfs` of each physical
//! function, and `vfio-pci` as the driver of each device that is meant. The initrd knows neither,
//! so a driver may have a device already. What the node itself stands on is left alone. (Linux,
//! Documentation/ABI/testing/sysfs-bus-pci)

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::source;
use super::state::ApplyState;
use crate::config::{Cluster, VirtualFunctions};
use crate::failure::{Failure, Kind};
use crate::sys::wait;

/// The driver by which machines get a device.
const VFIO: &str = "vfio-pci";
/// How long a NIC may take to show up: its driver starts its firmware.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the kernel shows devices; another folder in tests.
#[derive(Debug, Clone)]
struct Sysfs(PathBuf);

/// One function of PCI.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Function {
    /// Such as `0000:3b:00.0`.
    address: String,
    /// Such as `10de:1eb8`.
    id: String,
    /// Who has it.
    driver: Option<String>,
}

/// Does what the config asks of devices.
pub fn run() -> anyhow::Result<()> {
    ApplyState::of_this_boot()?;
    let config = source::read_config(Path::new(source::OEM_DIR))?;
    let sysfs = Sysfs(PathBuf::from("/sys"));
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading mountinfo")?;
    let routes = fs::read_to_string("/proc/net/route").context("reading the routes")?;
    prepare(&sysfs, &config.cluster, &mounts, &routes, PATIENCE)
}

fn prepare(
    sysfs: &Sysfs,
    cluster: &Cluster,
    mounts: &str,
    routes: &str,
    patience: Duration,
) -> anyhow::Result<()> {
    let machines = &cluster.machines;
    let ids: BTreeSet<String> = machines
        .pci_devices
        .iter()
        .map(|(id, _)| id.to_ascii_lowercase())
        .collect();
    let mut failures = Vec::new();
    for wanted in &machines.sriov {
        if let Err(error) = sysfs.make_functions(wanted, &ids, patience) {
            failures.push(format!("{error:#}"));
        }
    }
    let needed = sysfs.needed(mounts, routes);
    for function in sysfs.functions()? {
        if !ids.contains(&function.id) || function.driver.as_deref() == Some(VFIO) {
            continue;
        }
        if needed.contains(&function.address) {
            let (address, id) = (&function.address, &function.id);
            failures.push(format!(
                "{address} ({id}) stays: the node itself runs on it"
            ));
        } else if let Err(error) = sysfs.give_away(&function) {
            failures.push(format!("{error:#}"));
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Failure::error(
            Kind::NodeDiffers,
            failures.join("; "),
            "compare cluster.sriov and cluster.pci_devices with `lspci -nnk`",
        )),
    }
}

impl Sysfs {
    fn device(&self, address: &str) -> PathBuf {
        self.0.join("bus/pci/devices").join(address)
    }

    fn read(&self, path: &Path) -> Option<String> {
        let text = fs::read_to_string(path).ok()?;
        Some(text.trim().to_owned())
    }

    fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        // A file that is not there must not be made: sysfs would say so, and a test, too.
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).truncate(true).open(path);
        let written = file.and_then(|mut f| std::io::Write::write_all(&mut f, text.as_bytes()));
        written.with_context(|| format!("writing {text} to {}", path.display()))
    }

    fn number(&self, path: &Path) -> Option<u32> {
        self.read(path)?.parse().ok()
    }

    /// Every function, in the order of addresses.
    fn functions(&self) -> anyhow::Result<Vec<Function>> {
        let dir = self.0.join("bus/pci/devices");
        let reading = || format!("reading {}", dir.display());
        let mut all = Vec::new();
        for entry in fs::read_dir(&dir).with_context(reading)? {
            let name = entry.with_context(reading)?.file_name();
            let address = name.to_string_lossy().into_owned();
            let device = self.device(&address);
            let id = |file: &str| {
                let text = self.read(&device.join(file))?;
                Some(text.trim_start_matches("0x").to_ascii_lowercase())
            };
            if let (Some(vendor), Some(kind)) = (id("vendor"), id("device")) {
                let driver = fs::read_link(device.join("driver")).ok();
                let driver = driver.as_deref().and_then(Path::file_name);
                all.push(Function {
                    address,
                    id: format!("{vendor}:{kind}"),
                    driver: driver.map(|name| name.to_string_lossy().into_owned()),
                });
            }
        }
        all.sort_by(|a, b| a.address.cmp(&b.address));
        Ok(all)
    }

    /// The folder of a device that is named by its address or as a NIC.
    fn named(&self, device: &str) -> Option<PathBuf> {
        let by_address = self.device(device);
        let by_name = self.0.join("class/net").join(device).join("device");
        [by_address, by_name].into_iter().find(|dir| dir.exists())
    }

    /// Makes a device's virtual functions. Another number takes all away first, as the kernel asks.
    fn make_functions(
        &self,
        wanted: &VirtualFunctions,
        ids: &BTreeSet<String>,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let device = &wanted.device;
        let pause = Duration::from_millis(500);
        let dir = wait::until(device, patience, pause, || Ok(self.named(device)))?;
        let Some(most) = self.number(&dir.join("sriov_totalvfs")) else {
            bail!(
                "{device} has no virtual functions: SR-IOV is off in the firmware, or unknown to it"
            );
        };
        let count = wanted.count;
        if count > most {
            bail!("{device} can have {most} virtual functions, and not {count}");
        }
        let numbers = dir.join("sriov_numvfs");
        let now = self.number(&numbers).unwrap_or(0);
        if now == count {
            return Ok(());
        }
        if now != 0 {
            self.write(&numbers, "0")?;
        }
        if !ids.is_empty() {
            // They are for machines, so the host's driver need not start on each of them first.
            self.write(&dir.join("sriov_drivers_autoprobe"), "0").ok();
        }
        self.write(&numbers, &count.to_string())
    }

    /// Takes a device from its driver, and gives it to machines.
    fn give_away(&self, function: &Function) -> anyhow::Result<()> {
        let address = &function.address;
        let dir = self.device(address);
        self.write(&dir.join("driver_override"), VFIO)?;
        if function.driver.is_some() {
            self.write(&dir.join("driver/unbind"), address)?;
        }
        // Says where it is bound, and asks that driver even when functions are not probed by
        // themselves.
        let bind = self.0.join("bus/pci/drivers").join(VFIO).join("bind");
        self.write(&bind, address)
    }

    /// Addresses of what the node runs on: disks with something mounted, and NICs with a route or
    /// in the bond that has one.
    fn needed(&self, mounts: &str, routes: &str) -> BTreeSet<String> {
        let numbers = mounts.lines().filter_map(|line| line.split(' ').nth(2));
        let disks = numbers.map(|number| self.0.join("dev/block").join(number));
        let mut places: Vec<PathBuf> = disks.collect();
        for name in routes.lines().skip(1) {
            let Some(name) = name.split_whitespace().next() else {
                continue;
            };
            let dir = self.0.join("class/net").join(name);
            places.push(dir.clone());
            let below = fs::read_dir(&dir).into_iter().flatten().flatten();
            let lower = below.filter(|e| e.file_name().to_string_lossy().starts_with("lower_"));
            places.extend(lower.map(|entry| entry.path()));
        }
        let real = places.iter().filter_map(|place| place.canonicalize().ok());
        // Bridges on the way are needed, too; that no machine wants one does no harm.
        let parts = real.flat_map(|path| {
            let parts = path.components();
            let texts = parts.map(|part| part.as_os_str().to_string_lossy().into_owned());
            texts.collect::<Vec<_>>()
        });
        parts.filter(|part| is_address(part)).collect()
    }
}

/// Whether a name is the address of a function, such as `0000:3b:00.0`.
fn is_address(name: &str) -> bool {
    crate::config::formats::pci_address(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const DISK: &str = "0000:01:00.0";
    const GPU: &str = "0000:02:00.0";
    const NIC: &str = "0000:03:00.0";

    /// A disk that is mounted, a GPU of the same kind of driver, a NIC with the route.
    fn machine() -> (tempfile::TempDir, Sysfs) {
        let top = tempfile::tempdir().unwrap();
        let sys = Sysfs(top.path().canonicalize().unwrap());
        let add = |address: &str, (vendor, device): (&str, &str), driver: Option<&str>| {
            let dir = sys.0.join("devices/pci0000:00").join(address);
            fs::create_dir_all(&dir).unwrap();
            for (name, text) in [
                ("vendor", vendor),
                ("device", device),
                ("driver_override", "(null)\n"),
            ] {
                fs::write(dir.join(name), text).unwrap();
            }
            if let Some(driver) = driver {
                let driver = sys.0.join("bus/pci/drivers").join(driver);
                fs::create_dir_all(&driver).unwrap();
                fs::write(driver.join("unbind"), "").unwrap();
                symlink(&driver, dir.join("driver")).unwrap();
            }
            fs::create_dir_all(sys.0.join("bus/pci/devices")).unwrap();
            symlink(&dir, sys.device(address)).unwrap();
            dir
        };
        let disk = add(DISK, ("0x144D\n", "0xa808\n"), Some("nvme"));
        add(GPU, ("0x10de\n", "0x1eb8\n"), Some("nouveau"));
        let nic = add(NIC, ("0x8086\n", "0x1572\n"), Some("i40e"));
        fs::create_dir_all(disk.join("nvme/nvme0/nvme0n1")).unwrap();
        fs::create_dir_all(sys.0.join("dev/block")).unwrap();
        symlink(
            disk.join("nvme/nvme0/nvme0n1"),
            sys.0.join("dev/block/259:1"),
        )
        .unwrap();
        fs::create_dir_all(nic.join("net/ens3")).unwrap();
        symlink(&nic, nic.join("net/ens3/device")).unwrap();
        fs::create_dir_all(sys.0.join("class/net")).unwrap();
        symlink(nic.join("net/ens3"), sys.0.join("class/net/ens3")).unwrap();
        for (name, text) in [
            ("sriov_totalvfs", "8\n"),
            ("sriov_numvfs", "0\n"),
            ("sriov_drivers_autoprobe", "1\n"),
        ] {
            fs::write(nic.join(name), text).unwrap();
        }
        let vfio = sys.0.join("bus/pci/drivers").join(VFIO);
        fs::create_dir_all(&vfio).unwrap();
        fs::write(vfio.join("bind"), "").unwrap();
        (top, sys)
    }

    fn cluster(ids: &[&str], sriov: &[(&str, u32)]) -> Cluster {
        let mut cluster = Cluster::default();
        let ids = ids.iter().map(|id| ((*id).to_owned(), "a/b".to_owned()));
        cluster.machines.pci_devices = ids.collect();
        let functions = sriov.iter().map(|(device, count)| VirtualFunctions {
            device: (*device).to_owned(),
            count: *count,
        });
        cluster.machines.sriov = functions.collect();
        cluster
    }

    const MOUNTS: &str =
        "36 35 259:1 / /var rw - ext4 /dev/nvme0n1p6 rw\n22 1 0:5 / /proc rw - proc proc rw\n";
    const ROUTES: &str = "Iface\tDestination\nens3\t00000000\n";

    fn text(sys: &Sysfs, path: &str) -> String {
        fs::read_to_string(sys.0.join(path)).unwrap()
    }

    #[test]
    fn a_device_goes_from_its_driver_to_machines() {
        let (_top, sys) = machine();
        let cluster = cluster(&["10DE:1EB8"], &[]);
        prepare(&sys, &cluster, MOUNTS, ROUTES, Duration::ZERO).unwrap();
        let dir = format!("bus/pci/devices/{GPU}");
        assert_eq!(text(&sys, &format!("{dir}/driver_override")), VFIO);
        assert_eq!(text(&sys, "bus/pci/drivers/nouveau/unbind"), GPU);
        assert_eq!(text(&sys, "bus/pci/drivers/vfio-pci/bind"), GPU);
        assert_eq!(text(&sys, "bus/pci/drivers/nvme/unbind"), "");
        // The second time there is nothing to do.
        fs::remove_file(sys.device(GPU).join("driver")).unwrap();
        symlink(
            sys.0.join("bus/pci/drivers").join(VFIO),
            sys.device(GPU).join("driver"),
        )
        .unwrap();
        fs::remove_file(sys.0.join("bus/pci/drivers/vfio-pci/bind")).unwrap();
        prepare(&sys, &cluster, MOUNTS, ROUTES, Duration::ZERO).unwrap();
    }

    #[test]
    fn what_the_node_runs_on_stays() {
        let (_top, sys) = machine();
        let cluster = cluster(&["144d:a808", "8086:1572"], &[]);
        let error = prepare(&sys, &cluster, MOUNTS, ROUTES, Duration::ZERO).unwrap_err();
        let said = error.to_string();
        assert!(said.contains(DISK) && said.contains(NIC), "{said}");
        assert_eq!(text(&sys, "bus/pci/drivers/nvme/unbind"), "");
        assert_eq!(text(&sys, "bus/pci/drivers/i40e/unbind"), "");
        // Without a route, the NIC is nobody's.
        prepare(&sys, &cluster, MOUNTS, "Iface\n", Duration::ZERO).unwrap_err();
        assert_eq!(text(&sys, "bus/pci/drivers/i40e/unbind"), NIC);
    }

    #[test]
    fn virtual_functions_are_made_once() {
        let numbers = format!("bus/pci/devices/{NIC}/sriov_numvfs");
        let probe = format!("bus/pci/devices/{NIC}/sriov_drivers_autoprobe");
        for name in ["ens3", NIC] {
            let (_top, sys) = machine();
            let mut wanted = cluster(&[], &[(name, 4)]);
            prepare(&sys, &wanted, MOUNTS, ROUTES, Duration::ZERO).unwrap();
            assert_eq!(text(&sys, &numbers), "4", "{name}");
            assert_eq!(text(&sys, &probe), "1\n", "nobody wants them but the host");
            wanted.machines.pci_devices = vec![("8086:154c".to_owned(), "a/b".to_owned())];
            wanted.machines.sriov[0].count = 2;
            prepare(&sys, &wanted, MOUNTS, ROUTES, Duration::ZERO).unwrap();
            assert_eq!(
                (text(&sys, &numbers), text(&sys, &probe)),
                ("2".into(), "0".into())
            );
        }
    }

    #[test]
    fn what_can_not_be_is_said() {
        let (_top, sys) = machine();
        for (device, count, said) in [
            ("ens3", 9, "can have 8"),
            ("ens9", 1, "ens9, in vain"),
            (GPU, 1, "no virtual functions"),
        ] {
            let wanted = cluster(&[], &[(device, count)]);
            let error = prepare(&sys, &wanted, MOUNTS, ROUTES, Duration::ZERO).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
