//! `config.yaml` and `config.yaml.d`, merged as RKE2 merges them, each key checked against its flag.
//!
//! In: a folder like `/etc/rancher/rke2` and a role. Out: a [`Config`], and every problem. The rules are
//! those of k3s-io/k3s pkg/configfilearg/parser.go: first the file, then those of the folder whose
//! names end in `.yaml` or `.yml`, in the order of their names, dotfiles among them; the last
//! value wins as a whole; `key+` adds to what is there. RKE2 leaves unknown keys out with a
//! warning; the double refuses them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Role;
use super::flags::{Kind, Known, look_up};
use super::yaml::{Yaml, parse_one};

/// The name of the config, and with `.d` that of the folder beside it.
const NAME: &str = "config.yaml";

/// The merged config: every key of RKE2 with its values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    entries: Vec<(String, Vec<String>)>,
}

/// A key before it is checked: its value, and the file that had the last word.
struct Merged {
    key: String,
    value: Yaml,
    from: PathBuf,
}

impl Config {
    /// The values of a key, none when it is not set.
    pub fn list(&self, key: &str) -> &[String] {
        self.entries
            .iter()
            .find(|(name, _)| name == key)
            .map_or(&[], |(_, values)| values)
    }

    /// The values of a key, those with commas taken apart.
    pub fn split(&self, key: &str) -> Vec<&str> {
        self.list(key)
            .iter()
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .collect()
    }

    /// The value of a key that is set and not empty.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.list(key)
            .last()
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// Every key and its values.
    pub fn entries(&self) -> &[(String, Vec<String>)] {
        &self.entries
    }

    /// A config of these keys, for tests of rules.
    #[cfg(test)]
    pub fn of(entries: &[(&str, &[&str])]) -> Self {
        let entries = entries.iter().map(|(key, values)| {
            let values = values.iter().map(|&value| value.to_owned()).collect();
            ((*key).to_owned(), values)
        });
        Self {
            entries: entries.collect(),
        }
    }
}

