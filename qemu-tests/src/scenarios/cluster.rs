//! What the scenarios of the cluster payload share: the first node of a cluster, and what must be true on
//! it when the RKE2 double is in RKE2's place. No Kubernetes runs in them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use harrow::sys::wait;

use crate::console::{Console, Key};
use crate::node::Check;
use crate::ssh::Ssh;

/// The user on a node, and the password in the config of one without a network.
const USER: &str = "rancher";
const PASSWORD: &str = "harrow-double";
/// What `test` can answer: yes, no, or that it was not asked well.
const ANSWERS: [&str; 3] = ["answer=0.end", "answer=1.end", "answer=2.end"];
/// Where the double says what it found.
const REPORT: &str = "/var/lib/rancher/rke2/double-report.json";
/// How long the payload and the double may take, on a slow machine.
const READY: Duration = Duration::from_secs(900);
/// How long a command may take.
const COMMAND: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_secs(3);

/// Where a node has its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// In the image: flavor `full`.
    Embedded,
    /// Fetched: flavor `net`.
    Fetched,
}

/// The node that creates a cluster.
#[derive(Debug, Clone)]
pub struct FirstNode {
    /// Name of the node.
    pub hostname: &'static str,
    /// Who may log in over ssh; nobody on a node without a network.
    pub public_key: Option<String>,
    /// Where its payload comes from when it is fetched.
    pub mirror: Option<String>,
}

impl FirstNode {
    /// The config as YAML.
    pub fn render_config(&self) -> String {
        let hostname = self.hostname;
        let (login, network) = match &self.public_key {
            Some(key) => (format!("ssh_authorized_keys: [{key}]"), "dhcp"),
            None => (format!("password: {PASSWORD}"), "none"),
        };
        let mirror = self.mirror.iter();
        let mirror: String = mirror
            .map(|url| format!("\n  bundle_mirror: {url}"))
            .collect();
        format!(
            "scheme_version: 1
token: a-token-of-the-tests
os:
  hostname: {hostname}
  {login}
install:
  automatic: true
  mode: create
  device: /dev/vda
  tty: ttyS0,115200n8
  poweroff: true
  vip: 10.0.2.100
  vip_mode: static{mirror}
  management_interface:
    method: {network}
"
        )
    }
}

/// What must be true on the node once the double is ready.
pub fn checks(payload: Payload) -> Vec<Check> {
    let found = |what| format!("sudo grep -c '^ *{what},*$' {REPORT}");
    let place = match payload {
        Payload::Embedded => "/usr/lib/harrow/payload",
        Payload::Fetched => "/var/lib/harrow/payload",
    };
    vec![
        Check::new("RKE2 double is ready", found("\"ready\": true"), "1"),
        Check::new("images to pull", found("\"pulled\": \\[\\]"), "1"),
        Check::new("charts to fetch", found("\"fetched_charts\": \\[\\]"), "1"),
        Check::new("payload", "sudo readlink -f /run/harrow/payload", place),
        Check::new(
            "archives are links",
            "sudo find /var/lib/rancher/rke2/agent/images -type f ! -name '.*' | wc -l",
            "0",
        ),
        Check::new(
            "manifests",
            "sudo readlink /var/lib/rancher/rke2/server/manifests/harrow",
            "/run/harrow/manifests",
        ),
        Check::new(
            "kubeconfig",
            "sudo stat -c '%a %U' /etc/rancher/rke2/rke2.yaml",
            "600 root",
        ),
        Check::new("virtctl", "sudo bash -lc virtctl | grep -c double", "1"),
        Check::new(
            "harrow verify",
            // What differs is for whoever reads the evidence.
            "v=$(sudo harrow verify) && echo clean || echo \"$v\" | grep -v ^ok >&2",
            "clean",
        ),
    ]
}

/// Waits over ssh until the double is ready.
pub fn wait_ready(ssh: &Ssh) -> anyhow::Result<()> {
    let waited = wait::until("the RKE2 double to be ready", READY, POLL, || {
        let active = ssh.try_run("systemctl -q is-active rke2-server")?;
        Ok(active.status.success().then_some(()))
    });
    let Err(error) = waited else { return Ok(()) };
    let why = "systemctl --no-pager status harrow-payload rke2-server; sudo cat";
    let said = ssh.try_run(&format!("{why} {REPORT}"));
    bail!("{error:#}\n{}", said.map_or(String::new(), |it| it.text()));
}

