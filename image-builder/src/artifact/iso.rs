//! The hybrid ISO: boots on BIOS and UEFI, with Secure Boot too, as a CD and as a disk.
//!
//! In: an [`ImageSet`], the boot loaders and the menus' templates. Out: one file. What boots:
//!
//! - BIOS, CD: El Torito entry 1, GRUB's `eltorito.img`.
//! - BIOS, disk: the MBR (GRUB's `boot_hybrid.img`) loads the same `eltorito.img`.
//! - UEFI, CD: El Torito entry 2, which points at the FAT partition.
//! - UEFI, disk: the FAT partition in the GPT. shim starts GRUB beside it, and that GRUB
//!   (`gcdx64.efi`) reads `/boot/grub/grub.cfg` of the partition that it came from.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use harrow::sys::cmd::Cmd;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::esp;
use super::menu::{self, Values};
use crate::recipe::Media;
use crate::set::ImageSet;

/// GPT type of an EFI system partition, as xorriso takes it for an appended partition.
const ESP_TYPE: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";

/// Everything that an ISO is assembled from.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The image set.
    pub set: &'a ImageSet,
    /// Folder with `eltorito.img`, `boot_hybrid.img` and `gcdx64.efi`.
    pub boot: &'a Path,
    /// Folder with the menus' templates.
    pub templates: &'a Path,
    /// The recipe's part on media.
    pub media: &'a Media,
    /// A config that lies on the ISO as `/harrow/harrow.yaml`, where everybody can read it: its
    /// password is hashed on the way.
    pub config: Option<&'a Path>,
    /// The build's date, in seconds since 1970.
    pub epoch: u64,
}

/// Identifies the ISO 9660 file system, by the date that is written into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediumId {
    /// `YYYYMMDDhhmmsscc`, as xorriso takes it.
    pub date: String,
    /// `YYYY-MM-DD-hh-mm-ss-cc`, as blkid and GRUB show it.
    pub uuid: String,
}

/// Makes the id of a medium: the day is the build's, the time of day follows from the contents,
/// so that two different media are not taken for each other.
pub fn medium_id(epoch: u64, contents: &[u8]) -> anyhow::Result<MediumId> {
    const HUNDREDTHS: u64 = 24 * 60 * 60 * 100;
    let day = timestamp(epoch)?.strftime("%Y-%m-%d").to_string();
    let digest = Sha256::digest(contents);
    let mut number = [0; 8];
    number.copy_from_slice(&digest[..8]);
    let time = u64::from_le_bytes(number) % HUNDREDTHS;
    let (seconds, hundredth) = (time / 100, time % 100);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let uuid = format!("{day}-{hour:02}-{minute:02}-{second:02}-{hundredth:02}");
    Ok(MediumId {
        date: uuid.replace('-', ""),
        uuid,
    })
}

fn timestamp(epoch: u64) -> anyhow::Result<Timestamp> {
    i64::try_from(epoch)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .with_context(|| format!("{epoch} seconds since 1970 is not a date"))
}

/// Assembles the ISO at `out`.
pub fn build(out: &Path, parts: &Parts<'_>) -> anyhow::Result<MediumId> {
    let work = tempfile::Builder::new()
        .prefix(".iso-")
        .tempdir_in(out.parent().unwrap_or(Path::new(".")))
        .context("creating a folder for the ISO's parts")?;
    let config = parts
        .config
        .map(|config| copy_config(config, &work.path().join("harrow.yaml")))
        .transpose()?;
    let parts = &Parts {
        config: config.as_deref(),
        ..*parts
    };
    let mut contents = serde_json::to_vec(&parts.set.manifest).context("writing the manifest")?;
    if let Some(config) = parts.config {
        contents.extend(read(config)?);
    }
    let id = medium_id(parts.epoch, &contents)?;
    let manifest = &parts.set.manifest;
    let values = Values {
        version: format!(
            "{} {}",
            manifest.version,
            crate::flavor_name(manifest.flavor)
        ),
        medium_uuid: id.uuid.clone(),
        boot_args: menu::boot_args(&manifest.slot.verity, &id.uuid),
        kernel_args: parts.media.kernel_args.clone(),
    };
    let grub_cfg = work.path().join("grub.cfg");
    std::fs::write(
        &grub_cfg,
        render(&parts.templates.join("grub.cfg"), &values)?,
    )
    .with_context(|| format!("writing {}", grub_cfg.display()))?;
    let esp = work.path().join("esp.img");
    std::fs::write(&esp, build_esp(parts, &values, &contents)?)
        .with_context(|| format!("writing {}", esp.display()))?;
    let made = work.path().join("made.iso");
    command(&made, &esp, &grub_cfg, &id, parts)?
        .run()
        .context("writing the ISO")?;
    std::fs::rename(&made, out)
        .with_context(|| format!("renaming {} to {}", made.display(), out.display()))?;
    Ok(id)
}

