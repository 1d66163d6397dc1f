//! Passwords: in clear, or as hashes of crypt(3). Messages never quote them.
//!
//! Shapes of hashes are those of crypt(5) of libxcrypt, which is what a node has.

use super::{Wrong, wrong};

/// The longest password in clear; longer ones are cut by some programs.
pub const PASSWORD_LIMIT: usize = 255;

const HINT: &str = "a password, or a hash such as `openssl passwd -6` prints";

/// A method of crypt(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashMethod {
    /// `$1$`
    Md5,
    /// `$2a$`, `$2b$`, `$2x$`, `$2y$`
    Bcrypt,
    /// `$5$`
    Sha256,
    /// `$6$`
    Sha512,
    /// `$7$`
    Scrypt,
    /// `$y$`
    Yescrypt,
    /// `$gy$`
    GostYescrypt,
}

impl HashMethod {
    const PREFIXES: [(&'static str, Self); 10] = [
        ("$1$", Self::Md5),
        ("$2a$", Self::Bcrypt),
        ("$2b$", Self::Bcrypt),
        ("$2x$", Self::Bcrypt),
        ("$2y$", Self::Bcrypt),
        ("$5$", Self::Sha256),
        ("$6$", Self::Sha512),
        ("$7$", Self::Scrypt),
        ("$y$", Self::Yescrypt),
        ("$gy$", Self::GostYescrypt),
    ];

    /// Whether the hash can be guessed too fast today.
    fn is_weak(self) -> bool {
        self == Self::Md5
    }
}

/// Rounds of SHA-crypt when a hash names none; fewer are no protection (crypt(5)).
const ROUNDS: u32 = 5000;
/// The least cost of bcrypt that is still slow; each step doubles the work.
const BCRYPT_COST: u32 = 8;

/// Why a whole hash can be guessed too fast today; `None` when it can't, or is none.
pub fn weakness(hash: &str) -> Option<&'static str> {
    let (method, rest) = split_method(hash)?;
    if method.is_weak() {
        return Some("the hash is MD5, which is easily broken");
    }
    let (first, _) = rest.split_once('$')?;
    match method {
        HashMethod::Sha256 | HashMethod::Sha512 => {
            let rounds: u32 = first.strip_prefix("rounds=")?.parse().ok()?;
            (rounds < ROUNDS).then_some("the hash has fewer than 5000 rounds")
        }
        HashMethod::Bcrypt => {
            let cost: u32 = first.parse().ok()?;
            (cost < BCRYPT_COST).then_some("the hash is bcrypt with a cost below 8")
        }
        _ => None,
    }
}

/// Beginnings of hashes that nodes can't check, or that are as good as clear text.
const FOREIGN: [&str; 10] = [
    "$apr1$", "$argon2", "$md5", "$pbkdf2", "$scrypt", "$sha1$", "$3$", "{CRYPT}", "{SHA", "{SSHA",
];

/// The method that a hash's beginning names, and what follows it.
fn split_method(text: &str) -> Option<(HashMethod, &str)> {
    let mut methods = HashMethod::PREFIXES.into_iter();
    methods.find_map(|(prefix, method)| Some((method, text.strip_prefix(prefix)?)))
}

/// Whether a password is a crypt(3) hash already, by its beginning.
pub fn is_hashed(password: &str) -> bool {
    split_method(password).is_some()
}

/// crypt's own base64: `./0-9A-Za-z`, between `least` and `most` characters.
fn digits(text: &str, least: usize, most: usize) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'/';
    (least..=most).contains(&text.len()) && text.bytes().all(good)
}

/// A whole crypt(3) hash: alphabet and length of each part.
pub fn crypt_hash(text: &str) -> Result<HashMethod, Wrong> {
    let Some((method, rest)) = split_method(text) else {
        return wrong("not a hash of crypt(3)", HINT);
    };
    let parts: Vec<&str> = rest.split('$').collect();
    let good = match (method, &parts[..]) {
        (HashMethod::Md5, [salt, hash]) => is_salt(salt, 8) && digits(hash, 22, 22),
        (HashMethod::Bcrypt, [cost, hash]) => {
            let cost_fits = cost.len() == 2 && matches!(cost.parse::<u8>(), Ok(4..=31));
            cost_fits && digits(hash, 53, 53)
        }
        (HashMethod::Sha256, [.., salt, hash]) => {
            rounds_fit(&parts) && is_salt(salt, 16) && digits(hash, 43, 43)
        }
        (HashMethod::Sha512, [.., salt, hash]) => {
            rounds_fit(&parts) && is_salt(salt, 16) && digits(hash, 86, 86)
        }
        (HashMethod::Scrypt, [setting, hash]) => digits(setting, 11, 97) && digits(hash, 43, 43),
        (HashMethod::Yescrypt | HashMethod::GostYescrypt, [setting, salt, hash]) => {
            digits(setting, 1, 32) && digits(salt, 0, 86) && digits(hash, 43, 43)
        }
        _ => false,
    };
    if good {
        return Ok(method);
    }
    wrong(
        format!(
            "begins like a hash of crypt(3), but is not a whole one ({} characters)",
            text.len()
        ),
        "copy the whole hash, and put it in single quotes; `openssl passwd -6` makes one",
    )
}

/// `rounds=N` before the salt, or nothing.
fn rounds_fit(parts: &[&str]) -> bool {
    match parts {
        [_, _] => true,
        [rounds, _, _] => {
            let number = rounds
                .strip_prefix("rounds=")
                .filter(|n| !n.starts_with('0'));
            matches!(number.map(str::parse::<u32>), Some(Ok(1000..=999_999_999)))
        }
        _ => false,
    }
}

