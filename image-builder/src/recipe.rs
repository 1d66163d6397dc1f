//! `recipe.toml`: what goes into the OS image and the media.
//!
//! In: the file's text. Out: a checked [`Recipe`]; unknown keys, empty lists that must not be
//! empty and packages named twice are errors that say where. Nothing here touches the system.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// Everything that `recipe.toml` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The Debian base.
    pub base: Base,
    /// The initrd.
    pub dracut: Dracut,
    /// The slot image.
    pub image: Image,
    /// The bootable media.
    pub media: Media,
}

/// The Debian base.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// Suite, such as `trixie`; its `-updates` and `-security` are added.
    pub suite: String,
    /// Archive components, such as `main`.
    pub components: Vec<String>,
    /// Path patterns that dpkg does not unpack.
    #[serde(default)]
    pub path_exclude: Vec<String>,
    /// Exceptions to `path_exclude`.
    #[serde(default)]
    pub path_include: Vec<String>,
    /// Packages by what they are for.
    pub packages: BTreeMap<String, Vec<String>>,
    /// Packages (patterns allowed) that are removed again once the initrd and the boot
    /// loaders' images are made.
    #[serde(default)]
    pub purge: Vec<String>,
}

/// The initrd, in dracut's own terms.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dracut {
    /// dracut modules, and with what they need themselves no others.
    pub modules: Vec<String>,
    /// Kernel modules, and with what they need themselves no others; `=drivers/ata` is a folder.
    pub drivers: Vec<String>,
    /// More files of the base for the initrd.
    #[serde(default)]
    pub install_items: Vec<String>,
    /// Compression program with its options.
    pub compress: String,
}

/// The slot image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// zstd level of the squashfs, 1 to 22.
    pub compression_level: u8,
    /// Absolute path patterns that are left out.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// The bootable media.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Media {
    /// ISO 9660 volume id.
    pub volume_id: String,
    /// Kernel arguments of every live boot, after those of the boot contract.
    #[serde(default)]
    pub kernel_args: Vec<String>,
}

impl Recipe {
    /// Reads and checks a recipe file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("reading the recipe {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in the recipe {}", path.display()))
    }

    /// Reads and checks a recipe's text.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let recipe: Self = toml::from_str(text)?;
        recipe.check()?;
        Ok(recipe)
    }

    fn check(&self) -> anyhow::Result<()> {
        check_name("base.suite", &self.base.suite)?;
        if self.base.components.is_empty() {
            bail!("base.components is empty: at least \"main\" is needed");
        }
        for component in &self.base.components {
            check_name("base.components", component)?;
        }
        let mut seen = BTreeMap::new();
        for (group, packages) in &self.base.packages {
            for package in packages {
                check_name(&format!("base.packages.{group}"), package)?;
                if let Some(other) = seen.insert(package.as_str(), group.as_str()) {
                    bail!(
                        "package {package} is in base.packages.{other} and in base.packages.{group}: keep one"
                    );
                }
            }
        }
        if seen.is_empty() {
            bail!("base.packages names no package");
        }
        if !(1..=22).contains(&self.image.compression_level) {
            bail!(
                "image.compression_level is {}: zstd has 1 to 22",
                self.image.compression_level
            );
        }
        for pattern in &self.image.exclude {
            if !pattern.starts_with('/') {
                bail!("image.exclude: {pattern:?} does not start with a slash");
            }
        }
        check_volume_id(&self.media.volume_id)?;
        for (field, values) in self.dracut.lists() {
            for value in values {
                check_word(field, value)?;
            }
        }
        check_plain("dracut.compress", &self.dracut.compress)?;
        for arg in &self.media.kernel_args {
            check_word("media.kernel_args", arg)?;
        }
        Ok(())
    }
}

impl Base {
    /// All packages, sorted, each once.
    pub fn package_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .packages
            .values()
            .flatten()
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        names
    }
}

