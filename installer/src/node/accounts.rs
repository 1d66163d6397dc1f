//! Users of the node: the image's own plus `rancher`, who may do everything through sudo.
//!
//! In: the image's account files and the config. Out: the node's account files.

use super::files::{Content, NodeFile};
use crate::config::Profile;

/// The one person's account.
pub const USER: &str = "rancher";

/// uid and gid of [`USER`].
pub const USER_ID: u32 = 1000;

/// Owner of etcd's data under RKE2's profile `cis`, and its uid and gid.
const DATABASE: (&str, u32) = ("etcd", 52_034);

/// Where sshd finds the keys of [`USER`]; not in its home, so that only the config decides.
pub const KEYS_PATH: &str = "/etc/ssh/authorized_keys.d/rancher";

/// Account files, as texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// `/etc/passwd`
    pub passwd: String,
    /// `/etc/shadow`
    pub shadow: String,
    /// `/etc/group`
    pub group: String,
    /// `/etc/gshadow`
    pub gshadow: String,
}

/// The image's accounts, with the owner of the database when there is to be one.
fn with_database(image: &Accounts, profile: Option<Profile>) -> Accounts {
    let Some(Profile::Cis) = profile else {
        return image.clone();
    };
    let (name, id) = DATABASE;
    Accounts {
        passwd: with_line(
            &image.passwd,
            &format!("{name}:x:{id}:{id}::/nonexistent:/usr/sbin/nologin"),
        ),
        shadow: with_line(&image.shadow, &format!("{name}:!*:::::::")),
        group: with_line(&image.group, &format!("{name}:x:{id}:")),
        gshadow: with_line(&image.gshadow, &format!("{name}:!::")),
    }
}

/// Adds `rancher` with this crypt(3) hash (no password login when absent) and these keys.
/// RKE2's profile wants an owner for the database.
pub fn render_accounts(
    image: &Accounts,
    profile: Option<Profile>,
    hash: Option<&str>,
    keys: &[String],
) -> Vec<NodeFile> {
    let id = USER_ID;
    let hash = hash.unwrap_or("*");
    let image = &with_database(image, profile);
    let passwd = with_line(
        &image.passwd,
        &format!("{USER}:x:{id}:{id}::/home/{USER}:/bin/bash"),
    );
    // Fields as in shadow(5): no last change, so the password does not expire.
    let shadow = with_line(&image.shadow, &format!("{USER}:{hash}::0:99999:7:::"));
    let group = with_line(&image.group, &format!("{USER}:x:{id}:"));
    let gshadow = with_line(&image.gshadow, &format!("{USER}:!::"));
    let sudoers = format!("{USER} ALL=(ALL:ALL) NOPASSWD: ALL\n");
    let secret = |path: &str, text: String| NodeFile {
        path: path.to_owned(),
        content: Content::File {
            bytes: text.into_bytes(),
            mode: 0o640,
            owner: ("root".to_owned(), "shadow".to_owned()),
        },
    };
    let keys: String = keys.iter().map(|key| format!("{key}\n")).collect();
    let home = NodeFile {
        path: format!("/home/{USER}"),
        content: Content::Dir {
            mode: 0o750,
            owner: (USER.to_owned(), USER.to_owned()),
        },
    };
    vec![
        home,
        NodeFile::text("/etc/passwd", passwd),
        secret("/etc/shadow", shadow),
        NodeFile::text("/etc/group", group),
        secret("/etc/gshadow", gshadow),
        NodeFile::with_mode("/etc/sudoers.d/rancher", sudoers, 0o440),
        NodeFile::text(KEYS_PATH, keys),
    ]
}

/// `text` with `line` at its end, instead of lines that begin with the same name.
fn with_line(text: &str, line: &str) -> String {
    let name = line.split(':').next().unwrap_or_default();
    let mut out = String::with_capacity(text.len() + line.len() + 1);
    for old in text.lines().filter(|l| l.split(':').next() != Some(name)) {
        out.push_str(old);
        out.push('\n');
    }
    out.push_str(line);
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_twice_is_adding_once() {
        let once = with_line(
            "root:x:0:0::/root:/bin/bash\n",
            "rancher:x:1000:1000::/home/rancher:/bin/bash",
        );
        assert_eq!(
            with_line(&once, "rancher:x:1000:1000::/home/rancher:/bin/bash"),
            once
        );
        assert_eq!(once.lines().count(), 2);
    }
}
