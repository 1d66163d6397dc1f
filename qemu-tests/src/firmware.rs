//! The firmware of a virtual machine: SeaBIOS, or OVMF with or without Secure Boot.
//!
//! In: the folder of the machine. Out: QEMU's arguments. OVMF's variables are copied into the
//! folder, so that each machine has its own and keeps them over a power-off.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Where Debian's and Ubuntu's package `ovmf` puts its files.
const OVMF: &str = "/usr/share/OVMF";

/// What runs before the boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS, which is part of QEMU.
    Bios,
    /// OVMF without Secure Boot.
    Uefi,
    /// OVMF with Microsoft's keys enrolled and Secure Boot on.
    UefiSecureBoot,
}

impl Firmware {
    /// Makes what the firmware needs in `folder`, unless it is there from the last power-on,
    /// and gives QEMU's arguments.
    pub fn prepare(self, folder: &Path) -> anyhow::Result<Vec<String>> {
        let (code, vars) = match self {
            Self::Bios => return Ok(vec!["-machine".into(), "q35".into()]),
            Self::Uefi => (ovmf("OVMF_CODE_4M.fd")?, ovmf("OVMF_VARS_4M.fd")?),
            Self::UefiSecureBoot => (ovmf("OVMF_CODE_4M.ms.fd")?, ovmf("OVMF_VARS_4M.ms.fd")?),
        };
        let own = folder.join("ovmf-vars.fd");
        if !own.exists() {
            std::fs::copy(&vars, &own)
                .with_context(|| format!("copying {} to {}", vars.display(), own.display()))?;
        }
        Ok(self.render_uefi(&code, &own))
    }

    fn render_uefi(self, code: &Path, vars: &Path) -> Vec<String> {
        let secure = self == Self::UefiSecureBoot;
        let mut args = vec![
            "-machine".to_owned(),
            format!("q35,smm={}", if secure { "on" } else { "off" }),
            "-drive".to_owned(),
            format!(
                "if=pflash,unit=0,format=raw,readonly=on,file={}",
                code.display()
            ),
            "-drive".to_owned(),
            format!("if=pflash,unit=1,format=raw,file={}", vars.display()),
        ];
        if secure {
            // The variables may only be written from SMM, else Secure Boot means nothing.
            for global in [
                "driver=cfi.pflash01,property=secure,value=on",
                "ICH9-LPC.disable_s3=1",
            ] {
                args.extend(["-global".to_owned(), global.to_owned()]);
            }
        }
        args
    }
}

fn ovmf(name: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(OVMF).join(name);
    if !path.exists() {
        bail!("{} is missing: install the package ovmf", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secure_boot_guards_its_variables_with_smm() {
        let (code, vars) = (Path::new("/code"), Path::new("/vars"));
        let args = Firmware::UefiSecureBoot.render_uefi(code, vars).join(" ");
        assert!(args.contains("q35,smm=on"), "{args}");
        assert!(
            args.contains("driver=cfi.pflash01,property=secure,value=on"),
            "{args}"
        );
        assert!(
            args.contains("unit=0,format=raw,readonly=on,file=/code"),
            "{args}"
        );
        let args = Firmware::Uefi.render_uefi(code, vars).join(" ");
        assert!(
            args.contains("q35,smm=off") && !args.contains("secure"),
            "{args}"
        );
    }
}