impl Dracut {
    fn lists(&self) -> [(&'static str, &Vec<String>); 3] {
        [
            ("dracut.modules", &self.modules),
            ("dracut.drivers", &self.drivers),
            ("dracut.install_items", &self.install_items),
        ]
    }

    /// dracut's configuration file (`man dracut.conf`). It is a shell fragment; the values
    /// were checked to hold no quotes.
    pub fn render_conf(&self) -> String {
        let mut conf = String::from(
            "hostonly=\"no\"\nhostonly_cmdline=\"no\"\nreproducible=\"yes\"\nearly_microcode=\"no\"\n",
        );
        conf.push_str(&format!("compress=\"{}\"\n", self.compress));
        for (key, values) in [
            ("dracutmodules", &self.modules),
            ("drivers", &self.drivers),
            ("install_items", &self.install_items),
        ] {
            if !values.is_empty() {
                conf.push_str(&format!("{key}+=\" {} \"\n", values.join(" ")));
            }
        }
        conf
    }
}

/// A name of the archive's world: it becomes part of apt's lines and arguments.
fn check_name(field: &str, name: &str) -> anyhow::Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-._:/=".contains(c);
    if name.is_empty() || !name.chars().all(plain) || name.starts_with('-') {
        bail!("{field}: {name:?} is not a name");
    }
    Ok(())
}

/// One word without quotes, for a configuration file or the kernel command line.
fn check_word(field: &str, word: &str) -> anyhow::Result<()> {
    if word.is_empty() || word.contains(char::is_whitespace) {
        bail!("{field}: {word:?} is not one word");
    }
    check_plain(field, word)
}

fn check_plain(field: &str, text: &str) -> anyhow::Result<()> {
    if text.is_empty() || text.contains(['"', '\'', '`', '$', '\\', '\n']) {
        bail!("{field}: {text:?} is empty or has quotes, backslashes or dollar signs");
    }
    Ok(())
}

/// ECMA-119 d-characters, at most 32.
fn check_volume_id(id: &str) -> anyhow::Result<()> {
    let d = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if id.is_empty() || id.len() > 32 || !id.chars().all(d) {
        bail!("media.volume_id: {id:?} is not 1 to 32 of A-Z, 0-9 and _");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
[base]
suite = "trixie"
components = ["main"]
[base.packages]
boot = ["linux-image-amd64", "dracut"]
[dracut]
compress = "zstd -15"
modules = ["lvm", "nfs"]
drivers = ["ext4"]
[image]
compression_level = 3
[media]
volume_id = "HARROW"
"#;

    #[test]
    fn the_recipe_of_this_repository_is_valid() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipe.toml");
        let recipe = Recipe::read(&path).unwrap();
        assert!(recipe.base.package_names().contains(&"linux-image-amd64"));
    }

    #[test]
    fn dracut_conf_has_only_what_was_said() {
        let conf = Recipe::parse(SMALL).unwrap().dracut.render_conf();
        assert!(conf.contains("dracutmodules+=\" lvm nfs \"\n"), "{conf}");
        assert!(!conf.contains("install_items"), "{conf}");
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, message) in [
            ("suite =", "sweet = 1\nsuite =", "sweet"),
            ("\"trixie\"", "\"tri xie\"", "base.suite"),
            ("[\"main\"]", "[]", "base.components is empty"),
            (
                "\"dracut\"]",
                "\"dracut\"]\nmore = [\"dracut\"]",
                "package dracut is in base.packages.boot and in base.packages.more",
            ),
            (
                "boot = [\"linux-image-amd64\", \"dracut\"]",
                "",
                "names no package",
            ),
            ("= 3", "= 23", "zstd has 1 to 22"),
            ("= 3", "= 0", "zstd has 1 to 22"),
            (
                "= 3",
                "= 3\nexclude = [\"dev/*\"]",
                "does not start with a slash",
            ),
            ("\"HARROW\"", "\"Harrow\"", "media.volume_id"),
            ("\"HARROW\"", "\"\"", "media.volume_id"),
            (
                "\"HARROW\"",
                "\"HARROW\"\nkernel_args = [\"a b\"]",
                "media.kernel_args",
            ),
            ("\"lvm\"", "\"l'vm\"", "dracut.modules"),
            ("zstd -15", "zstd $(id)", "dracut.compress"),
        ] {
            let text = SMALL.replacen(from, to, 1);
            assert_ne!(text, SMALL, "{from}");
            let error = format!("{:#}", Recipe::parse(&text).unwrap_err());
            assert!(error.contains(message), "{to}: {error}");
        }
    }
}
