//! Reads a tar one entry at a time and passes entries on unchanged.
//!
//! In: a tar stream. Out: its entries as [`Item`]s, whose extension records (long names,
//! extended attributes) travel with them byte by byte, which the `tar` crate's own way of
//! copying an entry does not do.

use std::io::{self, Read, Write};

use anyhow::Context as _;
use tar::{EntryType, Header};

/// One entry of a tar with the extension records that belong to it.
pub struct Item<'a, R: Read> {
    /// Path without slashes around; empty for the top.
    pub path: String,
    header: Header,
    records: Vec<(Header, Vec<u8>)>,
    entry: tar::Entry<'a, R>,
}

impl<R: Read> Item<'_, R> {
    /// What it is.
    pub fn kind(&self) -> EntryType {
        self.header.entry_type()
    }

    /// The path that it is a hard link to, without slashes around.
    pub fn hard_link(&self) -> anyhow::Result<Option<String>> {
        if self.kind() != EntryType::Link {
            return Ok(None);
        }
        let target = name_of(&self.header, &self.records, Name::Link)?;
        Ok(Some(plain_path(&target)))
    }

    /// Writes the entry as it was read.
    pub fn copy_to<W: Write>(mut self, out: &mut tar::Builder<W>) -> anyhow::Result<()> {
        for (header, bytes) in &self.records {
            out.append(header, bytes.as_slice())
                .with_context(|| format!("copying /{}", self.path))?;
        }
        out.append(&self.header, &mut self.entry)
            .with_context(|| format!("copying /{}", self.path))
    }
}

impl<R: Read> Read for Item<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.entry.read(buffer)
    }
}

/// Calls `each` for every entry of the tar, in order.
pub fn for_each<R: Read>(
    input: R,
    mut each: impl FnMut(Item<'_, R>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut archive = tar::Archive::new(input);
    let mut records: Vec<(Header, Vec<u8>)> = Vec::new();
    for entry in archive.entries().context("reading a tar")?.raw(true) {
        let mut entry = entry.context("reading a tar")?;
        let header = entry.header().clone();
        if is_record(header.entry_type()) {
            let mut bytes = Vec::new();
            entry
                .read_to_end(&mut bytes)
                .context("reading a tar's extension record")?;
            records.push((header, bytes));
            continue;
        }
        let path = plain_path(&name_of(&header, &records, Name::Path)?);
        each(Item {
            path,
            header,
            records: std::mem::take(&mut records),
            entry,
        })?;
    }
    Ok(())
}

fn is_record(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::XHeader
            | EntryType::XGlobalHeader
            | EntryType::GNULongName
            | EntryType::GNULongLink
    )
}

#[derive(Clone, Copy)]
enum Name {
    Path,
    Link,
}

/// An entry's name or link target: from its extension records, else from its header.
fn name_of(header: &Header, records: &[(Header, Vec<u8>)], which: Name) -> anyhow::Result<String> {
    let (key, gnu) = match which {
        Name::Path => ("path", EntryType::GNULongName),
        Name::Link => ("linkpath", EntryType::GNULongLink),
    };
    let mut found = None;
    for (record, bytes) in records {
        if record.entry_type() == gnu {
            found = Some(bytes.strip_suffix(&[0]).unwrap_or(bytes).to_vec());
        } else if record.entry_type() == EntryType::XHeader {
            for extension in tar::PaxExtensions::new(bytes) {
                let extension = extension.context("reading a tar's extension record")?;
                if extension.key_bytes() == key.as_bytes() {
                    found = Some(extension.value_bytes().to_vec());
                }
            }
        }
    }
    let bytes = match (found, which) {
        (Some(bytes), _) => bytes,
        (None, Name::Path) => header.path_bytes().into_owned(),
        (None, Name::Link) => header.link_name_bytes().unwrap_or_default().into_owned(),
    };
    String::from_utf8(bytes).context("a name in a tar is not UTF-8")
}

/// `./usr/lib/` as `usr/lib`; the top as an empty string.
fn plain_path(path: &str) -> String {
    let path = path.trim_start_matches("./").trim_matches('/');
    if path == "." {
        String::new()
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_plain() {
        for (path, plain) in [
            ("./", ""),
            (".", ""),
            ("./usr/lib/", "usr/lib"),
            ("/etc", "etc"),
            ("./a.", "a."),
            ("./.x", ".x"),
        ] {
            assert_eq!(plain_path(path), plain, "{path}");
        }
    }

    #[test]
    fn extension_records_travel_with_their_entry() {
        let long = format!("{}/{}", "d".repeat(90), "f".repeat(90));
        let mut input = tar::Builder::new(Vec::new());
        let mut header = Header::new_ustar();
        header.set_size(3);
        header.set_mode(0o755);
        let mut empty = Header::new_gnu();
        empty.set_size(0);
        input
            .append_pax_extensions([("SCHILY.xattr.security.capability", &b"\x01\0\0\x02"[..])])
            .unwrap();
        input
            .append_data(&mut header.clone(), "ping", &b"abc"[..])
            .unwrap();
        input.append_data(&mut empty, &long, &b""[..]).unwrap();
        input.append_data(&mut header, "drop", &b"xyz"[..]).unwrap();
        let input = input.into_inner().unwrap();

        let mut out = tar::Builder::new(Vec::new());
        let mut paths = Vec::new();
        for_each(input.as_slice(), |item| {
            paths.push(item.path.clone());
            if item.path == "drop" {
                Ok(())
            } else {
                item.copy_to(&mut out)
            }
        })
        .unwrap();
        assert_eq!(paths, ["ping", &long, "drop"]);
        let out = out.into_inner().unwrap();
        // Byte by byte what was there before the dropped entry (a header and a block).
        assert_eq!(out[..out.len() - 1024], input[..input.len() - 2048]);
        let mut archive = tar::Archive::new(out.as_slice());
        let mut first = archive.entries().unwrap().next().unwrap().unwrap();
        let attribute = first
            .pax_extensions()
            .unwrap()
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(attribute.value_bytes(), b"\x01\0\0\x02");
    }
}
