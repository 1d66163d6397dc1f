//! Reading an ISO 9660 file system: the seed that a cloud gives a machine, the medium's own ISO.
//!
//! In: something to read and seek in. Out: the label, small files by path, and where the bytes
//! of large ones are. Names are those of Rock
//! Ridge, else of Joliet, else plain; letters' case and `-` against `_` make no difference, since
//! plain names have neither. Nothing is believed: every size and offset has a limit.
//!
//! Source: ECMA-119 (3rd edition) sections 8 and 9; IEEE P1282 (Rock Ridge) 4.1.4; IEEE P1281
//! (SUSP) 5.1, entries that continue elsewhere; Joliet Specification, 1995. All numbers are read in their little-endian form.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use anyhow::{Context as _, bail, ensure};

/// Size of a sector; volume descriptors begin in sector 16.
const SECTOR: u64 = 2048;
/// Descriptors that are looked at.
const DESCRIPTORS: u64 = 32;
/// The largest folder that is read.
const FOLDER_LIMIT: u32 = 256 << 10;
/// How often the entries of a record go on elsewhere; a name of 255 letters needs it once.
const CONTINUATIONS: usize = 4;

/// How names of a tree are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// Plain, or with Rock Ridge beside them.
    Plain,
    /// UCS-2, big-endian.
    Joliet,
}

/// A file or folder: where its bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    sector: u32,
    size: u32,
    folder: bool,
}

/// An ISO 9660 file system.
#[derive(Debug)]
pub struct Iso<R> {
    disk: R,
    label: String,
    trees: Vec<(Names, Extent)>,
}

impl<R: Read + Seek> Iso<R> {
    /// Opens what is there; `None` when it is no ISO 9660.
    pub fn open(mut disk: R) -> anyhow::Result<Option<Self>> {
        let mut label = None;
        let mut trees = Vec::new();
        for number in 0..DESCRIPTORS {
            let mut descriptor = [0; SECTOR as usize];
            disk.seek(SeekFrom::Start((16 + number) * SECTOR))?;
            if disk.read_exact(&mut descriptor).is_err() || &descriptor[1..6] != b"CD001" {
                break;
            }
            let joliet = matches!(&descriptor[88..91], b"%/@" | b"%/C" | b"%/E");
            let names = match (descriptor[0], joliet) {
                (255, _) => break,
                (1, _) => Names::Plain,
                (2, true) => Names::Joliet,
                _ => continue,
            };
            ensure!(
                descriptor[128..130] == [0, 8],
                "an ISO 9660 file system with blocks of another size than {SECTOR}"
            );
            if names == Names::Plain && label.is_none() {
                label = Some(
                    String::from_utf8_lossy(&descriptor[40..72])
                        .trim_end()
                        .to_owned(),
                );
            }
            if let Some(record) = Record::first(&descriptor[156..190]) {
                trees.push((names, record.extent()));
            }
        }
        Ok(label.map(|label| Self { disk, label, trees }))
    }

    /// What is read from.
    pub fn disk_mut(&mut self) -> &mut R {
        &mut self.disk
    }

    /// The volume's label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// A file of at most `limit` bytes; `None` when there is no such file.
    pub fn read(&mut self, path: &str, limit: u64) -> anyhow::Result<Option<Vec<u8>>> {
        for (names, root) in self.trees.clone() {
            let context = || format!("reading {path} of the ISO 9660 file system");
            let Some(extents) = self.find(path, names, root).with_context(context)? else {
                continue;
            };
            let size: u64 = extents.iter().map(|extent| u64::from(extent.size)).sum();
            ensure!(size <= limit, "{path} has {size} bytes, more than {limit}");
            let mut bytes = Vec::new();
            for extent in extents {
                bytes.append(&mut self.bytes(extent).with_context(context)?);
            }
            return Ok(Some(bytes));
        }
        Ok(None)
    }

    /// Where the bytes of a file are, in order; `None` when there is no such file.
    pub fn locate(&mut self, path: &str) -> anyhow::Result<Option<Vec<Range<u64>>>> {
        for (names, root) in self.trees.clone() {
            let found = self.find(path, names, root);
            let context = || format!("looking for {path} on the ISO 9660 file system");
            if let Some(extents) = found.with_context(context)? {
                let range = |extent: &Extent| {
                    let start = u64::from(extent.sector) * SECTOR;
                    start..start + u64::from(extent.size)
                };
                return Ok(Some(extents.iter().map(range).collect()));
            }
        }
        Ok(None)
    }

