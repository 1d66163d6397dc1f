//! Whether the program runs as its unit says.
//!
//! In: the cgroup that it runs in, the folders of units, its own path and role. Out: problems. RKE2 finds its
//! data by paths that the unit and the unpacked tarball agree on.

use std::path::{Path, PathBuf};

use super::Role;
use super::rules::below;

/// Where systemd looks for units, strongest first (systemd.unit(5)).
const FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];
/// What a release's tarball has beside the program.
const TARBALL: [&str; 4] = [
    "bin/rke2-killall.sh",
    "bin/rke2-uninstall.sh",
    "share/rke2/LICENSE.txt",
    "share/rke2/rke2-cis-sysctl.conf",
];

/// What is known of the process.
#[derive(Debug, Clone)]
pub struct Process {
    /// `/proc/self/cgroup`.
    pub cgroup: String,
    /// The program, links resolved.
    pub program: PathBuf,
    /// Whether there is a socket to tell systemd that it is ready.
    pub can_notify: bool,
}

/// Compares the process with its unit below `root`.
pub fn check(root: &Path, role: Role, process: &Process) -> Vec<String> {
    let mut problems = Vec::new();
    if !process.can_notify {
        problems.push("NOTIFY_SOCKET is not set: the unit is not of Type=notify".to_owned());
    }
    if let Some(prefix) = process.program.parent().and_then(Path::parent) {
        for name in TARBALL {
            if !prefix.join(name).is_file() {
                let at = prefix.display();
                problems.push(format!("{at} is no unpacked release: it has no {name}"));
            }
        }
    }
    let expected = format!("rke2-{role}.service");
    let unit = process.cgroup.lines().find_map(|line| {
        let name = line.rsplit('/').find(|name| name.ends_with(".service"))?;
        Some(name.to_owned())
    });
    match unit {
        Some(unit) if unit == expected => check_start(root, role, process, &unit, &mut problems),
        Some(unit) => problems.push(format!("runs in {unit}, not in {expected}")),
        None => problems.push(format!("runs in no unit, not in {expected}")),
    }
    problems
}

fn check_start(root: &Path, role: Role, process: &Process, unit: &str, problems: &mut Vec<String>) {
    let Some(text) = text_of(root, unit) else {
        problems.push(format!("there is no file {unit}"));
        return;
    };
    let starts = values(&text, "ExecStart");
    let [start] = starts.as_slice() else {
        problems.push(format!("{unit} has {} ExecStart", starts.len()));
        return;
    };
    let mut words = start.split_whitespace();
    let program = words.next().unwrap_or_default();
    let program = program.trim_start_matches(['-', '@', ':', '+', '!']);
    if words.next() != Some(role.name()) {
        problems.push(format!("{unit} does not start the role {role}: {start}"));
    }
    match below(root, program).canonicalize() {
        Ok(path) if path == process.program => {}
        Ok(path) => problems.push(format!(
            "{unit} starts {program}, which is {}, and this is {}",
            path.display(),
            process.program.display()
        )),
        Err(error) => problems.push(format!("{unit} starts {program}: {error}")),
    }
    if values(&text, "Type").last().map(String::as_str) != Some("notify") {
        problems.push(format!("{unit} is not of Type=notify"));
    }
}

/// The unit's file, and then its drop-ins in the order of their names.
fn text_of(root: &Path, unit: &str) -> Option<String> {
    let main = FOLDERS
        .iter()
        .map(|folder| below(root, folder).join(unit))
        .find(|path| path.is_file())?;
    let mut text = std::fs::read_to_string(main).ok()?;
    let mut drop_ins = std::collections::BTreeMap::new();
    for folder in FOLDERS.iter().rev() {
        let folder = below(root, folder).join(format!("{unit}.d"));
        let entries = folder.read_dir().ok();
        for path in entries.into_iter().flatten().flatten().map(|it| it.path()) {
            if path.extension().is_some_and(|ending| ending == "conf") {
                drop_ins.insert(path.file_name().map(ToOwned::to_owned), path);
            }
        }
    }
    for path in drop_ins.values() {
        text.push('\n');
        text.push_str(&std::fs::read_to_string(path).ok()?);
    }
    Some(text)
}

