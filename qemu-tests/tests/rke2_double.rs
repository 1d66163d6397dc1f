//! The RKE2 double as systemd starts it: unpacked from its tarball, on a tree like a node's.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::ffi::OsStr;
use std::fs::{create_dir_all, write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use harrow::sys::cmd::Cmd;
use harrow::sys::wait;
use qemu_tests::double::Role;
use qemu_tests::double::pack::{Doubles, strip};
use serde_json::Value;

const BUNDLE: &str = "schema = 1
[[artifact]]
name = 'rke2'
kind = 'rke2'
version = 'v1.34.5+rke2r1'
url = 'https://h/rke2.linux-amd64.tar.gz'
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
";
const LIMIT: Duration = Duration::from_secs(60);

/// Made once: the program is large.
fn doubles() -> &'static Doubles {
    static DOUBLES: OnceLock<Doubles> = OnceLock::new();
    DOUBLES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("rke2-double");
        strip(Path::new(env!("CARGO_BIN_EXE_rke2-double")), &program).unwrap();
        Doubles::make(BUNDLE, &program, "http://x").unwrap()
    })
}

/// A node's files, the payload in its place.
struct Node(tempfile::TempDir);

impl Node {
    fn new(role: Role) -> Self {
        let doubles = doubles();
        let node = Self(tempfile::tempdir().unwrap());
        let payload = node.at("/usr/lib/harrow/payload");
        create_dir_all(payload.join("images")).unwrap();
        create_dir_all(payload.join("rke2")).unwrap();
        let packed = doubles.files["rke2.linux-amd64.tar.gz"].as_slice();
        tar::Archive::new(flate2::read::GzDecoder::new(packed))
            .unpack(payload.join("rke2"))
            .unwrap();
        let images = payload.join("images/rke2-images-core.tar.zst");
        write(
            &images,
            &doubles.files["rke2-images-core.linux-amd64.tar.zst"],
        )
        .unwrap();
        create_dir_all(node.at("/run/harrow/manifests")).unwrap();
        symlink(&payload, node.at("/run/harrow/payload")).unwrap();
        let data = node.at("/var/lib/rancher/rke2");
        create_dir_all(data.join("agent/images")).unwrap();
        symlink(&images, data.join("agent/images/rke2-images-core.tar.zst")).unwrap();
        node.write(
            &format!("/usr/lib/systemd/system/rke2-{role}.service"),
            &format!(
                "[Service]\nType=notify\nExecStart=/run/harrow/payload/rke2/bin/rke2 {role}\n"
            ),
        );
        node.write(
            "/proc/self/cgroup",
            &format!("0::/system.slice/rke2-{role}.service\n"),
        );
        if role == Role::Server {
            create_dir_all(data.join("server/manifests")).unwrap();
            symlink(
                node.at("/run/harrow/manifests"),
                data.join("server/manifests/harrow"),
            )
            .unwrap();
            let chart = &doubles.files["longhorn-1.12.1.tgz"];
            let chart = base64::engine::general_purpose::STANDARD.encode(chart);
            node.write(
                "/run/harrow/manifests/longhorn.yaml",
                &format!("apiVersion: helm.cattle.io/v1\nkind: HelmChart\nmetadata: {{name: longhorn, namespace: kube-system}}\nspec: {{chartContent: {chart}}}\n"),
            );
        }
        node
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, text: &str) {
        create_dir_all(self.at(path).parent().unwrap()).unwrap();
        write(self.at(path), text).unwrap();
    }

    fn command(&self, role: Role, socket: &OsStr) -> Cmd {
        Cmd::new(self.at("/run/harrow/payload/rke2/bin/rke2"))
            .env("NOTIFY_SOCKET", socket)
            .arg(role.name())
            .arg("--root")
            .arg(self.0.path())
    }

