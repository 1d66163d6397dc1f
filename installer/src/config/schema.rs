//! The schema of a config: made from the types of [`super::answers`], which are the only truth.
//!
//! In: nothing. Out: [`Shape`], which checks walk over, and the JSON Schema for editors that
//! [`editor`] makes of it. Both are made once.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json};

use super::answers::Answers;
use super::editor;

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The type.
    pub kind: Kind,
    /// What it means, from the doc comment.
    pub description: String,
    /// What counts when nobody says anything.
    pub default: Option<Json>,
    /// A value that would do.
    pub example: Option<Json>,
    /// The form of a text, a name that [`super::forms`] knows.
    pub form: Option<String>,
    /// Whether it must not be shown.
    pub secret: bool,
    /// Why it does nothing here.
    pub no_meaning: Option<String>,
    /// Whether nothing acts on it yet.
    pub not_yet: bool,
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A map with known keys.
    Struct(BTreeMap<String, Shape>),
    /// A map with free keys.
    Map(Box<Shape>),
    /// A list.
    List(Box<Shape>),
    /// Any text.
    Text,
    /// One of these words, each with its meaning.
    Choice(Vec<(String, String)>),
    /// A whole number in a range.
    Int {
        /// Least.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// `true` or `false`.
    Bool,
    /// A text, or a map with known keys.
    TextOr(BTreeMap<String, Shape>),
}

impl Kind {
    /// The known keys, if it has any.
    pub fn fields(&self) -> Option<&BTreeMap<String, Shape>> {
        match self {
            Self::Struct(fields) | Self::TextOr(fields) => Some(fields),
            _ => None,
        }
    }
}

/// The JSON Schema (draft 2020-12), as `harrow config schema` prints it.
pub fn json() -> &'static Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(|| editor::render(shape()))
}

/// What the types say, as schemars tells it.
fn types() -> Json {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let generator = settings.into_generator();
    let mut schema = generator.into_root_schema_for::<Answers>().to_value();
    tidy(&mut schema);
    schema
}

/// The shape of a whole config.
pub fn shape() -> &'static Shape {
    static SHAPE: OnceLock<Shape> = OnceLock::new();
    SHAPE.get_or_init(|| shape_of(&types()))
}

/// The shape of a key such as `os.hostname` or `install.addons.descheduler.enabled`; list
/// indices are left out. Free keys of maps may hold dots.
#[cfg(test)]
pub fn shape_at(path: &str) -> Option<&'static Shape> {
    let mut here = shape();
    let mut rest = path;
    while !rest.is_empty() {
        match &here.kind {
            Kind::List(item) => here = item,
            Kind::Map(value) => {
                let deeper = !matches!(value.kind, Kind::Text);
                rest = match rest.split_once('.') {
                    Some((_, rest)) if deeper => rest,
                    _ => "",
                };
                here = value;
            }
            kind => {
                let (key, after) = rest.split_once('.').unwrap_or((rest, ""));
                here = kind.fields()?.get(key)?;
                rest = after;
            }
        }
    }
    Some(here)
}

