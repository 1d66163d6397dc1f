//! A node under test: its config, and what must be true on it as seen from outside.
//!
//! [`NodeSpec::render_config`] makes the YAML for the installer, [`checks`] what to look at on
//! the node, each check a command and the text that it must print. Pure, but for
//! [`find_problems`] and [`Identity::read`], which ask the node over ssh.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};

use crate::ssh::Ssh;

/// The kernel setting that the config sets, and a value that no default has.
const SYSCTL: (&str, &str) = ("vm.swappiness", "13");
/// The file that the config writes, and its content.
const FILE: (&str, &str) = ("/etc/harrow-test.conf", "written by the config");

/// What a test's config says.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Name of the node.
    pub hostname: String,
    /// Who may log in.
    pub public_key: String,
    /// The disk to install on.
    pub device: String,
    /// Whether the machine goes off after the install, instead of rebooting.
    pub poweroff: bool,
}

impl NodeSpec {
    /// The config as YAML.
    pub fn render_config(&self) -> String {
        format!(
            "scheme_version: 1
os:
  hostname: {hostname}
  ssh_authorized_keys:
    - {key}
  sysctls:
    {sysctl}: \"{value}\"
  write_files:
    - path: {path}
      content: |
        {content}
      permissions: \"0640\"
install:
  automatic: true
  mode: install
  device: {device}
  tty: ttyS0,115200n8
  poweroff: {poweroff}
  management_interface:
    method: dhcp
",
            hostname = self.hostname,
            key = self.public_key,
            sysctl = SYSCTL.0,
            value = SYSCTL.1,
            path = FILE.0,
            content = FILE.1,
            device = self.device,
            poweroff = self.poweroff,
        )
    }
}

/// A command and what it must print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is looked at.
    pub what: &'static str,
    /// The command, for the node's shell.
    pub command: String,
    /// What it must print, without space around it.
    pub expected: String,
}

impl Check {
    /// A check of `what`.
    pub fn new(
        what: &'static str,
        command: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            what,
            command: command.into(),
            expected: expected.into(),
        }
    }
}

/// What must be true on every boot of a node.
pub fn checks(spec: &NodeSpec) -> Vec<Check> {
    let (file, content) = FILE;
    vec![
        Check::new("host name", "hostname", &spec.hostname),
        Check::new(
            "root",
            "findmnt -n -o FSTYPE,SOURCE / | xargs",
            "squashfs /dev/mapper/root",
        ),
        Check::new(
            "root is read-only",
            "findmnt -n -o OPTIONS / | cut -d, -f1",
            "ro",
        ),
        Check::new(
            "root is verified",
            "sudo veritysetup status root | sed -n 's/^ *status: *//p'",
            "verified",
        ),
        Check::new("/etc", "findmnt -n -o FSTYPE /etc", "overlay"),
        Check::new("/var", "findmnt -n -o FSTYPE /var", "ext4"),
        Check::new(
            "partition of /var",
            "lsblk -n -o PARTLABEL \"$(findmnt -n -o SOURCE /var)\"",
            "harrow-var",
        ),
        Check::new("sysctl", format!("/sbin/sysctl -n {}", SYSCTL.0), SYSCTL.1),
        Check::new("written file", format!("sudo cat {file}"), content),
        Check::new(
            "its mode",
            format!("sudo stat -c '%a %U:%G' {file}"),
            "640 root:root",
        ),
        Check::new(
            "failed units",
            "systemctl list-units --failed --no-legend --plain",
            "",
        ),
    ]
}

/// Runs the checks on the node, all in one login; what is not as expected.
pub fn find_problems(ssh: &Ssh, checks: &[Check]) -> anyhow::Result<Vec<String>> {
    let said = ssh.run(&render_script(checks))?.text();
    compare(checks, &said)
}

fn render_script(checks: &[Check]) -> String {
    let mut script = String::new();
    for check in checks {
        // Writing to a String can't fail.
        writeln!(
            script,
            "{{ {}; }} 2>&1; printf '\\n{MARK}\\n'",
            check.command
        )
        .ok();
    }
    script
}

/// Ends the output of a check.
const MARK: &str = "--- end of check ---";

fn compare(checks: &[Check], said: &str) -> anyhow::Result<Vec<String>> {
    let answers: Vec<&str> = said.split(MARK).map(str::trim).collect();
    if answers.len() != checks.len() + 1 {
        bail!(
            "the node answered {} of {} checks:\n{said}",
            answers.len() - 1,
            checks.len()
        );
    }
    Ok(checks
        .iter()
        .zip(answers)
        .filter(|(check, answer)| check.expected != *answer)
        .map(|(check, answer)| {
            format!(
                "{}: {:?}, not {:?} ({})",
                check.what, answer, check.expected, check.command
            )
        })
        .collect())
}

/// What makes a node the same one after a reboot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// The host keys that its sshd shows, sorted.
    pub host_keys: Vec<String>,
}

impl Identity {
    /// Asks the node.
    pub fn read(ssh: &Ssh) -> anyhow::Result<Self> {
        let machine_id = ssh
            .run("cat /etc/machine-id")
            .context("reading the machine id")?;
        let machine_id = machine_id.text().trim().to_owned();
        if machine_id.len() != 32 || !machine_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            bail!("the machine id is {machine_id:?}");
        }
        Ok(Self {
            machine_id,
            host_keys: ssh.host_keys()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use harrow::sys::cmd::Cmd;

    use super::*;

    #[test]
    fn checks_run_in_a_shell_and_differences_are_told() {
        let checks = [
            Check::new("fine", "echo ' two  lines'; echo here", "two  lines\nhere"),
            Check::new("wrong", "echo no >&2; false", "yes"),
            Check::new("empty", "true", ""),
        ];
        let said = Cmd::new("sh")
            .args(["-c", &render_script(&checks)])
            .run()
            .unwrap()
            .text();
        let problems = compare(&checks, &said).unwrap();
        assert_eq!(
            problems,
            ["wrong: \"no\", not \"yes\" (echo no >&2; false)"]
        );
        assert!(compare(&checks, "").is_err());
    }
}
