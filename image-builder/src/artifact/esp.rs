//! The FAT partition of the media, from which UEFI firmware starts.
//!
//! In: files as bytes. Out: the partition's bytes. It has room to spare and a name that a
//! person who plugs the stick into a computer understands, because `harrow.yaml` may be copied
//! into its root.

use std::io::{Cursor, Write as _};

use anyhow::Context as _;

/// Size of the partition. 16 MiB with clusters of 2 KiB make it FAT16, which every firmware
/// reads; the El Torito catalog, which counts 512-byte sectors in 16 bits, ends at 32 MiB.
pub const SIZE: usize = 16 << 20;

/// Name of the file system.
const LABEL: &[u8; 11] = b"HARROW-CFG ";

/// Makes the partition. Paths have `/` between their parts; folders are made as needed.
pub fn build(files: &[(&str, &[u8])], volume_id: u32) -> anyhow::Result<Vec<u8>> {
    let mut image = vec![0; SIZE];
    let options = fatfs::FormatVolumeOptions::new()
        .fat_type(fatfs::FatType::Fat16)
        .bytes_per_cluster(2048)
        .volume_label(*LABEL)
        .volume_id(volume_id);
    fatfs::format_volume(Cursor::new(&mut image), options)
        .context("formatting the FAT partition")?;
    {
        let options = fatfs::FsOptions::new().time_provider(&FixedTime);
        let fs = fatfs::FileSystem::new(Cursor::new(&mut image), options)
            .context("opening the FAT partition")?;
        let root = fs.root_dir();
        for (path, bytes) in files {
            for (end, _) in path.match_indices('/') {
                root.create_dir(&path[..end])
                    .with_context(|| format!("creating {path} on the FAT partition"))?;
            }
            root.create_file(path)
                .and_then(|mut file| {
                    file.truncate()?;
                    file.write_all(bytes)
                })
                .with_context(|| {
                    format!(
                        "writing {path} to the FAT partition ({} bytes)",
                        bytes.len()
                    )
                })?;
        }
    }
    harrow::disk::fat_dots::mend(&mut Cursor::new(&mut image))?;
    Ok(image)
}

/// Every file has the same date, so that equal files make equal partitions.
#[derive(Debug)]
struct FixedTime;

impl fatfs::TimeProvider for FixedTime {
    fn get_current_date(&self) -> fatfs::Date {
        fatfs::Date {
            year: 2000,
            month: 1,
            day: 1,
        }
    }

    fn get_current_date_time(&self) -> fatfs::DateTime {
        fatfs::DateTime {
            date: self.get_current_date(),
            time: fatfs::Time {
                hour: 0,
                min: 0,
                sec: 0,
                millis: 0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn files_come_back_and_there_is_room_for_a_config() {
        let big = vec![7; 3 << 20];
        let files: &[(&str, &[u8])] = &[
            ("EFI/BOOT/BOOTX64.EFI", &big),
            ("EFI/BOOT/grubx64.efi", b"g"),
            ("README.TXT", b"r"),
        ];
        let image = build(files, 1).unwrap();
        assert_eq!(image, build(files, 1).unwrap());
        let fs = fatfs::FileSystem::new(Cursor::new(image), fatfs::FsOptions::new()).unwrap();
        assert_eq!(fs.fat_type(), fatfs::FatType::Fat16);
        assert_eq!(fs.volume_label(), "HARROW-CFG");
        for (path, bytes) in files {
            let mut read = Vec::new();
            fs.root_dir()
                .open_file(path)
                .unwrap()
                .read_to_end(&mut read)
                .unwrap();
            assert_eq!(&read, bytes, "{path}");
        }
        let stats = fs.stats().unwrap();
        assert!(u64::from(stats.free_clusters()) * u64::from(stats.cluster_size()) > 4 << 20);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let big = vec![0; SIZE];
        let error = build(&[("EFI/x", &big)], 1).unwrap_err();
        assert!(format!("{error:#}").contains("writing EFI/x"), "{error:#}");
    }
}
