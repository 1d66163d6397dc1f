//! Golden folders: every `tests/golden/cluster/<case>/config.yaml` renders to its `expected.txt`:
//! all files of the node and all manifests of its cluster. And what they hold is judged by what
//! others published: RKE2's flags, Kubernetes' schemas, the definitions of custom resources.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

#[path = "common/cluster.rs"]
mod cluster;
#[path = "common/golden.rs"]
mod golden;

use std::collections::BTreeSet;
use std::path::Path;

use cluster::{Rendered, crds, flags, rendered};
use golden::{cases, check};
use harrow::cluster::{CONFIG_DIR, MANIFESTS_DIR, Part};
use harrow::node::files::{Content, NodeFile, render_tree};
use harrow::sys::cmd::Cmd;
use serde_json::Value as Json;

/// How many cases there are at least.
const CASES: usize = 8;

fn each() -> impl Iterator<Item = Rendered> {
    cases("cluster", CASES)
        .into_iter()
        .map(|case| rendered(&case))
}

/// The documents of a file.
fn documents(file: &NodeFile) -> Vec<Json> {
    let Content::File { bytes, .. } = &file.content else {
        return Vec::new();
    };
    let text = std::str::from_utf8(bytes).unwrap();
    let each = text.split("---\n");
    each.map(|one| serde_saphyr::from_str(one).unwrap())
        .collect()
}

/// All objects of the manifests.
fn objects(rendered: &Rendered) -> Vec<Json> {
    let files = rendered.files.iter();
    let manifests = files.filter(|f| f.path.starts_with(MANIFESTS_DIR));
    manifests.flat_map(documents).collect()
}

#[test]
fn configs_render_to_all_their_files() {
    for rendered in each() {
        let paths: BTreeSet<&str> = rendered.files.iter().map(|f| f.path.as_str()).collect();
        let name = &rendered.name;
        assert_eq!(paths.len(), rendered.files.len(), "{name}: a path twice");
        check(
            &rendered.case.join("expected.txt"),
            &render_tree(&rendered.files),
        );
    }
}

/// RKE2 takes every key, with a value of its type, and no key is in two files.
#[test]
fn rke2_knows_every_key() {
    let flags = flags();
    let mut checked = 0;
    for rendered in each() {
        let name = &rendered.name;
        let in_config = |f: &&NodeFile| f.path.starts_with(CONFIG_DIR);
        let files: Vec<&NodeFile> = rendered.files.iter().filter(in_config).collect();
        let Some(part) = Part::of(&rendered.config) else {
            assert!(files.is_empty(), "{name}");
            continue;
        };
        let mut seen = BTreeSet::new();
        for file in files {
            for (key, value) in documents(file)[0].as_object().unwrap() {
                flags
                    .judge(part, key, value)
                    .unwrap_or_else(|wrong| panic!("{name}: {}: {key}: {wrong}", file.path));
                assert!(seen.insert(key.clone()), "{name}: {key} is there twice");
                checked += 1;
            }
        }
        assert!(seen.contains("token"), "{name}");
    }
    assert!(checked > 60, "{checked}");
}

/// The judge is no yes-man.
#[test]
fn rke2_refuses_what_is_no_flag_of_the_part() {
    let flags = flags();
    for (part, key, value) in [
        (Part::Server, "flannel-backend", Json::from("vxlan")),
        (Part::Agent, "tls-san", Json::from(vec!["a"])),
        (Part::Agent, "cni", Json::from(vec!["canal"])),
        (Part::Server, "etcd-snapshot-retention", Json::from("five")),
        (Part::Server, "token", Json::from(vec!["a"])),
        (Part::Server, "tls-san-security", Json::from("maybe")),
    ] {
        assert!(flags.judge(part, key, &value).is_err(), "{key}");
    }
    assert_eq!(
        flags.judge(Part::Server, "cni", &Json::from("canal")),
        Ok(())
    );
}

/// Names by which RKE2's deploy controller knows a manifest, and Kubernetes an object.
#[test]
fn names_are_unique_and_valid() {
    // What RKE2 itself has in its folder.
    let own = [
        "rke2-canal",
        "rke2-multus",
        "rke2-coredns",
        "rke2-ingress-nginx",
    ];
    for rendered in each() {
        let manifests = rendered.files.iter().map(|f| f.path.as_str());
        for path in manifests.filter(|path| path.starts_with(MANIFESTS_DIR)) {
            let name = Path::new(path).file_stem().unwrap().to_str().unwrap();
            assert!(harrow::config::formats::dns_label(name).is_ok(), "{path}");
            assert!(!own.contains(&name), "{path}");
        }
        let mut seen = BTreeSet::new();
        for object in objects(&rendered) {
            let meta = &object["metadata"];
            let id = format!("{} {} {}", object["kind"], meta["namespace"], meta["name"]);
            assert!(seen.insert(id.clone()), "{}: {id} twice", rendered.name);
        }
    }
}

