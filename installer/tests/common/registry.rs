//! A real registry (Debian's docker-registry) on this machine, filled with small images.

// A test may panic, and not each needs all of it.
#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use harrow::bundle::Digest;
use harrow::bundle::oci::{Endpoint, Registries};
use harrow::sys::cmd::Cmd;
use harrow::sys::wait;
use serde_json::{Value, json};

pub const USER: &str = "harrow";
pub const PASSWORD: &str = "hunter2";
/// bcrypt of [`PASSWORD`], the only form that the registry takes.
const HTPASSWD: &str = "harrow:$2y$05$pIawAxqxDs3ZF3LVtz6Lf.uD86E5IW0OODQrNeL1ltvv4TjMF2hTi\n";

/// Whom a registry lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Open,
    /// User and password.
    Password,
    /// Tokens of a server that wants user and password.
    Token,
}

/// A registry that ends with the test.
pub struct Registry {
    child: Child,
    dir: tempfile::TempDir,
    /// Host and port.
    pub host: String,
    /// `http` or `https`.
    pub scheme: &'static str,
    ca: Option<PathBuf>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Registry {
    pub fn start(door: Door) -> Self {
        Self::new(door, false)
    }

    pub fn start_tls(door: Door) -> Self {
        Self::new(door, true)
    }

    fn new(door: Door, tls: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let mut config = json!({
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": path("storage")}},
            "http": {"addr": "127.0.0.1:0"},
        });
        let mut ca = None;
        if tls || door == Door::Token {
            make_certificates(dir.path());
        }
        if tls {
            config["http"]["tls"] =
                json!({"certificate": path("server.pem"), "key": path("server.key")});
            ca = Some(path("ca.pem"));
        }
        match door {
            Door::Open => {}
            Door::Password => {
                fs::write(path("htpasswd"), HTPASSWD).unwrap();
                config["auth"] = json!({"htpasswd": {"realm": "test", "path": path("htpasswd")}});
            }
            Door::Token => {
                config["auth"] = json!({"token": {
                    "realm": serve_tokens(dir.path()),
                    "service": "the registry",
                    "issuer": "the test",
                    "rootcertbundle": path("ca.pem"),
                }});
            }
        }
        // JSON is YAML too.
        fs::write(path("config.yml"), config.to_string()).unwrap();
        let log = File::create(path("log")).unwrap();
        let child = Cmd::new("docker-registry")
            .arg("serve")
            .arg(path("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .spawn_logged(log.try_clone().unwrap(), log)
            .unwrap();
        let mut registry = Self {
            child,
            host: String::new(),
            scheme: if tls { "https" } else { "http" },
            ca,
            dir,
        };
        let log = registry.dir.path().join("log");
        let pause = Duration::from_millis(50);
        let host = wait::until("the registry", Duration::from_secs(20), pause, || {
            let text = fs::read_to_string(&log)?;
            let start = text.find("listening on ").map(|at| at + 13);
            let word = start.and_then(|at| text[at..].split(['"', ',', ' ', '\n']).next());
            Ok(word.map(str::to_owned))
        });
        registry.host =
            host.unwrap_or_else(|e| panic!("{e}: {}", fs::read_to_string(&log).unwrap()));
        registry
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }

    /// As `--from` and `--to` name it.
    pub fn origin(&self, prefix: &str) -> String {
        let scheme = if self.scheme == "https" {
            "oci"
        } else {
            "oci+http"
        };
        format!("{scheme}://{}/{prefix}", self.host)
    }

    /// A `registries.yaml` in which this registry stands for `host`.
    pub fn registries_yaml(&self, host: &str, with_password: bool) -> Value {
        let mut config = json!({});
        if with_password {
            config["auth"] = json!({"username": USER, "password": PASSWORD});
        }
        if let Some(ca) = &self.ca {
            config["tls"] = json!({"ca_file": ca});
        }
        json!({
            "mirrors": {host: {"endpoint": [self.url()]}},
            "configs": {self.host.clone(): config},
        })
    }

    /// What a client knows of it that may write.
    pub fn registries(&self) -> Registries {
        registries(&self.registries_yaml("a.example", true))
    }

    pub fn endpoint(&self) -> Endpoint {
        self.registries().endpoint(&self.url()).unwrap()
    }

    /// Changes a blob where the registry keeps it.
    pub fn damage(&self, digest: Digest, change: impl FnOnce(&mut Vec<u8>)) {
        let hex = digest.to_string();
        let blobs = self
            .dir
            .path()
            .join("storage/docker/registry/v2/blobs/sha256");
        let path = blobs.join(&hex[..2]).join(&hex).join("data");
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
    }
}

pub fn registries(yaml: &Value) -> Registries {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), yaml.to_string()).unwrap();
    let mut registries = Registries::default();
    registries.read_file(file.path()).unwrap();
    registries
}

fn make_certificates(dir: &Path) {
    let path = |name: &str| dir.join(name).display().to_string();
    let new = ["-newkey", "rsa:2048", "-nodes", "-days", "2"];
    Cmd::new("openssl")
        .args(["req", "-x509", "-subj", "/CN=test CA"])
        .args(new)
        .args(["-keyout", &path("ca.key"), "-out", &path("ca.pem")])
        .run()
        .unwrap();
    Cmd::new("openssl")
        .args(["req", "-x509", "-subj", "/CN=server"])
        .args(new)
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-CA", &path("ca.pem"), "-CAkey", &path("ca.key")])
        .args(["-keyout", &path("server.key"), "-out", &path("server.pem")])
        .run()
        .unwrap();
}

/// A token server as the registry's documentation describes it; gives its URL.
fn serve_tokens(dir: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let dir = dir.to_owned();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut bytes = [0; 8192];
            let size = stream.read(&mut bytes).unwrap_or(0);
            let request = String::from_utf8_lossy(&bytes[..size]).into_owned();
            let basic = STANDARD.encode(format!("{USER}:{PASSWORD}"));
            let (status, body) = match request.contains(&format!("Basic {basic}")) {
                true => (
                    "200 OK",
                    json!({"token": token(&dir, &request)}).to_string(),
                ),
                false => ("401 Unauthorized", String::from("{}")),
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all((head + &body).as_bytes()).ok();
        }
    });
    url
}

