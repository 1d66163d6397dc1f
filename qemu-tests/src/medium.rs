//! Media: the ISO as a USB stick that carries a config, and what the ISO says about its image.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use harrow::image::manifest::{ImageManifest, MANIFEST_NAME};

use crate::partitions::find_esp;
use crate::tools::tool;

/// Writes `iso` to a new file as one writes it to a stick, with `config` as `harrow.yaml` at
/// the root of its ESP, as a person copies it there.
pub fn write_stick(iso: &Path, stick: &Path, config: &str) -> anyhow::Result<()> {
    std::fs::copy(iso, stick)
        .with_context(|| format!("copying {} to {}", iso.display(), stick.display()))?;
    let esp = find_esp(stick)?;
    tool("mcopy")
        .arg("-o")
        .arg("-i")
        .arg(format!("{}@@{}", stick.display(), esp.start))
        .args(["-", "::/harrow.yaml"])
        .input(config)
        .run()
        .context("putting the config onto the stick's ESP")?;
    Ok(())
}

/// The manifest of the image on the ISO; `folder` gets a copy of the file.
pub fn read_manifest(iso: &Path, folder: &Path) -> anyhow::Result<ImageManifest> {
    let path = folder.join(MANIFEST_NAME);
    tool("xorriso")
        .args(["-osirrox", "on", "-indev"])
        .arg(iso)
        .args(["-extract", &format!("/harrow/{MANIFEST_NAME}")])
        .arg(&path)
        .run()
        .with_context(|| format!("taking {MANIFEST_NAME} out of {}", iso.display()))?;
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    ImageManifest::parse(&bytes)
}

/// The newest ISO of a folder, if it has one.
pub fn newest_iso(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(None);
    };
    let mut newest = None;
    for entry in entries {
        let path = entry.context("looking for an ISO")?.path();
        if path.extension().is_some_and(|extension| extension == "iso") {
            let changed = path.metadata().and_then(|meta| meta.modified());
            let changed = changed.with_context(|| format!("looking at {}", path.display()))?;
            newest = newest.max(Some((changed, path)));
        }
    }
    Ok(newest.map(|(_, path)| path))
}
