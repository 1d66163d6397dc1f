//! Disks: by path, by serial number or WWN, by pattern of their model.

use glob::Pattern;

use super::{Wrong, made_of, quoted, wrong};

const DISK_HINT: &str = "a whole disk, such as /dev/sda or /dev/disk/by-id/wwn-0x5000c500a1b2c3d4";

/// The path of a whole disk: below `/dev`, not by what is on it, not a partition.
pub fn disk_path(text: &str) -> Result<String, Wrong> {
    let Some(name) = text.strip_prefix("/dev/") else {
        let full = format!("/dev/{text}");
        // A name alone, as lsblk prints it.
        let kinds = ["sd", "nvme", "vd", "xvd", "hd", "mmcblk", "md", "dm-"];
        let name = kinds.iter().any(|kind| text.starts_with(kind)) && !text.contains('/');
        let hint = match name && disk_path(&full).is_ok() {
            true => full,
            false => DISK_HINT.to_owned(),
        };
        return wrong(format!("{} is not a path below /dev", quoted(text)), hint);
    };
    let tricky = |part: &str| part.is_empty() || part == "." || part == "..";
    // What udev leaves as it is in a name (`udev_replace_chars`); others become `\x2f` and the like.
    let plain = made_of(name, 1024, |b| {
        b.is_ascii_alphanumeric() || b"#+-.:=@_/\\".contains(&b)
    });
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
            "as `lsblk -o NAME,SERIAL` shows it",
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

/// A vendor, product or world wide id of multipath.conf(5): an extended regular expression,
/// perhaps with `!` in front, that can stand in double quotes there.
pub fn multipath_pattern(text: &str) -> Result<String, Wrong> {
    let pattern = text.strip_prefix('!').unwrap_or(text);
    let fault = match pattern {
        "" => Some("is empty"),
        p if p.len() > 255 => Some("is longer than 255 characters"),
        p if p.contains('"') => Some("has a double quote in it"),
        p if p.chars().any(char::is_control) => Some("has several lines"),
        _ => None,
    };
    if let Some(fault) = fault {
        return wrong(
            format!("{} {fault}", quoted(text)),
            "a regular expression, such as ^0QEMU_.*",
        );
    }
    if pattern.starts_with(['*', '+', '?']) {
        return wrong(
            format!("{} is a pattern of a shell", quoted(text)),
            format!("a regular expression, such as .{pattern}"),
        );
    }
    match unclosed(pattern) {
        Some(c) => wrong(
            format!("{}: {c:?} has no other half", quoted(text)),
            format!("\\{c} for the character itself"),
        ),
        None => Ok(text.to_owned()),
    }
}

/// A bracket of a regular expression without its other half.
fn unclosed(pattern: &str) -> Option<char> {
    let mut open = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next()?;
            }
            '[' => {
                chars.next_if_eq(&'^');
                // First in its set, ] is itself.
                chars.next_if_eq(&']');
                if !chars.by_ref().any(|c| c == ']') {
                    return Some('[');
                }
            }
            '(' => open.push(c),
            ')' if open.pop().is_none() => return Some(')'),
            _ => {}
        }
    }
    open.pop()
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
            "/dev/sda,/dev/sdb",
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
    fn patterns_of_multipath() {
        for good in [
            ".*",
            "!QEMU",
            "!QEMU HARDDISK",
            "^0QEMU_QEMU_HARDDISK_disk[0-9]+",
            "(a|b)",
            "\\(a",
            "[]]",
            "[^]a]x",
        ] {
            assert_eq!(multipath_pattern(good).as_deref(), Ok(good), "{good}");
        }
        for bad in ["", "!", "a\"b", "*", "!*", "(a", "a)", "[a", "a\nb"] {
            assert!(multipath_pattern(bad).is_err(), "{bad}");
        }
        assert_eq!(disk_path("sda").unwrap_err().hint, "/dev/sda");
        assert_eq!(disk_path("sda1").unwrap_err().hint, DISK_HINT);
    }

    #[test]
    fn patterns() {
        assert!(model_pattern("SAMSUNG*").unwrap().matches("SAMSUNG MZ7"));
        assert!(!model_pattern("SAMSUNG?").unwrap().matches("SAMSUNG"));
        for bad in ["", "[a", "a***b", &"*".repeat(9), &"a".repeat(256)] {
            assert!(model_pattern(bad).is_err(), "{bad}");
        }
    }
}
