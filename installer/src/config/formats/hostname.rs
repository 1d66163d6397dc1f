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
    hostname(&fill(text, &|_| Some("0".into())).unwrap_or_default())
}

/// Whether a host name has placeholders.
pub fn is_template(text: &str) -> bool {
    text.contains(['{', '}'])
}

/// The host name that comes out; `None` when the machine does not know what a placeholder stands
/// for, or when no host name comes out. What `known` says becomes letters of a host name.
pub fn fill(template: &str, known: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let mut name = String::new();
    for part in parts(template)? {
        match part {
            Part::Text(text) => name.push_str(text),
            Part::Placeholder(placeholder) => {
                let value = known(placeholder)?;
                let usable = letters(&value);
                if usable.is_empty() {
                    return None;
                }
                name.push_str(&usable);
            }
        }
    }
    name.truncate(LONGEST);
    let name = name.trim_end_matches(['-', '.']).to_owned();
    hostname(&name).is_ok().then_some(name)
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
        let known = |name: &str| match name {
            "serial" => Some(" To Be/Filled__7 ".to_owned()),
            "mac" => Some("52:54:00:12:34:56".to_owned()),
            "uuid" => Some("--".to_owned()),
            "dhcp" => Some("a.example.org".to_owned()),
            _ => None,
        };
        for (template, name) in [
            ("node-1", Some("node-1")),
            ("n-{serial}", Some("n-to-be-filled-7")),
            ("{mac}", Some("525400123456")),
            ("{dhcp}", Some("a.example.org")),
            ("n-{uuid}", None),
            ("n-{id}", None),
        ] {
            assert_eq!(fill(template, &known).as_deref(), name, "{template}");
        }
        let long = fill(&"{mac}".repeat(7), &known).unwrap();
        assert_eq!(long.len(), LONGEST);
    }
}
