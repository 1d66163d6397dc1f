//! A case's config as all files of its node and cluster, and the judges of them.

#![allow(clippy::unwrap_used, dead_code)] // helpers of tests may panic, and not each needs all

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use harrow::cluster::{Charts, ClusterInputs, Part, render_manifests};
use harrow::config::{Config, Source, SourceKind, read_sources};
use harrow::disk::layout::DataPlace;
use harrow::node::accounts::Accounts;
use harrow::node::files::NodeFile;
use harrow::node::machine;
use harrow::node::render::{self, NodeInputs};
use serde::Deserialize;
use serde_json::Value as Json;

const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";

/// What a case renders to.
pub struct Rendered {
    pub case: PathBuf,
    pub name: String,
    pub config: Config,
    pub files: Vec<NodeFile>,
}

/// Reads a case's config.
pub fn config_of(case: &Path) -> Config {
    let path = case.join("config.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let source = Source::yaml(SourceKind::File, &path.display().to_string(), text);
    let checked = read_sources(&[source], [7; 12]);
    let config = checked.config.ok_or(checked.problems.to_string());
    config.unwrap()
}

/// Renders a case.
pub fn rendered(case: &Path) -> Rendered {
    let config = config_of(case);
    Rendered {
        case: case.to_owned(),
        name: case.file_name().unwrap().to_str().unwrap().to_owned(),
        files: files_of(&config),
        config,
    }
}

/// All files of a node and of its cluster.
pub fn files_of(config: &Config) -> Vec<NodeFile> {
    let mut files = render::render_node(&NodeInputs {
        config,
        accounts: &Accounts::default(),
        machine_id: MACHINE_ID,
        data: (config.storage.data != DataPlace::Nowhere)
            .then_some(Path::new("/dev/disk/by-partuuid/11-22")),
        size: machine::UNKNOWN,
    });
    files.extend(manifests(config, &Charts::Marked));
    files
}

/// The manifests of a config.
pub fn manifests(config: &Config, charts: &Charts) -> Vec<NodeFile> {
    let inputs = ClusterInputs {
        config,
        hostname: &render::hostname(config, MACHINE_ID),
        cpus: machine::UNKNOWN.cpus,
        memory: machine::UNKNOWN.memory,
    };
    render_manifests(&inputs, charts)
}

/// RKE2's flags by part and type.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flags {
    server: Kinds,
    agent: Kinds,
    both: Kinds,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Kinds {
    text: Vec<String>,
    number: Vec<String>,
    switch: Vec<String>,
    list: Vec<String>,
}

/// The list beside the tests.
pub fn flags() -> Flags {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rke2-flags.yaml");
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

impl Flags {
    /// Whether RKE2 takes a key with this value.
    pub fn judge(&self, part: Part, key: &str, value: &Json) -> Result<(), String> {
        let own = match part {
            Part::Server => &self.server,
            Part::Agent => &self.agent,
        };
        let is = |kind: fn(&Kinds) -> &Vec<String>| {
            [own, &self.both]
                .iter()
                .any(|k| kind(k).iter().any(|f| f == key))
        };
        let right = if is(|k| &k.text) {
            value.is_string()
        } else if is(|k| &k.number) {
            value.is_u64()
        } else if is(|k| &k.switch) {
            value.is_boolean()
        } else if is(|k| &k.list) {
            let texts = |items: &Vec<Json>| items.iter().all(Json::is_string);
            value.is_string() || value.as_array().is_some_and(texts)
        } else {
            return Err(format!("no flag of the {part:?}"));
        };
        match right {
            true => Ok(()),
            false => Err(format!("{value} is of another type")),
        }
    }
}

/// The schema of a custom kind.
pub struct Definition(Json);

/// Definitions by kind, where the folder with them is.
pub fn crds() -> Option<BTreeMap<String, Definition>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/crds");
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).ok()? {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.trim_start_matches("---\n");
            let options = serde_saphyr::Options::default();
            let crd: Json = serde_saphyr::from_str_with_options(text, options).unwrap();
            let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
            // The first that is served: kubevirt.io/v1, cdi.kubevirt.io/v1beta1, helm.cattle.io/v1.
            let versions = crd["spec"]["versions"].as_array().unwrap();
            let served = versions.iter().find(|v| v["storage"] == true).unwrap();
            found.insert(
                kind,
                Definition(served["schema"]["openAPIV3Schema"].clone()),
            );
        }
    }
    Some(found)
}

impl Definition {
    /// Whether an object has only fields that are defined, of their types.
    pub fn judge(&self, object: &Json) -> Result<(), String> {
        fits(object, &self.0, "")
    }
}

fn fits(value: &Json, schema: &Json, path: &str) -> Result<(), String> {
    if schema["x-kubernetes-int-or-string"] == true {
        let right = value.is_string() || value.is_u64();
        return right.then_some(()).ok_or(format!("{path}: {value}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Err(format!("{path}: {value} is none of {words:?}"));
    }
    let kind = schema["type"].as_str().unwrap_or_default();
    let right = match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    };
    if !right {
        return Err(format!("{path}: {value} is no {kind}"));
    }
    let free = schema["x-kubernetes-preserve-unknown-fields"] == true || path == ".metadata";
    for (key, inner) in value.as_object().into_iter().flatten() {
        let below = format!("{path}.{key}");
        match (&schema["properties"][key], &schema["additionalProperties"]) {
            (Json::Null, Json::Null) if free => {}
            (Json::Null, Json::Null) => return Err(format!("{below} is not defined")),
            (Json::Null, more) => fits(inner, more, &below)?,
            (defined, _) => fits(inner, defined, &below)?,
        }
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        if value[required.as_str().unwrap_or_default()].is_null() {
            return Err(format!("{path}: {required} is missing"));
        }
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        fits(item, &schema["items"], &format!("{path}[{i}]"))?;
    }
    Ok(())
}
