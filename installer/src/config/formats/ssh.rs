//! Public keys of OpenSSH: lines of authorized_keys, read to the end.
//!
//! The blob's framing and the fields of each type are those of RFC 4253 (6.6), RFC 5656 (3.1),
//! RFC 8709 (4) and OpenSSH's PROTOCOL.u2f; the options those of sshd(8).

use base64::Engine as _;

use super::{Wrong, quoted, wrong};

const HINT: &str = "one line as in a .pub file, such as: ssh-ed25519 AAAAC3... name@host";

/// Where a login key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A line of authorized_keys.
    Line(String),
    /// All keys of a person at GitHub.
    GitHub(String),
}

/// An item of `os.ssh_authorized_keys`: a key, or `github:USER` (or `gh:USER`).
pub fn key_source(text: &str) -> Result<KeySource, Wrong> {
    let text = text.trim();
    let user = text
        .strip_prefix("github:")
        .or_else(|| text.strip_prefix("gh:"));
    let Some(user) = user else {
        return ssh_key(text).map(|()| KeySource::Line(text.to_owned()));
    };
    // GitHub's rule: at most 39 letters, digits and single inner dashes.
    let good = super::made_of(user, 39, |b| b.is_ascii_alphanumeric() || b == b'-');
    if !good || user.starts_with('-') || user.ends_with('-') || user.contains("--") {
        return wrong(
            format!("{} is not a user of GitHub", quoted(user)),
            "github:NAME",
        );
    }
    Ok(KeySource::GitHub(user.to_owned()))
}

/// An OpenSSH public key, perhaps behind options such as `from="10.0.0.0/8"`.
pub fn ssh_key(text: &str) -> Result<(), Wrong> {
    let text = text.trim();
    if text.contains("PRIVATE KEY") {
        // Not quoted: it is a secret, and now one that should be replaced.
        return wrong(
            "this is a private key; it must stay where it was made",
            "the line of the .pub file beside it; and make a new pair, this one was shown",
        );
    }
    if text.contains(['\n', '\r']) {
        return wrong("several lines", "one key each, as items of the list");
    }
    if text.starts_with("---- BEGIN SSH2") || text.starts_with("PuTTY") {
        return wrong("a key in another program's form", HINT);
    }
    if text.chars().any(|c| c != '\t' && c.is_control()) {
        return wrong("a control character in it", HINT);
    }
    let line = match text.split_whitespace().next() {
        Some(word) if is_type(word) => text,
        Some(word) if !word.contains('=') => match other_type(word) {
            Some(refused) => return refused,
            None => after_options(text)?,
        },
        Some(_) => after_options(text)?,
        None => return wrong("not an OpenSSH public key", HINT),
    };
    let mut words = line.split_whitespace();
    let (Some(kind), Some(body)) = (words.next(), words.next()) else {
        return wrong("not an OpenSSH public key", HINT);
    };
    if !is_type(kind) {
        let unknown = || wrong(format!("{} is not a type of key", quoted(kind)), HINT);
        return other_type(kind).unwrap_or_else(unknown);
    }
    if words.any(is_type) {
        return wrong(
            "two keys in one line; sshd would take the second for a comment",
            "one key each, as items of the list",
        );
    }
    let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(body) else {
        return wrong("the key's base64 part is damaged", HINT);
    };
    match blob_fits(kind, &mut Blob(&bytes)) {
        Some(Ok(())) => Ok(()),
        Some(Err(wrong)) => Err(wrong),
        None => wrong(
            format!("the key is cut or damaged: it is not one of type {kind}"),
            HINT,
        ),
    }
}

/// Types that sshd of the node accepts.
fn is_type(word: &str) -> bool {
    [
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ]
    .contains(&word)
}

/// Why a word that looks like a type of key is none that a login key can have.
fn other_type(word: &str) -> Option<Result<(), Wrong>> {
    if word == "ssh-dss" {
        return Some(wrong("DSA keys are not accepted by sshd any more", HINT));
    }
    if word.contains("-cert-v01@") {
        return Some(wrong(
            "a certificate, which sshd does not take from this list",
            "the key itself; or the authority's key, with cert-authority in front",
        ));
    }
    // The framing of every key begins so.
    if word.starts_with("AAAA") {
        return Some(wrong("the key's type in front is missing", HINT));
    }
    let typed = word.starts_with("ssh-") || word.starts_with("ecdsa-") || word.starts_with("sk-");
    typed.then(|| wrong(format!("{} is not a type of key", quoted(word)), HINT))
}