    /// The extents of a file.
    fn find(
        &mut self,
        path: &str,
        names: Names,
        root: Extent,
    ) -> anyhow::Result<Option<Vec<Extent>>> {
        let mut file = vec![root];
        for part in path.split('/') {
            let [here] = file[..] else {
                return Ok(None);
            };
            if !here.folder {
                return Ok(None);
            }
            ensure!(here.size <= FOLDER_LIMIT, "a folder of {} bytes", here.size);
            let folder = self.bytes(here)?;
            let wanted = normal(part);
            let mut found = Vec::new();
            let mut more = false;
            // Records never cross a sector's end.
            for sector in folder.chunks(SECTOR as usize) {
                let mut rest = sector;
                while let Some(record) = Record::first(rest) {
                    rest = &rest[record.0.len()..];
                    if self.is_named(&record, names, &wanted) {
                        if !more {
                            found.clear();
                        }
                        // Bit 7: more extents follow, as for files beyond 4 GiB.
                        more = record.0[25] & 0x80 != 0;
                        found.push(record.extent());
                    }
                }
            }
            ensure!(!more, "the last part of {part} is missing");
            if found.is_empty() {
                return Ok(None);
            }
            file = found;
        }
        Ok(Some(file).filter(|file| file.iter().all(|extent| !extent.folder)))
    }

    /// Whether a record has a name, in either of its spellings.
    fn is_named(&mut self, record: &Record, names: Names, wanted: &str) -> bool {
        let Some(name) = record.name(names) else {
            return false; // "." and ".."
        };
        normal(&name) == wanted
            || (names == Names::Plain && normal(&self.long_name(record.system())) == wanted)
    }

    /// The alternate name of Rock Ridge, wherever its parts are; empty without one.
    fn long_name(&mut self, system: &[u8]) -> String {
        let mut name = Vec::new();
        let mut next = read_entries(system, &mut name);
        for _ in 0..CONTINUATIONS {
            let Some((sector, offset, size)) = next else {
                break;
            };
            // It lies within a sector; what does not is damaged and has no more names.
            let extent = Extent {
                sector,
                size: SECTOR as u32,
                folder: false,
            };
            let area = self.bytes(extent).unwrap_or_default();
            let area = area.get(offset..).unwrap_or_default();
            next = read_entries(&area[..size.min(area.len())], &mut name);
        }
        String::from_utf8_lossy(&name).into_owned()
    }

    fn bytes(&mut self, extent: Extent) -> anyhow::Result<Vec<u8>> {
        self.disk
            .seek(SeekFrom::Start(u64::from(extent.sector) * SECTOR))?;
        let mut bytes = Vec::new();
        let size = u64::from(extent.size);
        let count = (&mut self.disk).take(size).read_to_end(&mut bytes)?;
        if count as u64 != size {
            bail!("the disk ends in the middle of a file");
        }
        Ok(bytes)
    }
}

/// A directory record (ECMA-119, 9.1): its whole bytes.
struct Record<'a>(&'a [u8]);

impl<'a> Record<'a> {
    /// The record at the beginning of `bytes`, `None` at the end of a sector.
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let length = usize::from(*bytes.first()?);
        let record = bytes.get(..length).filter(|record| record.len() >= 34)?;
        (33 + usize::from(record[32]) <= length).then_some(Self(record))
    }

    fn extent(&self) -> Extent {
        let number = |at: usize| {
            let bytes = self.0.get(at..at + 4).and_then(|b| b.first_chunk::<4>());
            bytes.map_or(0, |b| u32::from_le_bytes(*b))
        };
        Extent {
            sector: number(2),
            size: number(10),
            folder: self.0[25] & 2 != 0,
        }
    }

    /// The name as it is written; `None` for the folder itself and the one above it.
    fn name(&self, names: Names) -> Option<String> {
        let name = &self.0[33..33 + usize::from(self.0[32])];
        if name == [0] || name == [1] {
            return None;
        }
        let units = |pair: &[u8]| u16::from_be_bytes([pair[0], pair[1]]);
        Some(match names {
            Names::Joliet => {
                let units: Vec<u16> = name.chunks_exact(2).map(units).collect();
                String::from_utf16_lossy(&units)
            }
            Names::Plain => String::from_utf8_lossy(name).into_owned(),
        })
    }

    /// What systems such as Rock Ridge say of it: after the name, filled up to an even length.
    fn system(&self) -> &'a [u8] {
        let name = usize::from(self.0[32]);
        let end = 33 + name + usize::from(name.is_multiple_of(2));
        self.0.get(end..).unwrap_or_default()
    }
}

/// Adds the parts of the alternate name (`NM`) to `name`; where the entries go on (`CE`: sector,
/// offset in it, size).
fn read_entries(mut system: &[u8], name: &mut Vec<u8>) -> Option<(u32, usize, usize)> {
    let mut next = None;
    while let [a, b, length, _, ..] = *system {
        let Some(entry) = system.get(..usize::from(length)).filter(|e| e.len() >= 4) else {
            break;
        };
        match [a, b] {
            [b'N', b'M'] => name.extend_from_slice(entry.get(5..).unwrap_or_default()),
            [b'C', b'E'] => {
                let number = |at: usize| {
                    let bytes = entry.get(at..at + 4).and_then(|b| b.first_chunk::<4>());
                    bytes.map(|b| u32::from_le_bytes(*b))
                };
                let place = (number(4), number(12), number(20));
                if let (Some(sector), Some(offset), Some(size)) = place {
                    next = Some((sector, offset as usize, size as usize));
                }
            }
            _ => {}
        }
        system = &system[entry.len()..];
    }
    next
}

