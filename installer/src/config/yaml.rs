//! YAML into a [`Node`], with every way in which a file can be something else named.
//!
//! In: the bytes of a source. Out: a map, or problems with line and column. Nothing of the
//! source is quoted, since it may be a secret. What it takes in memory and time is bounded by
//! the size of the source: sizes, nesting and the copies that aliases make have limits.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag, options};

use super::problem::{Code, Mark, Problem};
use super::tree::{Entry, Node, Scalar, Style, Value, join, shown_path};
use super::wrapper;

/// The largest source that is read, in bytes.
pub const LIMIT: usize = 1 << 20;
/// The deepest nesting; the schema needs 8.
const DEPTH: usize = 24;
/// The most values in a source; a config of everything has some hundreds.
const VALUES: usize = 20_000;

/// Where YAML's own tags live, `!!str` and others.
const YAML_TAGS: &str = "tag:yaml.org,2002:";
/// The longest key: a label's prefix, name and some room.
const LONGEST_KEY: usize = 512;

/// Reads a source. The tree is there unless the source could not be read at all.
pub fn parse(bytes: &[u8], source: &Arc<str>) -> (Option<Node>, Vec<Problem>) {
    let whole = Mark::whole(source);
    let text = match wrapper::text_of(bytes) {
        Ok(text) => text,
        Err(refusal) => {
            let at = Mark {
                line: refusal.line,
                column: u32::from(refusal.line > 0),
                ..whole
            };
            let problem = Problem::new(refusal.code, "", refusal.message, refusal.hint);
            return (None, vec![problem.at(&at)]);
        }
    };
    let mut builder = Builder::new(source, text.text.len());
    let tree = builder.read(&text.text);
    let mut problems = builder.problems;
    if !text.others.is_empty() {
        let message = format!(
            "the MIME message has parts that are no config, and nothing is done with them: {}",
            text.others.join(", ")
        );
        let hint = "write_files and the other keys can say much of what scripts do";
        problems.push(Problem::new(Code::IgnoredPart, "", message, hint).at(&whole));
    }
    let tree = match tree {
        Ok(tree) => tree,
        Err(stop) => {
            problems.push(stop);
            return (None, problems);
        }
    };
    match tree.map(wrapper::unwrap) {
        Some(node) if matches!(node.value, Value::Map(_)) => (Some(node), problems),
        None
        | Some(Node {
            value: Value::Null, ..
        }) => {
            let hint = "harrow config example prints one to begin with";
            problems.push(Problem::new(Code::Empty, "", "is empty", hint).at(&whole));
            (None, problems)
        }
        Some(node) => {
            let message = format!("is {}, not `key: value`", node.kind());
            let hint = "begin with lines such as `install:`";
            problems.push(Problem::new(Code::NotAMap, "", message, hint).at(&node.at));
            (None, problems)
        }
    }
}

/// A list or map that is being read.
struct Open {
    node: Node,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<(String, Mark)>,
    /// Where each key is, when there are many.
    seen: HashMap<String, Mark>,
    /// The map of `<<`.
    merged: Vec<Entry>,
}

struct Builder<'a> {
    source: &'a Arc<str>,
    problems: Vec<Problem>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    values: usize,
    /// What aliases may still copy: values, and bytes of text.
    copies: (usize, usize),
    roots: Vec<Node>,
}

impl<'a> Builder<'a> {
    fn new(source: &'a Arc<str>, size: usize) -> Self {
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
    fn read(&mut self, text: &str) -> Result<Option<Node>, Problem> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Node>, Vec<Problem>) {
        parse(text.as_bytes(), &"c.yaml".into())
    }

    /// Code and place of the only problem.
    fn only(bytes: &[u8]) -> (Code, u32, u32) {
        let (_, problems) = parse(bytes, &"c.yaml".into());
        assert_eq!(problems.len(), 1, "{problems:?}");
        let at = problems[0].at.clone().unwrap();
        (problems[0].code, at.line, at.column)
    }

    #[test]
    fn values_know_their_places() {
        let (tree, problems) = read("#cloud-config\na:\n  b: [1, 'x']\n");
        assert_eq!(problems, []);
        let tree = tree.unwrap();
        let list = tree.get("a").unwrap().get("b").unwrap();
        let Value::Seq(items) = &list.value else {
            panic!("{list:?}");
        };
        assert_eq!((items[1].at.line, items[1].at.column), (3, 10));
        assert_eq!(items[1].text(), Some("x"));
        assert!(!format!("{tree:?}").contains('x'));
    }

    #[test]
    fn whatever_is_not_a_config_is_named() {
        for (text, expected) in [
            ("", (Code::Empty, 0, 0)),
            ("# nothing\n---\n", (Code::Empty, 0, 0)),
            ("- a\n", (Code::NotAMap, 1, 1)),
            ("just words\n", (Code::NotAMap, 1, 1)),
            ("a: 1\n---\nb: 1\n", (Code::ManyDocuments, 3, 1)),
            ("a: [\n", (Code::Syntax, 1, 4)),
            ("a:\n\t- b\n", (Code::Syntax, 2, 2)),
            ("a: *hunter2\n", (Code::Syntax, 1, 4)),
            ("a: !env X\n", (Code::BadTag, 1, 9)),
            ("a: 1\nb: 2\na: 3\n", (Code::DuplicateKey, 3, 1)),
            ("{a: 1}: 2\n", (Code::BadKey, 1, 1)),
            (
                &format!("? {}\n: 1\n", "k".repeat(600)),
                (Code::BadKey, 1, 3),
            ),
            ("a: &x [*x]\n", (Code::TooManyValues, 1, 8)),
        ] {
            assert_eq!(only(text.as_bytes()), expected, "{text:?}");
        }
        let deep = format!("a: {}1{}", "[".repeat(40), "]".repeat(40));
        assert_eq!(only(deep.as_bytes()).0, Code::TooDeep);
        let many = format!("a: [{}]", "1,".repeat(30_000));
        assert_eq!(only(many.as_bytes()).0, Code::TooManyValues);
        assert_eq!(only(&vec![b'#'; LIMIT + 1]).0, Code::TooLarge);
    }

    #[test]
    fn alias_bombs_do_not_go_off() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let row = format!("*a{}, ", i - 1).repeat(10);
            text += &format!("a{i}: &a{i} [{row}]\n");
        }
        let (tree, problems) = read(&text);
        assert!(tree.is_none());
        assert_eq!(problems.last().unwrap().code, Code::TooManyValues);
    }

    #[test]
    fn anchors_and_merge_keys_work() {
        let (tree, problems) = read("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\n");
        assert_eq!(problems, []);
        let tree = tree.unwrap();
        let b = tree.get("b").unwrap();
        assert_eq!(b.get("p").unwrap().text(), Some("1"));
        assert_eq!(b.get("q").unwrap().text(), Some("3"));
    }
}
