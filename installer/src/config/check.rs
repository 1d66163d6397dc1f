//! Checks a tree against the schema: keys, types, words, ranges and forms, all at once.
//!
//! In: a tree with the schema's keys. Out: every problem with its place, and the tree without
//! what can't be used, so that the rules still run over the rest.

use super::advice::{SUGGESTIONS, list_words, range, sample_of, several, suggestion, wanted};
use super::formats::{mask_urls, may_be_token, quoted};
use super::forms;
use super::problem::{Code, Problem};
use super::schema::{self, Kind, Shape};
use super::secret::MASK;
use super::tree::{Entry, Node, Scalar, Value, join, shown_key};

/// Checks a whole config.
pub fn check(node: Node, problems: &mut Vec<Problem>) -> Node {
    let at = node.at.clone();
    let shape = schema::shape();
    let checked = Checker {
        problems,
        suggestions: SUGGESTIONS,
        alone: false,
    }
    .visit(node, shape, "");
    checked.unwrap_or_else(|| Node::empty_map(at))
}

/// `true` or `false`, in any of YAML's old and new words.
pub fn read_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A whole number.
pub fn read_int(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

/// Whether a text is a whole number, however large.
pub fn is_number(text: &str) -> bool {
    let digits = text.trim().trim_start_matches(['+', '-']);
    (1..=40).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

/// A word of a list of words, in any case.
pub fn read_word<'a>(text: &str, words: &'a [(String, String)]) -> Option<&'a str> {
    let found = words.iter().find(|(w, _)| w.eq_ignore_ascii_case(text));
    found.map(|(word, _)| word.as_str())
}

/// The longest key that could be a slip of one of ours.
const LONGEST_SLIP: usize = 60;

struct Checker<'a> {
    problems: &'a mut Vec<Problem>,
    /// Suggestions that may still be made.
    suggestions: usize,
    /// Whether the value stands for a list of one.
    alone: bool,
}

