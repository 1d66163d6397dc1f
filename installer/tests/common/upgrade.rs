//! An installed disk that is a file, and the next version for it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use harrow::config::{Config, check_sources};
use harrow::disk::block::Block;
use harrow::disk::layout::{Layout, Role};
use harrow::disk::target::Target;
use harrow::image::manifest::{FileEntry, ImageManifest};
use harrow::image::set::ImageSet;
use harrow::install::engine::{Inputs, execute};
use harrow::install::grubenv::Letter;
use harrow::install::plan::Plan;
use harrow::install::run::read_config;
use harrow::install::upgrade::{Downgrade, plan_upgrade};
use harrow::node::running::Running;
use harrow::sys::cmd::Cmd;
use harrow::sys::cmdline::Cmdline;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Place;
use super::faulty::{Fault, Faulty};

/// Size of the disk.
pub const SIZE: u64 = 64 << 30;

/// A disk with version 0.0.1-test in slot A, and the image set of 0.0.2-test.
pub struct Installed {
    pub place: Place,
    /// The image that is installed.
    pub old: ImageManifest,
}

/// How an upgrade went.
pub struct Upgrade {
    pub result: anyhow::Result<()>,
    pub writes: usize,
}

impl Installed {
    pub fn new() -> Self {
        let place = Place::new();
        let output = place.install(&["--size", "64G"]);
        assert!(output.status.success(), "{}", output.stderr);
        let old = place.manifest();
        fs::rename(place.image(), place.path("old-image")).unwrap();
        fs::create_dir(place.image()).unwrap();
        place.make_image(5 << 20);
        let mut new = place.manifest();
        new.version = "0.0.2-test".into();
        let boot = &mut new.boot;
        for entry in [
            &mut boot.kernel,
            &mut boot.initrd,
            &mut boot.shim,
            &mut boot.grub,
        ] {
            change(&place.image(), entry);
        }
        place.write_manifest(&new);
        Self { place, old }
    }

    /// Keeps the disk as it is, and puts it back.
    pub fn keep(&self) {
        copy(&self.place.disk(), &self.place.path("kept.img"));
    }

    pub fn put_back(&self) {
        copy(&self.place.path("kept.img"), &self.place.disk());
    }

    pub fn layout(&self) -> Layout {
        Layout::find(&File::open(self.place.disk()).unwrap(), SIZE, 512).unwrap()
    }

    pub fn config(&self) -> Config {
        let source = read_config(&self.place.config()).unwrap();
        check_sources(&[source]).config.unwrap()
    }

    /// The node as it runs from a slot.
    pub fn running(&self, slot: Letter) -> Running {
        let layout = self.layout();
        let id = |role| layout.partuuid(role).unwrap();
        let line = format!(
            "console=tty0 console=ttyS0,115200n8 systemd.verity_root_data=PARTUUID={} \
             harrow.boot.oem=PARTUUID={} harrow.boot.var=PARTUUID={} harrow.boot.data=PARTUUID={}",
            id(slot.role()),
            id(Role::Oem),
            id(Role::Var),
            id(Role::Data)
        );
        let mut options = File::options();
        let file = options.read(true).write(true).open(self.place.disk());
        let block = Box::new(file.unwrap());
        Running::new(slot, self.target(), block, Cmdline::parse(&line)).unwrap()
    }

    fn target(&self) -> Target {
        Target::File {
            path: self.place.disk(),
            size: SIZE,
            begun: true,
        }
    }

    pub fn image(&self) -> ImageSet {
        ImageSet::open(&self.place.image()).unwrap()
    }

    pub fn plan(&self, slot: Letter, downgrade: Downgrade) -> anyhow::Result<Plan> {
        let image = self.image();
        let facts = self.running(slot).facts(&image, 1 << 30).unwrap();
        let id = Uuid::from_u128(3);
        plan_upgrade(&self.config(), facts, &image.manifest, downgrade, id)
    }

    /// Runs the upgrade of a node that runs from slot A, on a disk with a fault.
    pub fn upgrade(&self, fault: Fault) -> Upgrade {
        let plan = self.plan(Letter::A, Downgrade::Refuse).unwrap();
        self.run(&plan, fault)
    }

    pub fn run(&self, plan: &Plan, fault: Fault) -> Upgrade {
        let writes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&writes);
        let open = move |target: &Target| -> anyhow::Result<Box<dyn Block>> {
            let mut options = File::options();
            let file = options.read(true).write(true).open(target.path())?;
            Ok(Box::new(Faulty {
                file,
                fault,
                writes: Arc::clone(&counted),
                bytes: AtomicUsize::new(0),
                dead: Arc::new(Mutex::new(false)),
                unsynced: Mutex::default(),
            }))
        };
        let inputs = Inputs {
            origins: &BTreeMap::new(),
            image: &self.image(),
            config: Vec::new(),
            half_made: &AtomicBool::new(false),
            open: &open,
            keep: &|_| (),
        };
        let (_, result) = execute(plan, &inputs, &std::sync::mpsc::channel().0);
        Upgrade {
            result,
            writes: writes.load(Ordering::SeqCst),
        }
    }
}

/// Another file of the same name, and its entry.
fn change(folder: &Path, entry: &mut FileEntry) {
    let path = folder.join(&entry.name);
    let mut bytes: Vec<u8> = fs::read(&path).unwrap().iter().map(|b| b ^ 0x33).collect();
    bytes.extend_from_slice(b"and more");
    entry.size = bytes.len() as u64;
    entry.sha256 = hex::encode(Sha256::digest(&bytes));
    fs::write(path, bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    Cmd::new("cp")
        .arg("--sparse=always")
        .args([from, to])
        .run()
        .unwrap();
}
