//! The JSON Schema says of the golden configs what Harrow says: nothing of good ones, in whatever
//! spelling, and something of those with unknown keys and wrong types.
//!
//! The reader of schemas here knows the keywords that ours uses, and panics at any other.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests may panic

#[path = "common/golden.rs"]
mod golden;

use std::fs;
use std::path::PathBuf;

use golden::{cases, entries};
use harrow::config::schema;
use serde_json::{Map, Value as Json, json};

/// Where and why a value is refused.
fn errors(schema: &Json, value: &Json, at: &str, found: &mut Vec<String>) {
    let keywords = schema.as_object().unwrap();
    if let Some(to) = keywords.get("$ref") {
        let pointer = to.as_str().unwrap().strip_prefix('#').unwrap();
        let target = schema::json().pointer(pointer).unwrap();
        return errors(target, value, at, found);
    }
    for (keyword, rule) in keywords {
        let fits = match keyword.as_str() {
            "type" => types(rule).any(|name| is_of(value, name)),
            "const" => value == rule,
            "minimum" => value.as_i64().is_none_or(|n| n >= rule.as_i64().unwrap()),
            "maximum" => value.as_i64().is_none_or(|n| n <= rule.as_i64().unwrap()),
            "pattern" => value
                .as_str()
                .is_none_or(|text| matches(rule.as_str().unwrap(), text)),
            "anyOf" => rule.as_array().unwrap().iter().any(|option| {
                let mut inner = Vec::new();
                errors(option, value, at, &mut inner);
                inner.is_empty()
            }),
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    errors(rule, item, &format!("{at}[{i}]"), found);
                }
                true
            }
            "additionalProperties" => {
                if let Some(map) = value.as_object() {
                    check_keys(keywords, map, at, found);
                }
                true
            }
            "maxProperties" => value
                .as_object()
                .is_none_or(|map| map.len() as u64 <= rule.as_u64().unwrap()),
            "dependentSchemas" => {
                for (key, rule) in rule.as_object().unwrap() {
                    if value.get(key).is_some() {
                        errors(rule, value, at, found);
                    }
                }
                true
            }
            // Looked at with the others, or for people.
            "properties" | "patternProperties" | "$schema" | "title" | "description"
            | "default" | "examples" | "deprecated" => true,
            other => panic!("{other} is a new keyword"),
        };
        if !fits {
            found.push(format!("{at}: {keyword}"));
        }
    }
}

fn check_keys(
    keywords: &Map<String, Json>,
    map: &Map<String, Json>,
    at: &str,
    found: &mut Vec<String>,
) {
    let empty = Map::new();
    let part = |name: &str| keywords.get(name).and_then(Json::as_object);
    for (key, value) in map {
        let at = format!("{at}.{key}");
        let own = part("properties").unwrap_or(&empty).get(key);
        let patterns = part("patternProperties").unwrap_or(&empty).iter();
        let by_pattern = patterns.filter(|(p, _)| matches(p, key)).map(|(_, s)| s);
        let rules: Vec<&Json> = own.into_iter().chain(by_pattern).collect();
        match (rules.as_slice(), &keywords["additionalProperties"]) {
            ([], Json::Bool(false)) => found.push(format!("{at}: no such key")),
            ([], others) => errors(others, value, &at, found),
            ([rule], _) => errors(rule, value, &at, found),
            (many, _) => panic!("{at}: {} rules", many.len()),
        }
    }
}

fn types(rule: &Json) -> impl Iterator<Item = &str> {
    let many = rule.as_array().into_iter().flatten();
    many.chain(rule.is_string().then_some(rule))
        .map(|name| name.as_str().unwrap())
}

fn is_of(value: &Json, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    }
}

/// Whether a text is what a pattern says: anchored alternatives of characters and sets, each
/// perhaps with `?`, `*` or `+`.
fn matches(pattern: &str, text: &str) -> bool {
    let inner = pattern
        .strip_prefix('^')
        .and_then(|p| p.strip_suffix('$'))
        .unwrap();
    let group = inner.strip_prefix('(').and_then(|p| p.strip_suffix(')'));
    let mut alternatives = group.unwrap_or(inner).split('|');
    alternatives.any(|alternative| begins(alternative, text))
}