/// Options of authorized_keys (sshd(8)); with another one, sshd refuses the key.
const OPTIONS: [&str; 24] = [
    "agent-forwarding",
    "cert-authority",
    "command",
    "environment",
    "expiry-time",
    "from",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-touch-required",
    "no-user-rc",
    "no-x11-forwarding",
    "permitlisten",
    "permitopen",
    "port-forwarding",
    "principals",
    "pty",
    "restrict",
    "touch-required",
    "tunnel",
    "user-rc",
    "verify-required",
    "x11-forwarding",
    "zos-key-ring-label",
];

/// Each option has a known name.
fn check_options(options: &str) -> Result<(), Wrong> {
    let (mut quoted_text, mut escaped) = (false, false);
    let outside = |c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted_text => escaped = true,
            '"' => quoted_text = !quoted_text,
            _ => {}
        }
        c == ',' && !quoted_text
    };
    for option in options.split(outside) {
        let name = option.split('=').next().unwrap_or_default();
        let known = |known: &&str| known.eq_ignore_ascii_case(name);
        if !OPTIONS.iter().any(known) {
            return wrong(format!("{} is not an option of a key", quoted(name)), HINT);
        }
    }
    Ok(())
}

/// What follows the options of a line: they end at the first blank outside of quotes.
fn after_options(line: &str) -> Result<&str, Wrong> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => {
                check_options(&line[..at])?;
                return Ok(line[at..].trim_start());
            }
            _ => {}
        }
    }
    match quoted {
        true => wrong("a quote in the key's options is not closed", HINT),
        false => wrong("not an OpenSSH public key", HINT),
    }
}

/// The fields of a key: each a length in four bytes, and that many bytes.
struct Blob<'a>(&'a [u8]);

impl<'a> Blob<'a> {
    fn field(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.0 = rest;
        Some(field)
    }
}

/// Whether all fields are what the type wants; `None` when they are not, a reason of its own
/// for a key that is too weak.
fn blob_fits(kind: &str, blob: &mut Blob) -> Option<Result<(), Wrong>> {
    if blob.field()? != kind.as_bytes() {
        return None;
    }
    let mut result = Ok(());
    match kind {
        "ssh-rsa" => {
            let (exponent, modulus) = (integer_bits(blob.field()?)?, integer_bits(blob.field()?)?);
            if exponent < 2 || modulus > 16384 {
                return None;
            }
            if modulus < 2048 {
                result = wrong(
                    format!("an RSA key of {modulus} bits is too weak"),
                    "at least 2048 bits, or a key of `ssh-keygen -t ed25519`",
                );
            }
        }
        _ if kind.contains("ed25519") => {
            if blob.field()?.len() != 32 {
                return None;
            }
        }
        _ => {
            let curve = kind.split('@').next()?.rsplit('-').next()?;
            let size = match curve {
                "nistp256" => 32,
                "nistp384" => 48,
                _ => 66,
            };
            let named = blob.field()? == curve.as_bytes();
            let point = blob.field()?;
            // An uncompressed point (SEC 1, 2.3.3): 4, then both coordinates.
            if !named || point.len() != 1 + 2 * size || point.first() != Some(&4) {
                return None;
            }
        }
    }
    // Keys on a token name their application.
    if kind.starts_with("sk-") && blob.field()?.is_empty() {
        return None;
    }
    blob.0.is_empty().then_some(result)
}