fn is_salt(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}

/// A password in clear or hashed; nothing that would break /etc/shadow or lock the account.
pub fn password(text: &str) -> Result<(), Wrong> {
    if text.is_empty() {
        return wrong("empty", "leave it out for a login by ssh keys only");
    }
    if is_hashed(text) {
        return crypt_hash(text).map(drop);
    }
    let locked = text.strip_prefix(['!', '*']);
    if locked.is_some_and(|rest| rest.is_empty() || rest == "!" || rest == "*" || is_hashed(rest)) {
        return wrong(
            "a locked password in the manner of /etc/shadow",
            "leave it out for a login by ssh keys only",
        );
    }
    if FOREIGN.iter().any(|begin| text.starts_with(begin)) {
        return wrong("a hash of a kind that nodes do not take", HINT);
    }
    if text.len() > PASSWORD_LIMIT {
        return wrong(format!("longer than {PASSWORD_LIMIT} bytes"), HINT);
    }
    if text.chars().any(char::is_control) {
        return wrong("has a line break or another control character in it", HINT);
    }
    Ok(())
}

/// The secret of a cluster: printable, without blanks. `K10HASH::…` must be whole.
pub fn token(text: &str) -> Result<(), Wrong> {
    const HINT: &str = "one word, such as `openssl rand -hex 16` prints";
    if text.is_empty() {
        return wrong("empty", HINT);
    }
    if text.len() > 1024 {
        return wrong("longer than 1024 characters", HINT);
    }
    if text.contains(char::is_whitespace) {
        return wrong("has a blank or line break in it", HINT);
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return wrong("has a letter in it that is not of ASCII", HINT);
    }
    if text.starts_with("K10") && text.len() > 64 && !text.contains("::") {
        return wrong(
            "a cut RKE2 token: K10… without ::",
            "the whole of the server's node-token",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h(n: usize) -> String {
        "a".repeat(n)
    }

    #[test]
    fn hashes_have_a_shape() {
        for (good, method) in [
            (format!("$1$salt$./{}", h(20)), HashMethod::Md5),
            (format!("$2b$10${}", h(53)), HashMethod::Bcrypt),
            (format!("$5$rounds=5000$salt${}", h(43)), HashMethod::Sha256),
            (format!("$6$saltsaltsaltsalt${}", h(86)), HashMethod::Sha512),
            (format!("$6$rounds=1000$s${}", h(86)), HashMethod::Sha512),
            (format!("$7${}${}", h(11), h(43)), HashMethod::Scrypt),
            (format!("$y$j9T${}${}", h(22), h(43)), HashMethod::Yescrypt),
            (
                format!("$gy$j9T${}${}", h(22), h(43)),
                HashMethod::GostYescrypt,
            ),
        ] {
            assert_eq!(crypt_hash(&good), Ok(method), "{good}");
            assert!(password(&good).is_ok());
        }
        for bad in [
            "$6$".to_owned(),
            format!("$6$salt${}", h(85)),
            format!("$6$salt${}", h(87)),
            format!("$6${}${}", h(17), h(86)),
            format!("$6$${}", h(86)),
            format!("$6$sa:lt${}", h(86)),
            format!("$6$rounds=999$salt${}", h(86)),
            format!("$6$rounds=5000$x$salt${}", h(86)),
            format!("$6$salt${}=", h(85)),
            format!("$1$123456789${}", h(22)),
            format!("$2b$3${}", h(53)),
            format!("$2b$32${}", h(53)),
            format!("$y$j9T${}", h(43)),
        ] {
            let wrong = password(&bad).unwrap_err();
            assert!(!wrong.message.contains("aaaa"), "{wrong:?}");
        }
    }

    #[test]
    fn what_openssl_makes_is_a_hash() {
        for option in ["-1", "-5", "-6"] {
            let made = crate::sys::cmd::Cmd::new("openssl");
            let made = made.args(["passwd", option, "pass"]).run().unwrap();
            assert!(crypt_hash(made.text().trim()).is_ok(), "{option}");
        }
    }

    #[test]
    fn passwords() {
        let longest = h(PASSWORD_LIMIT);
        for good in ["pass", "pass:word", "pä$$", "!bang", "$x$", &longest] {
            assert!(password(good).is_ok(), "{good}");
        }
        let long = h(PASSWORD_LIMIT + 1);
        for bad in [
            "",
            "a\nb",
            "a\0",
            "\u{7f}",
            "!",
            "*",
            "!!",
            "!$6$x",
            "$argon2id$v=19$x",
            "$apr1$abcdefgh$abcdefghijklmnopqrstuv",
            "{SSHA}x",
            &long,
        ] {
            assert!(password(bad).is_err(), "{bad:?}");
        }
        for (hash, weak) in [
            (format!("$1$s${}", h(22)), true),
            (format!("$6$s${}", h(86)), false),
            (format!("$6$rounds=4999$s${}", h(86)), true),
            (format!("$5$rounds=5000$s${}", h(43)), false),
            (format!("$2b$07${}", h(53)), true),
            (format!("$2b$08${}", h(53)), false),
            ("rancher".to_owned(), false),
        ] {
            assert_eq!(weakness(&hash).is_some(), weak, "{hash}");
        }
    }

    #[test]
    fn tokens() {
        let whole = format!("K10{}::server:x", h(64));
        for good in ["a", "Test123!", &whole] {
            assert!(token(good).is_ok(), "{good}");
        }
        let cut = format!("K10{}", h(64));
        for bad in ["", "a b", "ä", "a\n", &cut, &h(1025)] {
            assert!(token(bad).is_err(), "{bad}");
        }
    }
}