/// Logs in on the console of a node without a network.
pub fn log_in(console: &Console, node: &FirstNode, limit: Duration) -> anyhow::Result<()> {
    console.wait_for("login:", limit)?;
    type_line(console, USER)?;
    console.wait_for("Password:", COMMAND)?;
    type_line(console, PASSWORD)?;
    console.wait_for(&format!("{USER}@{}", node.hostname), COMMAND)?;
    Ok(())
}

/// Waits on the console until the double is ready.
pub fn wait_ready_on(console: &Console) -> anyhow::Result<()> {
    let seconds = READY.as_secs();
    let until = "until systemctl -q is-active rke2-server; do sleep 2; done";
    type_line(
        console,
        &format!("timeout {seconds} sh -c '{until}'; echo up=$?.end"),
    )?;
    // The other answer is that of `timeout` when it ended the loop.
    let answers = ["up=0.end", "up=124.end"];
    if console.wait_for_line(&answers, READY + COMMAND)?.which != 0 {
        // What is on the console then is part of the evidence.
        let why = "systemctl --no-pager status harrow-payload rke2-server | tail -n 20; sudo cat";
        type_line(console, &format!("{why} {REPORT}"))?;
        bail!("waited {seconds} s for the RKE2 double to be ready, in vain");
    }
    Ok(())
}

/// Makes the checks on the console, one after another.
pub fn check_on(console: &Console, checks: &[Check]) -> anyhow::Result<()> {
    for check in checks {
        type_line(console, &question(check))?;
        if console.wait_for_line(&ANSWERS, COMMAND)?.which != 0 {
            type_line(console, &check.command)?;
            wait::pause_for(POLL);
            bail!("{} is not {:?}", check.what, check.expected);
        }
    }
    Ok(())
}

/// A line for the shell whose answer is the first of [`ANSWERS`] if a check is true.
fn question(check: &Check) -> String {
    let Check {
        command, expected, ..
    } = check;
    format!("test \"$({command})\" = '{expected}'; echo answer=$?.end")
}

fn type_line(console: &Console, line: &str) -> anyhow::Result<()> {
    console.type_text(line)?;
    console.press(Key::Enter)
}

/// What a scenario of the payload needs of the build, or how to get it.
pub fn needed(path: PathBuf) -> anyhow::Result<PathBuf> {
    if path.exists() {
        return Ok(path);
    }
    bail!(
        "{} is missing: make doubles with `qemu-tests double`, and build an ISO with their bundle, their lock and their mirror",
        path.display()
    );
}

#[cfg(test)]
mod tests {
    use harrow::config::{Severity, Source, SourceKind, check_sources};
    use harrow::sys::cmd::Cmd;

    use super::*;

    #[test]
    fn the_configs_are_fine() {
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKVnCkx0kQ3VxFhZ8vUQbWm2wHq3Kj0sX0b2vYk5Z9aM t";
        for (public_key, mirror) in [
            (None, None),
            (Some(key.to_owned()), Some("http://10.0.2.2:8080".into())),
        ] {
            let node = FirstNode {
                hostname: "harrow-x",
                public_key,
                mirror,
            };
            let text = node.render_config();
            let checked = check_sources(&[Source::yaml(SourceKind::File, "c", text.as_str())]);
            let problems = checked.problems.0.iter();
            let errors: Vec<_> = problems
                .filter(|problem| problem.code.severity() == Severity::Error)
                .collect();
            assert!(errors.is_empty() && checked.config.is_some(), "{errors:?}");
        }
    }

    #[test]
    fn a_shell_answers_the_questions() {
        for (check, expected) in [
            (Check::new("a", "echo ' x' | wc -l", "1"), "answer=0.end\n"),
            (Check::new("b", "printf 'a b'", "a b"), "answer=0.end\n"),
            (Check::new("c", "false", "x"), "answer=1.end\n"),
        ] {
            let said = Cmd::new("sh").args(["-c", &question(&check)]).run();
            assert_eq!(said.unwrap().text(), expected);
        }
    }

    #[test]
    fn the_double_writes_what_the_checks_look_for() {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("report.json");
        let value = serde_json::json!({
            "pulled": [], "ready": true, "manifests": {"fetched_charts": [], "vip": null},
        });
        std::fs::write(&report, serde_json::to_vec_pretty(&value).unwrap()).unwrap();
        for check in &checks(Payload::Embedded)[..3] {
            let here = check.command.replace("sudo ", "");
            let here = here.replace(REPORT, &report.display().to_string());
            let said = Cmd::new("sh").args(["-c", &here]).run().unwrap();
            assert_eq!(said.text().trim(), check.expected, "{}", check.what);
        }
    }
}
