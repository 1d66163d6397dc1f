//! Whether an image has inside what a config needs of the cluster payload.
//!
//! In: the config, the image's manifest. Out: an error that names each key and the artifacts
//! that are missing for it. Pure. A node would find it out too, but only after its disk was written.

use std::collections::BTreeMap;

use crate::cluster::{Charts, Part};
use crate::config::Config;
use crate::failure::{Failure, Kind};
use crate::image::manifest::{Flavor, ImageManifest};

/// Refuses an image of flavor `full` that lacks what the config chose. A node of flavor `net`
/// fetches what it needs, and an image that does not say what it lacks is taken as it is.
pub fn check(config: &Config, manifest: &ImageManifest) -> anyhow::Result<()> {
    if manifest.flavor != Flavor::Full || Part::of(config).is_none() {
        return Ok(());
    }
    let missing = missing(config, &manifest.lacks);
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = missing
        .iter()
        .map(|(choice, artifacts)| {
            let key = key_of(choice);
            format!("{key} needs {}, which are not in it", artifacts.join(", "))
        })
        .collect();
    let with: Vec<String> = missing.keys().map(|c| format!("--with {c}")).collect();
    Err(Failure::error(
        Kind::ConfigInvalid,
        format!("this image does not fit the config: {}", list.join("; ")),
        format!(
            "build one with `harrow-build iso --flavor full {}`, take one of flavor net, or change the config; \
             nothing was changed on any disk",
            with.join(" ")
        ),
    ))
}

/// What is chosen and not in the image, by choice.
fn missing<'a>(
    config: &Config,
    lacks: &'a BTreeMap<String, Vec<String>>,
) -> BTreeMap<&'static str, &'a [String]> {
    let chosen = Charts::chosen(config).into_iter();
    chosen
        .filter_map(|choice| Some((choice, lacks.get(choice)?.as_slice())))
        .collect()
}

/// The key of the config that makes a choice.
fn key_of(choice: &str) -> String {
    match choice {
        "canal" | "calico" | "cilium" | "flannel" => format!("cluster.cni {choice}"),
        "csi_driver_lvm" => "cluster.csi_charts with harvester-csi-driver-lvm".to_owned(),
        addon => format!("install.addons.{addon}.enabled"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, SourceKind, read_sources};

    fn config(text: &str) -> Config {
        let text = format!("{text}\ntoken: hunter2hunter2\nos: {{password: hunter2hunter2}}\n");
        let source = Source::yaml(SourceKind::File, "c.yaml", text.into_bytes());
        let checked = read_sources(&[source], [0; 12]);
        checked
            .config
            .unwrap_or_else(|| panic!("{}", checked.problems))
    }

    fn manifest(flavor: Flavor) -> ImageManifest {
        let kept = include_bytes!("../../tests/golden/manifest-1.json");
        let mut manifest = ImageManifest::parse(kept).unwrap();
        manifest.flavor = flavor;
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        manifest.lacks = [
            ("cilium".to_owned(), names(&["rke2-images-cilium"])),
            (
                "descheduler".to_owned(),
                names(&["descheduler", "descheduler-images"]),
            ),
        ]
        .into();
        manifest
    }

    const CREATE: &str = "install:\n  mode: create\n  device: /dev/sda\n  vip: 10.0.0.5\n  \
         management_interface: {interfaces: [{name: eth0}], method: dhcp}\n";

    #[test]
    fn what_is_chosen_must_be_in_a_full_image() {
        let full = manifest(Flavor::Full);
        check(&config(CREATE), &full).unwrap();
        let both = format!(
            "{CREATE}  addons: {{descheduler: {{enabled: true}}}}\ncluster: {{cni: cilium}}\n"
        );
        let both = config(&both);
        let error = check(&both, &full).unwrap_err();
        let failure = Failure::of(&error).unwrap();
        assert_eq!(failure.kind, Kind::ConfigInvalid);
        for word in [
            "cluster.cni cilium needs rke2-images-cilium",
            "install.addons.descheduler.enabled needs descheduler, descheduler-images",
        ] {
            assert!(failure.message.contains(word), "{}", failure.message);
        }
        assert!(failure.hint.contains("--with cilium --with descheduler"));
        check(&both, &manifest(Flavor::Net)).unwrap();
        let older = ImageManifest {
            lacks: BTreeMap::new(),
            ..full
        };
        check(&both, &older).unwrap();
    }
}
