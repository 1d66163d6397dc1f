//! The tree of a YAML text, and the limits of what it may be.
//!
//! In: the parser's events. Out: a [`Node`], or problems with line and column.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag, options};

use crate::config::problem::{Code, Mark, Problem};
use crate::config::tree::{Entry, Node, Scalar, Style, Value, join, shown_path};

/// The deepest nesting; the schema needs 8.
const DEPTH: usize = 24;
/// The most values in a source; a config of everything has some hundreds.
const VALUES: usize = 20_000;

/// Where YAML's own tags live, `!!str` and others.
const YAML_TAGS: &str = "tag:yaml.org,2002:";
/// The longest key: a label's prefix, name and some room.
const LONGEST_KEY: usize = 512;

/// A list or map that is being read.
struct Open {
    node: Node,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<(String, Mark)>,
    /// Where each key is.
    seen: HashMap<String, Mark>,
    /// The map of `<<`.
    merged: Vec<Entry>,
}

/// Makes a tree of the parser's events.
pub(super) struct Builder<'a> {
    source: &'a Arc<str>,
    /// What is wrong, as far as the reading could go on.
    pub(super) problems: Vec<Problem>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    values: usize,
    /// What aliases may still copy: values, and bytes of text.
    copies: (usize, usize),
    roots: Vec<Node>,
}

impl<'a> Builder<'a> {
    /// For a source with so many bytes of text.
    pub(super) fn new(source: &'a Arc<str>, size: usize) -> Self {
        Self {
            source,
            problems: Vec::new(),
            open: Vec::new(),
            anchors: HashMap::new(),
            values: 0,
            copies: (100 + size / 2, 1024 + 8 * size),
            roots: Vec::new(),
        }
    }

    fn mark(&self, span: &Span) -> Mark {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Mark {
            source: Arc::clone(self.source),
            line: number(span.start.line()),
            column: number(span.start.col() + 1),
        }
    }

