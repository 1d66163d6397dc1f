use super::*;

const BUNDLE: &str = "schema = 1
[[artifact]]
name = 'rke2'
kind = 'rke2'
version = 'v1.34.5+rke2r1'
url = 'https://h/v1.34.5%2Brke2r1/rke2.linux-amd64.tar.gz'
checksums = 'https://h/sha256sum-amd64.txt'
[[artifact]]
name = 'rke2-images-core'
kind = 'images'
version = 'v1.34.5+rke2r1'
url = 'https://h/rke2-images-core.linux-amd64.tar.zst'
[[artifact]]
name = 'longhorn'
kind = 'chart'
version = '1.12.1'
url = 'https://h/longhorn-1.12.1.tgz'
index = 'https://h/index.yaml'
[[artifact]]
name = 'kubevirt-operator'
kind = 'manifest'
version = 'v1.9.0'
url = 'https://h/kubevirt-operator.yaml'
[[artifact]]
name = 'virtctl'
kind = 'program'
version = 'v1.9.0'
url = 'https://h/virtctl-v1.9.0-linux-amd64'
[[artifact]]
name = 'kubevirt'
kind = 'image-set'
version = 'v1.9.0'
images = ['quay.io/kubevirt/virt-api:v1.9.0', 'quay.io/kubevirt/virt-operator:v1.9.0']
only_with = 'vms'
";

fn make() -> Doubles {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("rke2-double");
    std::fs::write(&program, "program").unwrap();
    Doubles::make(BUNDLE, &program, "http://10.0.2.2:1").unwrap()
}

#[test]
fn every_artifact_has_a_double_that_is_pinned() {
    let doubles = make();
    assert_eq!(doubles, make(), "the same bytes each time");
    let names: Vec<&str> = doubles.files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "kubevirt-operator.yaml",
            "kubevirt.tar.zst",
            "longhorn-1.12.1.tgz",
            "rke2-images-core.linux-amd64.tar.zst",
            "rke2.linux-amd64.tar.gz",
            "virtctl-v1.9.0-linux-amd64",
        ]
    );
    let bundle: toml::Value = toml::from_str(&doubles.bundle).unwrap();
    let lock: toml::Value = toml::from_str(&doubles.lock).unwrap();
    assert!(doubles.bundle.contains(DOUBLE) && doubles.lock.contains(DOUBLE));
    let artifacts = bundle["artifact"].as_array().unwrap();
    assert_eq!(artifacts.len(), 6);
    for artifact in artifacts {
        let url = artifact["url"].as_str().unwrap();
        let name = url.strip_prefix("http://10.0.2.2:1/").unwrap();
        let bytes = &doubles.files[name];
        let pin = &lock["artifact"][artifact["name"].as_str().unwrap()];
        assert_eq!(pin["version"], artifact["version"]);
        assert_eq!(pin["size"].as_integer(), Some(bytes.len() as i64));
        let sha256 = hex::encode(Sha256::digest(bytes));
        assert_eq!(pin["sha256"].as_str(), Some(sha256.as_str()));
    }
    assert_eq!(artifacts[5]["kind"].as_str(), Some("images"));
    assert_eq!(artifacts[5]["only_with"].as_str(), Some("vms"));
}

#[test]
fn the_tarball_has_the_layout_of_a_release() {
    let packed = &make().files["rke2.linux-amd64.tar.gz"];
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
    let mut files = Vec::new();
    for entry in tar.entries().unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.header().uid().unwrap(), 0);
        if entry.header().entry_type().is_file() {
            let mode = entry.header().mode().unwrap();
            files.push((entry.path().unwrap().display().to_string(), mode));
        }
    }
    files.sort();
    let files: Vec<(&str, u32)> = files
        .iter()
        .map(|(it, mode)| (it.as_str(), *mode))
        .collect();
    assert_eq!(
        files,
        [
            ("bin/rke2", 0o755),
            ("bin/rke2-killall.sh", 0o755),
            ("bin/rke2-uninstall.sh", 0o755),
            ("lib/systemd/system/rke2-agent.env", 0o644),
            ("lib/systemd/system/rke2-agent.service", 0o644),
            ("lib/systemd/system/rke2-server.env", 0o644),
            ("lib/systemd/system/rke2-server.service", 0o644),
            ("share/rke2/LICENSE.txt", 0o644),
            ("share/rke2/rke2-cis-sysctl.conf", 0o644),
        ]
    );
}

