//! Who can log in, and what lies on the node.

use std::collections::HashMap;

use super::super::answers::Answers;
use super::super::formats;
use super::super::problem::{Code, Problems};
use super::super::secret::Secret;

/// A node that nobody can log in to can't be repaired.
pub fn somebody_can_log_in(answers: &Answers, problems: &mut Problems) {
    let os = &answers.os;
    match (&os.password, os.ssh_authorized_keys.is_empty()) {
        (None, true) => problems.add(
            Code::NoLogin,
            "os",
            "neither password nor ssh_authorized_keys is given, nobody could log in",
            "set os.ssh_authorized_keys or os.password",
        ),
        (Some(_), true) if os.sshd.disable_password_auth == Some(true) => problems.add(
            Code::NoSshLogin,
            "os.sshd.disable_password_auth",
            "passwords are refused and there are no keys, so nobody could log in over ssh",
            "set os.ssh_authorized_keys",
        ),
        _ => {}
    }
}

/// Old kinds of hashes are broken in minutes.
pub fn hash_is_strong(answers: &Answers, problems: &mut Problems) {
    let password = answers.os.password.as_ref().map(Secret::expose);
    if let Some(weakness) = password.and_then(formats::weakness) {
        problems.add(
            Code::WeakHash,
            "os.password",
            weakness,
            "make one with `openssl passwd -6` or `mkpasswd -m yescrypt`",
        );
    }
}

/// Of two files with one path, one would be lost.
pub fn files_are_distinct(answers: &Answers, problems: &mut Problems) {
    let mut seen = HashMap::new();
    let files = answers.os.write_files.iter().enumerate();
    for (i, file) in files.filter(|(_, file)| !file.path.is_empty()) {
        if let Some(first) = seen.insert(file.path.as_str(), i) {
            problems.add(
                Code::DuplicateValue,
                format!("os.write_files[{i}].path"),
                format!("os.write_files[{first}] has the same path"),
                "keep one of the two",
            );
        }
    }
}
