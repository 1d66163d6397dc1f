//! `HelmChart` and `HelmChartConfig` of helm.cattle.io/v1.
//!
//! In: an object. Out: the chart that it would fetch, if it embeds none, or why RKE2's helm controller could not
//! use it. Fields are those of k3s-io/helm-controller doc/helmchart.md at v0.16.17; others would
//! be dropped by the API server without a word.

use std::io::Read as _;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::yaml::{Yaml, parse_one};

/// Helm's limit for the name of a release.
const LONGEST: usize = 53;
/// What a chart may weigh unpacked; Kubernetes' objects have 1.5 MiB packed at most.
const UNPACKED: u64 = 64 << 20;

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Bool,
    Int,
    Map,
    List,
}

const CHART: &[(&str, Kind)] = &[
    ("targetNamespace", Kind::Text),
    ("createNamespace", Kind::Bool),
    ("chart", Kind::Text),
    ("version", Kind::Text),
    ("repo", Kind::Text),
    ("chartContent", Kind::Text),
    ("repoCA", Kind::Text),
    ("repoCAConfigMap", Kind::Map),
    ("set", Kind::Map),
    ("valuesContent", Kind::Text),
    ("valuesSecrets", Kind::List),
    ("bootstrap", Kind::Bool),
    ("takeOwnership", Kind::Bool),
    ("jobImage", Kind::Text),
    ("backOffLimit", Kind::Int),
    ("timeout", Kind::Text),
    ("failurePolicy", Kind::Text),
    ("authSecret", Kind::Map),
    ("dockerRegistrySecret", Kind::Map),
    ("authPassCredentials", Kind::Bool),
    ("insecureSkipTLSVerify", Kind::Bool),
    ("plainHTTP", Kind::Bool),
    ("podSecurityContext", Kind::Map),
    ("securityContext", Kind::Map),
    ("helmVersion", Kind::Text),
];

const CONFIG: &[(&str, Kind)] = &[
    ("valuesContent", Kind::Text),
    ("valuesSecrets", Kind::List),
    ("failurePolicy", Kind::Text),
];

/// Checks an object of helm.cattle.io/v1.
pub fn check(kind: &str, name: &str, object: &Yaml) -> anyhow::Result<Option<String>> {
    let fields = match kind {
        "HelmChart" => CHART,
        "HelmChartConfig" => CONFIG,
        _ => bail!("helm.cattle.io/v1 has no {kind}"),
    };
    ensure!(
        name.len() <= LONGEST,
        "a release has {LONGEST} letters at most"
    );
    let spec = object.get("spec").unwrap_or(&Yaml::Null);
    ensure!(matches!(spec, Yaml::Map(_)), "spec is {}", spec.kind());
    for (key, value) in spec.entries() {
        let field = fields.iter().find(|(name, _)| name == key);
        let (_, kind) = field.with_context(|| format!("spec has no field {key}"))?;
        let fits = match (kind, value) {
            (Kind::Text, Yaml::Text(_))
            | (Kind::Bool, Yaml::Bool(_))
            | (Kind::Map, Yaml::Map(_))
            | (Kind::List, Yaml::List(_)) => true,
            (Kind::Int, Yaml::Number(number)) => number.parse::<i32>().is_ok(),
            _ => false,
        };
        ensure!(fits, "spec.{key} is {}", value.kind());
    }
    let text = |key: &str| spec.get(key).and_then(|value| value.text());
    if let Some(policy) = text("failurePolicy") {
        ensure!(
            matches!(policy, "reinstall" | "abort"),
            "spec.failurePolicy is {policy:?}"
        );
    }
    if let Some(values) = text("valuesContent") {
        let values = parse_one(values).context("spec.valuesContent")?;
        ensure!(
            matches!(values, Yaml::Map(_) | Yaml::Null),
            "spec.valuesContent is {}, no map",
            values.kind()
        );
    }
    if kind == "HelmChartConfig" {
        return Ok(None);
    }
    match (text("chartContent"), text("chart")) {
        (Some(content), _) => {
            check_chart(content).context("spec.chartContent")?;
            Ok(None)
        }
        (None, Some(chart)) => Ok(Some(chart.to_owned())),
        (None, None) => bail!("spec has neither chartContent nor chart"),
    }
}

