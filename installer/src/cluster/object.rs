//! Kubernetes objects, as far as they are rendered: one small type for each part.
//!
//! Field names and their meaning are those of the Kubernetes API (v1, apps/v1,
//! rbac.authorization.k8s.io/v1, storage.k8s.io/v1) and of the definitions of helm.cattle.io.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::MANIFESTS_DIR;
use super::yaml;
use crate::node::files::NodeFile;

/// Names to texts: labels, annotations, selectors.
pub(super) type Texts = BTreeMap<String, String>;

/// Texts of pairs.
pub(super) fn texts<const N: usize>(pairs: [(&str, &str); N]) -> Texts {
    pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

/// An object of any kind.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Object<B> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Meta,
    #[serde(flatten)]
    body: B,
}

/// `metadata`
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Meta {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Texts,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Texts,
}

impl Meta {
    /// Of an object in no namespace.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Of an object in a namespace.
    pub fn within(namespace: &str, name: &str) -> Self {
        Self {
            namespace: Some(namespace.to_owned()),
            ..Self::named(name)
        }
    }

    /// With annotations.
    pub fn annotated(self, annotations: Texts) -> Self {
        Self {
            annotations,
            ..self
        }
    }
}

/// The text of an object: a body with the fields that its kind has beside `metadata`.
pub(super) fn object<B: Serialize>(
    (api_version, kind): (&'static str, &'static str),
    metadata: Meta,
    body: B,
) -> String {
    yaml::text(&Object {
        api_version,
        kind,
        metadata,
        body,
    })
}

/// A manifest of these objects, for root alone, since values can hold secrets.
pub(super) fn manifest(name: &str, objects: &[String]) -> NodeFile {
    let path = format!("{MANIFESTS_DIR}/{name}.yaml");
    NodeFile::with_mode(&path, yaml::documents(objects), 0o600)
}

/// A body with nothing in it.
#[derive(Debug, Serialize)]
pub(super) struct Nothing {}

/// `spec:`
#[derive(Debug, Serialize)]
pub(super) struct Spec<S> {
    pub spec: S,
}

/// A namespace whose pods may do everything: drivers and hypervisors need it.
pub(super) fn privileged_namespace(name: &str) -> String {
    let mut meta = Meta::named(name);
    for mode in ["enforce", "audit", "warn"] {
        let key = format!("pod-security.kubernetes.io/{mode}");
        meta.labels.insert(key, "privileged".to_owned());
    }
    object(("v1", "Namespace"), meta, Nothing {})
}

/// `data` of a ConfigMap.
#[derive(Debug, Serialize)]
pub(super) struct Data {
    pub data: Texts,
}

/// `spec` of a HelmChart of helm.cattle.io/v1, which RKE2's own controller installs.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HelmChart {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart_content: Option<String>,
    pub target_namespace: String,
    pub create_namespace: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_policy: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub values_content: String,
    /// Digest of the content.
    #[serde(skip)]
    pub digest: Option<String>,
}

impl HelmChart {
    /// The object: RKE2 looks for its charts in kube-system. What RKE2 compares when it applies a
    /// manifest again is the begin of each text, so another chart has to show elsewhere.
    pub fn object(self, name: &str) -> String {
        let digest = self.digest.clone();
        let digest = digest.map(|digest| ("harrow/chart-digest".to_owned(), digest));
        object(
            ("helm.cattle.io/v1", "HelmChart"),
            Meta::within("kube-system", name).annotated(digest.into_iter().collect()),
            Spec { spec: self },
        )
    }
}

/// Values for a chart that RKE2 brings.
pub(super) fn chart_config(name: &str, values: &Map<String, Json>) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        values_content: String,
    }
    let spec = Config {
        values_content: values_content(values),
    };
    object(
        ("helm.cattle.io/v1", "HelmChartConfig"),
        Meta::within("kube-system", name),
        Spec { spec },
    )
}

/// Values as the text that a HelmChart holds; none when there are none.
pub(super) fn values_content(values: &Map<String, Json>) -> String {
    if values.is_empty() {
        return String::new();
    }
    yaml::text(values)
}