    /// The document, if there is one. An error ends the reading.
    pub(super) fn read(&mut self, text: &str) -> Result<Option<Node>, Problem> {
        let options = options! { emit_comments: false };
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|e| self.syntax(&e))?;
            let at = self.mark(&span);
            match event {
                Event::Scalar(text, style, anchor, tag) => {
                    let style = self.style_of(style, tag.as_deref(), &at);
                    let value = scalar_value(&text, style);
                    self.count(1, &at)?;
                    self.finish(Node { value, at }, anchor);
                }
                Event::Alias(anchor) => self.alias(anchor, at)?,
                Event::SequenceStart(_, anchor, tag) => {
                    self.begin(Value::Seq(Vec::new()), at, anchor, tag.as_deref())?;
                }
                Event::MappingStart(_, anchor, tag) => {
                    self.begin(Value::Map(Vec::new()), at, anchor, tag.as_deref())?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.end(),
                _ => {}
            }
        }
        let mut roots = std::mem::take(&mut self.roots);
        roots.retain(|root| root.value != Value::Null);
        if let Some(second) = roots.get(1) {
            let hint = "keep one, without a line `---` between";
            let message = "several YAML documents, and only one can be the config";
            return Err(Problem::new(Code::ManyDocuments, "", message, hint).at(&second.at));
        }
        Ok(roots.pop())
    }

    fn syntax(&self, error: &granit_parser::ScanError) -> Problem {
        use granit_parser::ErrorKind;
        let hint = match error.kind() {
            ErrorKind::UnknownAnchor => {
                "a value that begins with * is an alias in YAML; put it in quotes"
            }
            ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation => "indent with spaces; YAML has no tabs there",
            _ => "check the indentation, and put values with : # @ * & { [ in quotes",
        };
        let start = error.marker();
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let at = Mark {
            source: Arc::clone(self.source),
            line: number(start.line().max(1)),
            column: number(start.col() + 1),
        };
        // The parser's words name at most one character of the source.
        Problem::new(Code::Syntax, "", error.kind().to_string(), hint).at(&at)
    }

    fn count(&mut self, more: usize, at: &Mark) -> Result<(), Problem> {
        self.values += more;
        if self.values <= VALUES {
            return Ok(());
        }
        let message = format!("more than {VALUES} values");
        Err(Problem::new(Code::TooManyValues, "", message, "this is not a config").at(at))
    }

    fn style_of(&mut self, style: ScalarStyle, tag: Option<&Tag>, at: &Mark) -> Style {
        let written = match style {
            ScalarStyle::Plain => Style::Plain,
            _ => Style::Quoted,
        };
        let Some(tag) = tag else {
            return written;
        };
        match tag.suffix_in_namespace(YAML_TAGS).as_deref() {
            Some("str") => Style::Quoted,
            Some("binary") => Style::Binary,
            Some("int" | "bool" | "float" | "null") => Style::Plain,
            _ => {
                self.bad_tag(at);
                written
            }
        }
    }

    fn bad_tag(&mut self, at: &Mark) {
        let message = "a YAML tag that means nothing here";
        let hint = "put a value that begins with ! in quotes";
        let problem = Problem::new(Code::BadTag, "", message, hint);
        self.problems.push(problem.at(at));
    }

    fn begin(
        &mut self,
        value: Value,
        at: Mark,
        anchor: usize,
        tag: Option<&Tag>,
    ) -> Result<(), Problem> {
        if !matches!(tag.map(Tag::core_suffix), None | Some(Some("map" | "seq"))) {
            self.bad_tag(&at);
        }
        self.count(1, &at)?;
        if self.open.len() >= DEPTH {
            let message = format!("nested deeper than {DEPTH}");
            return Err(Problem::new(Code::TooDeep, "", message, "this is not a config").at(&at));
        }
        self.open.push(Open {
            node: Node { value, at },
            anchor,
            key: None,
            seen: HashMap::new(),
            merged: Vec::new(),
        });
        Ok(())
    }

    fn end(&mut self) {
        let Some(mut done) = self.open.pop() else {
            return;
        };
        match &mut done.node.value {
            Value::Map(entries) => {
                for entry in done.merged {
                    if done
                        .seen
                        .insert(entry.key.clone(), entry.key_at.clone())
                        .is_none()
                    {
                        entries.push(entry);
                    }
                }
                entries.shrink_to_fit();
            }
            Value::Seq(items) => items.shrink_to_fit(),
            Value::Null | Value::Scalar(_) => {}
        }
        self.finish(done.node, done.anchor);
    }

    fn alias(&mut self, anchor: usize, at: Mark) -> Result<(), Problem> {
        // A map that contains itself is not finished, so its anchor is not there.
        let Some(target) = self.anchors.get(&anchor) else {
            let message = "an alias for a value that contains it";
            return Err(Problem::new(Code::TooManyValues, "", message, "write it out").at(&at));
        };
        let (values, bytes) = weigh(target);
        let (left_values, left_bytes) = self.copies;
        let (Some(left_values), Some(left_bytes)) = (
            left_values.checked_sub(values),
            left_bytes.checked_sub(bytes),
        ) else {
            let message = "aliases stand for more values than a config of this size can have";
            return Err(Problem::new(Code::TooManyValues, "", message, "write them out").at(&at));
        };
        let copy = Node {
            value: target.value.clone(),
            at: at.clone(),
        };
        self.copies = (left_values, left_bytes);
        self.count(values, &at)?;
        self.finish(copy, 0);
        Ok(())
    }

    /// A value is complete: it goes where it belongs.
    fn finish(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            let (values, bytes) = weigh(&node);
            let left = &mut self.copies;
            // An anchor keeps a copy too.
            if left.0 >= values && left.1 >= bytes {
                *left = (left.0 - values, left.1 - bytes);
                self.anchors.insert(anchor, node.clone());
            } else {
                let message = "anchors name more values than a config of this size can have";
                let problem = Problem::new(Code::TooManyValues, "", message, "write them out");
                self.problems.push(problem.at(&node.at));
            }
        }
        let Some(parent) = self.open.last_mut() else {
            self.roots.push(node);
            return;
        };
        match &mut parent.node.value {
            Value::Seq(items) => items.push(node),
            Value::Map(_) => self.finish_in_map(node),
            Value::Null | Value::Scalar(_) => {}
        }
    }

    /// Where the innermost open list or map belongs.
    fn path(&self) -> String {
        let above = self.open.len().saturating_sub(1);
        let mut path = String::new();
        for open in self.open.iter().take(above) {
            match (&open.node.value, &open.key) {
                (Value::Seq(items), _) => path += &format!("[{}]", items.len()),
                (_, Some((key, _))) => path = join(&path, key),
                _ => {}
            }
        }
        path
    }

    fn finish_in_map(&mut self, node: Node) {
        let Some(parent) = self.open.last_mut() else {
            return;
        };
        let Value::Map(entries) = &mut parent.node.value else {
            return;
        };
        let Some((key, key_at)) = parent.key.take() else {
            match &node.value {
                Value::Scalar(key) if key.text.len() <= LONGEST_KEY => {
                    parent.key = Some((key.text.clone(), node.at));
                }
                Value::Scalar(_) => {
                    let message = format!("a key is longer than {LONGEST_KEY} bytes");
                    let hint = "is a quote or a colon missing before it?";
                    let problem = Problem::new(Code::BadKey, "", message, hint);
                    self.problems.push(problem.at(&node.at));
                    parent.key = Some((String::new(), node.at));
                }
                _ => {
                    let message = format!("a key is {}", node.kind());
                    let hint = "keys are words; put values with { or [ in quotes";
                    let problem = Problem::new(Code::BadKey, "", message, hint);
                    self.problems.push(problem.at(&node.at));
                    parent.key = Some((String::new(), node.at));
                }
            }
            return;
        };
        if key == "<<" {
            let (mut maps, mut others) = (Vec::new(), Vec::new());
            entries_of(node, &mut maps, &mut others);
            parent.merged.extend(maps);
            for at in others {
                let message = "<< merges maps, and this is none";
                let hint = "an alias of a map, such as `<<: *name`";
                self.problems
                    .push(Problem::new(Code::BadKey, "", message, hint).at(&at));
            }
            return;
        }
        if let Some(first) = parent.seen.get(&key) {
            let message = format!("there already, on line {}", first.line);
            let path = join(&self.path(), &key);
            let path = shown_path(&path);
            let problem = Problem::new(Code::DuplicateKey, path, message, "keep one of the two");
            self.problems.push(problem.at(&key_at));
            return;
        }
        parent.seen.insert(key.clone(), key_at.clone());
        // A key that is no text has its problem already.
        if !key.is_empty() {
            entries.push(Entry { key, key_at, node });
        }
    }
}

/// The entries of a map, or of a list of maps: what `<<` merges; and where there is neither.
fn entries_of(node: Node, maps: &mut Vec<Entry>, others: &mut Vec<Mark>) {
    match node.value {
        Value::Map(entries) => maps.extend(entries),
        Value::Seq(items) => {
            for item in items {
                entries_of(item, maps, others);
            }
        }
        Value::Null | Value::Scalar(_) => others.push(node.at),
    }
}

fn scalar_value(text: &str, style: Style) -> Value {
    // The null of YAML 1.2's core schema.
    if style == Style::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    Value::Scalar(Scalar {
        text: text.to_owned(),
        style,
    })
}

/// How many values a node has, and bytes of text.
fn weigh(node: &Node) -> (usize, usize) {
    let sum = |parts: &mut dyn Iterator<Item = (usize, usize)>| {
        parts.fold((1, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    };
    match &node.value {
        Value::Null => (1, 0),
        Value::Scalar(scalar) => (1, scalar.text.len()),
        Value::Seq(items) => sum(&mut items.iter().map(weigh)),
        Value::Map(entries) => sum(&mut entries.iter().map(|e| {
            let (values, bytes) = weigh(&e.node);
            (values, bytes + e.key.len())
        })),
    }
}
