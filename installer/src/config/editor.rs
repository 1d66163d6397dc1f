//! The JSON Schema for editors, as `harrow config schema` prints it (draft 2020-12).
//!
//! In: the [`Shape`] of a config. Out: a schema that says yes to what Harrow reads without an
//! error of shape: a text may be a number, a number may be in quotes, one value stands for a list
//! of it, words have any case, a key without a value says nothing.
//!
//! `properties` has today's keys only, so that an editor offers no others; further spellings
//! are `patternProperties`. Their patterns are alternatives of whole words, since not every
//! reader of schemas knows more of regular expressions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::schema::{Kind, Shape};
use super::spelling;
use super::tree::join;

/// Types that are read as a text.
const TEXT: [&str; 4] = ["string", "number", "boolean", "null"];

/// The schema of a whole config.
pub fn render(shape: &Shape) -> Json {
    let mut root = render_shape(shape, "#", "");
    if let Json::Object(map) = &mut root {
        map.insert(
            "$schema".into(),
            "https://json-schema.org/draft/2020-12/schema".into(),
        );
        map.insert("title".into(), "Harrow configuration".into());
        map.insert("type".into(), "object".into());
        if let Some(Json::Object(patterns)) = map.get_mut("patternProperties") {
            // What user data can have around a config, and then nothing beside it.
            patterns.insert("^(harrow|harvester)$".into(), json!({"$ref": "#"}));
            let alone = json!({"maxProperties": 1});
            let wrappers = json!({"harrow": alone, "harvester": alone});
            map.insert("dependentSchemas".into(), wrappers);
        }
    }
    root
}

/// `pointer` is where the schema itself will be (RFC 6901), `path` the key that it is of.
fn render_shape(shape: &Shape, pointer: &str, path: &str) -> Json {
    let mut map = render_kind(&shape.kind, pointer, path);
    if !shape.description.is_empty() {
        map.insert("description".into(), describe(shape).into());
    }
    if let Some(default) = &shape.default {
        map.insert("default".into(), default.clone());
    }
    if let Some(example) = &shape.example {
        map.insert("examples".into(), json!([example]));
    }
    if shape.no_meaning.is_some() {
        map.insert("deprecated".into(), true.into());
    }
    Json::Object(map)
}

fn describe(shape: &Shape) -> String {
    let mut text = shape.description.clone();
    if let Some(reason) = &shape.no_meaning {
        text += &format!(" No effect: {reason}.");
    }
    if shape.not_yet {
        text += " (Checked, but nothing acts on it yet.)";
    }
    text
}

