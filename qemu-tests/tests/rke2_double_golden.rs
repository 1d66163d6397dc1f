//! Every golden config of a cluster, rendered with a payload of doubles, is what the RKE2 double
//! accepts: the files of a node together, as RKE2 would find them.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

use std::fs::{copy, create_dir_all, read_dir, read_link, remove_file, write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use harrow::cluster::{MANIFESTS_DIR, Part};
use harrow::config::{Source, SourceKind, read_sources};
use harrow::node::{charts, export, machine};
use harrow::sys::random;
use qemu_tests::double::pack::Doubles;
use qemu_tests::double::rules::below;
use qemu_tests::double::unit::Process;
use qemu_tests::double::{Report, Role, check};

/// Charts that a config of the cases can ask for.
const CHARTS: [&str; 13] = [
    "longhorn",
    "rancher-monitoring-crd",
    "rancher-monitoring",
    "rancher-logging-crd",
    "rancher-logging",
    "vcluster",
    "harvester-pcidevices-controller",
    "harvester-seeder",
    "harvester-vm-import-controller",
    "nvidia-driver-runtime",
    "kubeovn-operator-crd",
    "kubeovn-operator",
    "descheduler",
];
const IMAGES: [&str; 4] = [
    "quay.io/kubevirt/virt-operator:v1",
    "quay.io/kubevirt/cdi-operator:v1",
    harrow::cluster::KUBE_VIP_IMAGE,
    harrow::cluster::CLOUD_PROVIDER_IMAGE,
];
/// How many cases there are at least, without those of no cluster.
const CASES: usize = 7;

fn bundle() -> String {
    let artifact = |name: &str, kind: &str, end: &str| {
        format!(
            "[[artifact]]\nname = '{name}'\nkind = '{kind}'\nversion = '1.0.0'\nurl = 'https://h/{name}{end}'\n"
        )
    };
    let mut text = String::from("schema = 1\n");
    text += &artifact("rke2", "rke2", ".linux-amd64.tar.gz");
    text += &artifact("rke2-images-core", "images", ".linux-amd64.tar.zst");
    for name in CHARTS {
        text += &artifact(name, "chart", "-1.0.0.tgz");
    }
    for name in ["kubevirt-operator", "cdi-operator"] {
        text += &artifact(name, "manifest", ".yaml");
    }
    text + &format!(
        "[[artifact]]\nname = 'vms'\nkind = 'image-set'\nversion = '1'\nimages = {IMAGES:?}\n"
    )
}

/// A payload folder of doubles.
fn payload(folder: &Path) -> PathBuf {
    let (payload, program) = (folder.join("payload"), folder.join("program"));
    write(&program, "not started here").unwrap();
    let doubles = Doubles::make(&bundle(), &program, "http://x").unwrap();
    for sub in ["rke2", "images", "charts", "manifests"] {
        create_dir_all(payload.join(sub)).unwrap();
    }
    for (name, bytes) in &doubles.files {
        let place = match name.as_str() {
            "rke2.linux-amd64.tar.gz" => {
                let unpacked = flate2::read::GzDecoder::new(bytes.as_slice());
                tar::Archive::new(unpacked)
                    .unpack(payload.join("rke2"))
                    .unwrap();
                continue;
            }
            name if name.ends_with(".tar.zst") => format!("images/{name}"),
            name if name.ends_with(".tgz") => {
                format!("charts/{}.tgz", name.trim_end_matches("-1.0.0.tgz"))
            }
            name => format!("manifests/{name}"),
        };
        write(payload.join(place), bytes).unwrap();
    }
    payload
}

/// A node with what a config renders to and what `harrow payload` lays down, as the double sees it.
fn judge(case: &Path, payload: &Path, root: &Path) -> Option<Report> {
    let text = std::fs::read(case.join("config.yaml")).unwrap();
    let source = Source::yaml(SourceKind::File, "config.yaml", text);
    let checked = read_sources(&[source], random::salt());
    let role = match Part::of(checked.config.as_ref().unwrap())? {
        Part::Server => Role::Server,
        Part::Agent => Role::Agent,
    };
    let charts = charts::read(payload).unwrap();
    export::write_node(&checked.answers, machine::UNKNOWN, &charts, root).unwrap();
    let at = |path: &str| below(root, path);
    create_dir_all(at("/run/harrow")).unwrap();
    symlink(payload, at("/run/harrow/payload")).unwrap();
    let data = at("/var/lib/rancher/rke2");
    create_dir_all(data.join("agent/images")).unwrap();
    create_dir_all(data.join("server/manifests")).unwrap();
    for entry in read_dir(payload.join("images")).unwrap() {
        let archive = entry.unwrap();
        symlink(
            archive.path(),
            data.join("agent/images").join(archive.file_name()),
        )
        .unwrap();
    }
    let manifests = at(MANIFESTS_DIR);
    if manifests.exists() {
        for entry in read_dir(&manifests).unwrap() {
            let path = entry.unwrap().path();
            if let Ok(target) = read_link(&path) {
                // The node's own root is not that of this machine.
                remove_file(&path).unwrap();
                copy(at(target.to_str().unwrap()), &path).unwrap();
            }
        }
        symlink(&manifests, data.join("server/manifests/harrow")).unwrap();
    }
    for (name, value) in [
        ("vm/overcommit_memory", "1"),
        ("vm/panic_on_oom", "0"),
        ("kernel/panic", "10"),
        ("kernel/panic_on_oops", "1"),
    ] {
        let path = at("/proc/sys").join(name);
        create_dir_all(path.parent().unwrap()).unwrap();
        write(path, value).unwrap();
    }
    let unit = at("/usr/lib/systemd/system");
    create_dir_all(&unit).unwrap();
    let start = format!("ExecStart=/run/harrow/payload/rke2/bin/rke2 {role}\n");
    write(
        unit.join(format!("rke2-{role}.service")),
        format!("[Service]\nType=notify\n{start}"),
    )
    .unwrap();
    let process = Process {
        cgroup: format!("0::/system.slice/rke2-{role}.service\n"),
        program: payload.join("rke2/bin/rke2").canonicalize().unwrap(),
        can_notify: true,
    };
    Some(check(root, role, &process))
}

#[test]
fn the_double_is_ready_on_every_golden_node() {
    let folder = tempfile::tempdir().unwrap();
    let payload = payload(folder.path());
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../installer/tests/golden/cluster");
    let mut count = 0;
    for entry in read_dir(cases).unwrap() {
        let case = entry.unwrap().path();
        let name = case.file_name().unwrap().display().to_string();
        let root = folder.path().join(&name);
        let Some(report) = judge(&case, &payload, &root) else {
            continue;
        };
        assert_eq!(report.problems, [] as [String; 0], "{name}");
        assert_eq!(report.pulled, [] as [String; 0], "{name}");
        count += 1;
    }
    assert!(count >= CASES, "{count} cases only");
}
