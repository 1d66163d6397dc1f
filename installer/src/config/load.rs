//! The door for configs: from sources to answers, a config, and every problem.
//!
//! In: [`Source`]s in any order. Out: [`Checked`]. Pure; nothing is fetched here.

use std::sync::Arc;

use serde_json::Value as Json;

use super::answers::Answers;
use super::password::{self, InClear};
use super::problem::{Code, Mark, Problem, Problems, Severity};
use super::resolved::Config;
use super::schema::{self, Kind, Shape};
use super::secret::Salt;
use super::source::{Content, Source};
use super::tree::{Node, Value};
use super::{assign, check, merge, relations, resolve, spelling, yaml};

/// No more problems than these are looked up.
const MANY_PROBLEMS: usize = 2000;

/// A config with everything that is known of it.
#[derive(Debug, Clone)]
pub struct Checked {
    /// What all sources say together; every value knows its place.
    pub tree: Node,
    /// The same with types.
    pub answers: Answers,
    /// What will be done; `None` when there are errors.
    pub config: Option<Config>,
    /// Every problem, in the order of places.
    pub problems: Problems,
    /// Whether every source could be read at all.
    pub readable: bool,
    /// The strongest source that is a file or the like; problems of keys that nobody gave are
    /// said of it.
    pub main: Arc<str>,
}

/// Merges and checks sources, to tell what is wrong with them. A password in clear is forgotten:
/// what is stored comes from [`read_sources`].
pub fn check_sources(sources: &[Source]) -> Checked {
    read_all(sources, InClear::Forget)
}

/// Reads, merges and checks sources. A password in clear becomes its hash as it is read.
pub fn read_sources(sources: &[Source], salt: Salt) -> Checked {
    read_all(sources, InClear::Hash(salt))
}

fn read_all(sources: &[Source], in_clear: InClear) -> Checked {
    let mut ordered: Vec<&Source> = sources.iter().collect();
    // Stable: of several of one kind, the later is stronger.
    ordered.sort_by_key(|s| s.kind);
    let named = |s: &&&Source| matches!(s.content, Content::Yaml(_));
    let main = ordered.iter().rev().find(named).or(ordered.last());
    let main = main.map_or_else(|| Arc::from("the config"), |s| Arc::clone(&s.name));
    let mut problems = Vec::new();
    let mut tree = Node::empty_map(Mark::whole(&main));
    let mut readable = true;
    for source in ordered {
        match read(source, in_clear, &mut problems) {
            Some(more) => tree = merge::merge(tree, more, schema::shape()),
            None => readable = false,
        }
    }
    let mut checked = Checked {
        answers: answers_of(&tree, &mut problems),
        tree,
        config: None,
        problems: Problems(problems),
        readable,
        main,
    };
    // Of a source that can't be read, every key would be missing.
    if readable {
        checked.apply_rules();
    }
    checked.problems.sort();
    checked
}

/// Reads one source into a tree with the schema's keys and only usable values.
fn read(source: &Source, in_clear: InClear, problems: &mut Vec<Problem>) -> Option<Node> {
    let parsed = match &source.content {
        Content::Yaml(bytes) => yaml::parse(bytes, &source.name),
        Content::Words(words) => {
            let (tree, news) = assign::tree(words, &source.name);
            (Some(tree), news)
        }
    };
    let tree = with_our_keys(parsed, problems)?;
    let mut tree = check::check(tree, problems);
    // The check has said what goes away.
    let _gone = password::close(&mut tree, in_clear);
    Some(tree)
}

/// What was parsed, with the schema's keys; `None` when it could not be parsed, or is for another
/// version of the schema.
pub(super) fn with_our_keys(
    (tree, news): (Option<Node>, Vec<Problem>),
    problems: &mut Vec<Problem>,
) -> Option<Node> {
    problems.extend(news);
    let tree = tree?;
    if let Some(version) = other_version(&tree) {
        problems.push(version);
        return None;
    }
    Some(spelling::canonical(tree, schema::shape(), problems))
}

/// A config for another version of the schema: its keys need not mean what ours do.
fn other_version(tree: &Node) -> Option<Problem> {
    let mut entries = tree.entries().iter();
    let is_version = |key: &str| spelling::letters_of(key) == "schemeversion";
    let version = &entries.find(|entry| is_version(&entry.key))?.node;
    let number = version.text()?.trim();
    if !check::is_number(number) || check::read_int(number) == Some(1) {
        return None;
    }
    let message = format!("the config is for version {number} of the schema");
    let hint = "this version of Harrow knows version 1; the rest was not checked";
    let problem = Problem::new(Code::SchemeVersion, "scheme_version", message, hint);
    Some(problem.at(&version.at))
}