fn build_esp(parts: &Parts<'_>, values: &Values, contents: &[u8]) -> anyhow::Result<Vec<u8>> {
    let set = |name: &str| read(&parts.set.dir.join(name));
    let boot = &parts.set.manifest.boot;
    let digest = Sha256::digest(contents);
    let volume_id = u32::from_le_bytes([digest[8], digest[9], digest[10], digest[11]]);
    esp::build(
        &[
            ("EFI/BOOT/BOOTX64.EFI", &set(&boot.shim.name)?),
            (
                "EFI/BOOT/grubx64.efi",
                &read(&parts.boot.join("gcdx64.efi"))?,
            ),
            ("EFI/BOOT/mmx64.efi", &set(&boot.mok_manager.name)?),
            (
                "boot/grub/grub.cfg",
                render(&parts.templates.join("esp.cfg"), values)?.as_bytes(),
            ),
            (
                "README.TXT",
                render(&parts.templates.join("config-here.txt"), values)?
                    .replace('\n', "\r\n")
                    .as_bytes(),
            ),
        ],
        volume_id,
    )
}

/// xorriso's command line, in the terms of `man xorrisofs`.
fn command(
    out: &Path,
    esp: &Path,
    grub_cfg: &Path,
    id: &MediumId,
    parts: &Parts<'_>,
) -> anyhow::Result<Cmd> {
    let mut cmd = Cmd::new("xorriso")
        .env("SOURCE_DATE_EPOCH", parts.epoch.to_string())
        .env("TZ", "UTC")
        .args([
            "-as",
            "mkisofs",
            "-quiet",
            "-r",
            "-iso-level",
            "3",
            "-V",
            &parts.media.volume_id,
        ])
        .args(["-publisher", "HARROW", "-o"])
        .arg(out)
        .arg(format!("--modification-date={}", id.date))
        .arg("--set_all_file_dates")
        .arg(
            timestamp(parts.epoch)?
                .strftime("%Y%m%d%H%M%S00")
                .to_string(),
        )
        // BIOS, from CD.
        .args(["-b", "boot/grub/eltorito.img", "-c", "boot/grub/boot.cat"])
        .args([
            "-no-emul-boot",
            "-boot-load-size",
            "4",
            "-boot-info-table",
            "--grub2-boot-info",
        ])
        // BIOS, from disk. Some firmware wants an active partition in the MBR. With the offset
        // the first partition can be mounted too.
        .arg("--grub2-mbr")
        .arg(parts.boot.join("boot_hybrid.img"))
        .args(["--mbr-force-bootable", "-partition_offset", "16"])
        // UEFI, from disk and from CD.
        .args(["-append_partition", "2", ESP_TYPE])
        .arg(esp)
        .args(["-appended_part_as_gpt", "-eltorito-alt-boot"])
        .args([
            "-e",
            "--interval:appended_partition_2:all::",
            "-no-emul-boot",
            "-graft-points",
        ]);
    let mut graft = |target: &str, source: PathBuf| -> anyhow::Result<()> {
        let source = std::path::absolute(&source)
            .with_context(|| format!("finding {}", source.display()))?;
        let Some(source) = source.to_str().filter(|s| !s.contains(['=', '\\'])) else {
            bail!(
                "{}: a path with = or \\ or that is not UTF-8 cannot be put on an ISO",
                source.display()
            );
        };
        let line = format!("{target}={source}");
        cmd = std::mem::replace(&mut cmd, Cmd::new("")).arg(line);
        Ok(())
    };
    graft("/boot/grub/eltorito.img", parts.boot.join("eltorito.img"))?;
    graft("/boot/grub/grub.cfg", grub_cfg.to_owned())?;
    graft("/harrow", parts.set.dir.clone())?;
    if let Some(config) = parts.config {
        graft("/harrow/harrow.yaml", config.to_owned())?;
    }
    Ok(cmd)
}

/// Copies a config without its password in clear. The salt makes each hash another one: an ISO
/// that is to be the same again needs a config with the hash in it.
fn copy_config(from: &Path, to: &Path) -> anyhow::Result<PathBuf> {
    let name = from.display().to_string();
    let hidden = harrow::config::hide_password(read(from)?, &name, harrow::sys::random::salt())?;
    std::fs::write(to, hidden).with_context(|| format!("writing {}", to.display()))?;
    Ok(to.to_owned())
}

fn render(template: &Path, values: &Values) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(template)
        .with_context(|| format!("reading {}", template.display()))?;
    menu::render(&text, values).with_context(|| format!("in {}", template.display()))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_medium_is_named_by_its_day_and_contents() {
        let id = medium_id(1_767_225_600, b"a").unwrap();
        assert!(id.uuid.starts_with("2026-01-01-"), "{id:?}");
        assert_eq!(id.date.len(), 16);
        assert_eq!(id.uuid.len(), 22);
        assert_eq!(id, medium_id(1_767_225_600, b"a").unwrap());
        assert_ne!(id, medium_id(1_767_225_600, b"b").unwrap());
        assert_ne!(id, medium_id(1_767_225_600 + 86_400, b"a").unwrap());
        assert!(medium_id(u64::MAX, b"a").is_err());
    }

    #[test]
    fn every_time_of_day_is_valid() {
        for number in 0..1000u32 {
            let id = medium_id(0, &number.to_le_bytes()).unwrap();
            let parts: Vec<u32> = id
                .uuid
                .split('-')
                .skip(3)
                .map(|p| p.parse().unwrap())
                .collect();
            assert!(
                parts[0] < 24 && parts[1] < 60 && parts[2] < 60 && parts[3] < 100,
                "{id:?}"
            );
        }
    }
}
