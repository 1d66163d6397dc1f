//! YAML into a [`Node`], with every way in which a file can be something else named.
//!
//! In: the bytes of a source. Out: a map, or problems with line and column. Nothing of the
//! source is quoted, since it may be a secret. What it takes in memory and time is bounded by
//! the size of the source: sizes, nesting and the copies that aliases make have limits.

mod build;

use std::sync::Arc;

use build::Builder;

use super::problem::{Code, Mark, Problem};
use super::tree::{Node, Value};
use super::wrapper;

/// The largest source that is read, in bytes.
pub const LIMIT: usize = 1 << 20;

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
