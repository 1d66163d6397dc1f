//! How many pods a node runs, and where their addresses come from.

use super::super::answers::Answers;
use super::super::problem::{Code, Problems};
use super::{MAX_PODS, POD_CIDR, cidr_or};

/// Prefix length of a node's part of the pod network that has room for this many pods:
/// the smallest that has, but never smaller than 24.
pub fn mask_for(max_pods: u32) -> u8 {
    let mut mask = 24;
    while mask > 8 && room(mask) < max_pods {
        mask -= 1;
    }
    mask
}

/// Addresses for pods in a network of this prefix length.
fn room(mask: u8) -> u32 {
    // Its own and the broadcast address can't be a pod's.
    (1u32 << 32u32.saturating_sub(u32::from(mask)).min(31)) - 2
}

/// Every pod of a node gets an address of the node's part of the pod network.
pub fn pods_fit(answers: &Answers, problems: &mut Problems) {
    let cluster = &answers.cluster;
    let max_pods = cluster.max_pods.unwrap_or(MAX_PODS);
    let given = cluster.node_cidr_mask.and_then(|m| u8::try_from(m).ok());
    let mask = given.unwrap_or_else(|| mask_for(max_pods));
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
    let pods = cidr_or(answers.install.cluster_pod_cidr.as_ref(), POD_CIDR);
    let Some(pods) = pods.filter(|p| p.network().is_ipv4()) else {
        return;
    };
    // With one part there could be one node.
    if mask <= pods.prefix_len() {
        let field = if given.is_some() {
            "cluster.node_cidr_mask"
        } else if answers.install.cluster_pod_cidr.is_some() {
            "install.cluster_pod_cidr"
        } else {
            "cluster.max_pods"
        };
        problems.add(
            Code::PodsDontFit,
            field,
            format!("nodes take a /{mask} each, and {pods} has no two of them"),
            "a larger install.cluster_pod_cidr, or fewer pods on a node",
        );
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