fn render_kind(kind: &Kind, pointer: &str, path: &str) -> Map<String, Json> {
    let value = match kind {
        Kind::Struct(fields) => return render_fields(fields, &["object", "null"], pointer, path),
        Kind::TextOr(fields) => {
            let types: Vec<&str> = TEXT.into_iter().chain(["object"]).collect();
            return render_fields(fields, &types, pointer, path);
        }
        Kind::Map(inner) => json!({
            "type": ["object", "null"],
            "additionalProperties":
                render_shape(inner, &format!("{pointer}/additionalProperties"), path),
        }),
        Kind::List(inner) => {
            let mut types = vec!["array", "null"];
            if !matches!(inner.kind, Kind::Struct(_)) {
                types.extend(&TEXT[..3]);
            }
            let items = render_shape(inner, &format!("{pointer}/items"), path);
            json!({"type": types, "items": items})
        }
        Kind::Text => json!({"type": TEXT}),
        Kind::Int { min, max } => json!({
            "type": ["integer", "string", "null"],
            "minimum": min,
            "maximum": max,
            "pattern": "^[+-]?[0-9]*$",
        }),
        Kind::Bool => json!({
            "type": ["boolean", "string", "null"],
            "pattern": any_case(&["true", "false", "yes", "no", "on", "off"]),
        }),
        Kind::Choice(words) => {
            let constants = words.iter().map(|(word, meaning)| match meaning.as_str() {
                "" => json!({"const": word}),
                meaning => json!({"const": word, "description": meaning}),
            });
            let names: Vec<&str> = words.iter().map(|(word, _)| word.as_str()).collect();
            let others = json!({"type": ["string", "null"], "pattern": any_case(&names)});
            json!({"anyOf": constants.chain([others]).collect::<Vec<_>>()})
        }
    };
    match value {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

fn render_fields(
    fields: &BTreeMap<String, Shape>,
    types: &[&str],
    pointer: &str,
    path: &str,
) -> Map<String, Json> {
    let mut properties = Map::new();
    let mut patterns = Map::new();
    for (key, shape) in fields {
        let own = format!("{pointer}/properties/{key}");
        let below = join(path, key);
        properties.insert(key.clone(), render_shape(shape, &own, &below));
        let words: Vec<String> = spellings(key, &below, fields).into_iter().collect();
        if !words.is_empty() {
            let pattern = format!("^({})$", words.join("|"));
            patterns.insert(pattern, json!({"$ref": own}));
        }
    }
    let mut map = Map::new();
    map.insert("type".into(), json!(types));
    map.insert("properties".into(), properties.into());
    map.insert("patternProperties".into(), patterns.into());
    map.insert("additionalProperties".into(), false.into());
    map
}

/// Words in any case, or nothing.
fn any_case(words: &[&str]) -> String {
    let each = words.iter().map(|word| {
        let letters = word.chars().map(|c| match c.is_ascii_alphabetic() {
            true => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
            false => c.to_string(),
        });
        letters.collect::<String>()
    });
    format!("^({}|)$", each.collect::<Vec<_>>().join("|"))
}

/// Parts of keys that some write in capitals.
const SHORT: [&str; 21] = [
    "ca", "cidr", "cni", "cpu", "csi", "dns", "efi", "gpt", "hw", "id", "ip", "iso", "mbr", "mtu",
    "ntp", "os", "ssh", "tty", "url", "vip", "vlan",
];

/// The usual spellings of a key besides its own: camelCase (with `Url` and `URL`), PascalCase,
/// kebab-case, letters alone, capitals, the singular, and older names.
fn spellings(key: &str, path: &str, fields: &BTreeMap<String, Shape>) -> BTreeSet<String> {
    let older = spelling::older_names(path);
    let mut names: Vec<&str> = older.collect();
    names.push(key);
    let singular = key.strip_suffix('s');
    names.extend(singular.filter(|s| spelling::name_of(s, fields) == Some(key)));
    let mut found = BTreeSet::new();
    for name in names {
        let parts: Vec<&str> = name.split('_').collect();
        let title = |part: &&str| part[..1].to_ascii_uppercase() + &part[1..];
        let short = |part: &&str| match SHORT.contains(part) {
            true => part.to_ascii_uppercase(),
            false => title(part),
        };
        let pascal: Vec<String> = parts.iter().map(title).collect();
        let capital: Vec<String> = parts.iter().map(short).collect();
        let camel = |rest: &[String]| parts.first().map(|p| (*p).to_owned() + &rest[1..].concat());
        found.extend(camel(&pascal));
        found.extend(camel(&capital));
        found.extend([pascal.concat(), capital.concat(), parts.concat()]);
        found.extend([parts.join("-"), name.to_owned(), name.to_ascii_uppercase()]);
    }
    found.remove(key);
    found
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    fn words(pattern: &str) -> impl Iterator<Item = &str> {
        let inner = pattern.strip_prefix("^(").unwrap();
        inner.strip_suffix(")$").unwrap().split('|')
    }

    /// Each pattern leads to the key that the reader of configs would take its words for.
    fn check(schema: &Json, root: &Json, fields: &BTreeMap<String, Shape>, seen: &mut usize) {
        for (pattern, to) in schema["patternProperties"].as_object().unwrap() {
            let pointer = to["$ref"].as_str().unwrap().strip_prefix('#').unwrap();
            assert!(root.pointer(pointer).is_some(), "{pointer}");
            let key = pointer.rsplit('/').next().unwrap();
            for word in words(pattern) {
                *seen += 1;
                if key.is_empty() {
                    continue;
                }
                let older = [
                    "wipe_all_disks",
                    "persistent_state_paths",
                    "cluster_pod_cidr",
                ];
                let read = spelling::name_of(word, fields);
                assert!(
                    read == Some(key) || (older.contains(&key) && read.is_none()),
                    "{word}"
                );
                assert!(!fields.contains_key(word), "{word} matches twice");
            }
        }
        for (key, shape) in fields {
            let mut inner = &schema["properties"][key];
            let mut kind = &shape.kind;
            while let Kind::List(next) | Kind::Map(next) = kind {
                let list = matches!(kind, Kind::List(_));
                inner = &inner[if list {
                    "items"
                } else {
                    "additionalProperties"
                }];
                kind = &next.kind;
            }
            if let Some(fields) = kind.fields() {
                check(inner, root, fields, seen);
            }
        }
    }

    #[test]
    fn every_pattern_is_a_spelling_of_its_key() {
        let schema = schema::json();
        let mut seen = 0;
        check(
            schema,
            schema,
            schema::shape().kind.fields().unwrap(),
            &mut seen,
        );
        assert!(seen > 500, "{seen}");
    }

    #[test]
    fn the_spellings_that_people_use() {
        let Kind::Struct(fields) = &schema::shape_at("install").unwrap().kind else {
            unreachable!("a map")
        };
        let of = |key: &str| spellings(key, &format!("install.{key}"), fields);
        for (key, word) in [
            ("iso_url", "isoUrl"),
            ("iso_url", "isoURL"),
            ("iso_url", "iso-url"),
            ("webhooks", "webhook"),
            ("wipe_all_disks", "wipedisks"),
            ("cluster_pod_cidr", "clusterCIDR"),
            ("vip_hw_addr", "vipHwAddr"),
            ("mode", "Mode"),
        ] {
            assert!(of(key).contains(word), "{word}: {:?}", of(key));
        }
        assert!(!of("mode").contains("mode"));
    }
}
