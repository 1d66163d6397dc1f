//! The charts of a payload, as its folder has them.
//!
//! In: the payload's folder. Out: [`Charts`].

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cluster::Charts;

/// Reads `charts/NAME.tgz` below the folder.
pub fn read(payload: &Path) -> anyhow::Result<Charts> {
    let dir = payload.join("charts");
    let reading = || format!("reading the charts in {}", dir.display());
    let mut contents = BTreeMap::new();
    for entry in fs::read_dir(&dir).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.and_then(|name| name.strip_suffix(".tgz")) {
            let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            contents.insert(name.to_owned(), STANDARD.encode(bytes));
        }
    }
    Ok(Charts::Payload(contents))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_are_known_by_their_names() {
        let dir = tempfile::tempdir().unwrap();
        assert!(format!("{:#}", read(dir.path()).unwrap_err()).contains("charts"));
        fs::create_dir(dir.path().join("charts")).unwrap();
        fs::write(dir.path().join("charts/longhorn.tgz"), b"chart").unwrap();
        fs::write(dir.path().join("charts/README"), b"").unwrap();
        let expected = [("longhorn".to_owned(), "Y2hhcnQ=".to_owned())];
        let expected = Charts::Payload(expected.into());
        assert_eq!(read(dir.path()).unwrap(), expected);
    }
}
