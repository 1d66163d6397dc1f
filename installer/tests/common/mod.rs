//! A small image set of the right shape, and the program run as a person runs it.

// A test may panic; clippy knows this of #[test] functions only.
#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

pub mod bad_server;
pub mod faulty;
pub mod grub;
pub mod judge;
pub mod unsynced;
pub mod upgrade;

use std::fs;
use std::path::{Path, PathBuf};

use harrow::image::manifest::{
    BootFiles, FileEntry, Flavor, ImageManifest, MANIFEST_NAME, SCHEMA, SlotImage,
};
use harrow::image::verity::{self, Params};
use harrow::sys::cmd::{Cmd, Output};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// A folder with an image set, a config, and room for targets.
pub struct Place {
    pub dir: tempfile::TempDir,
}

/// A config that installs.
pub const CONFIG: &str = "
token: a-shared-secret
os: { hostname: node-1, password: hunter2 }
install: { automatic: true, mode: create, persistent_partition_size: 20Gi }
";

impl Place {
    pub fn new() -> Self {
        let place = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(place.image()).unwrap();
        place.make_image(3 << 20);
        fs::write(place.config(), CONFIG).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn image(&self) -> PathBuf {
        self.path("image")
    }

    pub fn config(&self) -> PathBuf {
        self.path("config.yaml")
    }

    /// The file that tests install onto.
    pub fn disk(&self) -> PathBuf {
        self.path("disk.img")
    }

    /// Makes the image set anew, with `size` bytes of data in its slot image.
    pub fn make_image(&self, size: usize) {
        let slot = self.image().join("slot.img");
        fs::write(&slot, pattern(size)).unwrap();
        let mut file = fs::File::options()
            .read(true)
            .write(true)
            .open(&slot)
            .unwrap();
        let params = Params {
            salt: vec![5; 32],
            uuid: Uuid::from_u128(1),
        };
        let verity = verity::append_tree(&mut file, &params, 2).unwrap();
        let file = |name: &str, bytes: Vec<u8>| {
            fs::write(self.image().join(name), bytes).unwrap();
            entry(&self.image().join(name))
        };
        let manifest = ImageManifest {
            schema: SCHEMA,
            version: "0.0.1-test".into(),
            flavor: Flavor::Net,
            created: "2026-01-01T00:00:00Z".into(),
            kernel_release: "6.12.0".into(),
            base: "debian trixie".into(),
            slot: SlotImage {
                file: entry(&slot),
                verity,
            },
            lacks: std::collections::BTreeMap::new(),
            boot: BootFiles {
                kernel: file("vmlinuz", pattern(100_000)),
                initrd: file("initrd.img", pattern(300_001)),
                shim: file("shimx64.efi", pattern(5000)),
                grub: file("grubx64.efi", pattern(6000)),
                mok_manager: file("mmx64.efi", pattern(7000)),
                bios_boot: file("boot.img", pattern(512)),
                bios_core: file("core.img", pattern(50_000)),
            },
        };
        self.write_manifest(&manifest);
    }

    pub fn manifest(&self) -> ImageManifest {
        ImageManifest::parse(&fs::read(self.image().join(MANIFEST_NAME)).unwrap()).unwrap()
    }

    pub fn write_manifest(&self, manifest: &ImageManifest) {
        fs::write(self.image().join(MANIFEST_NAME), manifest.render().unwrap()).unwrap();
    }

    /// `harrow install` with the config and image of this place.
    pub fn install(&self, more: &[&str]) -> Output {
        let disk = self.disk();
        self.install_onto(&disk, more)
    }

    pub fn install_onto(&self, device: &Path, more: &[&str]) -> Output {
        harrow("install")
            .arg("--config")
            .arg(self.config())
            .arg("--image")
            .arg(self.image())
            .arg("--device")
            .arg(device)
            .args(more)
            .run_any()
            .unwrap()
    }
}

pub fn harrow(verb: &str) -> Cmd {
    Cmd::new(env!("CARGO_BIN_EXE_harrow")).arg(verb)
}

fn entry(path: &Path) -> FileEntry {
    let bytes = fs::read(path).unwrap();
    FileEntry {
        name: path.file_name().unwrap().to_str().unwrap().into(),
        size: bytes.len() as u64,
        sha256: hex::encode(Sha256::digest(&bytes)),
    }
}

/// Bytes that differ from place to place.
fn pattern(size: usize) -> Vec<u8> {
    (0..size)
        .map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8)
        .collect()
}
