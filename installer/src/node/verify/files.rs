//! Every file that the config renders, as it lies on the node.
//!
//! Contents are compared but shown only as digests: some are secret.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::super::files::{Content, Names, NodeFile, under};
use super::Check;

/// Compares each file below `top` with what was rendered.
pub fn check(rendered: &[NodeFile], top: &Path) -> Vec<Check> {
    let read = |path: &str| fs::read_to_string(under(top, path)).unwrap_or_default();
    let names = Names::parse(&read("/etc/passwd"), &read("/etc/group"));
    let mut checks: Vec<Check> = rendered
        .iter()
        .map(|file| check_file(file, top, &names))
        .collect();
    checks.sort_by(|a, b| a.check.cmp(&b.check));
    checks
}

fn check_file(file: &NodeFile, top: &Path, names: &Names) -> Check {
    let name = format!("file {}", file.path);
    let expected = match describe_expected(file, names) {
        Ok(text) => text,
        Err(error) => return Check::holds(name, false, "a known owner", format!("{error:#}")),
    };
    let actual = describe_actual(&under(top, &file.path)).unwrap_or_else(|e| e.to_string());
    Check::equal(name, expected, actual)
}

fn describe_expected(file: &NodeFile, names: &Names) -> anyhow::Result<String> {
    Ok(match &file.content {
        Content::File { bytes, mode, owner } => {
            let (uid, gid) = names.ids(owner)?;
            format!("{} {mode:04o} {uid}:{gid}", digest(bytes))
        }
        Content::Dir { mode, owner } => {
            let (uid, gid) = names.ids(owner)?;
            format!("folder {mode:04o} {uid}:{gid}")
        }
        Content::Link(target) => format!("link to {target}"),
    })
}

fn describe_actual(path: &Path) -> std::io::Result<String> {
    let meta = path.symlink_metadata()?;
    if meta.is_symlink() {
        return Ok(format!("link to {}", fs::read_link(path)?.display()));
    }
    let (mode, uid, gid) = (meta.mode() & 0o7777, meta.uid(), meta.gid());
    if meta.is_dir() {
        return Ok(format!("folder {mode:04o} {uid}:{gid}"));
    }
    Ok(format!(
        "{} {mode:04o} {uid}:{gid}",
        digest(&fs::read(path)?)
    ))
}

fn digest(bytes: &[u8]) -> String {
    let hash = hex::encode(Sha256::digest(bytes));
    format!("{} bytes sha256:{}", bytes.len(), &hash[..12])
}

#[cfg(test)]
mod tests {
    use super::super::super::files;
    use super::super::Status;
    use super::*;

    #[test]
    fn what_was_written_is_right_and_any_change_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let me = rustix::process::getuid().as_raw().to_string();
        let group = rustix::process::getgid().as_raw().to_string();
        let file = NodeFile {
            path: "/etc/secret".into(),
            content: Content::File {
                bytes: b"hunter2".to_vec(),
                mode: 0o600,
                owner: (me, group),
            },
        };
        let rendered = [file, NodeFile::link("/etc/link", "secret")];
        for file in &rendered {
            files::write(dir.path(), file, &Names::default()).unwrap();
        }
        let all = |want: [Status; 2]| {
            let checks = check(&rendered, dir.path());
            assert_eq!([checks[0].status, checks[1].status], want, "{checks:?}");
            assert!(!format!("{checks:?}").contains("hunter2"));
        };
        all([Status::Ok, Status::Ok]);
        let path = dir.path().join("etc/secret");
        fs::write(&path, "hunter3").unwrap();
        all([Status::Ok, Status::Differs]);
        fs::remove_file(&path).unwrap();
        all([Status::Ok, Status::Differs]);
        fs::remove_file(dir.path().join("etc/link")).unwrap();
        all([Status::Differs, Status::Differs]);
    }
}
