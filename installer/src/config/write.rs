//! A tree as YAML, in the order in which it was written.
//!
//! In: a [`Node`]. Out: text that reads as the same tree. Comments are not kept: the tree does
//! not have them.

use std::fmt::Write as _;
use std::sync::Arc;

use super::formats;
use super::load::{self, Checked};
use super::password::{self, InClear};
use super::problem::{Code, Problem, Problems};
use super::schema;
use super::secret::Salt;
use super::spelling;
use super::tree::{Node, Scalar, Style, Value};
use super::yaml;

/// A config with today's spelling of its keys and the password hashed; what could not be read is
/// said.
pub fn convert(bytes: &[u8], name: &str, salt: Salt) -> Result<(String, Problems), Problems> {
    let source: Arc<str> = name.into();
    let mut problems = Vec::new();
    let Some(mut tree) = load::with_our_keys(yaml::parse(bytes, &source), &mut problems) else {
        return Err(Problems(problems));
    };
    if let Some(at) = password::close(&mut tree, InClear::Hash(salt)) {
        let message = "can't be used as a password";
        let hint = "`harrow config check` says why";
        problems.push(Problem::new(Code::BadValue, "os.password", message, hint).at(&at));
    }
    let unreadable = |p: &Problem| p.code.severity() == super::codes::Severity::Error;
    if problems.iter().any(unreadable) {
        return Err(Problems(problems));
    }
    Ok((to_yaml(&tree), Problems(problems)))
}

/// A config for a place where others can read it, such as a medium: a password in clear becomes
/// its hash, and then the text is that of [`convert`]. One without is left as it is.
pub fn hide_password(bytes: Vec<u8>, name: &str, salt: Salt) -> Result<Vec<u8>, Problems> {
    let (tree, _) = yaml::parse(&bytes, &name.into());
    let tree = tree.map(|tree| spelling::canonical(tree, schema::shape(), &mut Vec::new()));
    let password = tree.as_ref().and_then(|t| t.get("os")?.get("password"));
    match password.and_then(Node::text) {
        Some(text) if !text.is_empty() && !formats::is_hashed(text) => {
            convert(&bytes, name, salt).map(|(text, _)| text.into_bytes())
        }
        _ => Ok(bytes),
    }
}

/// What all sources of a config say together, as one config.
pub fn render_merged(checked: &Checked) -> String {
    let mut tree = checked.tree.clone();
    quote_all(&mut tree);
    to_yaml(&tree)
}

/// Puts every value in quotes: words of a command line are bare without being YAML. Which type
/// they are of, the schema says.
fn quote_all(node: &mut Node) {
    match &mut node.value {
        Value::Scalar(scalar) if scalar.style == Style::Plain => scalar.style = Style::Quoted,
        Value::Seq(items) => items.iter_mut().for_each(quote_all),
        Value::Map(entries) => entries.iter_mut().for_each(|e| quote_all(&mut e.node)),
        Value::Scalar(_) | Value::Null => {}
    }
}

/// The tree as YAML.
pub fn to_yaml(tree: &Node) -> String {
    let mut text = String::new();
    write_node(tree, 0, "", &mut text);
    text
}

/// A scalar as it can stand behind a key.
pub fn scalar_text(scalar: &Scalar) -> String {
    let text = &scalar.text;
    match scalar.style {
        // Bare text was read bare, so it is read so again unless it went over lines.
        Style::Plain if !text.contains('\n') => text.clone(),
        Style::Binary => format!("!!binary {}", in_quotes(text)),
        _ => in_quotes(text),
    }
}

