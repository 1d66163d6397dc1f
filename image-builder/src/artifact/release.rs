//! The files beside an artifact: `version.yaml` says what it is, `SHA256SUMS` lets
//! `sha256sum -c` check it.
//!
//! In: what was built. Out: the two texts. Pure.

use harrow::image::manifest::{FileEntry, ImageManifest};

/// What `version.yaml` says beyond the image's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release<'a> {
    /// The git commit that it was built from, with `-dirty` for uncommitted changes.
    pub commit: Option<&'a str>,
    /// UUID of the medium's file system.
    pub medium_uuid: &'a str,
    /// The artifact itself.
    pub artifact: &'a FileEntry,
    /// The image in it.
    pub image: &'a ImageManifest,
}

/// Renders `version.yaml`.
pub fn render_version(release: &Release<'_>) -> String {
    let image = release.image;
    let mut text = format!(
        "version: \"{}\"\nflavor: {}\ncommit: {}\ncreated: \"{}\"\nbase: \"{}\"\nkernel: \"{}\"\n\
         medium_uuid: \"{}\"\nverity_root_hash: \"{}\"\nartifacts:\n",
        image.version,
        crate::flavor_name(image.flavor),
        release
            .commit
            .map_or_else(|| "null".to_owned(), |c| format!("\"{c}\"")),
        image.created,
        image.base,
        image.kernel_release,
        release.medium_uuid,
        image.slot.verity.root_hash,
    );
    push_file(&mut text, release.artifact);
    text.push_str("image:\n");
    for file in image.files() {
        push_file(&mut text, file);
    }
    text
}

fn push_file(text: &mut String, file: &FileEntry) {
    text.push_str(&format!(
        "  - name: \"{}\"\n    size: {}\n    sha256: \"{}\"\n",
        file.name, file.size, file.sha256
    ));
}

/// Renders `SHA256SUMS`; names are relative to its folder.
pub fn render_sums(files: &[FileEntry]) -> String {
    files
        .iter()
        .map(|f| format!("{}  {}\n", f.sha256, f.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> FileEntry {
        FileEntry {
            name: name.into(),
            size: 5,
            sha256: "c".repeat(64),
        }
    }

    #[test]
    fn version_yaml_names_everything() {
        let kept = include_bytes!("../../../installer/tests/golden/manifest-1.json");
        let image = ImageManifest::parse(kept).unwrap();
        let artifact = file("x.iso");
        let mut release = Release {
            commit: Some("abc-dirty"),
            medium_uuid: "2026-01",
            artifact: &artifact,
            image: &image,
        };
        let text = render_version(&release);
        assert!(
            text.starts_with("version: \"0.1.0\"\nflavor: net\ncommit: \"abc-dirty\"\n"),
            "{text}"
        );
        assert!(
            text.contains("artifacts:\n  - name: \"x.iso\"\n    size: 5\n"),
            "{text}"
        );
        assert_eq!(text.matches("  - name:").count(), 9);
        release.commit = None;
        assert!(render_version(&release).contains("commit: null\n"));
    }

    #[test]
    fn sums_are_as_sha256sum_has_them() {
        assert_eq!(
            render_sums(&[file("a"), file("image/b")]),
            format!("{0}  a\n{0}  image/b\n", "c".repeat(64))
        );
    }
}
