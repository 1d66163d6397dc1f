//! The kernel's side: root, mounts, name, settings, modules.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Context as _;

use crate::sys::cmd::Cmd;

use super::super::apply::{KEPT, KEPT_DIR};
use super::super::boot::BootParams;
use super::super::render;
use super::super::state::Role;
use super::{Check, Node};

/// All checks of this group.
pub fn check(node: &Node) -> Vec<Check> {
    let mut checks = vec![check_name(node), check_root(node.params)];
    checks.extend(check_mounts(node));
    checks.extend(
        node.config
            .os
            .sysctls
            .iter()
            .map(|(key, value)| check_sysctl(key, value)),
    );
    checks.extend(check_arguments(node));
    checks.extend(node.config.os.modules.iter().map(|name| check_module(name)));
    checks
}

fn check_name(node: &Node) -> Check {
    let expected = render::hostname(node.config, &node.state.machine_id);
    let actual = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Check::equal("hostname", expected, actual.trim())
}

/// The root is dm-verity with the hash that the boot loader named, and nothing was found broken.
pub(super) fn check_root(params: &BootParams) -> Check {
    let expected = format!(
        "squashfs, read-only, verified with {}",
        params
            .root_hash
            .as_deref()
            .unwrap_or("the root hash of the kernel command line")
    );
    let look = || {
        let mounts = read_mounts()?;
        let root = at(&mounts, "/").context("/ is not mounted")?;
        let table = Cmd::new("dmsetup").args(["table", "root"]).run()?.text();
        let status = Cmd::new("dmsetup").args(["status", "root"]).run()?.text();
        let device = fs::metadata("/dev/mapper/root").context("looking at /dev/mapper/root")?;
        let is_root = root.device == device_number(device.rdev());
        let kind = if is_root {
            verity_of(&table, &status)
        } else {
            "not /dev/mapper/root".to_owned()
        };
        let access = if root.read_only {
            "read-only"
        } else {
            "writable"
        };
        let actual = format!("{}, {access}, {kind}", root.fstype);
        Ok((actual == expected, actual))
    };
    Check::tried("root", &expected, look())
}

/// A file can be put on VAR and comes to its disk.
pub(super) fn check_var() -> Check {
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in("/var/lib/harrow").context("writing")?;
        std::io::Write::write_all(&mut file, b"x").context("writing")?;
        file.as_file().sync_all().context("waiting for the disk")?;
        Ok((true, "yes".to_owned()))
    };
    Check::tried("/var takes files", "yes", write())
}

/// What `dmsetup table` and `dmsetup status` say of a verity device (kernel documentation,
/// admin-guide/device-mapper/verity: the root digest is the tenth word; status V or C).
fn verity_of(table: &str, status: &str) -> String {
    let words: Vec<&str> = table.split_whitespace().collect();
    let verdict = status.split_whitespace().nth(3).unwrap_or_default();
    match (words.get(2), verdict, words.get(11)) {
        (Some(&"verity"), "V", Some(hash)) => format!("verified with {hash}"),
        (Some(&"verity"), "C", _) => {
            "CORRUPTED: the disk is failing or was tampered with".to_owned()
        }
        _ => "not dm-verity".to_owned(),
    }
}

fn check_mounts(node: &Node) -> Vec<Check> {
    let mounts = match read_mounts() {
        Ok(mounts) => mounts,
        Err(error) => {
            return vec![Check::holds(
                "mounts",
                false,
                "readable",
                format!("{error:#}"),
            )];
        }
    };
    let mut checks = Vec::new();
    let etc = at(&mounts, "/etc").map_or("not mounted", |m| m.fstype.as_str());
    checks.push(Check::equal("mount /etc", "overlay", etc));
    if node.state.role != Role::Node {
        checks.push(Check::skipped("mount /var", "this boot is for repair only"));
        return checks;
    }
    let own = node.config.os.persistent_paths.iter().map(String::as_str);
    let kept = KEPT
        .into_iter()
        .chain(own.filter(|path| !path.starts_with("/var/")));
    let mut wanted = vec![(
        "/var".to_owned(),
        node.params.var.as_deref(),
        "/".to_owned(),
    )];
    wanted.extend(kept.map(|path| {
        let below_var = KEPT_DIR.strip_prefix("/var").unwrap_or(KEPT_DIR);
        (
            path.to_owned(),
            node.params.var.as_deref(),
            format!("{below_var}{path}"),
        )
    }));
    wanted.push((
        render::DATA_DIR.to_owned(),
        node.params.data.as_deref(),
        "/".to_owned(),
    ));
    for (target, device, root) in wanted {
        let Some(device) = device else {
            checks.push(Check::skipped(
                format!("mount {target}"),
                "the kernel command line names no partition",
            ));
            continue;
        };
        let expected = format!("{} {root}, writable", device.display());
        let look = || {
            let number = device_number(
                fs::metadata(device)
                    .context("looking at the partition")?
                    .rdev(),
            );
            let mount = at(&mounts, &target).context("not mounted")?;
            let source = if mount.device == number {
                device.display().to_string()
            } else {
                mount.source.clone()
            };
            let access = if mount.read_only {
                "read-only"
            } else {
                "writable"
            };
            let actual = format!("{source} {}, {access}", mount.root);
            Ok((actual == expected, actual))
        };
        checks.push(Check::tried(&format!("mount {target}"), &expected, look()));
    }
    checks
}

/// A line of /proc/self/mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    device: String,
    root: String,
    target: String,
    read_only: bool,
    fstype: String,
    source: String,
}

fn read_mounts() -> anyhow::Result<Vec<Mount>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("reading mountinfo")?;
    Ok(text.lines().filter_map(parse_mount).collect())
}

