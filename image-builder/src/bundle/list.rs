//! `harrow-build bundle list`: what the bundle has, what is pinned, what is in the cache.
//!
//! In: the locked bundle and the cache. Out: [`Row`]s, for a table or as JSON.

use harrow::bundle::{
    ArtifactKind, Content, LockedArtifact, LockedBundle, Store, archive, how_to_pin,
};
use serde::Serialize;

use super::{BundleOptions, all_digests};
use crate::progress::size;

/// An artifact, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ArtifactKind,
    /// Its version.
    pub version: String,
    /// The addon or CNI without which it is not needed.
    pub only_with: Option<String>,
    /// Whether it has a pin.
    pub pinned: bool,
    /// What its pin lacks.
    pub why: Option<String>,
    /// Its size in bytes, when the lock or the cache knows it.
    pub size: Option<u64>,
    /// Whether the cache has all of it.
    pub cached: bool,
}

/// All artifacts: those with a pin first, in the bundle's order.
pub fn list(options: &BundleOptions) -> anyhow::Result<Vec<Row>> {
    let (locked, store) = (options.locked()?, options.store()?);
    Ok(rows(&locked, &store))
}

fn rows(locked: &LockedBundle, store: &Store) -> Vec<Row> {
    let pinned = locked.artifacts.iter().map(|artifact| {
        let (size, cached) = in_cache(store, artifact);
        Row {
            name: artifact.name.clone(),
            kind: artifact.kind,
            version: artifact.version.clone(),
            only_with: artifact.only_with.clone(),
            pinned: true,
            why: None,
            size,
            cached,
        }
    });
    let unpinned = locked.unpinned.iter().map(|artifact| Row {
        name: artifact.name.clone(),
        kind: artifact.kind,
        version: artifact.version.clone(),
        only_with: artifact.only_with.clone(),
        pinned: false,
        why: Some(artifact.why.clone()),
        size: None,
        cached: false,
    });
    pinned.chain(unpinned).collect()
}

/// Size where known, and whether all is there.
fn in_cache(store: &Store, artifact: &LockedArtifact) -> (Option<u64>, bool) {
    match &artifact.content {
        Content::File(file) => {
            let there = store.size_of(file.sha256);
            (there.or(file.size), there.is_some())
        }
        Content::Images(images) => {
            if let Some(archive) = archive::find(store, images) {
                return (store.size_of(archive), true);
            }
            let Ok(digests) = all_digests(store, artifact) else {
                return (None, false);
            };
            let sizes: Option<Vec<u64>> = digests.iter().map(|d| store.size_of(*d)).collect();
            (sizes.as_ref().map(|s| s.iter().sum()), sizes.is_some())
        }
    }
}

/// What it means that these have no pin, which every cluster needs; nothing when there are none.
pub fn no_cluster<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: Vec<&str> = names.collect();
    (!names.is_empty()).then(|| {
        format!(
            "No cluster can be made of this: every cluster needs {}.\nTo go on, {}.\n",
            names.join(", "),
            how_to_pin(names.iter().copied())
        )
    })
}

/// The rows as a table.
pub fn render_table(rows: &[Row]) -> String {
    let head = [
        "NAME",
        "KIND",
        "VERSION",
        "PINNED",
        "SIZE",
        "CACHED",
        "ONLY WITH",
    ];
    let mut lines = vec![head.map(str::to_owned)];
    for row in rows {
        let yes = |yes| if yes { "yes" } else { "no" }.to_owned();
        lines.push([
            row.name.clone(),
            row.kind.to_string(),
            row.version.clone(),
            yes(row.pinned),
            row.size.map_or_else(|| "?".to_owned(), size),
            yes(row.cached),
            row.only_with.clone().unwrap_or_default(),
        ]);
    }
    let width = |column: usize| lines.iter().map(|l| l[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    let unpinned: Vec<&Row> = rows.iter().filter(|row| !row.pinned).collect();
    if !unpinned.is_empty() {
        text.push_str("\nWithout a pin, so in no image and on no node:\n");
        for row in unpinned {
            let why = row.why.as_deref().unwrap_or_default();
            text.push_str(&format!("  {}: {why}\n", row.name));
        }
        text.push_str("`harrow-build bundle lock --only NAME` pins one.\n");
        let needed = rows.iter().filter(|r| !r.pinned && r.only_with.is_none());
        text.extend(no_cluster(needed.map(|row| row.name.as_str())));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, only_with: Option<&str>, pinned: bool) -> Row {
        Row {
            name: name.to_owned(),
            kind: ArtifactKind::Chart,
            version: "1".to_owned(),
            only_with: only_with.map(str::to_owned),
            pinned,
            why: (!pinned).then(|| "not in the lock".to_owned()),
            size: None,
            cached: false,
        }
    }

    #[test]
    fn what_no_cluster_can_do_without_is_named_all_of_it() {
        let with = [row("a", None, true), row("b", Some("addon"), false)];
        assert!(!render_table(&with).contains("No cluster"));
        let without = [
            row("a", None, false),
            row("b", Some("x"), false),
            row("c", None, false),
        ];
        let text = render_table(&without);
        assert!(text.contains("every cluster needs a, c."), "{text}");
        assert!(text.contains("bundle lock --only a --only c`"), "{text}");
    }
}