/// A name without its version (`;1`), in one spelling.
fn normal(name: &str) -> String {
    let name = name.split(';').next().unwrap_or_default();
    name.trim_end_matches('.')
        .to_ascii_lowercase()
        .replace('-', "_")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::disk::window::Window;
    use crate::sys::cmd::Cmd;

    /// A name that does not fit into one record.
    fn long_file_name() -> String {
        "long-".repeat(49) + "name"
    }

    /// An image made by xorriso in the manner of mkisofs.
    fn image(options: &[&str]) -> tempfile::NamedTempFile {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("openstack/latest")).unwrap();
        std::fs::write(dir.path().join("user-data"), "token: x\n").unwrap();
        std::fs::write(
            dir.path().join("openstack/latest/user_data"),
            vec![b'y'; 5000],
        )
        .unwrap();
        let long = dir.path().join(long_file_name());
        std::fs::write(long, "token: y\n").unwrap();
        for number in 0..100 {
            std::fs::write(dir.path().join(format!("file-{number}")), "").unwrap();
        }
        let image = tempfile::NamedTempFile::new().unwrap();
        Cmd::new("xorriso")
            .args(["-as", "mkisofs", "-quiet", "-V", "cidata"])
            .args(options)
            .arg("-o")
            .arg(image.path().to_str().unwrap())
            .arg(dir.path().to_str().unwrap())
            .run()
            .unwrap();
        image
    }

    fn open(file: &std::fs::File) -> Option<Iso<Window<'_>>> {
        Iso::open(Window::new(file, 0, file.metadata().unwrap().len())).unwrap()
    }

    #[test]
    fn files_are_found_by_all_kinds_of_names() {
        for options in [&["-r", "-J"][..], &["-r"], &["-J"], &["-iso-level", "3"]] {
            let image = image(options);
            let mut iso = open(image.as_file()).unwrap();
            assert!(
                iso.label().eq_ignore_ascii_case("cidata"),
                "{}",
                iso.label()
            );
            let mut read = |path: &str| iso.read(path, 5000).unwrap();
            assert_eq!(read("user-data").unwrap(), b"token: x\n", "{options:?}");
            assert_eq!(read("openstack/latest/user_data").unwrap().len(), 5000);
            for missing in [
                "user",
                "openstack",
                "user-data/x",
                "openstack/x/user_data",
                "",
                ".",
            ] {
                assert_eq!(read(missing), None, "{missing}");
            }
            assert!(iso.read("openstack/latest/user_data", 4999).is_err());
        }
    }

    #[test]
    fn names_that_go_on_elsewhere_are_found() {
        let image = image(&["-r"]);
        let mut iso = open(image.as_file()).unwrap();
        let long = long_file_name();
        assert_eq!(iso.read(&long, 100).unwrap().unwrap(), b"token: y\n");
        assert_eq!(iso.read(&long[..240], 100).unwrap(), None);
        // One that goes on in itself, or nowhere, comes to an end.
        let entry = |sector: u32, offset: u32| {
            let mut entry = vec![b'C', b'E', 28, 1];
            for number in [sector, offset, 28] {
                entry.extend(number.to_le_bytes());
                entry.extend(number.to_be_bytes());
            }
            entry
        };
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&entry(0, 0), 0).unwrap();
        file.set_len(SECTOR).unwrap();
        let mut iso = Iso {
            disk: Window::new(&file, 0, SECTOR),
            label: String::new(),
            trees: Vec::new(),
        };
        for (sector, offset) in [(0, 0), (0, 2040), (0, u32::MAX), (u32::MAX, 0)] {
            assert_eq!(iso.long_name(&entry(sector, offset)), "");
        }
    }

    #[test]
    fn damaged_images_are_errors_or_nothing() {
        let image = image(&["-r", "-J"]);
        let good = std::fs::read(image.path()).unwrap();
        let end = good.iter().rposition(|b| *b != 0).unwrap();
        let file = image.as_file();
        let put = |at: usize, byte: u8| file.write_all_at(&[byte], at as u64).unwrap();
        // One byte after the other, where the tables are and a little beyond.
        for at in (16 * 2048..end.min(32 * 2048)).filter(|at| good[*at] != 0) {
            put(at, good[at] ^ 0xff);
            if let Ok(Some(mut iso)) = Iso::open(Window::new(file, 0, good.len() as u64)) {
                let _either = iso.read("openstack/latest/user_data", 1 << 20);
                let _either = iso.read("user-data", 1 << 20);
            }
            put(at, good[at]);
        }
        for cut in [0, 1, 16 * 2048, 17 * 2048 - 1, 18 * 2048] {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(&good[..cut], 0).unwrap();
            if let Some(mut iso) = open(&file) {
                assert!(iso.read("user-data", 1 << 20).is_err(), "{cut}");
            }
        }
    }
}
