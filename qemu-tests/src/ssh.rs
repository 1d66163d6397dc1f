//! Commands on the guest over ssh, through a port of the host's loopback.
//!
//! In: the test's folder, which gets a key of its own, and the port. Out: what a command said.
//! Every call ends by itself: connecting and the command have deadlines.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use harrow::sys::cmd::{Cmd, Output};
use harrow::sys::wait;

/// How long one command may take, in seconds.
const COMMAND_LIMIT: &str = "180";
/// How long sshd may take to say its name.
const BANNER: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(250);
/// The kinds of host keys that a node has.
const HOST_KEYS: [&str; 2] = ["ed25519", "ecdsa"];
/// How long the guest may take to show one.
const HOST_KEY_LIMIT: Duration = Duration::from_secs(180);
/// How often another port is tried.
const PORT_TRIES: usize = 1000;

/// A key of ssh without a password, and its public part beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(PathBuf);

impl Key {
    /// Makes one in `folder`.
    pub fn create(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("ssh-key");
        Cmd::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "harrow-test", "-f"])
            .arg(&path)
            .run()
            .context("making an ssh key")?;
        Ok(Self(path))
    }

    /// The public key, one line.
    pub fn public(&self) -> anyhow::Result<String> {
        let path = self.0.with_extension("pub");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        Ok(text.trim().to_owned())
    }
}

/// A user on a guest.
pub struct Ssh {
    folder: PathBuf,
    key: Key,
    user: String,
    port: u16,
}

impl Ssh {
    /// Makes a key in `folder`, for logging in as `user` through `port`.
    pub fn create(folder: &Path, user: &str, port: u16) -> anyhow::Result<Self> {
        Ok(Self {
            folder: folder.to_owned(),
            key: Key::create(folder)?,
            user: user.to_owned(),
            port,
        })
    }

    /// The public key, one line.
    pub fn public_key(&self) -> anyhow::Result<String> {
        self.key.public()
    }

    /// Logs in with this key from here on.
    pub fn use_key(&mut self, key: Key) {
        self.key = key;
    }

    /// The port on the loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until a command runs on the guest; `check` ends the wait early by its error.
    pub fn wait_ready(
        &self,
        limit: Duration,
        check: impl Fn() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        wait::until("a login over ssh", limit, POLL, || {
            check()?;
            // QEMU accepts connections for a guest that does not listen yet.
            let ready = self.answers() && self.try_run("true")?.status.success();
            Ok(ready.then_some(()))
        })
    }

    /// Runs a command line of the guest's shell; a failure is an error.
    pub fn run(&self, command: &str) -> anyhow::Result<Output> {
        let output = self.try_run(command)?;
        if output.status.success() {
            return Ok(output);
        }
        bail!(
            "{command:?} on the guest failed: {}\n{}{}",
            output.status,
            output.text(),
            output.stderr
        );
    }

    /// Runs a command line of the guest's shell, however it ends.
    pub fn try_run(&self, command: &str) -> anyhow::Result<Output> {
        // ssh has no deadline for a command.
        Cmd::new("timeout")
            .args([COMMAND_LIMIT, "ssh"])
            .args(self.options())
            .arg(format!("{}@{}", self.user, Ipv4Addr::LOCALHOST))
            .arg("--")
            .arg(command)
            .run_any()
    }

    /// The host keys that the guest shows, each asked for on a connection of its own.
    pub fn host_keys(&self) -> anyhow::Result<Vec<String>> {
        HOST_KEYS.iter().map(|kind| self.host_key(kind)).collect()
    }

    /// The host key of this kind; asked for again when a busy machine did not answer in time.
    fn host_key(&self, kind: &str) -> anyhow::Result<String> {
        let port = self.port.to_string();
        let what = format!("the host key {kind}");
        wait::until(&what, HOST_KEY_LIMIT, POLL, || {
            let output = Cmd::new("ssh-keyscan")
                .args(["-T", "30", "-t", kind, "-p", &port, "127.0.0.1"])
                .run_any()?;
            Ok(output.text().lines().next().map(str::to_owned))
        })
    }

    /// The line with which a person logs in.
    pub fn hint(&self) -> String {
        let cmd = Cmd::new("ssh").args(self.options());
        format!("{cmd} {}@127.0.0.1", self.user)
    }

    fn options(&self) -> Vec<String> {
        let mut args = vec![
            "-F".into(),
            "none".into(),
            "-i".into(),
            self.key.0.display().to_string(),
            "-p".into(),
            self.port.to_string(),
        ];
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            "ConnectTimeout=20",
            "ServerAliveInterval=10",
            "LogLevel=ERROR",
        ] {
            args.extend(["-o".to_owned(), option.to_owned()]);
        }
        let known_hosts = self.folder.join("known-hosts");
        args.extend([
            "-o".to_owned(),
            format!("UserKnownHostsFile={}", known_hosts.display()),
        ]);
        args
    }

    /// Whether an sshd answers now.
    pub fn answers(&self) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut start = [0; 4];
        TcpStream::connect_timeout(&address, BANNER).is_ok_and(|mut stream| {
            stream.set_read_timeout(Some(BANNER)).is_ok()
                && stream.read_exact(&mut start).is_ok()
                && &start == b"SSH-"
        })
    }
}

/// A port of the loopback that nothing listens on now, and that was not given out before: who
/// has it may not listen yet.
pub fn free_port() -> anyhow::Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    for _ in 0..PORT_TRIES {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
        let address = listener.local_addr().context("looking for a free port")?;
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if given.insert(address.port()) {
            return Ok(address.port());
        }
    }
    bail!("no port of the loopback is free")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_guest_is_there_when_its_sshd_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ssh = Ssh {
            folder: folder.path().to_owned(),
            key: Key(folder.path().join("ssh-key")),
            user: "rancher".into(),
            port: listener.local_addr().unwrap().port(),
        };
        let guest = std::thread::spawn(move || {
            // First as QEMU does without a guest, then as sshd does.
            drop(listener.accept().unwrap());
            listener
                .accept()
                .unwrap()
                .0
                .write_all(b"SSH-2.0-x\r\n")
                .unwrap();
        });
        assert!(!ssh.answers());
        assert!(ssh.answers());
        guest.join().unwrap();
        assert!(!ssh.answers());
    }

    #[test]
    fn a_wait_ends_with_the_guest() {
        let folder = tempfile::tempdir().unwrap();
        let ssh = Ssh {
            folder: folder.path().to_owned(),
            key: Key(folder.path().join("ssh-key")),
            user: "rancher".into(),
            port: free_port().unwrap(),
        };
        let error = ssh
            .wait_ready(Duration::from_secs(60), || bail!("panic"))
            .unwrap_err();
        assert_eq!(error.to_string(), "panic");
    }
}