/// Reads the config of `folder`; what is wrong goes to `problems`.
pub fn read(folder: &Path, role: Role, problems: &mut Vec<String>) -> Config {
    let files = match files(folder) {
        Ok(files) => files,
        Err(error) => {
            problems.push(format!("{error:#}"));
            return Config::default();
        }
    };
    if files.is_empty() {
        problems.push(format!(
            "{} has no {NAME} and no {NAME}.d/*.yaml",
            folder.display()
        ));
    }
    let mut merged = Vec::new();
    for file in files {
        match read_file(&file) {
            Ok(entries) => merge(&mut merged, entries, &file),
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    let mut config = Config::default();
    for Merged { key, value, from } in merged {
        match check(role, &key, value) {
            Ok(values) => config.entries.push((key, values)),
            Err(error) => problems.push(format!("{}: {key}: {error}", from.display())),
        }
    }
    config
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let first = folder.join(NAME);
    if first.try_exists().with_context(|| reading(&first))? {
        files.push(first);
    }
    let more = folder.join(format!("{NAME}.d"));
    if !more.try_exists().with_context(|| reading(&more))? {
        return Ok(files);
    }
    let mut found = Vec::new();
    for entry in more.read_dir().with_context(|| reading(&more))? {
        let entry = entry.with_context(|| reading(&more))?;
        let name = entry.file_name().to_string_lossy().to_ascii_lowercase();
        let is_folder = entry.file_type().with_context(|| reading(&more))?.is_dir();
        if !is_folder && (name.ends_with(".yaml") || name.ends_with(".yml")) {
            found.push(entry.path());
        }
    }
    found.sort();
    files.extend(found);
    Ok(files)
}

fn reading(path: &Path) -> String {
    format!("reading {}", path.display())
}

fn read_file(file: &Path) -> anyhow::Result<Vec<(String, Yaml)>> {
    let text = std::fs::read_to_string(file).with_context(|| reading(file))?;
    let tree = parse_one(&text).with_context(|| reading(file))?;
    match tree {
        Yaml::Null => Ok(Vec::new()),
        Yaml::Map(entries) => Ok(entries),
        other => anyhow::bail!("{} is {}, no map", file.display(), other.kind()),
    }
}

fn merge(merged: &mut Vec<Merged>, entries: Vec<(String, Yaml)>, from: &Path) {
    for (key, value) in entries {
        let (name, adds) = match key.strip_suffix('+') {
            Some(name) => (name, true),
            None => (key.as_str(), false),
        };
        let from = from.to_owned();
        match merged.iter_mut().find(|merged| merged.key == name) {
            Some(old) => {
                old.value = if adds {
                    let mut items = to_list(std::mem::replace(&mut old.value, Yaml::Null));
                    items.extend(to_list(value));
                    Yaml::List(items)
                } else {
                    value
                };
                old.from = from;
            }
            None => merged.push(Merged {
                key: name.to_owned(),
                value,
                from,
            }),
        }
    }
}

fn to_list(value: Yaml) -> Vec<Yaml> {
    match value {
        Yaml::List(items) => items,
        Yaml::Null => Vec::new(),
        Yaml::Text(text) if text.trim().is_empty() => Vec::new(),
        other => vec![other],
    }
}

/// The values of a flag, if they are of its kind.
fn check(role: Role, key: &str, value: Yaml) -> anyhow::Result<Vec<String>> {
    let kind = match look_up(role, key) {
        Known::Flag(kind) => kind,
        Known::OfServers => anyhow::bail!("is a key of servers, and this is an agent"),
        Known::OfK3s => anyhow::bail!("is a key of k3s that RKE2 does not have"),
        Known::Unknown => anyhow::bail!("is no key of RKE2 1.34.5"),
    };
    match (kind, value) {
        (Kind::List, Yaml::List(items)) => items.iter().map(|item| one(kind, item)).collect(),
        (_, Yaml::List(_)) => anyhow::bail!("is a list, and takes one value"),
        (_, value) => Ok(vec![one(kind, &value)?]),
    }
}

fn one(kind: Kind, value: &Yaml) -> anyhow::Result<String> {
    let fits = match (kind, value) {
        (Kind::Text | Kind::List, Yaml::Text(text)) => return Ok(text.clone()),
        (Kind::Text | Kind::List, Yaml::Bool(_) | Yaml::Number(_)) => {
            anyhow::bail!("is {} in YAML, not a text; put it in quotes", value.kind())
        }
        (Kind::Bool, Yaml::Bool(value)) => return Ok(value.to_string()),
        // Go's strconv.ParseBool.
        (Kind::Bool, Yaml::Text(text) | Yaml::Number(text)) => match text.as_str() {
            "1" | "t" | "T" => return Ok("true".to_owned()),
            "0" | "f" | "F" => return Ok("false".to_owned()),
            "true" | "TRUE" | "True" => return Ok("true".to_owned()),
            "false" | "FALSE" | "False" => return Ok("false".to_owned()),
            _ => None,
        },
        (Kind::Int, Yaml::Number(text) | Yaml::Text(text)) => {
            text.parse::<i64>().is_ok().then_some(text)
        }
        (Kind::Duration, Yaml::Number(text) | Yaml::Text(text)) => {
            is_duration(text).then_some(text)
        }
        _ => None,
    };
    let what = match kind {
        Kind::Text | Kind::List => "a text",
        Kind::Bool => "true or false",
        Kind::Int => "a whole number",
        Kind::Duration => "a duration such as 1h30m",
    };
    match fits {
        Some(text) => Ok(text.clone()),
        None => anyhow::bail!("is {}, not {what}", shown(value)),
    }
}

fn shown(value: &Yaml) -> String {
    match value {
        Yaml::Text(text) | Yaml::Number(text) => format!("{text:?}"),
        other => other.kind().to_owned(),
    }
}

/// Go's time.ParseDuration.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, unit) = rest.split_at(end);
        let one_dot = number.bytes().filter(|&byte| byte == b'.').count() < 2;
        if !one_dot || !number.bytes().any(|byte| byte.is_ascii_digit()) {
            return false;
        }
        let units = ["ns", "us", "µs", "ms", "s", "m", "h"];
        let longest = units.iter().filter(|name| unit.starts_with(*name));
        match longest.max_by_key(|name| name.len()) {
            Some(name) => rest = &unit[name.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
