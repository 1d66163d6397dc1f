//! How many pods a node runs, and where their addresses come from.

use super::super::answers::Answers;
use super::super::formats;
use super::super::problem::{Code, Problems};
use super::{MAX_PODS, cluster_networks};

/// Prefix length of a node's part of the pod network that has room for this many pods:
/// the smallest that has, but never smaller than 24.
pub fn mask_for(max_pods: u32) -> u8 {
    let mut mask = 24;
    while mask > 8 && room(mask) < max_pods {
        mask -= 1;
    }
    mask
}

/// Prefix length of each node's part of the pod network, as this config has it.
pub fn node_mask(answers: &Answers) -> u8 {
    let cluster = &answers.cluster;
    let given = cluster.node_cidr_mask.and_then(|m| u8::try_from(m).ok());
    given.unwrap_or_else(|| mask_for(cluster.max_pods.unwrap_or(MAX_PODS)))
}

/// Addresses for pods in a network of this prefix length.
pub fn room(mask: u8) -> u32 {
    // Its own and the broadcast address can't be a pod's.
    (1u32 << 32u32.saturating_sub(u32::from(mask)).min(31)).saturating_sub(2)
}

/// Every pod of a node gets an address of the node's part of the pod network.
pub fn pods_fit(answers: &Answers, problems: &mut Problems) {
    let cluster = &answers.cluster;
    let max_pods = cluster.max_pods.unwrap_or(MAX_PODS);
    let mask = node_mask(answers);
    if room(mask) < max_pods {
        problems.add(
            Code::PodsDontFit,
            "cluster.max_pods",
            format!(
                "{max_pods} pods, but a node's /{mask} has room for {}",
                room(mask)
            ),
            format!(
                "at most {}, or node_cidr_mask: {}",
                room(mask),
                mask_for(max_pods)
            ),
        );
        return;
    }
    let [(_, pods), _] = cluster_networks(answers);
    let Some(pods) = pods.filter(|p| p.network().is_ipv4()) else {
        return;
    };
    if mask <= pods.prefix_len() {
        let field = if cluster.node_cidr_mask.is_some() {
            "cluster.node_cidr_mask"
        } else if answers.install.cluster_pod_cidr.is_some() {
            "install.cluster_pod_cidr"
        } else {
            "cluster.max_pods"
        };
        let hint = "a larger install.cluster_pod_cidr, or fewer pods on a node";
        if mask == pods.prefix_len() {
            let message = format!("nodes take a /{mask} each, so {pods} is for one node alone");
            problems.add(Code::OneNode, field, message, hint);
        } else {
            let message = format!("nodes take a /{mask} each, and {pods} is smaller");
            problems.add(Code::PodsDontFit, field, message, hint);
        }
    }
}

/// MiB of memory that so many pods cost kubelet and container runtime. A rule of thumb: what
/// EKS reserves on its nodes (`bootstrap.sh` of github.com/awslabs/amazon-eks-ami).
fn memory_for(max_pods: u32) -> u64 {
    255 + 11 * u64::from(max_pods)
}

/// Thousandths of a core that so many pods cost them: GKE reserves 400 more on a node of more
/// than 110 pods ("Plan GKE node sizes" of its documentation).
fn cpu_for(max_pods: u32) -> u64 {
    if max_pods > 110 { 400 } else { 0 }
}

/// More pods are more work for what runs beside them.
pub fn reservations_bear_the_pods(answers: &Answers, problems: &mut Problems) {
    let cluster = &answers.cluster;
    let max_pods = cluster.max_pods.unwrap_or(MAX_PODS);
    let (kube, system) = (&cluster.kube_reserved, &cluster.system_reserved);
    let cpu = |text: &Option<String>| formats::reserved_cpu(text.as_deref()?).ok();
    let memory = |text: &Option<String>| formats::reserved_memory(text.as_deref()?).ok();
    // What is not said follows from the machine, and from the pods.
    if let Some(kube) = cpu(&kube.cpu) {
        let (both, wanted) = (kube + cpu(&system.cpu).unwrap_or(0), cpu_for(max_pods));
        if both < wanted {
            problems.add(
                Code::ReservedTooLittle,
                "cluster.kube_reserved.cpu",
                format!("{both}m is reserved in all, little for {max_pods} pods"),
                format!("at least {wanted}m, or fewer pods"),
            );
        }
    }
    if let Some(kube) = memory(&kube.memory) {
        let both = (kube + memory(&system.memory).unwrap_or(0)) >> 20;
        let wanted = memory_for(max_pods);
        // Those numbers are for full nodes, so less is fine, but not much less.
        if both < wanted / 2 {
            problems.add(
                Code::ReservedTooLittle,
                "cluster.kube_reserved.memory",
                format!("{both}Mi is reserved in all, little for {max_pods} pods"),
                format!("about {wanted}Mi, or fewer pods"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_small_as_they_can_be() {
        for (pods, mask) in [
            (10, 24),
            (200, 24),
            (254, 24),
            (255, 23),
            (510, 23),
            (511, 22),
        ] {
            assert_eq!(mask_for(pods), mask, "{pods}");
        }
    }
}
