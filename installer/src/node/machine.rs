//! How large this machine is, for what is kept free on it, and what its firmware calls it.
//!
//! Out: [`MachineSize`], or parts of a host name. Asks the kernel, and no disk.

use crate::config::formats;

/// Size of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineSize {
    /// Threads that the kernel runs on.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
}

/// A machine that nobody described: Harvester's least for production has twice that.
pub const UNKNOWN: MachineSize = MachineSize {
    cpus: 8,
    memory: 32 << 30,
};

/// Kernels keep a little more or less for themselves from boot to boot.
const GRAIN: u64 = 64 << 20;

/// A host name with the machine's serial number and UUID, where it has places for them.
pub fn put_identity(template: &str) -> String {
    let mut name = template.to_owned();
    for (placeholder, file) in [("serial", "product_serial"), ("uuid", "product_uuid")] {
        // In the initrd, /sys is only where PID 1 is.
        let places = ["/sys", "/proc/1/root/sys"];
        let read = |top: &&str| std::fs::read_to_string(format!("{top}/class/dmi/id/{file}")).ok();
        if let Some(value) = places.iter().find_map(read) {
            name = formats::put(&name, placeholder, &value);
        }
    }
    name
}

/// This machine.
pub fn probe() -> MachineSize {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let info = rustix::system::sysinfo();
    let memory = info.totalram * u64::from(info.mem_unit);
    MachineSize {
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        memory: memory / GRAIN * GRAIN,
    }
}
