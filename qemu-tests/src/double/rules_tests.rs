use super::*;

const JOIN: (&str, &[&str]) = ("server", &["https://10.0.0.5:9345"]);
const TOKEN: (&str, &[&str]) = ("token", &["t"]);

fn problems_of(role: Role, entries: &[(&str, &[&str])]) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    let etc = root.path().join("etc");
    std::fs::create_dir(&etc).unwrap();
    std::fs::write(etc.join("empty"), "\n").unwrap();
    std::fs::write(etc.join("token"), "t\n").unwrap();
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n  - level: Metadata\n";
    std::fs::write(etc.join("audit.yaml"), policy).unwrap();
    check(root.path(), role, &Config::of(entries), Some("10.0.0.5"))
}

#[test]
fn what_harrow_renders_has_no_problems() {
    let server: [(&str, &[&str]); 12] = [
        ("token-file", &["/etc/token"]),
        ("audit-policy-file", &["/etc/audit.yaml"]),
        ("tls-san", &["10.0.0.5", "cluster.example.org"]),
        ("cni", &["multus,canal"]),
        ("cluster-cidr", &["10.52.0.0/16", "fd00:52::/56"]),
        ("service-cidr", &["10.53.0.0/16", "fd00:53::/112"]),
        ("cluster-dns", &["10.53.0.10"]),
        ("node-label", &["a.b/c=true", "d="]),
        (
            "node-taint",
            &[
                "node-role.kubernetes.io/etcd=true:NoExecute",
                "a:NoSchedule",
            ],
        ),
        ("kubelet-arg", &["max-pods=200", "v"]),
        ("write-kubeconfig-mode", &["0640"]),
        ("kube-scheduler-extra-mount", &["/a:/b:ro"]),
    ];
    assert_eq!(problems_of(Role::Server, &server), [] as [String; 0]);
    assert_eq!(problems_of(Role::Agent, &[TOKEN, JOIN]), [] as [String; 0]);
}

#[test]
fn each_rule_is_enforced() {
    let san: (&str, &[&str]) = ("tls-san", &["10.0.0.5"]);
    let cases: [(&str, &[&str], &str); 32] = [
        ("tls-san", &["10.0.0.6"], "kube-vip's address 10.0.0.5"),
        ("server", &["https://10.0.0.5"], "https://HOST:9345"),
        ("server", &["https://10.0.0.5:6443"], "https://HOST:9345"),
        ("server", &["http://10.0.0.5:9345"], "https://HOST:9345"),
        ("server", &["https://10.0.0.5:9345/"], "https://HOST:9345"),
        ("server", &["https://:9345"], "https://HOST:9345"),
        ("server", &["https://a_b:9345"], "https://HOST:9345"),
        ("server", &["https://[fd00::x]:9345"], "https://HOST:9345"),
        ("cni", &["multus"], "another plugin behind it"),
        ("cni", &["canal", "multus"], "the first must be multus"),
        ("cni", &["multus", "canal", "calico"], "two at most"),
        ("cni", &["multus,weave"], "\"weave\" is none of"),
        ("cluster-cidr", &["10.43.128.0/17"], "overlap"),
        ("cluster-cidr", &["10.0.0.0/8"], "overlap"),
        ("cluster-cidr", &["10.52.0.1/16"], "is no network"),
        ("cluster-cidr", &["10.52.0.0"], "is no network"),
        ("cluster-dns", &["10.53.0.10"], "is no address of"),
        ("cluster-dns", &["dns"], "is no address of"),
        ("node-ip", &["10.42.0.1"], "own networks"),
        ("node-ip", &["eth0"], "own networks"),
        ("profile", &["cis-1.5"], "is none of cis, etcd"),
        ("profile", &["cis"], "no user etcd"),
        ("ingress-controller", &["nginx"], "is none of"),
        ("write-kubeconfig-mode", &["rw"], "octal"),
        ("audit-policy-file", &["/etc/none"], "/etc/none"),
        ("audit-policy-file", &["/etc/empty"], "is empty"),
        ("audit-policy-file", &["/etc/token"], "is no Policy"),
        ("node-label", &["a"], "node-label"),
        ("node-label", &["-a=b"], "node-label"),
        ("node-taint", &["a=b:Never"], "node-taint"),
        ("kubelet-arg", &["--max-pods=200"], "kubelet-arg"),
        ("etcd-extra-env", &["A"], "etcd-extra-env"),
    ];
    for (key, values, expected) in cases {
        let mut entries = vec![TOKEN, (key, values)];
        if key != "tls-san" {
            entries.push(san);
        }
        let problems = problems_of(Role::Server, &entries);
        assert!(
            problems.iter().any(|said| said.contains(expected)),
            "{key} {values:?}: {problems:?}"
        );
        if key != "profile" {
            assert_eq!(problems.len(), 1, "{key} {values:?}: {problems:?}");
        }
    }
    for (role, entries, expected) in [
        (Role::Server, vec![san], "token: is missing"),
        (Role::Agent, vec![JOIN], "token: is missing"),
        (Role::Agent, vec![TOKEN], "server: is missing"),
    ] {
        let problems = problems_of(role, &entries);
        assert!(problems[0].contains(expected), "{problems:?}");
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}

#[test]
fn a_path_of_the_node_stays_below_the_root() {
    let root = Path::new("/r");
    assert_eq!(below(root, "/etc/x"), Path::new("/r/etc/x"));
    assert_eq!(below(root, "/../x"), Path::new("/r/x"));
    assert_eq!(below(Path::new("/"), "/etc/x"), Path::new("/etc/x"));
}
