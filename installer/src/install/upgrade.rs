//! What an upgrade of a node will do, as data.
//!
//! In: what is known of the running node, the new image's manifest. Out: a [`Plan`] with the engine's
//! steps, or why there is nothing to be done. Pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use uuid::Uuid;

use super::esp;
use super::grub::{self, BootMenu, SlotBoot};
use super::grubenv::{BootEnv, Letter};
use super::plan::{Plan, PlannedDisk, Purpose, consoles_of};
use super::step::Step;
use super::version;
use crate::config::Config;
use crate::disk::layout::{Layout, Role, show};
use crate::disk::target::Target;
use crate::failure::{Failure, Kind};
use crate::image::manifest::ImageManifest;

/// What the ESP should have free beyond what is written: folders, and a new menu beside the old.
const SLACK: u64 = 4 << 20;
/// What VAR should have free: the journal of the first boots, and what a new image brings.
pub const VAR_LEAST: u64 = 64 << 20;

/// What an upgrade is planned from.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    /// The disk that this system runs from.
    pub target: Target,
    /// Its layout.
    pub layout: Layout,
    /// The slot that runs.
    pub slot: Letter,
    /// Version of what is in it, when its menu entry says.
    pub version: Option<String>,
    /// What decides about the next boot.
    pub env: BootEnv,
    /// Consoles of the running kernel.
    pub consoles: Vec<String>,
    /// What dm-multipath knows its disks by.
    pub multipath: Vec<String>,
    /// PARTUUID of DATA.
    pub data_id: Option<String>,
    /// Room on the ESP for boot files of the other slot, in bytes.
    pub esp_room: u64,
    /// Digests of the boot loaders, by path.
    pub loaders: BTreeMap<String, String>,
    /// What VAR has free, in bytes.
    pub var_free: u64,
}

/// Whether an older version may take the place of a newer one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Downgrade {
    /// It is refused.
    #[default]
    Refuse,
    /// Somebody asked for it.
    Allow,
}

/// Makes the plan of an upgrade.
pub fn plan_upgrade(
    config: &Config,
    node: NodeFacts,
    manifest: &ImageManifest,
    downgrade: Downgrade,
    id: Uuid,
) -> anyhow::Result<Plan> {
    check_slot(&node)?;
    let warnings = check_version(&node, manifest, downgrade)?;
    let role = node.slot.other().role();
    let written = check_room(&node, manifest, role)?;
    let menu = BootMenu {
        consoles: consoles_of(config, &own_consoles(config, &node.consoles)),
        arguments: config.os.kernel_arguments.clone(),
        multipath: node.multipath,
        slot: SlotBoot {
            data_id: node.data_id,
            ..SlotBoot::new(
                role,
                &node.layout,
                None,
                &manifest.slot.verity,
                &manifest.version,
            )?
        },
    };
    grub::render_slot(&menu)?;
    let slot = manifest.slot.file.size;
    let all: u64 = manifest.files().map(|file| file.size).sum();
    let mut steps = vec![
        Step::CheckImage { bytes: all - slot },
        Step::OpenTarget {
            disk: 0,
            needed: true,
        },
        Step::RetireSlot { role },
        Step::WriteSlot {
            role,
            bytes: slot,
            kept: false,
        },
        Step::ReadBack { role, bytes: slot },
        Step::WriteKernel {
            role,
            bytes: written.kernel,
        },
    ];
    if written.loaders > 0 {
        let bytes = esp::loaders(&manifest.boot)
            .iter()
            .map(|(_, e)| e.size)
            .sum();
        steps.push(Step::WriteLoaders { bytes });
    }
    steps.push(Step::WriteMenu { role });
    steps.push(Step::StartTrial { role });
    Ok(Plan {
        install_id: id,
        disks: vec![PlannedDisk {
            target: node.target,
            purpose: Purpose::Upgrade,
            lost: Vec::new(),
            layout: Some(node.layout),
        }],
        menu,
        bytes: slot + written.kernel + written.loaders,
        resumed: None,
        warnings,
        steps,
    })
}

