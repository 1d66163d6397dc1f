//! `registries.yaml`: which mirrors and credentials containerd is given.
//!
//! In: the file's text. Out: problems. The shape is that of rancher/wharfie pkg/registries, as RKE2's
//! docs/install/private_registry.md explains it.

use std::path::Path;

use super::rules::below;
use super::yaml::{Yaml, parse_one};

const AUTH: [&str; 4] = ["username", "password", "auth", "identity_token"];
const TLS: [&str; 3] = ["ca_file", "cert_file", "key_file"];

/// Checks the text of the file; files that it names are looked for below `root`.
pub fn check(text: &str, root: &Path) -> Vec<String> {
    let mut problems = Problems(Vec::new());
    match parse_one(text) {
        Err(error) => problems.add("", format!("{error:#}")),
        Ok(tree) => {
            problems.map("", &tree);
            for (key, value) in tree.entries() {
                problems.map(key, value);
                for (name, entry) in value.entries() {
                    let at = format!("{key}.{name}");
                    problems.map(&at, entry);
                    match key.as_str() {
                        "mirrors" => problems.mirror(&at, entry),
                        "configs" => problems.config(&at, entry, root),
                        _ => {}
                    }
                }
                if !matches!(key.as_str(), "mirrors" | "configs") {
                    problems.add(key, "is no key of registries.yaml".to_owned());
                }
            }
        }
    }
    problems.0
}

struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, at: &str, what: String) {
        self.0.push(format!("registries.yaml: {at}: {what}"));
    }

    fn map(&mut self, at: &str, value: &Yaml) {
        if !matches!(value, Yaml::Map(_) | Yaml::Null) {
            self.add(at, format!("is {}, no map", value.kind()));
        }
    }

    fn text(&mut self, at: &str, value: &Yaml) {
        if value.text().is_none_or(str::is_empty) {
            self.add(at, format!("is {}, no text", value.kind()));
        }
    }

    fn mirror(&mut self, at: &str, mirror: &Yaml) {
        for (key, value) in mirror.entries() {
            let at = format!("{at}.{key}");
            match (key.as_str(), value) {
                ("endpoint", Yaml::List(items)) => {
                    for item in items {
                        let url = item.text().unwrap_or_default();
                        if !url.starts_with("https://") && !url.starts_with("http://") {
                            self.add(&at, format!("{url:?} is no URL"));
                        }
                    }
                }
                ("endpoint", other) => self.add(&at, format!("is {}, no list", other.kind())),
                ("rewrite", rewrite) => {
                    self.map(&at, rewrite);
                    for (_, to) in rewrite.entries() {
                        self.text(&at, to);
                    }
                }
                _ => self.add(&at, "is no key of a mirror".to_owned()),
            }
        }
    }

    fn config(&mut self, at: &str, config: &Yaml, root: &Path) {
        for (key, value) in config.entries() {
            let at = format!("{at}.{key}");
            self.map(&at, value);
            for (name, value) in value.entries() {
                let at = format!("{at}.{name}");
                match (key.as_str(), name.as_str()) {
                    ("auth", name) if AUTH.contains(&name) => self.text(&at, value),
                    ("tls", "insecure_skip_verify") => {
                        if !matches!(value, Yaml::Bool(_)) {
                            self.add(&at, format!("is {}", value.kind()));
                        }
                    }
                    ("tls", name) if TLS.contains(&name) => {
                        self.text(&at, value);
                        let path = value.text().unwrap_or_default();
                        if !below(root, path).is_file() {
                            self.add(&at, format!("there is no file {path}"));
                        }
                    }
                    _ => self.add(&at, "is no key there".to_owned()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_checked() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("ca.pem"), "x").unwrap();
        for (text, expected) in [
            ("", None),
            ("mirrors:\n  docker.io:\n", None),
            (
                "mirrors:\n  '*': {endpoint: ['https://r:5000'], rewrite: {'^(.*)$': 'x/$1'}}\n\
                 configs:\n  r:5000: {auth: {username: u, password: p}, tls: {ca_file: /ca.pem, insecure_skip_verify: true}}\n",
                None,
            ),
            ("- a", Some(": is a list, no map")),
            ("mirror: {}", Some("mirror: is no key of registries.yaml")),
            ("mirrors: []", Some("mirrors: is a list, no map")),
            (
                "mirrors: {a: {endpoints: []}}",
                Some("mirrors.a.endpoints: is no key of a mirror"),
            ),
            (
                "mirrors: {a: {endpoint: 'https://b'}}",
                Some("mirrors.a.endpoint: is a text, no list"),
            ),
            ("mirrors: {a: {endpoint: [b]}}", Some("\"b\" is no URL")),
            (
                "mirrors: {a: {rewrite: {a: 1}}}",
                Some("mirrors.a.rewrite: is a number"),
            ),
            (
                "configs: {a: {auth: {user: x}}}",
                Some("configs.a.auth.user: is no key there"),
            ),
            (
                "configs: {a: {auth: {password: 123}}}",
                Some("configs.a.auth.password: is a number"),
            ),
            (
                "configs: {a: {tls: {ca_file: /none}}}",
                Some("there is no file /none"),
            ),
            (
                "configs: {a: {tls: {insecure_skip_verify: 'yes'}}}",
                Some("insecure_skip_verify: is a text"),
            ),
            ("a: [", Some("line 1")),
        ] {
            let problems = check(text, root.path());
            match expected {
                None => assert_eq!(problems, [] as [String; 0], "{text}"),
                Some(expected) => {
                    assert_eq!(problems.len(), 1, "{text}: {problems:?}");
                    assert!(problems[0].contains(expected), "{text}: {problems:?}");
                }
            }
        }
    }
}
