//! Disks: by path, by serial number or WWN, by pattern of their model.

use glob::Pattern;

use super::{Wrong, made_of, quoted, wrong};

const DISK_HINT: &str = "a whole disk, such as /dev/sda or /dev/disk/by-id/wwn-0x5000c500a1b2c3d4";

/// The path of a whole disk: below `/dev`, not by what is on it, not a partition.
pub fn disk_path(text: &str) -> Result<String, Wrong> {
    let Some(name) = text.strip_prefix("/dev/") else {
        return wrong(
            format!("{} is not a path below /dev", quoted(text)),
            DISK_HINT,
        );
    };
    let tricky = |part: &str| part.is_empty() || part == "." || part == "..";
    let plain = made_of(name, 1024, |b| b.is_ascii_graphic());
    if !plain || name.split('/').any(tricky) {
        return wrong(
            format!("{} is not the path of a device", quoted(text)),
            DISK_HINT,
        );
    }
    for content in ["uuid", "label", "partuuid", "partlabel"] {
        if name.starts_with(&format!("disk/by-{content}/")) {
            return wrong(
                format!(
                    "{} names what is on a disk, and that is going to be erased",
                    quoted(text)
                ),
                "by-id and by-path name the disk itself",
            );
        }
    }
    if is_partition(name) {
        return wrong(format!("{} is a partition", quoted(text)), DISK_HINT);
    }
    Ok(text.to_owned())
}

/// Whether a name below `/dev` is that of a partition, as the kernel and udev make them.
fn is_partition(name: &str) -> bool {
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let ends = |separator: &str| {
        name.rsplit_once(separator)
            .filter(|(_, number)| digits(number))
            .map(|(disk, _)| disk)
    };
    if name.starts_with("disk/") {
        return ends("-part").is_some();
    }
    let numbered = ["nvme", "mmcblk", "loop", "nbd"];
    if numbered.iter().any(|kind| name.starts_with(kind)) {
        let disk = ends("p").unwrap_or_default();
        return disk.ends_with(|c: char| c.is_ascii_digit());
    }
    let lettered = ["sd", "vd", "xvd", "hd"];
    lettered
        .iter()
        .filter_map(|kind| name.strip_prefix(kind))
        .any(|rest| {
            let number = rest.trim_start_matches(|c: char| c.is_ascii_lowercase());
            number.len() < rest.len() && digits(number)
        })
}

/// A serial number as the disk tells it: printable, without blanks at the ends.
pub fn disk_serial(text: &str) -> Result<String, Wrong> {
    let good = made_of(text, 255, |b| b.is_ascii_graphic() || b == b' ');
    if !good || text.trim() != text {
        return wrong(
            format!("{} is not a serial number", quoted(text)),
            "as `harrow disks` or `lsblk -o NAME,SERIAL` shows it",
        );
    }
    Ok(text.to_owned())
}