fn answers_of(tree: &Node, problems: &mut Vec<Problem>) -> Answers {
    let json = to_json(tree, schema::shape());
    match serde_json::from_value(json) {
        Ok(answers) => answers,
        Err(error) => {
            // The words of serde could hold a value.
            let place = format!("{:?}", error.classify());
            let message = format!("the checked config does not fit its types ({place})");
            problems.push(Problem::new(Code::Bug, "", message, ""));
            Answers::default()
        }
    }
}

/// The checked tree as serde reads it.
fn to_json(node: &Node, shape: &Shape) -> Json {
    match (&node.value, &shape.kind) {
        (Value::Null, _) => Json::Null,
        (Value::Scalar(scalar), kind) => {
            let text = scalar.text.as_str();
            match kind {
                Kind::Bool => check::read_bool(text).map_or(Json::Null, Json::Bool),
                Kind::Int { .. } => check::read_int(text).map_or(Json::Null, Json::from),
                Kind::Choice(words) => check::read_word(text, words).map_or(Json::Null, Json::from),
                _ => text.into(),
            }
        }
        (Value::Seq(items), Kind::List(inner)) => {
            items.iter().map(|item| to_json(item, inner)).collect()
        }
        (Value::Map(entries), kind) => {
            let each = entries.iter().filter_map(|entry| {
                let inner = match kind {
                    Kind::Map(inner) => &**inner,
                    kind => kind.fields()?.get(&entry.key)?,
                };
                Some((entry.key.clone(), to_json(&entry.node, inner)))
            });
            Json::Object(each.collect())
        }
        (Value::Seq(_), _) => Json::Null,
    }
}

/// Whether a problem is about a key, something it is in, or something in it.
fn is_about(problem: &Problem, field: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        let rest = inner.strip_prefix(outer);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
    };
    within(&problem.field, field) || within(field, &problem.field)
}

impl Checked {
    fn apply_rules(&mut self) {
        let mut news = relations::check(&self.answers);
        let (config, more) = resolve::build(&self.answers);
        self.config = Some(config);
        news.0.extend(more.0);
        self.add(news);
    }

    /// Adds problems of keys, each at the place of its key.
    pub fn add(&mut self, news: Problems) {
        // The schema's check saw single values too, with the keys as they were written.
        let faulty: Vec<Problem> = self.shape_errors().take(MANY_PROBLEMS).cloned().collect();
        for mut problem in news.0 {
            // Each is looked up; who has that many sees enough.
            if self.problems.0.len() >= MANY_PROBLEMS {
                break;
            }
            if problem.code == Code::Missing && self.is_faulty(&problem.field) {
                continue;
            }
            if problem.code.is_of_value() && faulty.iter().any(|p| is_about(p, &problem.field)) {
                continue;
            }
            if problem.code == Code::NoLogin
                && (self.is_faulty("os.password") || self.is_faulty("os.ssh_authorized_keys"))
            {
                continue;
            }
            if problem.at.is_none() {
                problem.at = Some(self.place_of(&problem.field));
            }
            // Items after one that can't be used have other numbers here.
            let same = |p: &Problem| p.at == problem.at && p.message == problem.message;
            if problem.code.is_of_value() && faulty.iter().any(same) {
                continue;
            }
            self.problems.0.push(problem);
        }
        self.problems.sort();
        if self.problems.has_errors() {
            self.config = None;
        }
    }

    /// The config that an installed node uses. It was checked when it was stored; a version
    /// with other rules or fewer keys, such as an older slot, must not leave the node without
    /// a network for it. So what can't be used is left out, and the rules between keys don't
    /// count.
    pub fn usable_config(&self) -> Result<Config, Problems> {
        if !self.readable {
            return Err(self.problems.only(Severity::Error));
        }
        Ok(resolve::build(&self.answers).0)
    }

    /// Whether a key, or something it is in, or something in it, was given and could not be
    /// used.
    fn is_faulty(&self, field: &str) -> bool {
        self.shape_errors().any(|p| is_about(p, field))
    }

    /// Keys that were given and could not be used.
    fn shape_errors(&self) -> impl Iterator<Item = &Problem> {
        let of_shape = |p: &&Problem| {
            p.code.severity() == Severity::Error && p.code.is_of_shape() && !p.field.is_empty()
        };
        self.problems.0.iter().filter(of_shape)
    }

