//! How large this machine is, for what is kept free on it.
//!
//! Out: [`MachineSize`]. Asks the kernel, and no disk.

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
