//! Boot menus: the templates of `iso/` with the values of one build.
//!
//! In: a template's text and [`Values`]. Out: the text that goes onto the medium. Pure.

use anyhow::bail;
use harrow::image::manifest::Verity;

/// What the placeholders of the templates stand for; `iso/README.md` describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values {
    /// Version and flavor.
    pub version: String,
    /// UUID of the ISO 9660 file system.
    pub medium_uuid: String,
    /// Arguments of the boot contract.
    pub boot_args: String,
    /// The recipe's arguments of every live boot.
    pub kernel_args: Vec<String>,
}

/// The kernel arguments of a live boot (ARCHITECTURE.md, "Boot contract").
pub fn boot_args(verity: &Verity, medium_uuid: &str) -> String {
    format!(
        "root=/dev/mapper/root rootfstype=squashfs ro roothash={} \
         systemd.verity_root_data=/dev/harrow/slot systemd.verity_root_hash=/dev/harrow/slot \
         systemd.verity_root_options=hash-offset={},superblock=true harrow.boot.medium=UUID={medium_uuid}",
        verity.root_hash, verity.hash_offset
    )
}

/// Replaces the placeholders; one that is not known is an error.
pub fn render(template: &str, values: &Values) -> anyhow::Result<String> {
    let screen_args: Vec<&str> = values
        .kernel_args
        .iter()
        .map(String::as_str)
        .filter(|a| !a.starts_with("console=ttyS"))
        .collect();
    let text = template
        .replace("@VERSION@", &values.version)
        .replace("@MEDIUM_UUID@", &values.medium_uuid)
        .replace("@BOOT_ARGS@", &values.boot_args)
        .replace("@KERNEL_ARGS@", &values.kernel_args.join(" "))
        .replace("@SCREEN_ARGS@", &screen_args.join(" "));
    for (number, line) in text.lines().enumerate() {
        if let Some(name) = placeholder(line) {
            bail!(
                "line {}: {name} is not a placeholder that is known here",
                number + 1
            );
        }
    }
    Ok(text)
}

/// The first `@NAME@` of a line.
fn placeholder(line: &str) -> Option<&str> {
    let start = line.find('@')?;
    let length = line[start + 1..].find('@')?;
    let name = &line[start + 1..start + 1 + length];
    let plain = |c: char| c.is_ascii_uppercase() || c == '_';
    (!name.is_empty() && name.chars().all(plain)).then(|| &line[start..start + length + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        let verity = Verity {
            root_hash: "ab".repeat(32),
            salt: "00".into(),
            uuid: uuid::Uuid::nil(),
            hash_offset: 8192,
        };
        Values {
            version: "1.2.3 net".into(),
            medium_uuid: "2026-01-02-03-04-05-06".into(),
            boot_args: boot_args(&verity, "2026-01-02-03-04-05-06"),
            kernel_args: vec!["console=tty0".into(), "console=ttyS0,115200n8".into()],
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // a test's own switch
    fn the_templates_of_this_repository_render_as_approved() {
        let top = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for file in ["grub.cfg", "esp.cfg", "config-here.txt"] {
            let template = std::fs::read_to_string(top.join("../iso").join(file)).unwrap();
            let text = render(&template, &values()).unwrap();
            let golden = top.join("tests/golden").join(file);
            if std::env::var_os("BLESS").is_some() {
                std::fs::write(golden, text).unwrap();
                continue;
            }
            let approved = std::fs::read_to_string(golden).unwrap();
            assert_eq!(text, approved, "{file} differs (`make bless` rewrites it)");
        }
    }

    #[test]
    fn unknown_placeholders_are_named() {
        for (template, known) in [
            ("a\n@NOPE@\n", false),
            ("mail@example.org and b@c\n", true),
            ("@VERSION@ @", true),
            ("@@", true),
        ] {
            let result = render(template, &values());
            assert_eq!(result.is_ok(), known, "{template}");
            if let Err(error) = result {
                assert!(error.to_string().contains("line 2: @NOPE@"), "{error}");
            }
        }
    }
}
