//! Service accounts, and what they may do (rbac.authorization.k8s.io/v1).
//!
//! In: names and rules. Out: objects as texts.

use serde::Serialize;

use super::object::{Meta, Nothing, object};

/// A service account.
pub(super) fn service_account(namespace: &str, name: &str) -> String {
    object(
        ("v1", "ServiceAccount"),
        Meta::within(namespace, name),
        Nothing {},
    )
}

/// A rule of a role.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    pub api_groups: &'static [&'static str],
    pub resources: &'static [&'static str],
    pub verbs: &'static [&'static str],
}

const RBAC: &str = "rbac.authorization.k8s.io";

/// A role of the whole cluster, or of the namespace.
pub(super) fn role(namespace: Option<&str>, name: &str, rules: &[Rule]) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        rules: &'a [Rule],
    }
    let (kind, meta) = match namespace {
        Some(namespace) => ("Role", Meta::within(namespace, name)),
        None => ("ClusterRole", Meta::named(name)),
    };
    object(("rbac.authorization.k8s.io/v1", kind), meta, Body { rules })
}

/// Gives a role to a service account: that of the namespace, or of the whole cluster.
pub(super) fn binding(
    namespace: Option<&str>,
    name: &str,
    role: &str,
    (account_namespace, account): (&str, &str),
) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        role_ref: RoleRef<'a>,
        subjects: [Subject<'a>; 1],
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct RoleRef<'a> {
        api_group: &'a str,
        kind: &'a str,
        name: &'a str,
    }
    #[derive(Serialize)]
    struct Subject<'a> {
        kind: &'a str,
        name: &'a str,
        namespace: &'a str,
    }
    let (kind, role_kind, meta) = match namespace {
        Some(namespace) => ("RoleBinding", "Role", Meta::within(namespace, name)),
        None => ("ClusterRoleBinding", "ClusterRole", Meta::named(name)),
    };
    let body = Body {
        role_ref: RoleRef {
            api_group: RBAC,
            kind: role_kind,
            name: role,
        },
        subjects: [Subject {
            kind: "ServiceAccount",
            name: account,
            namespace: account_namespace,
        }],
    };
    object(("rbac.authorization.k8s.io/v1", kind), meta, body)
}