/// Replaces the defaults of Rust's types, which say nothing, by those of the docs.
fn tidy(schema: &mut Json) {
    match schema {
        Json::Object(map) => {
            let is_schema = map.contains_key("type")
                || map.contains_key("anyOf")
                || map.contains_key("oneOf")
                || map.contains_key("description");
            if is_schema {
                map.remove("default");
                map.remove("format");
                if let Some(default) = map.remove("x-default") {
                    map.insert("default".into(), default);
                }
                if let Some(Json::String(text)) = map.get_mut("description") {
                    // Lines of a doc comment are not lines of a description.
                    *text = text.replace("\n\n", "\u{0}").replace('\n', " ");
                    *text = text.replace('\u{0}', "\n\n");
                }
            }
            map.values_mut().for_each(tidy);
        }
        Json::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn shape_of(schema: &Json) -> Shape {
    let empty = Map::new();
    let map = schema.as_object().unwrap_or(&empty);
    let text = |key: &str| map.get(key).and_then(Json::as_str).map(str::to_owned);
    let flag = |key: &str| map.get(key).and_then(Json::as_bool).unwrap_or(false);
    let examples = map.get("examples").and_then(Json::as_array);
    let mut shape = Shape {
        kind: kind_of(map),
        description: text("description").unwrap_or_default(),
        default: map.get("default").cloned(),
        example: examples.and_then(|e| e.first()).cloned(),
        form: text("x-form"),
        secret: flag("x-secret"),
        no_meaning: text("x-no-meaning"),
        not_yet: flag("x-not-yet"),
    };
    // An item of the example of a list is one of an item.
    if let (Kind::List(inner), Some(Json::Array(items))) = (&mut shape.kind, &shape.example) {
        inner.example = items.first().cloned();
    }
    let (form, secret) = (shape.form.clone(), shape.secret);
    if let Some(form) = form {
        push_form(&mut shape, &form);
    }
    if secret {
        push_secret(&mut shape);
    }
    shape
}

/// The form of a list or map is that of what is in it.
fn push_form(shape: &mut Shape, form: &str) {
    match &mut shape.kind {
        Kind::List(inner) | Kind::Map(inner) => {
            shape.form = None;
            push_form(inner, form);
        }
        _ => shape.form = Some(form.to_owned()),
    }
}

/// What is in a secret is secret too.
fn push_secret(shape: &mut Shape) {
    shape.secret = true;
    match &mut shape.kind {
        Kind::List(inner) | Kind::Map(inner) => push_secret(inner),
        Kind::Struct(fields) | Kind::TextOr(fields) => fields.values_mut().for_each(push_secret),
        _ => {}
    }
}

fn kind_of(map: &Map<String, Json>) -> Kind {
    for key in ["anyOf", "oneOf"] {
        if let Some(Json::Array(options)) = map.get(key) {
            return kind_of_options(options);
        }
    }
    if let Some(Json::Array(words)) = map.get("enum") {
        let words = words.iter().filter_map(Json::as_str);
        return Kind::Choice(words.map(|w| (w.to_owned(), String::new())).collect());
    }
    let has = |wanted: &str| match map.get("type") {
        Some(Json::String(name)) => name == wanted,
        Some(Json::Array(names)) => names.iter().any(|n| n == wanted),
        _ => false,
    };
    let number = |key: &str| map.get(key).and_then(Json::as_i64);
    if has("object") {
        if let Some(Json::Object(properties)) = map.get("properties") {
            let fields = properties.iter();
            return Kind::Struct(fields.map(|(k, v)| (k.clone(), shape_of(v))).collect());
        }
        let inner = map.get("additionalProperties").unwrap_or(&Json::Null);
        return Kind::Map(Box::new(shape_of(inner)));
    }
    if has("array") {
        let inner = map.get("items").unwrap_or(&Json::Null);
        return Kind::List(Box::new(shape_of(inner)));
    }
    if has("string") {
        return Kind::Text;
    }
    if has("integer") {
        return Kind::Int {
            min: number("minimum").unwrap_or(0),
            max: number("maximum").unwrap_or(i64::from(u32::MAX)),
        };
    }
    if has("boolean") {
        return Kind::Bool;
    }
    Kind::Text
}

/// Alternatives: words, or a type and null, or a text and a map.
fn kind_of_options(options: &[Json]) -> Kind {
    let constant = |o: &Json| o.get("const").and_then(Json::as_str).map(str::to_owned);
    let words: Vec<(String, String)> = options
        .iter()
        .filter_map(|o| {
            let description = o.get("description").and_then(Json::as_str);
            Some((constant(o)?, description.unwrap_or_default().to_owned()))
        })
        .collect();
    if !words.is_empty() {
        return Kind::Choice(words);
    }
    let mut kinds: Vec<Kind> = options
        .iter()
        .filter_map(Json::as_object)
        .filter(|o| o.get("type").is_none_or(|t| t != "null"))
        .map(kind_of)
        .collect();
    let fields = kinds.iter().find_map(|k| k.fields().cloned());
    match (kinds.len(), fields) {
        (2.., Some(fields)) => Kind::TextOr(fields),
        _ => kinds.pop().unwrap_or(Kind::Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(path: &str, shape: &Shape, see: &mut dyn FnMut(&str, &Shape)) {
        see(path, shape);
        match &shape.kind {
            Kind::Struct(fields) | Kind::TextOr(fields) => {
                for (key, inner) in fields {
                    walk(&super::super::tree::join(path, key), inner, see);
                }
            }
            Kind::Map(inner) | Kind::List(inner) => walk(&format!("{path}[]"), inner, see),
            _ => {}
        }
    }

    #[test]
    fn every_key_has_a_description_and_a_form_that_exists() {
        let mut keys = 0;
        walk("", shape(), &mut |path, shape| {
            keys += 1;
            assert!(
                !shape.description.is_empty() || path.ends_with("[]"),
                "{path} has no description"
            );
            if let Some(form) = &shape.form {
                let mut forms = super::super::forms::FORMS.iter();
                assert!(
                    forms.any(|(name, _)| name == form),
                    "{path}: no form {form}"
                );
            }
        });
        assert!(keys > 150, "{keys}");
    }

    #[test]
    fn keys_are_snake_case() {
        walk("", shape(), &mut |path, _| {
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._[]".contains(c);
            assert!(path.chars().all(good), "{path}");
        });
    }

    #[test]
    fn shapes_are_what_the_types_say() {
        let kind = |path: &str| &shape_at(path).unwrap().kind;
        assert!(matches!(kind("install.device"), Kind::TextOr(_)));
        assert!(matches!(kind("install.mode"), Kind::Choice(words) if words.len() == 3));
        assert_eq!(
            kind("install.management_interface.mtu"),
            &Kind::Int { min: 0, max: 9000 }
        );
        assert_eq!(kind("os.sshd.sftp"), &Kind::Bool);
        assert!(shape_at("os.labels.a.b/c").is_some());
        assert!(shape_at("install.networks.storage.mtu").is_some());
        assert!(shape_at("os.write_files.content").unwrap().secret);
        assert!(shape_at("os.nothing").is_none());
    }
}
