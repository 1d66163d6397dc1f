//! CPU and memory that pods don't get, for the machine that it is.
//!
//! In: threads, memory, pods. Out: what is kept for Kubernetes' own services and for the system.
//! The CPU formula is Harvester's (`calculateCPUReservedInMilliCPU` of its installer); it doubles
//! what GKE keeps. Memory is the smaller of what GKE keeps for a machine's size ("Plan GKE node
//! sizes") and what EKS keeps for a number of pods (`bootstrap.sh` of amazon-eks-ami), so that
//! neither small machines nor those with few pods keep more than they need.

use crate::config::{Cluster, Reserved};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// What Kubernetes' own services get of it; the system gets the rest.
const KUBE_FIFTHS: u64 = 3;

/// An amount that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// CPU in thousandths of a core.
    pub cpu: u64,
    /// Memory in bytes.
    pub memory: u64,
}

/// CPU to keep in all, in thousandths of a core.
fn cpu_of(cpus: u32, max_pods: u32) -> u64 {
    // In tenths of thousandths, since cores above the fourth count a half.
    let cores = u64::from(cpus.max(1));
    let first = 600;
    let second = if cores > 1 { 100 } else { 0 };
    let third_and_fourth = if cores > 2 { 2 * 50 } else { 0 };
    let further = cores.saturating_sub(4) * 25;
    let many_pods = if max_pods > 110 { 4000 } else { 0 };
    let all = first + second + third_and_fourth + further + many_pods;
    2 * (all / 10)
}

/// Memory to keep in all, in bytes.
fn memory_of(memory: u64, max_pods: u32) -> u64 {
    // Each share is of what lies between the size before and its own.
    let mut of_machine = 0;
    let mut counted = 0;
    for (up_to, percent) in [
        (4 * GIB, 25),
        (8 * GIB, 20),
        (16 * GIB, 10),
        (128 * GIB, 6),
        (u64::MAX, 2),
    ] {
        let part = memory.min(up_to).saturating_sub(counted);
        of_machine += part / 100 * percent;
        counted = up_to;
    }
    let of_pods = (255 + 11 * u64::from(max_pods)) * MIB;
    of_machine.min(of_pods) / MIB * MIB
}

/// What is kept for Kubernetes' own services, and for the system: as said, else by the machine.
pub fn kube_and_system(cluster: &Cluster, cpus: u32, memory: u64) -> (Amount, Amount) {
    let cpu = cpu_of(cpus, cluster.max_pods);
    let memory = memory_of(memory, cluster.max_pods);
    let share = |fifths: u64, said: &Reserved| Amount {
        cpu: said.cpu.unwrap_or(cpu * fifths / 5),
        memory: said.memory.unwrap_or(memory * fifths / 5 / MIB * MIB),
    };
    (
        share(KUBE_FIFTHS, &cluster.kube_reserved),
        share(5 - KUBE_FIFTHS, &cluster.system_reserved),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_follows_cores_and_pods() {
        for (cpus, pods, thousandths) in [
            (0, 110, 120),
            (1, 110, 120),
            (2, 110, 140),
            (4, 110, 160),
            (5, 110, 164),
            (8, 110, 180),
            (8, 111, 980),
            (64, 200, 1260),
        ] {
            assert_eq!(cpu_of(cpus, pods), thousandths, "{cpus} cores, {pods} pods");
        }
    }

    #[test]
    fn memory_is_the_smaller_of_two_rules() {
        for (memory, pods, mib) in [
            (GIB, 200, 255),
            (4 * GIB, 200, 1023),
            (8 * GIB, 200, 1843),
            (8 * GIB, 100, 1355),
            (32 * GIB, 200, 2455),
            (1024 * GIB, 400, 4655),
        ] {
            let kept = memory_of(memory, pods) / MIB;
            assert_eq!(kept, mib, "{} GiB, {pods} pods", memory / GIB);
        }
    }

    #[test]
    fn what_is_said_counts() {
        let mut cluster = Cluster::default();
        let (kube, system) = kube_and_system(&cluster, 8, 32 * GIB);
        assert_eq!((kube.cpu, system.cpu), (588, 392));
        assert_eq!((kube.memory, system.memory), (1473 * MIB, 982 * MIB));
        cluster.kube_reserved.cpu = Some(250);
        cluster.system_reserved.memory = Some(0);
        let (kube, system) = kube_and_system(&cluster, 8, 32 * GIB);
        assert_eq!((kube.cpu, system.cpu), (250, 392));
        assert_eq!((kube.memory, system.memory), (1473 * MIB, 0));
    }
}
