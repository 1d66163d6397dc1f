//! Which artifacts of the payload the manifests need, and what the charts hold.
//!
//! In: a config. Out: names as in the payload's `charts/NAME.tgz` and `manifests/NAME.yaml`.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::{addons, rke2};
use crate::config::{Cluster, Config, Mode};

/// Operators, whose manifests are applied as their projects publish them.
pub(super) const OPERATORS: [&str; 2] = ["kubevirt-operator", "cdi-operator"];
/// Chart of Longhorn.
pub(super) const LONGHORN: &str = "longhorn";

/// Chart of the driver for disks in LVM, and how the bundle names it.
const LVM: (&str, &str) = ("harvester-csi-driver-lvm", "csi_driver_lvm");

/// Contents of charts, in base64, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Charts {
    /// There is no payload: a marker stands for each.
    #[default]
    Marked,
    /// Those of a payload.
    Payload(BTreeMap<String, String>),
}

impl Charts {
    /// The content of a chart; `None` when the payload does not have it.
    pub(super) fn content(&self, name: &str) -> Option<String> {
        match self {
            Self::Marked => Some(format!("(the payload's charts/{name}.tgz, in base64)")),
            Self::Payload(contents) => contents.get(name).cloned(),
        }
    }

    /// Digest of a chart's content.
    pub(super) fn digest(&self, name: &str) -> Option<String> {
        match self {
            Self::Marked => None,
            Self::Payload(contents) => Some(hex::encode(Sha256::digest(contents.get(name)?))),
        }
    }

    /// The content of a chart that can come from a repository, too.
    pub(super) fn own_content(&self, name: &str) -> Option<String> {
        match self {
            Self::Marked => None,
            Self::Payload(contents) => contents.get(name).cloned(),
        }
    }

    /// Charts that the config needs and the payload does not have. They are left out of the
    /// manifests.
    pub fn missing(&self, config: &Config) -> Vec<String> {
        let mut names = Self::needed(config);
        names.retain(|name| self.content(name).is_none());
        names
    }

    /// Charts that the config needs. Those of `cluster.csi_charts` with a repository are not among
    /// them: the payload's is taken where it has one.
    pub fn needed(config: &Config) -> Vec<String> {
        if !matches!(config.mode, Mode::Create { .. }) {
            return Vec::new();
        }
        let cluster: &Cluster = &config.cluster;
        let mut names = vec![LONGHORN.to_owned()];
        let on = cluster.addons.keys();
        names.extend(
            on.flat_map(|addon| addons::charts(*addon))
                .map(|c| (*c).to_owned()),
        );
        let drivers = cluster.storage.charts.iter();
        let drivers = drivers.filter(|driver| driver.repo.is_none());
        names.extend(drivers.map(|driver| driver.name.clone()));
        names
    }

    /// What a config has chosen, in the words of the bundle's `only_with`: its network plugin, its
    /// addons, and the driver of which the bundle has a chart. Who joins a cluster can't know its
    /// addons.
    pub fn chosen(config: &Config) -> BTreeSet<&'static str> {
        let cluster = &config.cluster;
        let mut chosen: BTreeSet<_> = cluster.addons.keys().map(|addon| addon.key()).collect();
        chosen.insert(rke2::plugin(cluster.networks.cni));
        let lvm = cluster.storage.charts.iter().any(|c| c.name == LVM.0);
        chosen.extend(lvm.then_some(LVM.1));
        chosen
    }

    /// Manifests that the config needs.
    pub fn needed_manifests(config: &Config) -> &'static [&'static str] {
        match config.mode {
            Mode::Create { .. } => &OPERATORS,
            _ => &[],
        }
    }
}