impl Checker<'_> {
    fn add(&mut self, code: Code, path: &str, node: &Node, message: String, hint: String) {
        let problem = Problem::new(code, path, message, hint);
        self.problems.push(problem.at(&node.at));
    }

    fn visit(&mut self, node: Node, shape: &Shape, path: &str) -> Option<Node> {
        match (&node.value, &shape.kind) {
            (Value::Null, _) => None,
            (Value::Map(_), Kind::Struct(_) | Kind::TextOr(_)) => {
                Some(self.visit_struct(node, shape, path))
            }
            (Value::Map(_), Kind::Map(inner)) => Some(self.visit_map(node, inner, path)),
            (Value::Seq(_), Kind::List(inner)) => Some(self.visit_list(node, inner, path)),
            // One value stands for a list of it, as on the kernel command line.
            (Value::Scalar(_), Kind::List(inner)) if !matches!(inner.kind, Kind::Struct(_)) => {
                let at = node.at.clone();
                self.alone = true;
                let item = self.visit(node, inner, path);
                self.alone = false;
                Some(Node {
                    value: Value::Seq(vec![item?]),
                    at,
                })
            }
            (Value::Scalar(scalar), Kind::Text | Kind::TextOr(_)) => {
                // An empty text where a form is needed says nothing; Harvester's files do that.
                if scalar.text.is_empty() && shape.form.is_some() && !path.ends_with(']') {
                    return None;
                }
                let right = self.check_form(scalar, shape, path, &node);
                // A key pasted where a certificate belongs, or a URL with a password where none
                // does, must not be shown or kept.
                let text = &scalar.text;
                let leaks = text.contains("PRIVATE KEY") || has_misplaced_url(text, shape);
                let leaks = leaks || has_misplaced_secret(text, shape);
                let leaks = leaks && !right && !shape.secret;
                (!leaks).then_some(node)
            }
            (Value::Scalar(scalar), Kind::Bool | Kind::Int { .. } | Kind::Choice(_)) => {
                if scalar.text.is_empty() {
                    return None;
                }
                self.check_scalar(scalar, shape, path, &node)
                    .then_some(node)
            }
            _ => {
                let message = format!("is {}, and must be {}", node.kind(), wanted(&shape.kind));
                self.add(
                    Code::WrongType,
                    path,
                    &node,
                    message,
                    sample_of(shape, path),
                );
                None
            }
        }
    }

    fn visit_struct(&mut self, node: Node, shape: &Shape, path: &str) -> Node {
        let Value::Map(entries) = node.value else {
            return node;
        };
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries {
            let field = shape.kind.fields().and_then(|f| f.get(&entry.key));
            let below = join(path, &entry.key);
            let Some(field) = field else {
                self.unknown_key(&entry, shape, path);
                continue;
            };
            self.note_use(&entry, field, &below);
            let Entry { key, key_at, node } = entry;
            if let Some(node) = self.visit(node, field, &below) {
                kept.push(Entry { key, key_at, node });
            }
        }
        Node {
            value: Value::Map(kept),
            at: node.at,
        }
    }

    fn visit_map(&mut self, node: Node, inner: &Shape, path: &str) -> Node {
        let Value::Map(entries) = node.value else {
            return node;
        };
        let mut kept = Vec::with_capacity(entries.len());
        for Entry { key, key_at, node } in entries {
            // Somebody wrote the whole of a secret here, as in `Authorization: Bearer ...`.
            if inner.secret && key.contains([':', '=', ' ', '\t']) {
                let message =
                    "a key that is no name, and is not shown, since a secret may be in it";
                let hint = "the name, a colon, and the value: `NAME: VALUE`";
                let field = join(path, MASK);
                let problem = Problem::new(Code::BadValue, field, message, hint);
                self.problems.push(problem.at(&key_at));
                continue;
            }
            if let Some(node) = self.visit(node, inner, &join(path, &key)) {
                kept.push(Entry { key, key_at, node });
            }
        }
        Node {
            value: Value::Map(kept),
            at: node.at,
        }
    }

    fn visit_list(&mut self, node: Node, inner: &Shape, path: &str) -> Node {
        let Value::Seq(items) = node.value else {
            return node;
        };
        let mut kept = Vec::with_capacity(items.len());
        for (i, item) in items.into_iter().enumerate() {
            let path = format!("{path}[{i}]");
            if item.value == Value::Null {
                let hint = "give the item a value, or leave it out".to_owned();
                self.add(Code::WrongType, &path, &item, "is empty".to_owned(), hint);
                continue;
            }
            kept.extend(self.visit(item, inner, &path));
        }
        Node {
            value: Value::Seq(kept),
            at: node.at,
        }
    }

    fn unknown_key(&mut self, entry: &Entry, shape: &Shape, path: &str) {
        let below = join(path, &shown_key(&entry.key));
        let message = "there is no such key".to_owned();
        let mut hint = String::new();
        if entry.key.contains(':') {
            "a colon and a blank are between a key and its value: `KEY: VALUE`"
                .clone_into(&mut hint);
        } else if self.suggestions > 0 && entry.key.len() <= LONGEST_SLIP {
            self.suggestions -= 1;
            hint = suggestion(&entry.key, shape, path);
        }
        let problem = Problem::new(Code::UnknownKey, below, message, hint);
        self.problems.push(problem.at(&entry.key_at));
    }

    /// Warns of keys that do nothing, unless what they say is what happens anyway.
    fn note_use(&mut self, entry: &Entry, shape: &Shape, path: &str) {
        if says_nothing(&entry.node, shape) {
            return;
        }
        let (code, message, hint) = match (&shape.no_meaning, shape.not_yet) {
            (Some(reason), _) => (
                Code::NoMeaning,
                format!("does nothing: {reason}"),
                "it can be left out",
            ),
            (None, true) => (
                Code::NotYet,
                "is checked, but this version of Harrow does not act on it yet".to_owned(),
                "",
            ),
            (None, false) => return,
        };
        let problem = Problem::new(code, path, message, hint);
        self.problems.push(problem.at(&entry.key_at));
    }

    /// Whether a text has the form that its key needs; notes what is wrong.
    fn check_form(&mut self, scalar: &Scalar, shape: &Shape, path: &str, node: &Node) -> bool {
        let Some(form) = &shape.form else {
            return true;
        };
        let Err(finding) = forms::check(form, &scalar.text) else {
            return true;
        };
        let mut message = finding.message;
        let mut hint = finding.hint;
        // URLs are quoted in part.
        let is_quoted = message.contains(&scalar.text) || scalar.text.contains("://");
        if shape.secret && is_quoted {
            message = "is not of the form that it needs".to_owned();
        } else if has_misplaced_url(&scalar.text, shape) {
            // A part of it could be the password.
            message = format!("{} is not of the form that it needs", quoted(&scalar.text));
            "a URL with a password or query has no place here".clone_into(&mut hint);
        }
        let parts = several(&scalar.text, form).filter(|_| !shape.secret);
        let hint = match parts.map(|parts| parts.join(", ")) {
            Some(parts) if self.alone => {
                let key = path.rsplit('.').next().unwrap_or(path);
                format!("a list: {key}: [{parts}]")
            }
            Some(parts) if path.ends_with(']') => format!("one item for each: [{parts}]"),
            _ => hint,
        };
        self.add(finding.code, path, node, message, hint);
        false
    }

    fn check_scalar(&mut self, scalar: &Scalar, shape: &Shape, path: &str, node: &Node) -> bool {
        let text = &scalar.text;
        match &shape.kind {
            Kind::Bool if read_bool(text).is_none() => {
                let message = "must be true or false".to_owned();
                let hint = sample_of(shape, path);
                self.add(Code::WrongType, path, node, message, hint);
                false
            }
            Kind::Int { min, max } => {
                let form = shape.form.as_deref();
                let finding = form.and_then(|form| forms::check(form, text).err());
                let right = match read_int(text) {
                    Some(n) => (*min..=*max).contains(&n) && finding.is_none(),
                    None => false,
                };
                if right {
                    return true;
                }
                let (code, message) = match is_number(text) {
                    true => (Code::OutOfRange, format!("{} is out of range", text.trim())),
                    false => (Code::WrongType, "must be a whole number".to_owned()),
                };
                let hint = finding.map_or_else(|| range(*min, *max), |finding| finding.hint);
                self.add(code, path, node, message, hint);
                false
            }
            Kind::Choice(words) if read_word(text, words).is_none() => {
                let message = format!("{} is not one of its values", quoted(text));
                let words: Vec<&str> = words.iter().map(|(w, _)| w.as_str()).collect();
                self.add(Code::NotOneOf, path, node, message, list_words(&words));
                false
            }
            _ => true,
        }
    }
}