/// A WWN in one spelling, the kernel's: `naa.…`, `eui.…`, `uuid.…`, `nvme.…` or `t10.…`. Hex
/// digits alone, with `0x` or `wwn-0x` before them as udev writes it, are NAA numbers.
pub fn disk_wwn(text: &str) -> Result<String, Wrong> {
    let lower = text.to_ascii_lowercase();
    let number = lower.strip_prefix("wwn-").unwrap_or(&lower);
    let (kind, number) = match number.split_once('.') {
        Some((kind, number)) => (kind, number),
        None => ("naa", number.strip_prefix("0x").unwrap_or(number)),
    };
    let hex = |limits: &[usize]| {
        limits.contains(&number.len()) && number.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let good = match kind {
        "naa" | "eui" => hex(&[16, 32]),
        "uuid" => uuid::Uuid::parse_str(number).is_ok(),
        "nvme" => made_of(number, 255, |b| b.is_ascii_hexdigit() || b == b'-'),
        // As the vendor wrote it, so the case stays.
        "t10" => return disk_serial(text),
        _ => false,
    };
    if !good {
        return wrong(
            format!("{} is not a WWN", quoted(text)),
            "such as 0x5000c500a1b2c3d4 or eui.0025388b710116a1",
        );
    }
    Ok(format!("{kind}.{number}"))
}

/// A pattern for a disk's model: `*`, `?` and `[abc]` as in a shell.
pub fn model_pattern(text: &str) -> Result<Pattern, Wrong> {
    const HINT: &str = "such as SAMSUNG*";
    if text.is_empty() || text.len() > 255 || text.matches('*').count() > 8 {
        return wrong("empty, too long, or with more than eight *", HINT);
    }
    Pattern::new(text).or_else(|e| wrong(format!("{}: {}", quoted(text), e.msg), HINT))
}

/// What multipath.conf(5) compares with a vendor, a product or a WWID: a POSIX extended regular
/// expression, with `!` in front for all others.
pub fn multipath_pattern(text: &str) -> Result<String, Wrong> {
    const HINT: &str = "a regular expression without quotes, such as DELL or ^36001405.*";
    let pattern = text.strip_prefix('!').unwrap_or(text);
    let good = made_of(pattern, 255, |b| (b' '..=b'~').contains(&b) && b != b'"');
    if !good || pattern.trim() != pattern {
        return wrong(
            format!("{} can't stand in multipath.conf", quoted(text)),
            HINT,
        );
    }
    if pattern.starts_with(['*', '+', '?']) {
        return wrong(
            format!(
                "{} repeats nothing: {:?} in front",
                quoted(text),
                &pattern[..1]
            ),
            "in a regular expression, .* stands for any text",
        );
    }
    if !is_balanced(pattern) {
        return wrong(
            format!("{} has a bracket without its other half", quoted(text)),
            HINT,
        );
    }
    Ok(text.to_owned())
}

/// Whether round and square brackets of a regular expression come in pairs.
fn is_balanced(pattern: &str) -> bool {
    let (mut open, mut chars) = (0u32, pattern.chars().peekable());
    while let Some(char) = chars.next() {
        match char {
            '\\' if chars.next().is_none() => return false,
            '(' => open += 1,
            ')' if open == 0 => return false,
            ')' => open -= 1,
            '[' => {
                // A `]` that comes first, also after `^`, is one of the set.
                chars.next_if_eq(&'^');
                chars.next_if_eq(&']');
                if !chars.any(|c| c == ']') {
                    return false;
                }
            }
            _ => {}
        }
    }
    open == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_by_path() {
        for good in [
            "/dev/sda",
            "/dev/vdb",
            "/dev/nvme0n1",
            "/dev/mmcblk0",
            "/dev/sdaa",
            "/dev/loop7",
            "/dev/md127",
            "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4",
            "/dev/disk/by-path/pci-0000:00:1f.2-ata-1",
            "/dev/mapper/mpatha",
            "/dev/disk/by-id/ata-X-part",
            "/dev/dm-0",
        ] {
            assert!(disk_path(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "sda",
            "/dev",
            "/dev/",
            "/dev/../etc/passwd",
            "/dev/./sda",
            "/dev//sda",
            "/etc/x",
            "/dev/sd a",
            "/dev/sda1",
            "/dev/vdb12",
            "/dev/nvme0n1p2",
            "/dev/mmcblk0p1",
            "/dev/loop7p1",
            "/dev/disk/by-id/ata-X-part1",
            "/dev/disk/by-uuid/x",
            "/dev/disk/by-label/x",
            "/dev/disk/by-partuuid/x",
        ] {
            assert!(disk_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn disks_by_name() {
        for good in ["S3Z2NB0K", "QM00001", "a b", "_x-1"] {
            assert!(disk_serial(good).is_ok(), "{good}");
        }
        for bad in ["", " a", "a ", "a\n", "ä"] {
            assert!(disk_serial(bad).is_err(), "{bad}");
        }
        for (text, same) in [
            ("0x5000C500A1B2C3D4", "naa.5000c500a1b2c3d4"),
            ("5000c500a1b2c3d4", "naa.5000c500a1b2c3d4"),
            ("wwn-0x5000c500a1b2c3d4", "naa.5000c500a1b2c3d4"),
            ("naa.5000c500a1b2c3d4", "naa.5000c500a1b2c3d4"),
            ("eui.0025388b710116a1", "eui.0025388b710116a1"),
            ("t10.ATA     QEMU", "t10.ATA     QEMU"),
            ("nvme.1b36-31-51-1", "nvme.1b36-31-51-1"),
        ] {
            assert_eq!(disk_wwn(text), Ok(same.to_owned()));
        }
        for bad in [
            "",
            "0x",
            "5000c500a1b2c3d",
            "0x5000c500a1b2c3dg",
            "what.1",
            "uuid.1",
            "naa.",
            "t10.\n",
        ] {
            assert!(disk_wwn(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns() {
        assert!(model_pattern("SAMSUNG*").unwrap().matches("SAMSUNG MZ7"));
        assert!(!model_pattern("SAMSUNG?").unwrap().matches("SAMSUNG"));
        for bad in ["", "[a", "a***b", &"*".repeat(9), &"a".repeat(256)] {
            assert!(model_pattern(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_of_multipath() {
        for good in [
            "DELL",
            "!QEMU",
            ".*",
            "^36001405[0-9a-f]+",
            "(IBM|HP) .*",
            "a[]^]b",
            r"\(",
        ] {
            assert_eq!(multipath_pattern(good).unwrap(), good);
        }
        for bad in [
            "", "!", "*", "a\"b", "a\nb", "(a", "a)", "[a", " a", "\\", "[]",
        ] {
            assert!(multipath_pattern(bad).is_err(), "{bad:?}");
        }
    }
}
