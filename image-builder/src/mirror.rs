//! Where the Debian packages come from.
//!
//! In: what the environment says and what the build host's apt is configured for. Out: the
//! lines of a `sources.list`, or none, which leaves the choice to mmdebstrap (it then adds
//! updates and security itself). No mirror is named in this repository.

use anyhow::{Context as _, bail};
use harrow::sys::cmd::Cmd;

use crate::recipe::Base;

/// Debian's own keys, in the package `debian-archive-keyring` on the build host and, at the
/// same place, in every Debian system.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What the person asked for, from the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MirrorChoice {
    /// `HARROW_DEBIAN_MIRROR`: URI of the main archive.
    pub archive: Option<String>,
    /// `HARROW_DEBIAN_SECURITY_MIRROR`: URI of the security archive.
    pub security: Option<String>,
}

/// The two archives of a Debian release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// URI of the main archive, without a slash at the end.
    pub archive: String,
    /// URI of the security archive, without a slash at the end.
    pub security: String,
}

/// What the build host's apt knows of Debian.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostArchives {
    /// URI of the main archive.
    pub archive: Option<String>,
    /// URI of the security archive.
    pub security: Option<String>,
}

/// The format that [`parse_indextargets`] reads.
const INDEXTARGETS_FORMAT: &str = "$(ORIGIN)|$(LABEL)|$(REPO_URI)";

/// Asks the build host's apt which archives it is configured for.
pub fn probe_host() -> anyhow::Result<HostArchives> {
    let output = Cmd::new("apt-get")
        .args([
            "indextargets",
            "--format",
            INDEXTARGETS_FORMAT,
            "Created-By: Packages",
        ])
        .run_any()
        .context("asking apt for the build host's archives")?;
    Ok(parse_indextargets(&output.text()))
}