/// proc_pid_mountinfo(5). A mount is read-only when it or its file system is.
fn parse_mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    let has_ro = |options: &str| options.split(',').any(|o| o == "ro");
    Some(Mount {
        device: (*left.get(2)?).to_owned(),
        root: (*left.get(3)?).to_owned(),
        target: (*left.get(4)?).to_owned(),
        read_only: has_ro(left.get(5)?) || has_ro(right.get(2)?),
        fstype: (*right.first()?).to_owned(),
        source: (*right.get(1)?).to_owned(),
    })
}

/// What is mounted at a path: the last one, as it covers the others.
fn at<'a>(mounts: &'a [Mount], target: &str) -> Option<&'a Mount> {
    mounts.iter().rev().find(|m| m.target == target)
}

fn device_number(rdev: u64) -> String {
    format!("{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev))
}

/// Every kernel argument of the config is on the command line that the kernel was started with.
fn check_arguments(node: &Node) -> Option<Check> {
    let wanted = &node.config.os.kernel_arguments;
    if wanted.is_empty() {
        return None;
    }
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let missing = missing_arguments(wanted, &line);
    let actual = match missing.is_empty() {
        true => "all there".to_owned(),
        false => format!(
            "without {}; a boot from a new boot menu has them",
            missing.join(" ")
        ),
    };
    Some(Check::holds(
        "kernel arguments",
        missing.is_empty(),
        wanted.join(" "),
        actual,
    ))
}

fn missing_arguments<'a>(wanted: &'a [String], line: &str) -> Vec<&'a str> {
    let there: Vec<&str> = line.split_whitespace().collect();
    let missing = wanted.iter().map(String::as_str);
    missing.filter(|word| !there.contains(word)).collect()
}

fn check_sysctl(key: &str, value: &str) -> Check {
    let path = sysctl_path(key);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let actual = match fs::read_to_string(Path::new("/proc/sys").join(path)) {
        Ok(text) => words(&text),
        Err(e) => e.to_string(),
    };
    Check::equal(format!("sysctl {key}"), words(value), actual)
}

/// sysctl.d(5): when the first separator is a slash, dots stay; else they change places.
fn sysctl_path(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(i) if key[i..].starts_with('/') => key.to_owned(),
        _ => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect(),
    }
}

fn check_module(name: &str) -> Check {
    let plain = name.replace('-', "_");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let builtin = Path::new("/lib/modules")
        .join(release.trim())
        .join("modules.builtin");
    let loaded = Path::new("/sys/module").join(&plain).exists()
        || is_builtin(&fs::read_to_string(builtin).unwrap_or_default(), &plain);
    Check::holds(
        format!("module {name}"),
        loaded,
        "loaded",
        if loaded { "loaded" } else { "not loaded" },
    )
}

/// Whether `modules.builtin`, a list of paths, has this module.
fn is_builtin(list: &str, plain: &str) -> bool {
    list.lines().any(|line| {
        let file = line.rsplit('/').next().unwrap_or_default();
        file.strip_suffix(".ko")
            .is_some_and(|name| name.replace('-', "_") == plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_lines() {
        let line =
            "71 29 254:6 /lib/harrow/persist/home /home rw,relatime shared:3 - ext4 /dev/vda6 rw";
        let mount = parse_mount(line).unwrap();
        assert_eq!(mount.target, "/home");
        assert_eq!(mount.root, "/lib/harrow/persist/home");
        assert_eq!(mount.device, "254:6");
        assert!(!mount.read_only);
        let root = parse_mount(
            "29 1 252:0 / / ro,relatime - squashfs /dev/mapper/root ro,errors=continue",
        )
        .unwrap();
        assert!(root.read_only);
        let covered = [
            root.clone(),
            Mount {
                fstype: "ext4".into(),
                ..root
            },
        ];
        assert_eq!(at(&covered, "/").unwrap().fstype, "ext4");
        assert_eq!(at(&covered, "/var"), None);
    }

    #[test]
    fn verity_status() {
        // From a node: `dmsetup table root`, `dmsetup status root`.
        let table = "0 464136 verity 1 254:4 254:4 4096 4096 58017 58018 sha256 9b346993 00ff 1 panic_on_corruption";
        assert_eq!(
            verity_of(table, "0 464136 verity V"),
            "verified with 9b346993"
        );
        assert!(verity_of(table, "0 464136 verity C").contains("CORRUPTED"));
        assert_eq!(
            verity_of("0 464136 linear 254:4 0", "0 464136 linear "),
            "not dm-verity"
        );
    }

    #[test]
    fn sysctl_names() {
        assert_eq!(sysctl_path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(
            sysctl_path("net.ipv4.conf.eth0/100.rp_filter"),
            "net/ipv4/conf/eth0.100/rp_filter"
        );
        assert_eq!(
            sysctl_path("net/ipv4/conf/eth0.100/rp_filter"),
            "net/ipv4/conf/eth0.100/rp_filter"
        );
    }

    #[test]
    fn arguments_on_the_command_line() {
        let wanted = ["iommu=pt".to_owned(), "quiet".to_owned()];
        assert!(missing_arguments(&wanted, "ro quiet iommu=pt\n").is_empty());
        assert_eq!(
            missing_arguments(&wanted, "ro quiet iommu=on\n"),
            ["iommu=pt"]
        );
    }

    #[test]
    fn builtin_modules() {
        let list = "kernel/fs/ext4/ext4.ko\nkernel/crypto/crc32c-generic.ko\n";
        assert!(is_builtin(list, "ext4"));
        assert!(is_builtin(list, "crc32c_generic"));
        assert!(!is_builtin(list, "ext"));
    }
}
