//! A merged config as people and machines read it: every value with its origin, secrets masked.
//!
//! In: a checked config. Out: text in the form of YAML, or JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::formats::mask_urls;
use super::load::Checked;
use super::problem::Mark;
use super::schema::{self, Kind, Shape};
use super::secret::MASK;
use super::tree::{Node, Value, join};
use super::write::scalar_text;

/// The column in which origins begin, when values leave room.
const ORIGIN_COLUMN: usize = 48;

/// Every value with where it was said, as text.
pub fn render_text(checked: &Checked) -> String {
    let mut text = String::new();
    render_node(&checked.tree, schema::shape(), 0, "", &mut text);
    text
}

/// Every value with where it was said, as JSON.
pub fn render_json(checked: &Checked) -> Json {
    let mut values = Vec::new();
    collect(&checked.tree, schema::shape(), "", &mut values);
    json!({ "values": values })
}

/// Which source won for each key, without any value.
pub fn origins(checked: &Checked) -> BTreeMap<String, String> {
    let mut values = Vec::new();
    collect(&checked.tree, schema::shape(), "", &mut values);
    let pair = |value: &Json| {
        let key = value.get("key").and_then(Json::as_str)?;
        let source = value.get("source").and_then(Json::as_str)?;
        let line = value.get("line").and_then(Json::as_u64);
        let place = line.map_or_else(|| source.to_owned(), |n| format!("{source}:{n}"));
        Some((key.to_owned(), place))
    };
    values.iter().filter_map(pair).collect()
}

fn inner<'a>(shape: &'a Shape, key: &str) -> &'a Shape {
    match &shape.kind {
        Kind::Map(inner) | Kind::List(inner) => inner,
        kind => kind.fields().and_then(|f| f.get(key)).unwrap_or(shape),
    }
}

fn value_text(node: &Node, shape: &Shape) -> String {
    match &node.value {
        _ if shape.secret => MASK.to_owned(),
        Value::Scalar(scalar) => mask_urls(&scalar_text(scalar)),
        Value::Null => String::new(),
        Value::Seq(_) => "[]".to_owned(),
        Value::Map(_) => "{}".to_owned(),
    }
}

fn has_parts(node: &Node, shape: &Shape) -> bool {
    match &node.value {
        Value::Seq(items) => !items.is_empty() && !shape.secret,
        Value::Map(entries) => !entries.is_empty(),
        Value::Null | Value::Scalar(_) => false,
    }
}

fn line(text: &mut String, start: &str, at: &Mark) {
    let room = ORIGIN_COLUMN.saturating_sub(start.chars().count()).max(2);
    // Writing to a String can't fail.
    let _ = writeln!(text, "{start}{:room$}# {at}", "");
}

fn render_node(node: &Node, shape: &Shape, depth: usize, lead: &str, text: &mut String) {
    let indent = "  ".repeat(depth);
    let mut lead = lead.to_owned();
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                let shape = inner(shape, &entry.key);
                let start = format!(
                    "{}{}:",
                    if lead.is_empty() { &indent } else { &lead },
                    entry.key
                );
                lead.clear();
                if has_parts(&entry.node, shape) {
                    let _ = writeln!(text, "{start}");
                    render_node(&entry.node, shape, depth + 1, "", text);
                } else {
                    let value = value_text(&entry.node, shape);
                    line(text, &format!("{start} {value}"), &entry.node.at);
                }
            }
        }
        Value::Seq(items) => {
            for item in items {
                let shape = inner(shape, "");
                let start = format!("{indent}- ");
                if has_parts(item, shape) {
                    render_node(item, shape, depth + 1, &start, text);
                } else {
                    let value = value_text(item, shape);
                    line(text, &format!("{start}{value}"), &item.at);
                }
            }
        }
        Value::Null | Value::Scalar(_) => {}
    }
}

fn collect(node: &Node, shape: &Shape, path: &str, values: &mut Vec<Json>) {
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            for entry in entries {
                let shape = inner(shape, &entry.key);
                collect(&entry.node, shape, &join(path, &entry.key), values);
            }
        }
        // Of nothing at all there is no value.
        Value::Map(_) if path.is_empty() => {}
        Value::Seq(items) if !items.is_empty() && !shape.secret => {
            for (i, item) in items.iter().enumerate() {
                collect(item, inner(shape, ""), &format!("{path}[{i}]"), values);
            }
        }
        _ => {
            let number = |n: u32| (n > 0).then_some(n);
            let value = match (&node.value, shape.secret) {
                (_, true) => Json::from(MASK),
                (Value::Scalar(scalar), false) => mask_urls(&scalar.text).into(),
                (Value::Seq(_), false) => json!([]),
                (Value::Map(_), false) => json!({}),
                (Value::Null, false) => Json::Null,
            };
            values.push(json!({
                "key": path,
                "value": value,
                "source": &*node.at.source,
                "line": number(node.at.line),
                "column": number(node.at.column),
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::check_sources;
    use super::super::source::{Source, SourceKind};
    use super::*;

    #[test]
    fn origins_are_shown_and_secrets_are_not() {
        let checked = check_sources(&[
            Source::yaml(
                SourceKind::Oem,
                "oem",
                "token: hunter2\nos: {hostname: a, ntp_servers: [x.y]}",
            ),
            Source::yaml(
                SourceKind::File,
                "f",
                "os:\n  hostname: b\n  password: hunter2\n  write_files: [{path: /a, content: hunter2}]\n  \
                 environment: {KEY: hunter2}\ninstall: {config_headers: {A: hunter2}, webhooks: [{basicAuth: {password: hunter2}}]}\n\
                 system_settings: {containerd-registry: hunter2}\n",
            ),
        ]);
        let text = render_text(&checked);
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("  hostname: b"), "{text}");
        assert!(text.contains("# f:2:13"), "{text}");
        assert!(text.contains("    - x.y"), "{text}");
        assert!(text.contains("    - path: /a"), "{text}");
        let whole = "install: {config_headers: {'A: hunter2': ''}}";
        let whole = check_sources(&[Source::yaml(SourceKind::File, "f", whole)]);
        let shown = render_text(&whole) + &render_json(&whole).to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
        let origins = origins(&checked);
        assert_eq!(origins["os.hostname"], "f:2");
        assert_eq!(origins["os.ntp_servers[0]"], "oem:2");
        let json = render_json(&checked).to_string();
        assert!(!json.contains("hunter2"), "{json}");
        assert!(
            json.contains("\"key\":\"os.write_files[0].path\""),
            "{json}"
        );
    }
}