/// Reads the output of `apt-get indextargets`: the first main and the first security archive
/// of Debian. Other distributions and third-party repositories are recognised by their origin.
pub fn parse_indextargets(text: &str) -> HostArchives {
    let mut found = HostArchives::default();
    for line in text.lines() {
        let mut fields = line.splitn(3, '|');
        let (Some("Debian"), Some(label), Some(uri)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let slot = match label {
            "Debian" => &mut found.archive,
            "Debian-Security" => &mut found.security,
            _ => continue,
        };
        if slot.is_none() && uri.contains("://") {
            *slot = Some(uri.trim_end_matches('/').to_owned());
        }
    }
    found
}

/// Decides which archives to use: the environment, else the host's apt, else `None`.
pub fn resolve(choice: &MirrorChoice, host: &HostArchives) -> anyhow::Result<Option<Mirror>> {
    let chosen = |uri: &Option<String>| uri.as_deref().map(|u| u.trim_end_matches('/').to_owned());
    if let Some(archive) = chosen(&choice.archive) {
        check_uri("HARROW_DEBIAN_MIRROR", &archive)?;
    }
    if let Some(security) = chosen(&choice.security) {
        check_uri("HARROW_DEBIAN_SECURITY_MIRROR", &security)?;
    }
    let Some(archive) = chosen(&choice.archive).or_else(|| host.archive.clone()) else {
        if choice.security.is_some() {
            bail!("HARROW_DEBIAN_SECURITY_MIRROR is set, but HARROW_DEBIAN_MIRROR is not");
        }
        return Ok(None);
    };
    let security = chosen(&choice.security)
        .or_else(|| host.security.clone())
        .or_else(|| sibling_security(&archive));
    match security {
        Some(security) => Ok(Some(Mirror { archive, security })),
        None => bail!(
            "no security archive is known for {archive}: set HARROW_DEBIAN_SECURITY_MIRROR to its URI"
        ),
    }
}

/// Mirrors of both archives have them side by side as `debian` and `debian-security`.
fn sibling_security(archive: &str) -> Option<String> {
    archive
        .strip_suffix("/debian")
        .map(|parent| format!("{parent}/debian-security"))
}

fn check_uri(variable: &str, uri: &str) -> anyhow::Result<()> {
    if !uri.contains("://") || uri.contains([' ', '\t', '\n', '[']) {
        bail!("{variable}={uri:?} is not a URI such as http://HOST/debian");
    }
    Ok(())
}

impl Mirror {
    /// The three lines of `sources.list`, each pinned to Debian's keys.
    pub fn render_sources(&self, base: &Base) -> [String; 3] {
        let components = base.components.join(" ");
        let line = |uri: &str, suite: String| {
            format!("deb [signed-by={KEYRING}] {uri} {suite} {components}")
        };
        [
            line(&self.archive, base.suite.clone()),
            line(&self.archive, format!("{}-updates", base.suite)),
            line(&self.security, format!("{}-security", base.suite)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(uri: &str) -> Option<String> {
        Some(uri.to_owned())
    }

    #[test]
    fn apts_configuration_is_understood() {
        let debian = "Debian|Debian|http://a.example.org/debian/\n\
                      Debian|Debian|http://b.example.org/debian/\n\
                      Debian|Debian-Security|http://a.example.org/debian-security/\n";
        let ubuntu = "Ubuntu|Ubuntu|http://a.example.org/ubuntu/\n";
        let mixed = "Docker|Docker CE|https://d.example.org/debian/\n\
                     Debian|Debian|https://c.example.org/d/\n\
                     Debian|Debian Backports|https://c.example.org/bpo/\n\
                     garbage\n\
                     Debian|Debian-Security|not-a-uri\n";
        for (name, text, archive, security) in [
            (
                "debian",
                debian,
                some("http://a.example.org/debian"),
                some("http://a.example.org/debian-security"),
            ),
            ("ubuntu", ubuntu, None, None),
            ("mixed", mixed, some("https://c.example.org/d"), None),
            ("empty", "", None, None),
        ] {
            assert_eq!(
                parse_indextargets(text),
                HostArchives { archive, security },
                "{name}"
            );
        }
    }

    #[test]
    fn the_environment_wins_then_the_host_then_nothing() {
        let host = HostArchives {
            archive: some("http://h.example.org/debian"),
            security: some("http://h.example.org/sec"),
        };
        let none = HostArchives::default();
        let env = |archive: &str, security: &str| MirrorChoice {
            archive: (!archive.is_empty()).then(|| archive.to_owned()),
            security: (!security.is_empty()).then(|| security.to_owned()),
        };
        for (choice, host, want) in [
            (env("", ""), &none, None),
            (
                env("", ""),
                &host,
                Some(("http://h.example.org/debian", "http://h.example.org/sec")),
            ),
            (
                env("http://e.example.org/x/", ""),
                &host,
                Some(("http://e.example.org/x", "http://h.example.org/sec")),
            ),
            (
                env("http://e.example.org/debian/", ""),
                &none,
                Some((
                    "http://e.example.org/debian",
                    "http://e.example.org/debian-security",
                )),
            ),
            (
                env("http://e.example.org/x", "http://e.example.org/s/"),
                &none,
                Some(("http://e.example.org/x", "http://e.example.org/s")),
            ),
        ] {
            let got = resolve(&choice, host).unwrap();
            let want = want.map(|(a, s)| Mirror {
                archive: a.to_owned(),
                security: s.to_owned(),
            });
            assert_eq!(got, want, "{choice:?}");
        }
    }

    #[test]
    fn what_cannot_work_is_said() {
        let choice = |archive: Option<&str>, security: Option<&str>| MirrorChoice {
            archive: archive.map(str::to_owned),
            security: security.map(str::to_owned),
        };
        for (choice, message) in [
            (
                choice(Some("http://e.example.org/x"), None),
                "set HARROW_DEBIAN_SECURITY_MIRROR",
            ),
            (
                choice(None, Some("http://e.example.org/x")),
                "HARROW_DEBIAN_MIRROR is not",
            ),
            (choice(Some("e.example.org"), None), "is not a URI"),
            (
                choice(Some("http://e.example.org/a b"), None),
                "is not a URI",
            ),
        ] {
            let error = resolve(&choice, &HostArchives::default())
                .unwrap_err()
                .to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
