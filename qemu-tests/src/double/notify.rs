//! Tells systemd that the service is ready (sd_notify(3)): one datagram to a Unix socket.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use std::ffi::OsStr;

use anyhow::{Context as _, ensure};

/// Sends `message` to the socket that `NOTIFY_SOCKET` names; one that begins with `@` is abstract.
pub fn notify(socket: &OsStr, message: &str) -> anyhow::Result<()> {
    let said = || format!("telling systemd at {}", socket.display());
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(socket),
    };
    let address = address.with_context(said)?;
    let sent = UnixDatagram::unbound()
        .and_then(|sender| sender.send_to_addr(message.as_bytes(), &address))
        .with_context(said)?;
    ensure!(sent == message.len(), "systemd took {sent} bytes only");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_sockets_are_reached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("harrow-test-notify-{}", std::process::id());
        for (address, socket) in [
            (
                SocketAddr::from_pathname(&path).unwrap(),
                path.as_os_str().to_owned(),
            ),
            (
                SocketAddr::from_abstract_name(&name).unwrap(),
                format!("@{name}").into(),
            ),
        ] {
            let systemd = UnixDatagram::bind_addr(&address).unwrap();
            notify(&socket, "READY=1\n").unwrap();
            let mut buffer = [0; 64];
            let count = systemd.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..count], b"READY=1\n");
            drop(systemd);
        }
        std::fs::remove_file(&path).unwrap();
        assert!(notify(path.as_os_str(), "READY=1\n").is_err());
    }
}