fn begins(pattern: &str, text: &str) -> bool {
    if pattern.is_empty() {
        return text.is_empty();
    }
    let (atom, rest) = match pattern.strip_prefix('[') {
        Some(set) => set.split_once(']').unwrap(),
        None => pattern.split_at(1),
    };
    assert!(!"(){}\\.".contains(atom), "{pattern}: {atom} is not known");
    let fits = |c: char| match atom.as_bytes() {
        [from, b'-', to] => (*from..=*to).contains(&(c as u8)) && c.is_ascii(),
        _ => atom.contains(c),
    };
    let next = text.chars().next().filter(|c| fits(*c));
    let after = next.map(|c| &text[c.len_utf8()..]);
    match rest.chars().next() {
        Some('?') => begins(&rest[1..], text) || after.is_some_and(|a| begins(&rest[1..], a)),
        Some('*') => begins(&rest[1..], text) || after.is_some_and(|a| begins(pattern, a)),
        Some('+') => after.is_some_and(|a| {
            let again = format!("{}*{}", &pattern[..pattern.len() - rest.len()], &rest[1..]);
            begins(&again, a)
        }),
        _ => after.is_some_and(|a| begins(rest, a)),
    }
}

fn verdict(text: &str) -> Option<Vec<String>> {
    let value: Json = serde_saphyr::from_str(text).ok()?;
    let mut found = Vec::new();
    errors(schema::json(), &value, "", &mut found);
    Some(found)
}

fn configs() -> Vec<(String, PathBuf)> {
    let of_case = |case: PathBuf| {
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let yaml = entries(&case).into_iter();
        let yaml = yaml.filter(|p| p.extension().is_some_and(|e| e == "yaml"));
        yaml.map(move |path| (name.clone(), path))
    };
    cases("config", 60).into_iter().flat_map(of_case).collect()
}

#[test]
fn good_configs_are_good_for_editors() {
    let mut seen = 0;
    for (name, path) in configs().iter().filter(|(n, _)| n.starts_with("good-")) {
        let text = fs::read_to_string(path).unwrap();
        if text.starts_with("Content-Type:") || text.starts_with("MIME-Version:") {
            // No editor looks into a MIME message.
            continue;
        }
        let Some(found) = verdict(&text) else {
            panic!("{name} is not read");
        };
        assert!(found.is_empty(), "{name}: {found:#?}");
        seen += 1;
    }
    assert!(seen >= 30, "{seen}");
}

#[test]
fn what_is_wrong_in_shape_is_wrong_for_editors() {
    let mut seen = 0;
    for (name, path) in configs().iter().filter(|(n, _)| n.starts_with("bad-")) {
        let file = path.file_name().unwrap().to_str().unwrap();
        let expected = fs::read_to_string(path.with_file_name("expected.txt")).unwrap();
        // Options of bonds are free keys of the schema.
        let of_shape = |line: &&str| {
            let codes = ["[unknown-key]", "[wrong-type]", "[not-one-of]"];
            line.starts_with(file)
                && codes.iter().any(|code| line.ends_with(code))
                && !line.contains("bond_options.")
        };
        let wanted = expected.lines().filter(of_shape).count();
        if wanted == 0 {
            continue;
        }
        let Ok(text) = fs::read_to_string(path) else {
            continue;
        };
        // A file that an editor can't read either is not ours to judge.
        if let Some(found) = verdict(&text) {
            assert!(found.len() >= wanted, "{name}: {found:#?}\n{expected}");
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn every_way_to_write_a_value_is_fine() {
    let good = "
SchemeVersion: '1'
token: 12345
OS:
  sshAuthorizedKeys: ssh-ed25519 AAAA
  dns-nameserver: 8.8.8.8
  sshd: {sftp: 'Yes', disablePasswordAuth: }
  labels: {a: 1, b: true}
install:
  mode: Create
  force-mbr: 'no'
  device: {minSize: 400G, pick: Smallest}
  management_interface: {method: '', mtu: '1500', subnet_mask: 24, interface: [{hwAddr: x}]}
  webhooks: [{event: started, basicAuth: {user: x}, headers: {A: b, C: [d]}}]
";
    assert_eq!(verdict(good).unwrap(), Vec::<String>::new());
    for (bad, at) in [
        ("os: {hostnam: x}", ".os.hostnam: no such key"),
        ("os: {hostname: [x]}", ".os.hostname: type"),
        ("install: {mode: destroy}", ".install.mode: anyOf"),
        ("install: {automatic: maybe}", ".install.automatic: pattern"),
        (
            "install: {managementInterface: {mtu: 9001}}",
            ".install.managementInterface.mtu: maximum",
        ),
        ("cluster: {max_pods: many}", ".cluster.max_pods: pattern"),
        ("harvester: {os: 5}", ".harvester.os: type"),
    ] {
        assert_eq!(verdict(bad).unwrap(), [at]);
    }
}

#[test]
fn today_s_keys_alone_are_offered() {
    let os = &schema::json()["properties"]["os"];
    let offered = os["properties"].as_object().unwrap();
    assert!(offered.contains_key("ssh_authorized_keys"));
    assert!(!offered.contains_key("sshAuthorizedKeys"));
    assert_eq!(os["additionalProperties"], json!(false));
}
