//! Archives of images: an OCI layout that is one of `docker save` too, as those of RKE2's releases.

use std::io::Write as _;

use anyhow::Context as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{DOUBLE, release};

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// `.tar`
    None,
    /// `.tar.gz`
    Gzip,
    /// `.tar.zst`
    Zstd,
}

/// What the core archive of RKE2 1.34.5 holds (rancher/rke2 scripts/build-images).
const CORE: [&str; 15] = [
    "rke2-runtime:v1.34.5-rke2r1",
    "hardened-kubernetes:v1.34.5-rke2r1-build20260227",
    "hardened-etcd:v3.6.7-k3s1-build20260227",
    "hardened-coredns:v1.14.1-build20260206",
    "hardened-cluster-autoscaler:v1.10.3-build20260206",
    "hardened-dns-node-cache:1.26.7-build20260206",
    "hardened-k8s-metrics-server:v0.8.1-build20260206",
    "hardened-addon-resizer:1.8.23-build20260206",
    "klipper-helm:v0.9.14-build20260210",
    "klipper-lb:v0.4.14",
    "mirrored-pause:3.6",
    "mirrored-ingress-nginx-kube-webhook-certgen:v1.6.7",
    "nginx-ingress-controller:v1.14.3-hardened3",
    "rke2-cloud-provider:v1.34.4-0.20260211145917-c6017918a65c-build20260211",
    "hardened-snapshot-controller:v8.4.0-build20260205",
];
const CANAL: [&str; 2] = [
    "hardened-calico:v3.31.3-build20260206",
    "hardened-flannel:v0.28.1-build20260206",
];
const MULTUS: [&str; 2] = [
    "hardened-multus-cni:v4.2.3-build20260206",
    "hardened-whereabouts:v0.9.2-build20260206",
];

/// The images of a ready archive of this name.
pub fn names(archive: &str, version: &str) -> Vec<String> {
    let known: &[&str] = if archive.contains("core") {
        &CORE
    } else if archive.contains("canal") {
        &CANAL
    } else if archive.contains("multus") {
        &MULTUS
    } else {
        let tag = version.replace('+', "-");
        return vec![format!("docker.io/rancher/{archive}:{tag}")];
    };
    let images = known.iter().map(|it| format!("docker.io/rancher/{it}"));
    images.collect()
}

/// An archive of images with these names; each has one layer with one file.
pub fn pack_images(names: &[String], packing: Packing) -> anyhow::Result<Vec<u8>> {
    let mut tar = release::Tar::default();
    let mut manifests = Vec::new();
    let mut saved = Vec::new();
    tar.add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    for name in names {
        let mut layer = release::Tar::default();
        layer.add("double.txt", format!("{name}: {DOUBLE}\n").as_bytes())?;
        let layer = layer.finish()?;
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"harrow.double": DOUBLE}},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))]},
        });
        let layer = tar.blob("application/vnd.oci.image.layer.v1.tar", &layer)?;
        let config = tar.blob("application/vnd.oci.image.config.v1+json", &bytes(&config)?)?;
        let path = |blob: &Value| {
            let digest = blob["digest"].as_str().unwrap_or_default();
            digest.replacen("sha256:", "blobs/sha256/", 1)
        };
        saved.push(json!({
            "Config": path(&config),
            "RepoTags": [name],
            "Layers": [path(&layer)],
        }));
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": kind,
            "config": config,
            "layers": [layer],
        });
        let mut entry = tar.blob(kind, &bytes(&manifest)?)?;
        entry["annotations"] = json!({
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name.rsplit(':').next(),
        });
        manifests.push(entry);
    }
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    tar.add("index.json", &bytes(&index)?)?;
    tar.add("manifest.json", &bytes(&Value::Array(saved))?)?;
    pack(&tar.finish()?, packing)
}

fn pack(tar: &[u8], packing: Packing) -> anyhow::Result<Vec<u8>> {
    match packing {
        Packing::None => Ok(tar.to_vec()),
        Packing::Gzip => release::gzip(tar),
        Packing::Zstd => {
            let mut packer = zstd::Encoder::new(Vec::new(), 3).context("packing")?;
            packer.write_all(tar).context("packing")?;
            packer.finish().context("packing")
        }
    }
}

fn bytes(value: &Value) -> anyhow::Result<Vec<u8>> {
    serde_json::to_vec(value).context("writing JSON")
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

impl release::Tar {
    /// Adds a blob of an OCI layout, once; its descriptor.
    fn blob(&mut self, kind: &str, bytes: &[u8]) -> anyhow::Result<Value> {
        let digest = digest(bytes);
        self.add(&format!("blobs/sha256/{digest}"), bytes)?;
        Ok(json!({
            "mediaType": kind,
            "digest": format!("sha256:{digest}"),
            "size": bytes.len(),
        }))
    }
}