/// The running kernel's consoles without those that the config's own kernel arguments bring.
fn own_consoles(config: &Config, running: &[String]) -> Vec<String> {
    let arguments = &config.os.kernel_arguments;
    let brought: Vec<&str> = arguments
        .iter()
        .filter_map(|a| a.strip_prefix("console="))
        .collect();
    let mut own: Vec<String> = Vec::new();
    for console in running {
        if !brought.contains(&console.as_str()) && !own.contains(console) {
            own.push(console.clone());
        }
    }
    own
}

/// The good slot must be what runs: the other one is what is overwritten.
fn check_slot(node: &NodeFacts) -> anyhow::Result<()> {
    let (slot, good) = (node.slot, node.env.slot);
    if slot == good {
        return Ok(());
    }
    let on_trial = node.env.trial.is_some_and(|trial| trial.slot == slot);
    let (why, hint) = match on_trial {
        true => (
            "is on trial and was not found healthy yet",
            "wait until `harrow status` says that it is good, or go back with `harrow rollback`",
        ),
        false => (
            "was chosen in the boot menu",
            "reboot into the good slot first, or keep this one with `harrow rollback`",
        ),
    };
    Err(Failure::error(
        Kind::UpgradeRefused,
        format!("slot {slot}, which runs, {why}: an upgrade would overwrite the good slot {good}"),
        hint,
    ))
}

fn check_version(
    node: &NodeFacts,
    manifest: &ImageManifest,
    downgrade: Downgrade,
) -> anyhow::Result<Vec<String>> {
    let new = &manifest.version;
    let Some(running) = &node.version else {
        return Ok(vec!["the version that runs is not known".into()]);
    };
    match (version::compare(new, running), downgrade) {
        (Ordering::Greater, _) => Ok(Vec::new()),
        (Ordering::Equal, _) => Ok(vec![format!("version {new} is what runs already")]),
        (Ordering::Less, Downgrade::Allow) => Ok(vec![format!(
            "version {new} is older than {running}, which runs"
        )]),
        (Ordering::Less, Downgrade::Refuse) => Err(Failure::error(
            Kind::UpgradeRefused,
            format!("the image has version {new}, and {running} runs, which is newer"),
            "take a newer image, or say --allow-downgrade if an older one is meant",
        )),
    }
}

/// Bytes that go onto the ESP.
struct Written {
    kernel: u64,
    loaders: u64,
}

/// Everything must fit before anything is written.
fn check_room(node: &NodeFacts, manifest: &ImageManifest, role: Role) -> anyhow::Result<Written> {
    let slot = node.layout.of(role)?.size;
    let image = manifest.slot.file.size;
    let no_room = |message: String, hint: &str| Err(Failure::error(Kind::NoSpace, message, hint));
    if image > slot {
        return no_room(
            format!(
                "the image has {}, and a slot of this node {}",
                show(image),
                show(slot)
            ),
            "take a smaller image, or install this node anew: its slots were made for smaller ones",
        );
    }
    let boot = &manifest.boot;
    let is_new = |(path, entry): &&(&str, &crate::image::manifest::FileEntry)| {
        node.loaders.get(*path) != Some(&entry.sha256)
    };
    let written = Written {
        kernel: boot.kernel.size + boot.initrd.size,
        loaders: esp::loaders(boot)
            .iter()
            .filter(is_new)
            .map(|(_, e)| e.size)
            .sum(),
    };
    let needed = written.kernel + written.loaders + SLACK;
    if needed > node.esp_room {
        return no_room(
            format!(
                "the EFI system partition has room for {}, the new boot files need {}",
                show(node.esp_room),
                show(needed)
            ),
            "remove what is not Harrow's from it",
        );
    }
    if node.var_free < VAR_LEAST {
        return no_room(
            format!(
                "/var has {} free, an upgrade wants {}",
                show(node.var_free),
                show(VAR_LEAST)
            ),
            "free some space there: the first boots of the new version have to be logged",
        );
    }
    Ok(written)
}