/// Bits of a positive integer (RFC 4251, 5: mpint).
fn integer_bits(bytes: &[u8]) -> Option<usize> {
    let first = bytes.iter().position(|b| *b != 0)?;
    if bytes[0] & 0x80 != 0 || first > 1 {
        return None;
    }
    Some((bytes.len() - first) * 8 - bytes[first].leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBtU7Kq3Y0mZ4c4o8m1uO9bq1n4E2iZJp0m7nYkq7Z9v me@here";

    fn keygen(kind: &str, bits: &str) -> (String, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        crate::sys::cmd::Cmd::new("ssh-keygen")
            .args(["-q", "-t", kind, "-b", bits, "-N", "", "-f"])
            .arg(path.to_str().unwrap())
            .run()
            .unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        (read("key.pub"), read("key"))
    }

    #[test]
    fn what_ssh_keygen_makes_is_a_key() {
        for (kind, bits) in [
            ("ed25519", "256"),
            ("ecdsa", "256"),
            ("ecdsa", "384"),
            ("ecdsa", "521"),
            ("rsa", "2048"),
        ] {
            let (public, private) = keygen(kind, bits);
            assert_eq!(ssh_key(&public), Ok(()), "{public}");
            let wrong = ssh_key(&private).unwrap_err();
            assert!(wrong.message.contains("private"), "{wrong:?}");
            assert!(!wrong.message.contains(&private[60..80]));
        }
        let weak = ssh_key(&keygen("rsa", "1024").0).unwrap_err();
        assert!(weak.message.contains("1024 bits"), "{weak:?}");
    }

    #[test]
    fn keys_must_hold_what_they_say() {
        let body = GOOD.split(' ').nth(1).unwrap();
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 !!!",
            &GOOD.replace("ssh-ed25519", "ssh-rsa"),
            &GOOD.replace("ssh-ed25519", "ssh-dss"),
            "ssh-rsa AAAA",
            &format!("ssh-ed25519 {}", &body[..64]),
            &format!("ssh-ed25519 {}", &body[..body.len() - 1]),
            &format!("ssh-ed25519 {body}AAAA"),
            &format!("{GOOD}\n{GOOD}"),
            &format!("from=\"a {GOOD}"),
            &format!("{GOOD} {GOOD}"),
            &format!("no-ptty {GOOD}"),
            &format!("from=\"a\",form=\"b\" {GOOD}"),
            &GOOD.replace("ssh-ed25519 ", "ssh-ed25519-cert-v01@openssh.com "),
            body,
            &format!("{GOOD}\0"),
        ] {
            assert!(ssh_key(bad).is_err(), "{bad}");
        }
        for good in [
            &format!("  {GOOD}\n"),
            &format!("no-pty {GOOD}"),
            &format!("NO-PTY,restrict,expiry-time=\"20300101\" {GOOD}"),
            &format!("from=\"10.0.0.1,10.0.0.2\" {GOOD}"),
            &format!("from=\"10.0.0.0/8\",command=\"echo \\\"a b\\\"\" {GOOD}"),
            &GOOD.replace(" me@here", ""),
        ] {
            assert_eq!(ssh_key(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn keys_on_a_token() {
        let field =
            |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
        let line = |kind: &str, fields: &[&[u8]]| {
            let mut blob = field(kind.as_bytes());
            fields.iter().for_each(|f| blob.extend(field(f)));
            format!(
                "{kind} {}",
                base64::engine::general_purpose::STANDARD.encode(blob)
            )
        };
        let kind = "sk-ssh-ed25519@openssh.com";
        assert_eq!(ssh_key(&line(kind, &[&[7; 32], b"ssh:"])), Ok(()));
        assert!(ssh_key(&line(kind, &[&[7; 32]])).is_err());
        let kind = "sk-ecdsa-sha2-nistp256@openssh.com";
        let point = [&[4][..], &[7; 64]].concat();
        assert_eq!(
            ssh_key(&line(kind, &[b"nistp256", &point, b"ssh:"])),
            Ok(())
        );
        assert!(ssh_key(&line(kind, &[b"nistp384", &point, b"ssh:"])).is_err());
    }

    #[test]
    fn people_of_github() {
        assert_eq!(
            key_source("github:a-b"),
            Ok(KeySource::GitHub("a-b".into()))
        );
        assert_eq!(key_source("gh:a"), Ok(KeySource::GitHub("a".into())));
        assert_eq!(key_source(GOOD), Ok(KeySource::Line(GOOD.into())));
        for bad in [
            "github:",
            "gh:-a",
            "gh:a-",
            "gh:a--b",
            "gh:a/b",
            "gitlab:a",
            &format!("gh:{}", "a".repeat(40)),
        ] {
            assert!(key_source(bad).is_err(), "{bad}");
        }
    }
}
