//! Plans as they stand in reports, also in those of before a plan had several disks.
//!
//! In: what serde reads. Out: a [`Plan`]. Reports stay readable for ever.

use serde::Deserialize;
use uuid::Uuid;

use super::{Plan, PlannedDisk, Purpose, Resumed};
use crate::disk::layout::Layout;
use crate::disk::target::Target;
use crate::install::grub::BootMenu;
use crate::install::step::Step;

/// A plan of any time.
#[derive(Deserialize)]
pub struct KeptPlan {
    install_id: Uuid,
    #[serde(default)]
    disks: Vec<PlannedDisk>,
    /// The only disk, until there could be several.
    target: Option<Target>,
    layout: Option<Layout>,
    menu: BootMenu,
    bytes: u64,
    #[serde(default)]
    resumed: Option<Resumed>,
    #[serde(default)]
    warnings: Vec<String>,
    steps: Vec<Step>,
}

impl From<KeptPlan> for Plan {
    fn from(kept: KeptPlan) -> Self {
        let only = kept.target.map(|target| PlannedDisk {
            target,
            purpose: Purpose::Install,
            lost: Vec::new(),
            layout: kept.layout,
        });
        Self {
            install_id: kept.install_id,
            disks: only.into_iter().chain(kept.disks).collect(),
            menu: kept.menu,
            bytes: kept.bytes,
            resumed: kept.resumed,
            warnings: kept.warnings,
            steps: kept.steps,
        }
    }
}