    /// Where a key was said. When nobody did: where what it belongs to was said, such as the
    /// item of a list; at the top, the main source.
    pub fn place_of(&self, field: &str) -> Mark {
        let mut path = field;
        while !path.is_empty() {
            if let Some(node) = merge::find(&self.tree, path) {
                return node.at.clone();
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
            // `os` and `install` themselves are no place to look for a key.
            if !path.contains('.') {
                break;
            }
        }
        Mark::whole(&self.main)
    }
}

#[cfg(test)]
mod tests {
    use super::super::secret::Secret;
    use super::super::source::{Assignment, SourceKind};
    use super::*;

    const GOOD: &str = "
token: secret
os: { password: pass, hostname: weak }
install: { mode: create, vip: 10.0.0.5, management_interface: {method: dhcp} }
";

    fn codes(checked: &Checked) -> Vec<Code> {
        checked.problems.0.iter().map(|p| p.code).collect()
    }

    #[test]
    fn sources_are_merged_by_their_rank_not_their_order() {
        let set = Assignment {
            path: "os.hostname".into(),
            value: "strong".into(),
            word: 1,
            fault: None,
        };
        let checked = check_sources(&[
            Source::words(SourceKind::Set, "--set", vec![set]),
            Source::yaml(
                SourceKind::Oem,
                "oem",
                "os: {hostname: weakest, ntp_servers: a.b}",
            ),
            Source::yaml(SourceKind::File, "a.yaml", GOOD),
        ]);
        assert!(!checked.problems.has_errors(), "{}", checked.problems);
        let config = checked.config.as_ref().unwrap();
        assert_eq!(config.os.hostname.as_deref(), Some("strong"));
        assert_eq!(config.os.ntp, ["a.b"]);
        assert_eq!(checked.place_of("os.hostname").to_string(), "--set, word 1");
        assert_eq!(checked.place_of("os.ntp_servers").to_string(), "oem:1:38");
        assert_eq!(checked.place_of("os.nothing").to_string(), "a.yaml");
    }

    #[test]
    fn problems_of_all_sources_come_at_once() {
        let checked = check_sources(&[
            Source::yaml(SourceKind::Oem, "oem", "os: {hostnam: x}"),
            Source::yaml(SourceKind::File, "a.yaml", "os: [}"),
        ]);
        assert_eq!(codes(&checked), [Code::Syntax, Code::UnknownKey]);
        assert!(checked.config.is_none());
    }

    #[test]
    fn a_faulty_key_is_not_missing_too() {
        let text = GOOD
            .replace("password: pass", "password: {a: b}")
            .replace("create", "x");
        let checked = check_sources(&[Source::yaml(SourceKind::File, "a.yaml", text)]);
        let errors = checked.problems.only(Severity::Error);
        let codes: Vec<Code> = errors.0.iter().map(|p| p.code).collect();
        assert_eq!(codes, [Code::WrongType, Code::NotOneOf]);
    }

    #[test]
    fn a_stored_config_survives_rules_and_keys_that_this_version_lacks() {
        let text =
            "os: {hostname: n1, password: $6$a$b, from_the_future: 1}\ninstall: {mode: join}\n";
        let checked = check_sources(&[Source::yaml(SourceKind::Oem, "oem", text)]);
        assert!(checked.config.is_none());
        let config = checked.usable_config().unwrap();
        assert_eq!(config.os.hostname.as_deref(), Some("n1"));
        let password = config.os.password.as_ref().map(Secret::expose);
        assert_eq!(password, Some("$6$a$b"));
        for broken in ["os: [", "scheme_version: 2\n", ""] {
            let checked = check_sources(&[Source::yaml(SourceKind::Oem, "oem", broken)]);
            assert!(checked.usable_config().is_err(), "{broken}");
        }
    }

    #[test]
    fn a_faulty_section_hides_what_would_be_in_it() {
        let text = "token: x\nos: 5\ninstall: {mode: create, vip: 10.0.0.5, management_interface: static}\n";
        let checked = check_sources(&[Source::yaml(SourceKind::File, "a", text)]);
        let errors = checked.problems.only(Severity::Error);
        let codes: Vec<Code> = errors.0.iter().map(|p| p.code).collect();
        assert_eq!(codes, [Code::WrongType, Code::WrongType]);
    }

    #[test]
    fn another_version_is_one_problem() {
        for version in [
            "scheme_version: 2",
            "schemeVersion: '0'",
            "SchemeVersion: 3",
            "scheme-version: 99999999999999999999",
        ] {
            let text = format!("{version}\nfuture: true\n");
            let checked = check_sources(&[Source::yaml(SourceKind::File, "a.yaml", text)]);
            assert_eq!(codes(&checked), [Code::SchemeVersion], "{version}");
        }
    }
}
