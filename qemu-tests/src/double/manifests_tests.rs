use std::os::unix::fs::symlink;

use super::*;

const MAP: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME, namespace: kube-system}\n";

fn map(name: &str) -> String {
    MAP.replace("NAME", name)
}

/// What is found in a folder with these files, `/` in names making folders.
fn check_files(files: &[(&str, String)], disabled: &[&str]) -> (Manifests, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let disabled: Vec<String> = disabled.iter().map(|&name| name.to_owned()).collect();
    let mut problems = Vec::new();
    let manifests = check(folder.path(), &disabled, &mut problems);
    (manifests, problems)
}

#[test]
fn files_are_found_as_the_controller_finds_them() {
    let (manifests, problems) = check_files(
        &[
            ("a.yaml", map("a")),
            ("b.YML", map("b")),
            (
                "c.json",
                "{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"metadata\": {\"name\": \"c\"}}"
                    .into(),
            ),
            ("sub/deep/d.yaml", map("d")),
            (".hidden.yaml", "[".into()),
            ("notes.txt", "[".into()),
            ("off.yaml", "[".into()),
            ("folder-off/x.yaml", "[".into()),
            ("e.yaml", "[".into()),
            ("sub/e.yaml.skip", String::new()),
        ],
        &["off", "folder-off"],
    );
    assert_eq!(problems, [] as [String; 0]);
    let names: Vec<&str> = manifests.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["a.yaml", "b.YML", "c.json", "sub/deep/d.yaml"]);
    assert_eq!(manifests.files["a.yaml"], ["ConfigMap kube-system/a"]);
    assert_eq!(manifests.disabled, ["folder-off/x.yaml", "off.yaml"]);
    let mut problems = Vec::new();
    let none = check(Path::new("/none"), &[], &mut problems);
    assert!(none.files.is_empty() && problems.is_empty());
}

#[test]
fn links_to_folders_are_followed_once() {
    let (folder, run, other) = (
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    std::fs::write(run.path().join("a.yaml"), map("a")).unwrap();
    std::fs::write(other.path().join("b.yaml"), map("b")).unwrap();
    std::fs::write(other.path().join("c.txt"), map("c")).unwrap();
    symlink(run.path(), folder.path().join("harrow")).unwrap();
    // Inside of a link that is followed, files are, folders are not.
    symlink(other.path(), run.path().join("inner")).unwrap();
    symlink(other.path().join("c.txt"), run.path().join("c.yaml")).unwrap();
    let mut problems = Vec::new();
    let manifests = check(folder.path(), &[], &mut problems);
    assert_eq!(problems, [] as [String; 0]);
    let names: Vec<&str> = manifests.of_harrow().collect();
    assert_eq!(names, ["harrow/a.yaml", "harrow/c.yaml"]);
    symlink("/none", folder.path().join("broken")).unwrap();
    check(folder.path(), &[], &mut problems);
    assert!(
        problems.len() == 1 && problems[0].contains("broken"),
        "{problems:?}"
    );
}

#[test]
fn kube_vip_and_images_are_noticed() {
    let text = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: kube-vip, namespace: kube-system}\nspec: {template: {spec: {initContainers: [{image: a:1}], containers: [{image: 'ghcr.io/kube-vip/kube-vip:v1', env: [{name: cp_enable, value: 'true'}, {name: address, value: ADDRESS}]}]}}}\n";
    for (address, vip) in [("10.0.0.5", Some("10.0.0.5")), ("0.0.0.0", None)] {
        let text = text.replace("ADDRESS", address);
        let (manifests, problems) = check_files(&[("kube-vip.yaml", text)], &[]);
        assert_eq!(problems, [] as [String; 0]);
        assert_eq!(manifests.vip.as_deref(), vip);
        assert_eq!(manifests.images, ["a:1", "ghcr.io/kube-vip/kube-vip:v1"]);
    }
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}\n";
    let (manifests, problems) = check_files(&[("list.yaml", list.into())], &[]);
    assert_eq!(problems, [] as [String; 0]);
    assert_eq!(
        manifests.files["list.yaml"],
        ["ConfigMap /a", "ConfigMap /b"]
    );
}

#[test]
fn what_kubernetes_would_not_take_is_refused() {
    for (name, text, expected) in [
        ("a_b.yaml", map("a"), "name of an Addon"),
        ("A.yaml", map("a"), "name of an Addon"),
        ("rke2-multus.yaml", map("a"), "RKE2 writes a file rke2-multus itself"),
        ("a.yaml", String::new(), "holds no object"),
        ("a.yaml", "# nothing\n---\n".into(), "holds no object"),
        ("a.yaml", "a: [".into(), "line 1"),
        ("a.yaml", "- a".into(), "holds a list"),
        ("a.yaml", map("A"), "none of RFC 1123"),
        ("a.yaml", map("a_b"), "none of RFC 1123"),
        ("a.yaml", map("1"), "no metadata.name that is a text"),
        ("a.yaml", map("a").replace("kube-system", "kube_system"), "the namespace"),
        ("a.yaml", map("a").replace("kind", "kin"), "no kind"),
        ("a.yaml", map("a").replace("apiVersion", "version"), "no apiVersion"),
        ("a.yaml", map("a").replace(": v1", ": a/b/v1"), "of no form"),
        ("a.yaml", map("a").replace(": v1", ": apps"), "of no form"),
        ("a.yaml", format!("{}---\n{}", map("a"), map("a")), "is in a.yaml too"),
        (
            "a.yaml",
            "apiVersion: helm.cattle.io/v1\nkind: HelmChart\nmetadata: {name: a}\nspec: {chartContent: '%'}\n".into(),
            "HelmChart /a: spec.chartContent: is no base64",
        ),
        (
            "a.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: x}]}\n".into(),
            "a container has no image",
        ),
    ] {
        let (_, problems) = check_files(&[(name, text.clone())], &[]);
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert!(problems[0].contains(expected), "{text}: {problems:?}");
    }
    let two = [("a.yaml", map("a")), ("sub/a.b.yaml", map("b"))];
    let (_, problems) = check_files(&two, &[]);
    assert!(
        problems[0].contains("makes an Addon a already"),
        "{problems:?}"
    );
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: 'kubevirt.io:operator'}\n";
    let (_, problems) = check_files(&[("a.yaml", role.into())], &[]);
    assert_eq!(problems, [] as [String; 0]);
}
