//! What is wrong with a config: one [`Problem`] for each thing, with its place, a stable code
//! and the way out.
//!
//! In: findings of every check. Out: lines for people (plain or in colour) and JSON. A problem
//! never quotes a value that could be a secret.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use serde_json::{Value as Json, json};

pub use super::codes::{Code, Severity};

/// A place in a source. Lines and columns count from 1; line 0 means that the source has no
/// lines, and the column is then the number of a word, or 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Name of the source, such as the path of a file.
    pub source: Arc<str>,
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

impl Mark {
    /// The source as a whole.
    pub fn whole(source: &Arc<str>) -> Self {
        Self {
            source: Arc::clone(source),
            line: 0,
            column: 0,
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, 0) => f.write_str(&self.source),
            (0, word) => write!(f, "{}, word {word}", self.source),
            (line, column) => write!(f, "{}:{line}:{column}", self.source),
        }
    }
}

/// Something wrong in a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind of problem; decides the severity.
    pub code: Code,
    /// The key, such as `os.hostname`; empty for a source as a whole.
    pub field: String,
    /// Where; `None` for a key that nobody gave.
    pub at: Option<Mark>,
    /// What is wrong.
    pub message: String,
    /// What would be right; may be empty.
    pub hint: String,
}

impl Problem {
    /// A problem of a key, without a place yet.
    pub fn new(
        code: Code,
        field: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code,
            field: field.into(),
            at: None,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The same problem at a place.
    #[must_use]
    pub fn at(mut self, mark: &Mark) -> Self {
        self.at = Some(mark.clone());
        self
    }

    /// For machines.
    pub fn to_json(&self) -> Json {
        let place = self.at.as_ref();
        let number = |n: Option<u32>| n.filter(|n| *n > 0);
        json!({
            "severity": self.code.severity().name(),
            "code": self.code.name(),
            "field": self.field,
            "source": place.map(|m| &*m.source),
            "line": number(place.map(|m| m.line)),
            "column": number(place.map(|m| m.column)),
            "message": self.message,
            "hint": self.hint,
        })
    }
}

/// How problems look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Text alone.
    Plain,
    /// With the colours of a terminal (ECMA-48, SGR).
    Colour,
}

impl Look {
    fn paint(self, colour: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colour => format!("\x1b[{colour}m{text}\x1b[0m"),
        }
    }
}

/// The problems of a config, in the order of their places.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Notes one more.
    pub fn add(
        &mut self,
        code: Code,
        field: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.0.push(Problem::new(code, field, message, hint));
    }

    /// Whether anything is an error.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many there are of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        let of_it = |p: &&Problem| p.code.severity() == severity;
        self.0.iter().filter(of_it).count()
    }

    /// Those of one severity.
    #[must_use]
    pub fn only(&self, severity: Severity) -> Self {
        let of_it = |p: &&Problem| p.code.severity() == severity;
        Self(self.0.iter().filter(of_it).cloned().collect())
    }

    /// Sorts by place; what has no place comes last, in the order of keys. What was found
    /// twice stays once.
    pub fn sort(&mut self) {
        self.0.sort_by(|a, b| {
            let key = |p: &Problem| (p.at.is_none(), p.at.clone());
            let rest = |p: &Problem| (p.field.clone(), p.code, p.message.clone());
            key(a).cmp(&key(b)).then_with(|| rest(a).cmp(&rest(b)))
        });
        self.0.dedup();
    }

    /// The same, with one line for all keys that do nothing: what an install has room for.
    #[must_use]
    pub fn brief(&self) -> Self {
        let mut brief = Self::default();
        for (code, what) in [
            (Code::NotYet, "not acted on yet"),
            (Code::NoMeaning, "without effect"),
        ] {
            let of_it = self.0.iter().filter(|p| p.code == code);
            let fields: Vec<&str> = of_it.map(|p| p.field.as_str()).collect();
            if !fields.is_empty() {
                let message = format!("{what}: {}", fields.join(", "));
                brief.add(code, "", message, "");
            }
        }
        let others = self.0.iter();
        let others = others.filter(|p| !matches!(p.code, Code::NotYet | Code::NoMeaning));
        brief.0.extend(others.cloned());
        brief
    }

    /// One line for each problem, and one for its hint.
    pub fn render(&self, look: Look) -> String {
        let mut text = String::new();
        for problem in &self.0 {
            let severity = problem.code.severity();
            let place = problem.at.as_ref().map(|m| format!("{m}: "));
            let field = match problem.field.as_str() {
                "" => String::new(),
                field => format!("{field}: "),
            };
            let colour = match severity {
                Severity::Error => "1;31",
                Severity::Warning => "1;33",
            };
            // Writing to a String can't fail.
            let _ = writeln!(
                text,
                "{}{}: {field}{} {}",
                look.paint("1", &place.unwrap_or_default()),
                look.paint(colour, severity.name()),
                problem.message,
                look.paint("2", &format!("[{}]", problem.code.name())),
            );
            if !problem.hint.is_empty() {
                let _ = writeln!(text, "  {}: {}", look.paint("36", "hint"), problem.hint);
            }
        }
        text
    }

    /// "1 error, 2 warnings", or "no problems".
    pub fn summary(&self) -> String {
        let part = |severity: Severity| {
            let number = self.count(severity);
            let many = if number == 1 { "" } else { "s" };
            (number > 0).then(|| format!("{number} {}{many}", severity.name()))
        };
        let parts: Vec<String> = [Severity::Error, Severity::Warning]
            .into_iter()
            .filter_map(part)
            .collect();
        if parts.is_empty() {
            return "no problems".into();
        }
        parts.join(", ")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "the config has {} problem{many}:", self.0.len())?;
        for line in self.render(Look::Plain).lines() {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Problems {
        let source: Arc<str> = "a.yaml".into();
        let mark = |line, column| Mark {
            source: Arc::clone(&source),
            line,
            column,
        };
        let mut problems = Problems(vec![
            Problem::new(Code::Missing, "token", "missing", ""),
            Problem::new(Code::NotYet, "b", "later", "wait").at(&mark(9, 1)),
            Problem::new(Code::UnknownKey, "a", "no such key", "b").at(&mark(2, 3)),
        ]);
        problems.sort();
        problems
    }

    #[test]
    fn lines_are_sorted_and_name_place_severity_and_code() {
        assert_eq!(
            some().render(Look::Plain),
            "a.yaml:2:3: error: a: no such key [unknown-key]\n  hint: b\n\
             a.yaml:9:1: warning: b: later [not-yet]\n  hint: wait\n\
             error: token: missing [missing]\n"
        );
        assert_eq!(some().summary(), "2 errors, 1 warning");
        assert!(
            some()
                .render(Look::Colour)
                .contains("\x1b[1;31merror\x1b[0m")
        );
    }

    #[test]
    fn brief_says_what_does_nothing_in_one_line() {
        let mut problems = some();
        problems.add(Code::NotYet, "c.d", "later", "wait");
        assert_eq!(
            problems.only(Severity::Warning).brief().render(Look::Plain),
            "warning: not acted on yet: b, c.d [not-yet]\n"
        );
        assert_eq!(problems.brief().0.len(), 3);
    }

    #[test]
    fn json_has_every_part() {
        let value = some().0[0].to_json();
        assert_eq!(value["line"], 2);
        assert_eq!(value["code"], "unknown-key");
        assert_eq!(some().0[2].to_json()["line"], Json::Null);
    }
}