#[test]
fn the_double_accepts_the_doubles() {
    let doubles = make();
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    let manifests = folder.path().join("manifests");
    std::fs::create_dir_all(&images).unwrap();
    std::fs::create_dir_all(&manifests).unwrap();
    let write = |path: std::path::PathBuf, name: &str| {
        std::fs::write(path, &doubles.files[name]).unwrap();
    };
    for name in ["kubevirt.tar.zst", "rke2-images-core.linux-amd64.tar.zst"] {
        write(images.join(name), name);
    }
    write(
        manifests.join("kubevirt-operator.yaml"),
        "kubevirt-operator.yaml",
    );
    use base64::Engine as _;
    let chart =
        base64::engine::general_purpose::STANDARD.encode(&doubles.files["longhorn-1.12.1.tgz"]);
    let object = format!(
        "apiVersion: helm.cattle.io/v1\nkind: HelmChart\nmetadata: {{name: longhorn, namespace: kube-system}}\nspec: {{chartContent: {chart}}}\n"
    );
    std::fs::write(manifests.join("longhorn.yaml"), object).unwrap();
    let mut problems = Vec::new();
    let archives = crate::double::archives::check(&images, &mut problems);
    let found = crate::double::manifests::check(&manifests, &[], &mut problems);
    assert_eq!(problems, [] as [String; 0]);
    assert_eq!(archives[0].images.len(), 2);
    assert_eq!(archives[1].images.len(), 15);
    assert_eq!(found.files["kubevirt-operator.yaml"].len(), 3);
    // An operator's image is one that an archive brings.
    assert_eq!(found.images, ["quay.io/kubevirt/virt-operator:v1.9.0"]);
    assert!(archives[0].images.contains(&found.images[0]));
}

#[test]
fn what_is_written_is_a_mirror_of_the_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("mirror/blobs/sha256/old");
    std::fs::create_dir_all(old.parent().unwrap()).unwrap();
    std::fs::write(&old, "").unwrap();
    let doubles = make();
    doubles.write(folder.path()).unwrap();
    assert!(!old.exists());
    for (name, text) in [
        ("bundle.toml", &doubles.bundle),
        ("bundle.lock", &doubles.lock),
    ] {
        assert_eq!(
            std::fs::read_to_string(folder.path().join(name)).unwrap(),
            **text
        );
    }
    let lock: toml::Value = toml::from_str(&doubles.lock).unwrap();
    for pin in lock["artifact"].as_table().unwrap().values() {
        let digest = pin["sha256"].as_str().unwrap();
        let blob = folder.path().join("mirror/blobs/sha256").join(digest);
        let bytes = std::fs::read(blob).unwrap();
        assert_eq!(hex::encode(Sha256::digest(&bytes)), digest);
    }
}

#[test]
fn what_can_not_be_doubled_is_named() {
    for (from, to, expected) in [
        ("'chart'", "'cart'", "double of longhorn"),
        (
            "longhorn-1.12.1.tgz",
            "kubevirt-operator.yaml",
            "two artifacts",
        ),
    ] {
        let text = BUNDLE.replacen(from, to, 1);
        let error = Doubles::make(&text, Path::new("/dev/null"), "http://x").unwrap_err();
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    }
    let error = Doubles::make(BUNDLE, Path::new("/none/rke2"), "http://x").unwrap_err();
    assert!(format!("{error:#}").contains("/none/rke2"), "{error:#}");
}