/// Whether a URL that has parts to hide stands where none belongs.
fn has_misplaced_url(text: &str, shape: &Shape) -> bool {
    let form = shape.form.as_deref().unwrap_or_default();
    !form.contains("url") && mask_urls(text) != *text
}

/// Whether a text that is no URL, where one belongs, may be a token or have a password in it.
fn has_misplaced_secret(text: &str, shape: &Shape) -> bool {
    match shape.form.as_deref() {
        Some("server-url") => !text.contains("://") || may_be_token(text),
        Some("config-url") => !text.contains("://") && text.contains('@'),
        _ => false,
    }
}

/// Whether an entry says only what happens without it.
fn says_nothing(node: &Node, shape: &Shape) -> bool {
    match &node.value {
        Value::Null => true,
        Value::Seq(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        Value::Scalar(scalar) => {
            let text = scalar.text.as_str();
            let default = match &shape.default {
                Some(serde_json::Value::String(default)) => Some(default.clone()),
                Some(other) => Some(other.to_string()),
                None => None,
            };
            match (&shape.kind, default) {
                (_, None) => text.is_empty() || read_bool(text) == Some(false),
                (Kind::Bool, Some(default)) => read_bool(text) == read_bool(&default),
                (_, Some(default)) => text.is_empty() || text == default,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{spelling, yaml};
    use super::*;

    fn problems(text: &str) -> Vec<(Code, String, u32, u32, String)> {
        let (tree, mut problems) = yaml::parse(text.as_bytes(), &"c".into());
        let tree = spelling::canonical(tree.unwrap(), schema::shape(), &mut problems);
        check(tree, &mut problems);
        let place = |p: Problem| {
            let at = p.at.unwrap();
            (p.code, p.field, at.line, at.column, p.hint)
        };
        problems.into_iter().map(place).collect()
    }

    #[test]
    fn everything_wrong_is_said_at_once_with_its_place() {
        let found = problems(
            "os:\n  hostnam: x\n  ntp_servers: {a: b}\ninstall:\n  mode: destroy\n  poweroff: maybe\n  \
             management_interface:\n    mtu: 99999\n    vlan_id: x\n",
        );
        let codes: Vec<_> = found.iter().map(|f| (f.0, f.2, f.3)).collect();
        assert_eq!(
            codes,
            [
                (Code::UnknownKey, 2, 3),
                (Code::WrongType, 3, 16),
                (Code::NotOneOf, 5, 9),
                (Code::WrongType, 6, 13),
                (Code::OutOfRange, 8, 10),
                (Code::WrongType, 9, 14),
            ]
        );
        assert_eq!(found[0].4, "did you mean os.hostname?");
        assert_eq!(found[2].4, "create, join or install");
    }

    #[test]
    fn misplaced_keys_are_found() {
        let found = problems("hostname: x\n");
        assert_eq!(found[0].4, "os.hostname exists; is it in the right place?");
        let found = problems("nonsense: x\n");
        assert!(found[0].4.contains("harrow config schema"));
    }

    #[test]
    fn what_says_nothing_is_not_warned_of() {
        assert_eq!(
            problems("install: {vlan_id: , silent: , force_mbr: false, iso_url: '', wipe_disks_list: [], management_interface: {vlan_id: 0, method: ''}}").len(),
            1
        );
        assert_eq!(problems("install: {force_mbr: no}"), []);
        assert_eq!(problems("install: {silent: true}")[0].0, Code::NoMeaning);
    }
}