/// A signed token for what the request asks for.
fn token(dir: &Path, request: &str) -> String {
    let query = request.split([' ', '?']).nth(2).unwrap();
    let scope = query.split('&').find_map(|p| p.strip_prefix("scope="));
    let scope = scope
        .unwrap()
        .replace("%3A", ":")
        .replace("%2F", "/")
        .replace("%2C", ",");
    let parts: Vec<&str> = scope.split(':').collect();
    let actions: Vec<&str> = parts[2].split(',').collect();
    let der = Cmd::new("openssl")
        .args(["x509", "-outform", "der", "-in"])
        .arg(dir.join("server.pem"))
        .run()
        .unwrap();
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [STANDARD.encode(der.stdout)]});
    let claims = json!({
        "iss": "the test", "aud": "the registry", "sub": USER,
        "iat": now - 10, "nbf": now - 10, "exp": now + 300,
        "access": [{"type": parts[0], "name": parts[1], "actions": actions}],
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = Cmd::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(dir.join("server.key"))
        .input(signed.as_bytes())
        .run()
        .unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.stdout))
}

/// A layer: one file of this size that does not pack well.
pub fn layer(name: &str, size: usize) -> Vec<u8> {
    let mut state = Digest::of(name.as_bytes())
        .to_string()
        .bytes()
        .fold(7u64, |s, b| {
            s.wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(u64::from(b))
        });
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend_from_slice(&(state >> 17).to_le_bytes());
    }
    bytes.truncate(size);
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(size as u64);
    tar.append_data(&mut header, name, bytes.as_slice())
        .unwrap();
    tar.into_inner().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

/// An image in a registry.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// Digest of its manifest.
    pub digest: Digest,
    /// Size of the manifest.
    pub size: usize,
    /// Digests of config and layers.
    pub blobs: Vec<Digest>,
}

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Registry {
    fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        let digest = Digest::of(bytes);
        let registries = self.registries();
        let pushed = registries.push_blob(&self.endpoint(), repository, digest, file.path());
        pushed.unwrap();
        digest
    }

    /// Pushes an image of these layers (tars, which are packed on the way).
    pub fn push(
        &self,
        repository: &str,
        tag: &str,
        architecture: &str,
        layers: &[&[u8]],
    ) -> Pushed {
        let packed: Vec<Vec<u8>> = layers.iter().map(|l| gzip(l)).collect();
        let diffs: Vec<String> = layers.iter().map(|l| Digest::of(l).oci()).collect();
        let config = json!({
            "architecture": architecture, "os": "linux",
            "config": {"Cmd": [tag]},
            "rootfs": {"type": "layers", "diff_ids": diffs},
        });
        let config = config.to_string();
        let mut blobs = vec![self.push_blob(repository, config.as_bytes())];
        let mut described = Vec::new();
        for layer in &packed {
            let digest = self.push_blob(repository, layer);
            blobs.push(digest);
            described.push(json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": digest.oci(), "size": layer.len(),
            }));
        }
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": blobs[0].oci(), "size": config.len(),
            },
            "layers": described,
        })
        .to_string();
        self.put(repository, tag, MANIFEST, manifest.as_bytes());
        Pushed {
            digest: Digest::of(manifest.as_bytes()),
            size: manifest.len(),
            blobs,
        }
    }

    /// Pushes an index of images for these architectures.
    pub fn push_index(&self, repository: &str, tag: &str, images: &[(&str, &Pushed)]) -> Digest {
        let manifests: Vec<Value> = images
            .iter()
            .map(|(architecture, image)| {
                json!({
                    "mediaType": MANIFEST, "digest": image.digest.oci(), "size": image.size,
                    "platform": {"architecture": architecture, "os": "linux"},
                })
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        let index = index.to_string();
        self.put(repository, tag, INDEX, index.as_bytes());
        Digest::of(index.as_bytes())
    }

    fn put(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) {
        let registries = self.registries();
        let pushed =
            registries.push_manifest(&self.endpoint(), repository, tag, (media_type, bytes));
        pushed.unwrap();
    }
}