/// Kubernetes' own kinds, by the schemas that it publishes.
#[test]
fn core_kinds_fit_the_published_schemas() {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("../kubernetes-validate/bin/kubernetes-validate");
    assert!(
        python.exists(),
        "{} is missing: `make test-deps` installs it",
        python.display()
    );
    let dir = tempfile::tempdir().unwrap();
    let mut kinds = BTreeSet::new();
    let mut files = Vec::new();
    for rendered in each() {
        let core = |o: &Json| CUSTOM.iter().all(|custom| o["kind"] != *custom);
        for (i, object) in objects(&rendered).into_iter().filter(core).enumerate() {
            kinds.insert(object["kind"].as_str().unwrap().to_owned());
            let path = dir.path().join(format!("{}-{i}.yaml", rendered.name));
            // JSON is YAML.
            std::fs::write(&path, object.to_string()).unwrap();
            files.push(path);
        }
    }
    let expected = [
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "CustomResourceDefinition",
        "DaemonSet",
        "Deployment",
        "Namespace",
        "Service",
        "ServiceAccount",
        "StorageClass",
    ];
    assert!(kinds.iter().eq(expected), "{kinds:?}");
    let validate = |files: &[std::path::PathBuf]| {
        let validate = Cmd::new(python.to_str().unwrap()).args(["-k", "1.34", "--strict"]);
        validate.args(files).run_any().unwrap()
    };
    let output = validate(&files);
    assert!(
        output.status.success(),
        "{}{}",
        output.text(),
        output.stderr
    );
    // The judge is no yes-man either.
    let bad = dir.path().join("bad.yaml");
    let text = std::fs::read_to_string(&files[0]).unwrap();
    std::fs::write(&bad, text.replace("\"metadata\"", "\"metadat\"")).unwrap();
    assert!(!validate(&[bad]).status.success());
}

/// Kinds that the cluster learns from others.
const CUSTOM: [&str; 5] = [
    "CDI",
    "HelmChart",
    "HelmChartConfig",
    "KubeVirt",
    "VolumeSnapshotClass",
];

/// Custom kinds, by their definitions where those are at hand.
#[test]
fn custom_kinds_fit_their_definitions() {
    let Some(definitions) = crds() else {
        eprintln!("SKIPPED: ../shared/crds is not there, so no definition of a custom kind is");
        return;
    };
    let mut kinds = BTreeSet::new();
    for rendered in each() {
        for object in objects(&rendered) {
            let kind = object["kind"].as_str().unwrap();
            let Some(definition) = definitions.get(kind) else {
                continue;
            };
            kinds.insert(kind.to_owned());
            definition
                .judge(&object)
                .unwrap_or_else(|wrong| panic!("{}: {kind}: {wrong}", rendered.name));
        }
    }
    assert!(kinds.iter().eq(&CUSTOM[..4]), "{kinds:?}");
    let chart = |spec: Json| serde_json::json!({"apiVersion": "helm.cattle.io/v1", "kind": "HelmChart", "spec": spec});
    let helm = &definitions["HelmChart"];
    assert_eq!(
        helm.judge(&chart(serde_json::json!({"chart": "a"}))),
        Ok(())
    );
    for bad in [
        serde_json::json!({"chartt": "a"}),
        serde_json::json!({"chart": 1}),
        serde_json::json!({"failurePolicy": "give-up"}),
    ] {
        assert!(helm.judge(&chart(bad)).is_err());
    }
}

/// A payload's charts lie in the manifests, and what it lacks is known.
#[test]
fn charts_of_a_payload_are_embedded() {
    use harrow::cluster::Charts;
    let case = golden::folder("cluster").join("create-dhcp-vip-all-addons");
    let config = rendered(&case).config;
    let needed = Charts::needed(&config);
    assert!(
        needed.contains(&"longhorn".to_owned()) && needed.len() > 9,
        "{needed:?}"
    );
    let mut contents: std::collections::BTreeMap<String, String> = needed
        .iter()
        .map(|name| (name.clone(), "Y2hhcnQ=".to_owned()))
        .collect();
    let full = Charts::Payload(contents.clone());
    assert_eq!(full.missing(&config), [] as [String; 0]);
    let all = cluster::manifests(&config, &full);
    for object in all
        .iter()
        .flat_map(documents)
        .filter(|o| o["kind"] == "HelmChart")
    {
        let spec = &object["spec"];
        let remote = spec["repo"].is_string();
        assert_eq!(spec["chartContent"] == "Y2hhcnQ=", !remote, "{object}");
        let digest = &object["metadata"]["annotations"]["harrow/chart-digest"];
        assert_eq!(digest.is_string(), !remote, "{object}");
    }
    let chosen: Vec<&str> = Charts::chosen(&config).into_iter().collect();
    assert!(
        chosen.contains(&"cilium") && chosen.contains(&"descheduler"),
        "{chosen:?}"
    );
    assert_eq!(chosen.len(), 10);
    contents.remove("descheduler");
    let lacking = Charts::Payload(contents);
    assert_eq!(lacking.missing(&config), ["descheduler"]);
    assert_eq!(cluster::manifests(&config, &lacking).len(), all.len() - 1);
}
