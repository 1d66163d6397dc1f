use super::*;

/// The merged config of these files, and its problems without the folder's name.
fn read_files(role: Role, files: &[(&str, &str)]) -> (Config, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("config.yaml.d")).unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut problems = Vec::new();
    let config = read(folder.path(), role, &mut problems);
    let path = format!("{}/", folder.path().display());
    let problems = problems.iter().map(|said| said.replace(&path, ""));
    (config, problems.collect())
}

type Case<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, &'a [&'a str])]);

#[test]
fn files_are_merged_as_rke2_merges_them() {
    let cases: [Case; 11] = [
        // The file, then the folder in the order of names.
        (
            &[
                ("config.yaml", "node-name: a\ntoken: t\n"),
                ("config.yaml.d/90-b.yaml", "node-name: c\n"),
                ("config.yaml.d/10-a.yml", "node-name: b\n"),
            ],
            &[("node-name", &["c"]), ("token", &["t"])],
        ),
        // The folder alone will do.
        (
            &[("config.yaml.d/a.yaml", "token: t\n")],
            &[("token", &["t"])],
        ),
        // Names are compared byte by byte; dotfiles count, other endings do not.
        (
            &[
                ("config.yaml.d/.z.yaml", "token: dot\n"),
                ("config.yaml.d/A.YAML", "token: upper\n"),
                ("config.yaml.d/a.yaml.bak", "token: no\n"),
                ("config.yaml.d/b.json", "token: no\n"),
            ],
            &[("token", &["upper"])],
        ),
        // A list replaces a list.
        (
            &[
                ("config.yaml", "tls-san: [a, b]\n"),
                ("config.yaml.d/1.yaml", "tls-san: [c]\n"),
            ],
            &[("tls-san", &["c"])],
        ),
        // `+` adds, in the order of files, to text or list.
        (
            &[
                ("config.yaml", "tls-san: a\n"),
                ("config.yaml.d/1.yaml", "tls-san+: [b]\n"),
                ("config.yaml.d/2.yaml", "tls-san+: c\n"),
            ],
            &[("tls-san", &["a", "b", "c"])],
        ),
        // `+` on what is not there yet.
        (
            &[
                ("config.yaml", "tls-san+: [a]\n"),
                ("config.yaml.d/1.yaml", "tls-san+: [b]\n"),
            ],
            &[("tls-san", &["a", "b"])],
        ),
        // A later file without `+` replaces it all.
        (
            &[
                ("config.yaml", "tls-san: [a]\n"),
                ("config.yaml.d/1.yaml", "tls-san+: [b]\n"),
                ("config.yaml.d/2.yaml", "tls-san: [c]\n"),
            ],
            &[("tls-san", &["c"])],
        ),
        // Both in one file.
        (
            &[("config.yaml", "tls-san: [a]\ntls-san+: [b]\n")],
            &[("tls-san", &["a", "b"])],
        ),
        // Nothing adds nothing.
        (
            &[
                ("config.yaml", "tls-san: [a]\n"),
                ("config.yaml.d/1.yaml", "tls-san+:\n"),
                ("config.yaml.d/2.yaml", "tls-san+: ''\n"),
            ],
            &[("tls-san", &["a"])],
        ),
        // An empty list is no flag; an empty file says nothing.
        (
            &[
                ("config.yaml", "disable: []\ncni: [multus, canal]\n"),
                ("config.yaml.d/1.yaml", "# nothing\n"),
            ],
            &[("disable", &[]), ("cni", &["multus", "canal"])],
        ),
        // Every kind of value.
        (
            &[(
                "config.yaml",
                "selinux: yes\ndebug: 'false'\nlb-server-port: 6444\netcd-s3-timeout: 1m30s\nwrite-kubeconfig-mode: '0600'\n",
            )],
            &[
                ("selinux", &["true"]),
                ("debug", &["false"]),
                ("lb-server-port", &["6444"]),
                ("etcd-s3-timeout", &["1m30s"]),
                ("write-kubeconfig-mode", &["0600"]),
            ],
        ),
    ];
    for (files, expected) in cases {
        let (config, problems) = read_files(Role::Server, files);
        assert_eq!(problems, [] as [String; 0], "{files:?}");
        assert_eq!(config, Config::of(expected), "{files:?}");
    }
}

#[test]
fn what_a_flag_does_not_take_is_refused() {
    use Role::{Agent, Server};
    for (role, text, expected) in [
        (Server, "tls-sans: [a]", "tls-sans: is no key of RKE2"),
        (Server, "helm-controller-arg: [a=b]", "is no key of RKE2"),
        (Server, "t: x", "t: is no key of RKE2"),
        (Server, "cluster-init: true", "is a key of k3s"),
        (Server, "flannel-backend: vxlan", "is a key of k3s"),
        (Agent, "tls-san: [a]", "is a key of servers"),
        (Agent, "tls-san+: [a]", "is a key of servers"),
        (Agent, "cni: canal", "is a key of servers"),
        (Server, "token: 12345", "token: is a number in YAML"),
        (Server, "token: on", "token: is true or false in YAML"),
        (Server, "token: [a, b]", "is a list, and takes one value"),
        (Server, "token: {a: b}", "is a map, not a text"),
        (Server, "token:", "is empty, not a text"),
        (Server, "write-kubeconfig-mode: 0644", "is a number in YAML"),
        (Server, "node-label: [{a: b}]", "is a map, not a text"),
        (Server, "node-label: [1]", "is a number in YAML"),
        (Server, "node-label: [[a]]", "is a list, not a text"),
        (Server, "debug: maybe", "is \"maybe\", not true or false"),
        (Server, "debug: [true]", "is a list, and takes one value"),
        (Server, "lb-server-port: 64.5", "not a whole number"),
        (Server, "lb-server-port: many", "not a whole number"),
        (Server, "etcd-s3-timeout: 30", "not a duration"),
        (Server, "etcd-s3-timeout: 5 m", "not a duration"),
        (Server, "etcd-s3-timeout: h", "not a duration"),
        (Server, "- token", "is a list, no map"),
        (Server, "token: t\n---\ndebug: true", "2 documents"),
        (Server, "token: t\ntoken: u", "is there twice"),
        (Server, "token: [", "line 1"),
    ] {
        let (_, problems) = read_files(role, &[("config.yaml.d/50-x.yaml", text)]);
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert!(
            problems[0].contains(expected) && problems[0].contains("config.yaml.d/50-x.yaml"),
            "{text}: {problems:?}"
        );
    }
}

#[test]
fn all_problems_come_at_once_and_an_empty_folder_is_one() {
    let (config, problems) = read_files(
        Role::Agent,
        &[
            ("config.yaml", "a: 1\nserver: https://x:9345\n"),
            ("config.yaml.d/1.yaml", "b: 2\n"),
            ("config.yaml.d/2.yaml", "["),
        ],
    );
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert_eq!(config.text("server"), Some("https://x:9345"));
    let (_, problems) = read_files(Role::Agent, &[]);
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn durations_are_gos() {
    for (text, is) in [
        ("0", true),
        ("10m", true),
        ("1h30m", true),
        ("1.5s", true),
        ("-2ms", true),
        ("100µs", true),
        ("", false),
        ("10", false),
        ("m", false),
        ("1.2.3s", false),
        ("1d", false),
        ("1h 2m", false),
    ] {
        assert_eq!(is_duration(text), is, "{text:?}");
    }
}
