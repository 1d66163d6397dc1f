//! The complete list of the flags of RKE2 1.34.5's `server` and `agent`, with their types.
//!
//! Source: rancher/rke2 at v1.34.5+rke2r1, pkg/cli/cmds/{server,agent,root}.go, which takes over,
//! hides or drops each flag of k3s-io/k3s pkg/cli/cmds/{server,agent}.go.

use super::Role;

/// What the value of a flag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One text.
    Text,
    /// Several, each a flag of its own for RKE2.
    List,
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// Go's duration, such as `1h30m`.
    Duration,
}

/// What a key of the config is to a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// A flag with a value of this kind.
    Flag(Kind),
    /// A flag of servers only.
    OfServers,
    /// A flag of k3s that RKE2 does not have.
    OfK3s,
    /// Nothing.
    Unknown,
}

const BOTH: &[(Kind, &[&str])] = &[
    (
        Kind::Text,
        &[
            "config",
            "data-dir",
            "bind-address",
            "token",
            "token-file",
            "server",
            "node-name",
            "image-credential-provider-bin-dir",
            "image-credential-provider-config",
            "container-runtime-endpoint",
            "default-runtime",
            "snapshotter",
            "private-registry",
            "system-default-registry",
            "resolv-conf",
            "kube-apiserver-image",
            "kube-controller-manager-image",
            "cloud-controller-manager-image",
            "kube-proxy-image",
            "kube-scheduler-image",
            "pause-image",
            "runtime-image",
            "etcd-image",
            "kubelet-path",
            "cloud-provider-name",
            "cloud-provider-config",
            "profile",
            "audit-policy-file",
            "pod-security-admission-config-file",
        ],
    ),
    (Kind::Int, &["lb-server-port"]),
    (
        Kind::Bool,
        &[
            "debug",
            "with-node-id",
            "protect-kernel-defaults",
            "selinux",
            "disable-default-registry-endpoint",
            "nonroot-devices",
            "enable-pprof",
            "node-name-from-cloud-provider-metadata",
        ],
    ),
    (
        Kind::List,
        &[
            "node-label",
            "node-taint",
            "kubelet-arg",
            "kube-proxy-arg",
            "node-ip",
            "node-external-ip",
            "node-internal-dns",
            "node-external-dns",
            "airgap-extra-registry",
            "control-plane-resource-requests",
            "control-plane-resource-limits",
            "control-plane-probe-configuration",
            "kube-apiserver-extra-mount",
            "kube-scheduler-extra-mount",
            "kube-controller-manager-extra-mount",
            "kube-proxy-extra-mount",
            "etcd-extra-mount",
            "cloud-controller-manager-extra-mount",
            "kube-apiserver-extra-env",
            "kube-scheduler-extra-env",
            "kube-controller-manager-extra-env",
            "kube-proxy-extra-env",
            "etcd-extra-env",
            "cloud-controller-manager-extra-env",
        ],
    ),
];

const SERVER: &[(Kind, &[&str])] = &[
    (
        Kind::Text,
        &[
            "advertise-address",
            "service-node-port-range",
            "cluster-domain",
            "egress-selector-mode",
            "servicelb-namespace",
            "write-kubeconfig",
            "write-kubeconfig-mode",
            "write-kubeconfig-group",
            "helm-job-image",
            "agent-token",
            "agent-token-file",
            "cluster-reset-restore-path",
            "datastore-endpoint",
            "datastore-cafile",
            "datastore-certfile",
            "datastore-keyfile",
            "etcd-snapshot-name",
            "etcd-snapshot-schedule-cron",
            "etcd-snapshot-dir",
            "etcd-s3-endpoint",
            "etcd-s3-endpoint-ca",
            "etcd-s3-access-key",
            "etcd-s3-secret-key",
            "etcd-s3-session-token",
            "etcd-s3-bucket",
            "etcd-s3-bucket-lookup-type",
            "etcd-s3-region",
            "etcd-s3-folder",
            "etcd-s3-proxy",
            "etcd-s3-config-secret",
            "secrets-encryption-provider",
        ],
    ),
    (Kind::Int, &["etcd-snapshot-retention", "etcd-s3-retention"]),
    (
        Kind::Duration,
        &["etcd-snapshot-reconcile-interval", "etcd-s3-timeout"],
    ),
    (
        Kind::Bool,
        &[
            "tls-san-security",
            "cluster-reset",
            "etcd-expose-metrics",
            "etcd-disable-snapshots",
            "etcd-snapshot-compress",
            "etcd-s3",
            "etcd-s3-skip-ssl-verify",
            "etcd-s3-insecure",
            "disable-scheduler",
            "disable-cloud-controller",
            "disable-kube-proxy",
            "disable-apiserver",
            "disable-controller-manager",
            "disable-etcd",
            "disable-agent",
            "embedded-registry",
            "supervisor-metrics",
            "secrets-encryption",
            "enable-servicelb",
        ],
    ),
    (
        Kind::List,
        &[
            "tls-san",
            "cluster-cidr",
            "service-cidr",
            "cluster-dns",
            "kube-apiserver-arg",
            "etcd-arg",
            "kube-controller-manager-arg",
            "kube-scheduler-arg",
            "kube-cloud-controller-manager-arg",
            "disable",
            "cni",
            "ingress-controller",
        ],
    ),
];

/// Those that people try most.
const K3S: &[&str] = &[
    "https-listen-port",
    "advertise-port",
    "cluster-init",
    "docker",
    "disable-helm-controller",
    "disable-network-policy",
    "rootless",
    "default-local-storage-path",
    "vpn-auth",
    "vpn-auth-file",
];

/// What `key` is to `role`.
pub fn look_up(role: Role, key: &str) -> Known {
    let find = |table: &[(Kind, &[&str])]| {
        table
            .iter()
            .find(|(_, names)| names.contains(&key))
            .map(|(kind, _)| *kind)
    };
    if let Some(kind) = find(BOTH) {
        return Known::Flag(kind);
    }
    match (find(SERVER), role) {
        (Some(kind), Role::Server) => Known::Flag(kind),
        (Some(_), Role::Agent) => Known::OfServers,
        (None, _) if K3S.contains(&key) || key.starts_with("flannel-") => Known::OfK3s,
        (None, _) => Known::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_knows_its_own_flags() {
        use Known::{Flag, OfK3s, OfServers, Unknown};
        for (key, server, agent) in [
            ("token", Flag(Kind::Text), Flag(Kind::Text)),
            ("node-label", Flag(Kind::List), Flag(Kind::List)),
            ("selinux", Flag(Kind::Bool), Flag(Kind::Bool)),
            ("tls-san", Flag(Kind::List), OfServers),
            ("etcd-s3-timeout", Flag(Kind::Duration), OfServers),
            ("flannel-backend", OfK3s, OfK3s),
            ("cluster-init", OfK3s, OfK3s),
            ("helm-controller-arg", Unknown, Unknown),
            ("tls-sans", Unknown, Unknown),
        ] {
            assert_eq!(look_up(Role::Server, key), server, "{key}");
            assert_eq!(look_up(Role::Agent, key), agent, "{key}");
        }
    }

    #[test]
    fn no_flag_is_listed_twice() {
        let mut names: Vec<&str> = BOTH
            .iter()
            .chain(SERVER)
            .flat_map(|(_, names)| names.iter().copied())
            .chain(K3S.iter().copied())
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