/// In double quotes, as JSON has it, which is YAML too.
fn in_quotes(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn key_text(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let starts_well = key.starts_with(|c: char| c.is_ascii_alphabetic());
    let word = matches!(
        key.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    if starts_well && key.chars().all(bare) && !word {
        key.to_owned()
    } else {
        in_quotes(key)
    }
}

/// Whether a text can be a block: nothing that a block would change.
fn is_block(scalar: &Scalar) -> bool {
    let text = &scalar.text;
    scalar.style == Style::Quoted
        && text.contains('\n')
        && text.ends_with('\n')
        && !text.ends_with("\n\n")
        && !text.starts_with([' ', '\n', '\t'])
        && text
            .chars()
            .all(|c| c == '\n' || c == '\t' || !c.is_control())
}

fn write_value(node: &Node, depth: usize, text: &mut String) {
    // Writing to a String can't fail.
    match &node.value {
        Value::Null => text.push('\n'),
        Value::Scalar(scalar) if is_block(scalar) => {
            text.push_str(" |\n");
            for line in scalar.text.lines() {
                let indent = if line.is_empty() {
                    ""
                } else {
                    &"  ".repeat(depth)
                };
                let _ = writeln!(text, "{indent}{line}");
            }
        }
        Value::Scalar(scalar) => {
            let _ = writeln!(text, " {}", scalar_text(scalar));
        }
        Value::Seq(items) if items.is_empty() => text.push_str(" []\n"),
        Value::Map(entries) if entries.is_empty() => text.push_str(" {}\n"),
        Value::Seq(_) | Value::Map(_) => {
            text.push('\n');
            write_node(node, depth, "", text);
        }
    }
}

fn write_node(node: &Node, depth: usize, lead: &str, text: &mut String) {
    let indent = "  ".repeat(depth);
    let mut lead = lead.to_owned();
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                text.push_str(if lead.is_empty() { &indent } else { &lead });
                lead.clear();
                text.push_str(&key_text(&entry.key));
                text.push(':');
                write_value(&entry.node, depth + 1, text);
            }
        }
        Value::Seq(items) => {
            for item in items {
                let start = format!("{indent}- ");
                match &item.value {
                    Value::Map(entries) if !entries.is_empty() => {
                        write_node(item, depth + 1, &start, text);
                    }
                    _ => {
                        let _ = write!(text, "{indent}-");
                        write_value(item, depth + 1, text);
                    }
                }
            }
        }
        Value::Null | Value::Scalar(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::read_sources;
    use super::super::source::{Assignment, Source, SourceKind};
    use super::*;

    #[test]
    fn what_is_converted_says_the_same_with_todays_keys() {
        let old = "serverUrl: https://10.0.0.5:443\nos:\n  sshAuthorizedKeys: ['a b']\n  \
                   sysctls: {kernel.printk: 4 4 1 7, \"on\": \"1\"}\n  writeFiles:\n  - path: /etc/x\n    \
                   permissions: 0644\n    content: |\n      one\n\n       two\n  - {content: \"a\\nb\", path: '/y'}\n\
                   install:\n  networks: {harvester-mgmt: {interface: [{hwAddr: 52:54:00:12:34:56}]}}\n  silent:\n";
        let (new, problems) = convert(old.as_bytes(), "old", [7; 12]).unwrap();
        assert_eq!(problems.0, []);
        assert_eq!(
            new,
            "server_url: https://10.0.0.5:443\nos:\n  ssh_authorized_keys:\n    - \"a b\"\n  sysctls:\n    \
             kernel.printk: 4 4 1 7\n    \"on\": \"1\"\n  write_files:\n    - path: /etc/x\n      \
             permissions: 0644\n      content: |\n        one\n\n         two\n    - content: \"a\\nb\"\n      \
             path: \"/y\"\ninstall:\n  silent:\n  management_interface:\n    interfaces:\n      \
             - hw_addr: 52:54:00:12:34:56\n"
        );
        let (again, _) = convert(new.as_bytes(), "new", [9; 12]).unwrap();
        assert_eq!(again, new);
    }

    #[test]
    fn a_config_of_another_version_is_not_converted() {
        for text in [
            "scheme_version: 2\nos: {password: hunter2}\n",
            "SchemeVersion: 0\n",
        ] {
            let problems = convert(text.as_bytes(), "old", [7; 12]).unwrap_err();
            let codes: Vec<Code> = problems.0.iter().map(|p| p.code).collect();
            assert_eq!(codes, [Code::SchemeVersion]);
        }
        // With its password in clear it goes nowhere.
        let text = "scheme_version: 2\nos: {password: hunter2}\n";
        assert!(hide_password(text.into(), "c", [7; 12]).is_err());
    }

    #[test]
    fn passwords_are_hashed_on_the_way() {
        for (password, stays) in [("", true), ("''", true), ("x", false), ("$6$a$b", true)] {
            let text = format!("os:\n  password: {password}\n");
            let (new, _) = convert(text.as_bytes(), "old", [7; 12]).unwrap();
            assert!(new.contains("$6$") || stays, "{new}");
            let (again, _) = convert(new.as_bytes(), "new", [9; 12]).unwrap();
            assert_eq!(again, new);
        }
        for bad in ["[hunter2]", "\"hunter2\\n\""] {
            let text = format!("os: {{password: {bad}}}\n");
            let problems = convert(text.as_bytes(), "old", [7; 12]).unwrap_err();
            assert!(!problems.to_string().contains("hunter2"), "{problems}");
        }
    }

    #[test]
    fn a_password_in_clear_is_hidden_and_all_else_stays() {
        let hide = |text: &str| {
            let hidden = hide_password(text.into(), "c", [7; 12]).unwrap();
            String::from_utf8(hidden).unwrap()
        };
        for text in [
            "# a comment\ntoken: x\n",
            "os: {password: } # none\n",
            "os: {password: $6$a$b}\n",
            "os: [}\n",
        ] {
            assert_eq!(hide(text), text);
        }
        for text in [
            "os: {password: hunter2, hostname: a}\n",
            "#cloud-config\nharvester: {OS: {Password: hunter2, hostname: a}}\n",
        ] {
            let hidden = hide(text);
            assert!(hidden.contains("hostname: a") && hidden.contains("$6$"));
            assert!(!hidden.contains("hunter2"), "{hidden}");
        }
    }

    #[test]
    fn what_is_merged_reads_back_as_the_same() {
        let words = [
            ("os.ntp_servers", "a.b"),
            ("token", "a:b#{c"),
            ("os.hostname", "true"),
        ];
        let words = words.map(|(path, value)| Assignment {
            path: path.into(),
            value: value.into(),
            word: 1,
            fault: None,
        });
        let file = "os: {password: hunter2, sysctls: {a.b: 1}, write_files: [{path: /a, content: \"x\\ny\\n\"}]}\n\
                    install: {mode: create, automatic: yes, device: {min_size: 1G}}\n";
        let sources = [
            Source::yaml(SourceKind::File, "f", file),
            Source::words(SourceKind::CommandLine, "line", words.into()),
        ];
        let checked = read_sources(&sources, [7; 12]);
        let merged = render_merged(&checked);
        assert!(!merged.contains("hunter2"), "{merged}");
        let again = read_sources(&[Source::yaml(SourceKind::File, "m", merged)], [9; 12]);
        assert_eq!(again.answers, checked.answers);
    }
}
