//! Takes a change up on the running node: files first, then who reads them.
//!
//! In: the files before and after. Out: the files on the node, and services that know of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::super::accounts::Accounts;
use super::super::apply::{self, IMAGE};
use super::super::files::{self, Content, Names, NodeFile};
use super::super::network;
use super::{Service, changed};
use crate::facts::{self, Roots};
use crate::sys::cmd::Cmd;

/// Writes what differs and tells the services. Every step is tried; the first error is told.
pub fn take_up(
    before: &[NodeFile],
    after: &[NodeFile],
    accounts: &Accounts,
    services: &[Service],
) -> anyhow::Result<()> {
    let mut outcome = write(before, after, accounts);
    for service in services {
        let told = tell(*service, before, after);
        outcome = outcome.and(told.with_context(|| format!("telling {service:?}")));
    }
    outcome
}

fn write(before: &[NodeFile], after: &[NodeFile], accounts: &Accounts) -> anyhow::Result<()> {
    let top = Path::new("/");
    let names = apply::names_of(after, accounts);
    let mut outcome = Ok(());
    for path in changed(before, after) {
        let file = after.iter().find(|file| file.path == path);
        let done = match file {
            Some(file) => files::write(top, file, &names),
            None => restore(&path, &names),
        };
        outcome = outcome.and(done);
    }
    outcome
}

/// What the image has at a path comes back when the config has no say in it any more.
fn restore(path: &str, names: &Names) -> anyhow::Result<()> {
    let doing = || format!("restoring {path}");
    let image = files::under(Path::new(IMAGE), path);
    match fs::symlink_metadata(&image) {
        Ok(meta) if meta.is_file() => {
            use std::os::unix::fs::MetadataExt as _;
            let content = Content::File {
                bytes: fs::read(&image).with_context(doing)?,
                mode: meta.mode() & 0o7777,
                owner: (meta.uid().to_string(), meta.gid().to_string()),
            };
            let path = path.to_owned();
            files::write(Path::new("/"), &NodeFile { path, content }, names)
        }
        Ok(meta) if meta.is_symlink() => {
            let target = fs::read_link(&image).with_context(doing)?;
            let file = NodeFile::link(path, &target.to_string_lossy());
            files::write(Path::new("/"), &file, names)
        }
        Ok(_) => Ok(()),
        Err(_) => match fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).with_context(doing),
            _ => Ok(()),
        },
    }
}

fn tell(service: Service, before: &[NodeFile], after: &[NodeFile]) -> anyhow::Result<()> {
    let systemctl = |verb: &str, unit: &str| Cmd::new("systemctl").args([verb, unit]).run();
    match service {
        Service::Udev => Cmd::new("udevadm").args(["control", "--reload"]).run(),
        Service::Network => return network(before, after),
        Service::Dns => systemctl("restart", "systemd-resolved.service"),
        Service::Time => systemctl("restart", "systemd-timesyncd.service"),
        Service::Sysctl => Cmd::new("/usr/lib/systemd/systemd-sysctl").run(),
        Service::Modules => Cmd::new("/usr/lib/systemd/systemd-modules-load").run(),
        // Who is logged in stays so.
        Service::Ssh => systemctl("reload", "ssh.service"),
        Service::Hostname => {
            let name = fs::read_to_string("/etc/hostname").context("reading /etc/hostname")?;
            return fs::write("/proc/sys/kernel/hostname", name.trim())
                .context("setting the kernel's host name");
        }
    }
    .map(drop)
}

/// networkd makes devices and never changes them, so those that are not as they should be go;
/// the bridge stays with all that is plugged in unless it changes itself.
fn network(before: &[NodeFile], after: &[NodeFile]) -> anyhow::Result<()> {
    let net = Path::new("/sys/class/net");
    for name in outdated(before, after) {
        if net.join(&name).exists() {
            Cmd::new("ip")
                .args(["link", "delete", "dev", &name])
                .run()?;
        }
    }
    Cmd::new("networkctl").arg("reload").run()?;
    let mut links: BTreeSet<String> = netdevs(after).into_keys().collect();
    links.extend(
        facts::nics(&Roots::default())
            .into_iter()
            .map(|nic| nic.name),
    );
    links.retain(|name| net.join(name).exists());
    Cmd::new("networkctl")
        .arg("reconfigure")
        .args(links)
        .run()?;
    Ok(())
}

/// Devices by their names, with what decides on them.
fn netdevs(files: &[NodeFile]) -> std::collections::BTreeMap<String, Vec<u8>> {
    let of_device =
        |file: &&NodeFile| file.path.starts_with(network::DIR) && file.path.ends_with(".netdev");
    let device = |file: &NodeFile| {
        let Content::File { bytes, .. } = &file.content else {
            return None;
        };
        let text = std::str::from_utf8(bytes).ok()?;
        let name = text.lines().find_map(|line| line.strip_prefix("Name="))?;
        Some((name.to_owned(), bytes.clone()))
    };
    files.iter().filter(of_device).filter_map(device).collect()
}

/// Devices that are gone or have to be made anew.
fn outdated(before: &[NodeFile], after: &[NodeFile]) -> Vec<String> {
    let after = netdevs(after);
    let old = netdevs(before).into_iter();
    old.filter(|(name, bytes)| after.get(name) != Some(bytes))
        .map(|(name, _)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_changed_are_made_anew() {
        let file =
            |name: &str, text: &str| NodeFile::text(&format!("{}/{name}", network::DIR), text);
        let before = [
            file("10-a.netdev", "[NetDev]\nName=a\nKind=bond\n"),
            file("10-b.netdev", "[NetDev]\nName=b\nKind=bridge\n"),
            file("10-c.netdev", "[NetDev]\nName=c\nKind=vlan\n"),
            file("20-a.network", "[Match]\nName=a\n"),
        ];
        let after = [
            file(
                "10-a.netdev",
                "[NetDev]\nName=a\nKind=bond\n\n[Bond]\nMode=broadcast\n",
            ),
            file("10-b.netdev", "[NetDev]\nName=b\nKind=bridge\n"),
        ];
        assert_eq!(outdated(&before, &after), ["a", "c"]);
        assert_eq!(outdated(&after, &before), ["a"]);
        assert!(outdated(&before, &before).is_empty());
    }
}
