//! Host names that are made from what a machine is.

use super::{Wrong, hostname, quoted, wrong};

/// What can stand for something of the machine, in braces.
pub const PLACEHOLDERS: [&str; 5] = ["serial", "uuid", "mac", "id", "dhcp"];

/// Longest label of a host name.
const LONGEST: usize = 63;

/// A host name, with placeholders or without.
pub fn hostname_template(text: &str) -> Result<(), Wrong> {
    if !is_template(text) {
        return hostname(text);
    }
    let Some(parts) = parts(text) else {
        return wrong(
            format!("{} has a brace that is not closed", quoted(text)),
            "such as node-{serial}",
        );
    };
    for part in &parts {
        if let Part::Placeholder(name) = part
            && !PLACEHOLDERS.contains(name)
        {
            return wrong(
                format!("{{{name}}} stands for nothing"),
                "one of {serial}, {uuid}, {mac}, {id}, {dhcp}",
            );
        }
    }
    let sample = PLACEHOLDERS
        .iter()
        .fold(text.to_owned(), |text, name| put(&text, name, "0"));
    hostname(&sample)
}

/// Whether a host name has placeholders.
pub fn is_template(text: &str) -> bool {
    text.contains(['{', '}'])
}

/// The template with what a placeholder stands for, as letters of a host name. What comes to
/// nothing is left.
pub fn put(template: &str, placeholder: &str, value: &str) -> String {
    let usable = letters(value);
    match usable.is_empty() {
        true => template.to_owned(),
        false => template.replace(&format!("{{{placeholder}}}"), &usable),
    }
}

/// The host name that came out; `None` with placeholders that nothing was put in for.
pub fn filled(text: &str) -> Option<String> {
    let mut name = text.to_owned();
    name.truncate(LONGEST);
    let name = name.trim_end_matches(['-', '.']);
    (!is_template(text) && hostname(name).is_ok()).then(|| name.to_owned())
}

/// Lower-case letters, digits and single dashes; dots stay, as in the name that a server gives.
fn letters(value: &str) -> String {
    let mut out = String::new();
    for c in value.trim().to_ascii_lowercase().chars() {
        match c {
            'a'..='z' | '0'..='9' | '.' => out.push(c),
            // A MAC address is as long as it need be.
            ':' => {}
            _ if !out.ends_with('-') => out.push('-'),
            _ => {}
        }
    }
    out.trim_matches(['-', '.']).to_owned()
}

enum Part<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

fn parts(template: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((text, more)) = rest.split_once('{') {
        let (name, more) = more.split_once('}')?;
        parts.extend([Part::Text(text), Part::Placeholder(name)]);
        rest = more;
    }
    parts.push(Part::Text(rest));
    let open = |part: &Part| matches!(part, Part::Text(text) if text.contains('}'));
    (!parts.iter().any(open)).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        for good in ["node-1", "node-{serial}", "{mac}", "{dhcp}.example.org"] {
            assert_eq!(hostname_template(good), Ok(()), "{good}");
        }
        for bad in [
            "{what}",
            "node-{serial",
            "a}b",
            "Node-{mac}",
            "-{mac}",
            "{}",
        ] {
            assert!(hostname_template(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_machine_says_becomes_letters_of_a_name() {
        let values = [
            ("serial", " To Be/Filled__7 "),
            ("mac", "52:54:00:12:34:56"),
            ("uuid", "--"),
            ("dhcp", "a.example.org"),
        ];
        let fill = |template: &str| {
            let put = |text: String, (name, value): &(&str, &str)| put(&text, name, value);
            filled(&values.iter().fold(template.to_owned(), put))
        };
        for (template, name) in [
            ("node-1", Some("node-1")),
            ("n-{serial}", Some("n-to-be-filled-7")),
            ("{mac}", Some("525400123456")),
            ("{dhcp}", Some("a.example.org")),
            ("n-{uuid}", None),
            ("n-{id}", None),
        ] {
            assert_eq!(fill(template).as_deref(), name, "{template}");
        }
        assert_eq!(fill(&"{mac}".repeat(7)).unwrap().len(), LONGEST);
    }
}