/// A chart: base64 of a gzip tar with `NAME/Chart.yaml` and all that it says.
fn check_chart(content: &str) -> anyhow::Result<()> {
    let packed: String = content.split_ascii_whitespace().collect();
    let packed = STANDARD.decode(packed).context("is no base64")?;
    let unpacked = flate2::read::GzDecoder::new(packed.as_slice());
    let mut tar = tar::Archive::new(unpacked.take(UNPACKED));
    let mut chart = None;
    let mut templates = 0;
    for entry in tar.entries().context("is no gzip tar")? {
        let mut entry = entry.context("is no gzip tar")?;
        let path = entry.path().context("is no gzip tar")?.into_owned();
        let parts: Vec<String> = path
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        match parts.as_slice() {
            [folder, name] if name == "Chart.yaml" => {
                let mut text = String::new();
                entry.read_to_string(&mut text).context("Chart.yaml")?;
                chart = Some((folder.clone(), parse_one(&text).context("Chart.yaml")?));
            }
            [_, folder, ..] if folder == "templates" || folder == "crds" || folder == "charts" => {
                templates += 1;
            }
            _ => {}
        }
    }
    let (folder, chart) = chart.context("holds no Chart.yaml")?;
    for key in ["apiVersion", "name", "version"] {
        let value = chart.get(key).and_then(|value| value.text());
        let value = value.with_context(|| format!("Chart.yaml has no {key}"))?;
        ensure!(
            key != "name" || value == folder,
            "the chart {value} is in the folder {folder}"
        );
    }
    ensure!(templates > 0, "the chart {folder} makes nothing");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// A chart of these files, packed.
    fn chart(files: &[(&str, &str)]) -> String {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&tar.into_inner().unwrap()).unwrap();
        STANDARD.encode(packed.finish().unwrap())
    }

    fn check_spec(kind: &str, spec: &str) -> anyhow::Result<Option<String>> {
        let object = parse_one(&format!("spec: {spec}")).unwrap();
        check(kind, "x", &object)
    }

    const CHART_YAML: &str = "apiVersion: v2\nname: a\nversion: '1.0'\n";

    #[test]
    fn a_chart_that_helm_would_take_is_taken() {
        let content = chart(&[("a/Chart.yaml", CHART_YAML), ("a/templates/x.yaml", "")]);
        for (kind, spec, fetched) in [
            (
                "HelmChart",
                format!(
                    "{{chartContent: {content}, valuesContent: 'a: 1', set: {{a: 2}}, backOffLimit: 3}}"
                ),
                None,
            ),
            (
                "HelmChart",
                "{chart: 'oci://x/y'}".into(),
                Some("oci://x/y"),
            ),
            ("HelmChartConfig", "{valuesContent: ''}".into(), None),
        ] {
            let found = check_spec(kind, &spec).unwrap();
            assert_eq!(found.as_deref(), fetched, "{spec}");
        }
    }

    #[test]
    fn a_chart_that_helm_could_not_use_is_refused() {
        let bare = chart(&[("a/values.yaml", "")]);
        let elsewhere = chart(&[("b/Chart.yaml", CHART_YAML), ("b/templates/x.yaml", "")]);
        let empty = chart(&[("a/Chart.yaml", CHART_YAML)]);
        let nameless = chart(&[("a/Chart.yaml", "name: a\n"), ("a/templates/x", "")]);
        let full = chart(&[("a/Chart.yaml", CHART_YAML), ("a/templates/x.yaml", "")]);
        let cut = STANDARD.decode(&full).unwrap();
        let cut = STANDARD.encode(&cut[..cut.len() / 2]);
        for (spec, expected) in [
            ("".into(), "spec is empty"),
            ("{}".into(), "neither chartContent nor chart"),
            ("{values: {a: b}}".into(), "no field values"),
            (
                "{chart: a, timeout: 300}".into(),
                "spec.timeout is a number",
            ),
            ("{chart: a, failurePolicy: never}".into(), "failurePolicy"),
            ("{chart: a, valuesContent: 'a: ['}".into(), "valuesContent"),
            ("{chart: a, valuesContent: 'a'}".into(), "no map"),
            ("{chartContent: '%'}".into(), "is no base64"),
            ("{chartContent: aGFsbG8=}".into(), "is no gzip tar"),
            (format!("{{chartContent: {cut}}}"), "gzip tar"),
            (format!("{{chartContent: {bare}}}"), "no Chart.yaml"),
            (format!("{{chartContent: {elsewhere}}}"), "in the folder b"),
            (format!("{{chartContent: {empty}}}"), "makes nothing"),
            (format!("{{chartContent: {nameless}}}"), "has no apiVersion"),
        ] {
            let error = format!("{:#}", check_spec("HelmChart", &spec).unwrap_err());
            assert!(error.contains(expected), "{spec}: {error}");
        }
        assert!(check_spec("HelmChartConfig", "{chart: a}").is_err());
        assert!(check_spec("HelmRelease", "{chart: a}").is_err());
        let object = parse_one("spec: {chart: a}").unwrap();
        assert!(check("HelmChart", &"x".repeat(54), &object).is_err());
    }
}