/// All values of a setting; an empty one forgets those before.
fn values(text: &str, key: &str) -> Vec<String> {
    let mut values = Vec::new();
    for line in text.replace("\\\n", " ").lines() {
        if let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            match value.trim() {
                "" => values.clear(),
                value => values.push(value.to_owned()),
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Node(tempfile::TempDir);

    impl Node {
        /// A node whose payload is in the image and reached by a link.
        fn new() -> Self {
            let node = Self(tempfile::tempdir().unwrap());
            let rke2 = "/usr/lib/harrow/payload/rke2";
            node.write(&format!("{rke2}/bin/rke2"), "");
            for name in TARBALL {
                node.write(&format!("{rke2}/{name}"), "");
            }
            let run = node.at("/run/harrow");
            std::fs::create_dir_all(&run).unwrap();
            std::os::unix::fs::symlink("../../usr/lib/harrow/payload", run.join("payload"))
                .unwrap();
            node.write(
                "/usr/lib/systemd/system/rke2-server.service",
                "[Service]\nType=notify\nExecStart=/run/harrow/payload/rke2/bin/rke2 \\\n  server\n",
            );
            node
        }

        fn at(&self, path: &str) -> PathBuf {
            below(self.0.path(), path)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.at(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn check(&self, cgroup: &str, role: Role) -> Vec<String> {
            let program = self.at("/usr/lib/harrow/payload/rke2/bin/rke2");
            let process = Process {
                cgroup: cgroup.into(),
                program: program.canonicalize().unwrap(),
                can_notify: true,
            };
            check(self.0.path(), role, &process)
        }
    }

    const CGROUP: &str = "0::/system.slice/rke2-server.service\n";

    #[test]
    fn a_program_that_its_unit_started_is_fine() {
        let node = Node::new();
        assert_eq!(node.check(CGROUP, Role::Server), [] as [String; 0]);
        let inner = "0::/system.slice/rke2-server.service/supervisor\n";
        assert_eq!(node.check(inner, Role::Server), [] as [String; 0]);
    }

    #[test]
    fn another_unit_path_or_role_is_refused() {
        let drop_in = "/etc/systemd/system/rke2-server.service.d/10-x.conf";
        for (cgroup, role, file, text, expected) in [
            (CGROUP, Role::Agent, "/x", "", "not in rke2-agent.service"),
            ("0::/user.slice\n", Role::Server, "/x", "", "in no unit"),
            (
                CGROUP,
                Role::Server,
                drop_in,
                "ExecStart=\nExecStart=/usr/local/bin/rke2 server\n",
                "starts /usr/local/bin/rke2",
            ),
            (
                CGROUP,
                Role::Server,
                drop_in,
                "ExecStart=/a\n",
                "has 2 ExecStart",
            ),
            (
                CGROUP,
                Role::Server,
                "/etc/systemd/system/rke2-server.service",
                "Type=notify\nExecStart=/run/harrow/payload/rke2/bin/rke2 agent\n",
                "does not start the role server",
            ),
            (
                CGROUP,
                Role::Server,
                drop_in,
                "Type=simple\n",
                "Type=notify",
            ),
        ] {
            let node = Node::new();
            node.write(file, text);
            let problems = node.check(cgroup, role);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains(expected), "{problems:?}");
        }
        let node = Node::new();
        std::fs::remove_file(node.at("/usr/lib/harrow/payload/rke2/share/rke2/LICENSE.txt"))
            .unwrap();
        assert!(node.check(CGROUP, Role::Server)[0].contains("LICENSE.txt"));
    }
}