    fn report(&self) -> Value {
        let path = self.at("/var/lib/rancher/rke2/double-report.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }
}

#[test]
fn a_good_node_is_ready_until_the_service_is_stopped() {
    for (role, config) in [
        (Role::Server, "token: hunter2\ncni: [multus, canal]\n"),
        (
            Role::Agent,
            "token: hunter2\nserver: https://10.0.0.5:9345\n",
        ),
    ] {
        let node = Node::new(role);
        node.write("/etc/rancher/rke2/config.yaml.d/50-harrow.yaml", config);
        let socket = node.at("/notify");
        let systemd = UnixDatagram::bind(&socket).unwrap();
        systemd.set_read_timeout(Some(LIMIT)).unwrap();
        let log = node.at("/log");
        let file = std::fs::File::create(&log).unwrap();
        let mut double = node
            .command(role, socket.as_os_str())
            .spawn_logged(file.try_clone().unwrap(), file)
            .unwrap();
        let mut said = [0; 200];
        let count = systemd.recv(&mut said);
        let printed = std::fs::read_to_string(&log).unwrap();
        let count = count.unwrap_or_else(|error| panic!("{error}: {printed}"));
        assert!(said[..count].starts_with(b"READY=1\n"));
        assert_eq!(printed, "RKE2 double: ready\n");
        let report = node.report();
        assert_eq!(report["ready"], true, "{report}");
        assert!(report["double_of"].as_str().unwrap().contains("double"));
        assert_eq!(
            report["archives"][0]["images"].as_array().unwrap().len(),
            15
        );
        assert_eq!(report["pulled"].as_array().unwrap().len(), 0, "{report}");
        assert!(!report.to_string().contains("hunter2"));
        let kubeconfig = node.at("/etc/rancher/rke2/rke2.yaml");
        assert_eq!(kubeconfig.exists(), role == Role::Server);
        if role == Role::Server {
            let text = std::fs::read_to_string(&kubeconfig).unwrap();
            assert!(text.contains("kind: Config") && text.contains("double"));
            let mode = std::os::unix::fs::MetadataExt::mode(&kubeconfig.metadata().unwrap());
            assert_eq!(mode & 0o777, 0o600);
        }
        assert!(double.try_wait().unwrap().is_none(), "it stays");
        Cmd::new("kill").arg(double.id().to_string()).run().unwrap();
        let ended = wait::until("the double's end", LIMIT, Duration::from_millis(10), || {
            Ok(double.try_wait()?)
        });
        assert!(ended.unwrap().success());
    }
}

#[test]
fn a_node_with_faults_ends_it_with_all_of_them() {
    let node = Node::new(Role::Server);
    node.write(
        "/etc/rancher/rke2/config.yaml",
        "tls-sans: [a]\ncni: multus\n",
    );
    node.write("/run/harrow/manifests/a_b.yaml", "a: [");
    node.write("/etc/rancher/rke2/registries.yaml", "mirror: {}\n");
    write(node.at("/var/lib/rancher/rke2/agent/images/x.tar.zst"), "x").unwrap();
    std::fs::remove_file(node.at("/run/harrow/payload/rke2/share/rke2/LICENSE.txt")).unwrap();
    let output = node
        .command(Role::Server, OsStr::new("/none"))
        .limit(LIMIT)
        .run_any()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = output.text();
    for expected in [
        "tls-sans: is no key of RKE2",
        "cni: multus needs",
        "token: is missing",
        "a_b.yaml: line 1",
        "\"a_b\" can't be the name",
        "registries.yaml: mirror",
        "x.tar.zst: reading",
        "has no share/rke2/LICENSE.txt",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(text.lines().all(|line| line.starts_with("RKE2 double: ")));
    let report = node.report();
    assert_eq!(report["ready"], false);
    assert_eq!(
        report["problems"].as_array().unwrap().len(),
        text.lines().count()
    );
    assert!(!node.at("/etc/rancher/rke2/rke2.yaml").exists());
}

#[test]
fn manifests_are_for_the_first_server_alone() {
    for (role, config, expected) in [
        (
            Role::Server,
            "token: t\nserver: https://10.0.0.5:9345\n",
            "a server that joins has 1 manifests",
        ),
        (Role::Server, "token: t\n", "holds nothing to deploy"),
        (
            Role::Server,
            "token: t\ndisable: [weave]\n",
            "RKE2 deploys nothing named \"weave\"",
        ),
        // The only manifest is one that is disabled.
        (
            Role::Server,
            "token: t\ndisable: [rke2-ingress-nginx, longhorn]\n",
            "holds nothing to deploy",
        ),
        (
            Role::Agent,
            "token: t\nserver: https://10.0.0.5:9345\n",
            "an agent has 1 manifests",
        ),
    ] {
        let node = Node::new(role);
        node.write("/etc/rancher/rke2/config.yaml", config);
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        if role == Role::Agent {
            node.write("/var/lib/rancher/rke2/server/manifests/harrow/a.yaml", map);
        } else if config == "token: t\n" {
            std::fs::remove_file(node.at("/run/harrow/manifests/longhorn.yaml")).unwrap();
        }
        let output = node
            .command(role, OsStr::new("/none"))
            .limit(LIMIT)
            .run_any()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.text().contains(expected), "{}", output.text());
        assert_eq!(output.text().lines().count(), 1, "{}", output.text());
    }
}

#[test]
fn it_says_that_it_is_a_double() {
    for flag in ["--version", "--help"] {
        let text = Cmd::new(env!("CARGO_BIN_EXE_rke2-double"))
            .arg(flag)
            .run()
            .unwrap()
            .text();
        assert!(text.contains("double"), "{text}");
    }
    let version = Cmd::new(env!("CARGO_BIN_EXE_rke2-double"))
        .arg("--version")
        .run()
        .unwrap()
        .text();
    assert!(version.starts_with("rke2 version v1.34.5+rke2r1 (double"));
}
