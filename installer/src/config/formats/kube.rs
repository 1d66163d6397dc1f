//! Kubernetes: labels, taints, names, and how many pods a node can have.
//!
//! Rules are those of `apimachinery/pkg/util/validation`; which labels a kubelet may give to
//! its own node is in `k8s.io/kubelet/pkg/apis/well_known_labels.go`.

use super::{Wrong, dns_subdomain, made_of, quoted, wrong};

fn is_name(text: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    made_of(text, 63, |b| {
        b.is_ascii_alphanumeric() || b"-_.".contains(&b)
    }) && ends(text.as_bytes().first())
        && ends(text.as_bytes().last())
}

/// A qualified name, as keys of labels and taints are: `[PREFIX/]NAME`, the prefix a DNS name.
pub fn qualified_name(text: &str) -> Result<(), Wrong> {
    const HINT: &str = "[DNS-NAME/]NAME; the name has at most 63 letters, digits, '-', '_', '.'";
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if !is_name(name) || prefix.is_some_and(|prefix| dns_subdomain(prefix).is_err()) {
        return wrong(format!("{} is not the key of a label", quoted(text)), HINT);
    }
    Ok(())
}

/// The value of a label; may be empty.
pub fn label_value(text: &str) -> Result<(), Wrong> {
    if text.is_empty() || is_name(text) {
        return Ok(());
    }
    wrong(
        format!("{} is not the value of a label", quoted(text)),
        "at most 63 letters, digits, '-', '_' and '.', a letter or digit at both ends",
    )
}

/// Labels of Kubernetes' own domains that a kubelet may set.
const KUBELET_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
];

/// A label of the node: a valid key and value, and none that the kubelet refuses to start with.
pub fn node_label(key: &str, value: &str) -> Result<(), Wrong> {
    qualified_name(key)?;
    label_value(value)?;
    let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
    let under = |domain: &str| {
        prefix
            .strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let reserved = under("kubernetes.io") || under("k8s.io");
    let open = under("kubelet.kubernetes.io") || under("node.kubernetes.io");
    if reserved && !open && !KUBELET_LABELS.contains(&key) {
        return wrong(
            format!("{key} is reserved: a kubelet that is told to set it does not start"),
            "a prefix of your own, such as example.org/rack",
        );
    }
    Ok(())
}

/// What a taint does to pods that do not tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaintEffect {
    /// New pods stay away.
    NoSchedule,
    /// New pods stay away if they can.
    PreferNoSchedule,
    /// Running pods leave too.
    NoExecute,
}

/// A taint in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// What it does.
    pub effect: TaintEffect,
}

/// A taint `KEY[=VALUE]:EFFECT`.
pub fn taint(text: &str) -> Result<Taint, Wrong> {
    const HINT: &str = "KEY=VALUE:NoSchedule, :PreferNoSchedule or :NoExecute";
    let Some((rest, effect)) = text.rsplit_once(':') else {
        return wrong(format!("{} names no effect", quoted(text)), HINT);
    };
    let effect = match effect {
        "NoSchedule" => TaintEffect::NoSchedule,
        "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
        "NoExecute" => TaintEffect::NoExecute,
        other => {
            return wrong(
                format!("{} is not an effect of a taint", quoted(other)),
                HINT,
            );
        }
    };
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    qualified_name(key)?;
    label_value(value)?;
    Ok(Taint {
        key: key.to_owned(),
        effect,
    })
}

/// The name of most objects: a DNS subdomain.
pub fn object_name(text: &str) -> Result<(), Wrong> {
    dns_subdomain(text)
}

/// The name by which pods ask for a device: `VENDOR/NAME`, as device plugins register it, and
/// not in a domain of Kubernetes' own.
pub fn device_name(text: &str) -> Result<(), Wrong> {
    const HINT: &str = "VENDOR/NAME, such as nvidia.com/TU104GL";
    let prefix = text.split_once('/').map(|(prefix, _)| prefix);
    if prefix.is_none() || qualified_name(text).is_err() {
        return wrong(
            format!("{} is not the name of a device", quoted(text)),
            HINT,
        );
    }
    if prefix.is_some_and(|p| p == "kubernetes.io" || p.ends_with(".kubernetes.io")) {
        return wrong(format!("{} is Kubernetes' own", quoted(text)), HINT);
    }
    Ok(())
}

/// The name of a chart, which becomes that of its release: a DNS label of at most 53 characters
/// (Helm's limit).
pub fn chart_name(text: &str) -> Result<(), Wrong> {
    if text.len() <= 53 && super::dns_label(text).is_ok() {
        return Ok(());
    }
    wrong(
        format!("{} is not the name of a chart", quoted(text)),
        "at most 53 lower-case letters, digits and '-', such as csi-driver-nfs",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_of_labels() {
        let name = "n".repeat(63);
        let prefix = [
            "p".repeat(63),
            "p".repeat(63),
            "p".repeat(63),
            "p".repeat(61),
        ]
        .join(".");
        for good in [
            "a",
            "A_b.c-9",
            "example.org/rack",
            &name,
            &format!("{prefix}/{name}"),
        ] {
            assert!(qualified_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "a/",
            "/a",
            "a/b/c",
            "Example.org/a",
            "a b",
            "ä",
            "a=b",
            &format!("{name}n"),
            &format!("{prefix}p/a"),
        ] {
            assert!(qualified_name(bad).is_err(), "{bad}");
        }
        for good in ["", "a", "A.b_c-1", &name] {
            assert!(label_value(good).is_ok(), "{good}");
        }
        for bad in ["-", "a-", "_a", "a b", "a/b", &format!("{name}n")] {
            assert!(label_value(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn some_labels_are_not_the_nodes_own() {
        for good in [
            "rack",
            "example.org/rack",
            "topology.kubernetes.io/zone",
            "node.kubernetes.io/x",
            "a.kubelet.kubernetes.io/x",
            "notkubernetes.io/x",
            "kubernetes.io/hostname",
        ] {
            assert!(node_label(good, "v").is_ok(), "{good}");
        }
        for bad in [
            "node-role.kubernetes.io/worker",
            "kubernetes.io/x",
            "k8s.io/x",
            "a.k8s.io/x",
            "node-restriction.kubernetes.io/x",
        ] {
            assert!(node_label(bad, "v").is_err(), "{bad}");
        }
    }

    #[test]
    fn taints() {
        let taint_of = |text| taint(text).map(|t| (t.key, t.effect));
        assert_eq!(
            taint_of("a=b:NoSchedule"),
            Ok(("a".into(), TaintEffect::NoSchedule))
        );
        let witness = "node-role.kubernetes.io/etcd=true:NoExecute";
        assert_eq!(taint(witness).unwrap().effect, TaintEffect::NoExecute);
        assert!(taint("x.y/k:PreferNoSchedule").is_ok());
        for bad in [
            "",
            "a",
            "a=b",
            "a:noschedule",
            ":NoSchedule",
            "=b:NoSchedule",
            "a=b=c:NoSchedule",
        ] {
            assert!(taint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_objects() {
        assert!(object_name("a.b").is_ok() && object_name("A").is_err());
        assert!(device_name("nvidia.com/TU104GL").is_ok());
        for bad in [
            "gpu",
            "a/",
            "kubernetes.io/gpu",
            "x.kubernetes.io/gpu",
            "A/b",
        ] {
            assert!(device_name(bad).is_err(), "{bad}");
        }
        assert!(chart_name("csi-driver-nfs").is_ok());
        for bad in ["", "a.b", "A", &"a".repeat(54)] {
            assert!(chart_name(bad).is_err(), "{bad}");
        }
    }
}
