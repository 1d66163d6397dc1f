//! From settings to values: repetition makes lists, the schema makes types.

use std::fmt;

use serde_json::Value;

use super::{Place, Segment, Setting, Shape, interface, show_path};

/// A value at its path, and the words that made it.
#[derive(Clone, PartialEq)]
pub struct Gathered {
    /// Where it belongs.
    pub path: Vec<Segment>,
    /// What it is; typed as the schema wants it, if it can be.
    pub value: Value,
    /// The words: for a list one for each item, else the one that won.
    pub places: Vec<Place>,
}

impl fmt::Debug for Gathered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the value, which may be a token.
        write!(f, "{}=***", show_path(&self.path))
    }
}

/// Settings of the same path together, in the order in which their paths first came. Where the
/// schema has a list, or has nothing, repetition makes a list; else the last one wins.
pub fn gather(settings: &[Setting], shape: &dyn Fn(&[Segment]) -> Shape) -> Vec<Gathered> {
    let mut order: Vec<&[Segment]> = Vec::new();
    let mut by_path = std::collections::BTreeMap::<&[Segment], Vec<&Setting>>::new();
    for setting in settings {
        let same = by_path.entry(&setting.path).or_default();
        if same.is_empty() {
            order.push(&setting.path);
        }
        same.push(setting);
    }
    let of_path = |path: &[Segment]| by_path.get(path).map(|same| one(path, same, shape));
    order.into_iter().filter_map(of_path).collect()
}

fn one(path: &[Segment], same: &[&Setting], shape: &dyn Fn(&[Segment]) -> Shape) -> Gathered {
    let here = shape(path);
    let list = match here {
        Shape::List => true,
        Shape::Unknown => same.len() > 1,
        _ => false,
    };
    let (value, words) = if list {
        let mut item = path.to_vec();
        item.push(Segment::Index(0));
        let item = shape(&item);
        let interfaces = is_interfaces(path);
        let values = same.iter().map(|setting| match interfaces {
            true => interface(&setting.value),
            false => typed(&setting.value, item),
        });
        (Value::Array(values.collect()), same)
    } else {
        let last = same.len().saturating_sub(1);
        let text = same.last().map_or("", |setting| &setting.value);
        (typed(text, here), &same[last..])
    };
    Gathered {
        path: path.to_vec(),
        value,
        places: words.iter().map(|setting| setting.place.clone()).collect(),
    }
}

/// Whether this is the list of NICs, whose items have a short form.
fn is_interfaces(path: &[Segment]) -> bool {
    let key = |segment: &Segment| match segment {
        Segment::Key(key) => key.replace('_', "").to_ascii_lowercase(),
        Segment::Index(_) => String::new(),
    };
    path.iter()
        .map(key)
        .eq(["install", "managementinterface", "interfaces"])
}

/// A text as what the schema wants, or as the text that it is.
fn typed(text: &str, shape: Shape) -> Value {
    let text_value = || Value::String(text.to_owned());
    match shape {
        Shape::Bool => match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => text_value(),
        },
        // As YAML reads plain decimal numbers; a number with a sign or zeros before it is text.
        Shape::Number => match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Value::from(number),
            _ => text_value(),
        },
        _ => text_value(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::parse_settings;
    use super::super::tests::shape;
    use super::*;
    use crate::sys::cmdline::Cmdline;

    #[test]
    fn values_are_typed_and_lists_made() {
        let line = Cmdline::parse(
            "harrow.os.modules=kvm harrow.os.hostname=1 harrow.os.modules=nbd harrow.os.hostname=02 \
             harrow.install.automatic harrow.install.management_interface.mtu=9000 \
             harrow.os.sysctls.vm.swappiness=1 harrow.what=1 harrow.twice=1 harrow.twice=true \
             harrow.install.management_interface.interfaces=hwAddr:52:54:00:12:34:56,name:ens3 \
             harrow.install.management_interface.interfaces=ens4",
        );
        let (settings, _) = parse_settings(&line, &shape);
        let gathered = gather(&settings, &shape);
        let said: Vec<_> = gathered
            .iter()
            .map(|g| {
                let words: Vec<usize> = g.places.iter().map(|p| p.word).collect();
                (show_path(&g.path), g.value.clone(), words)
            })
            .collect();
        let expected = [
            ("os.modules", json!(["kvm", "nbd"]), vec![1, 3]),
            ("os.hostname", json!("02"), vec![4]),
            ("install.automatic", json!(true), vec![5]),
            ("install.management_interface.mtu", json!(9000), vec![6]),
            ("os.sysctls.vm.swappiness", json!("1"), vec![7]),
            ("what", json!("1"), vec![8]),
            ("twice", json!(["1", "true"]), vec![9, 10]),
            (
                "install.management_interface.interfaces",
                json!([{"hwAddr": "52:54:00:12:34:56", "name": "ens3"}, {"name": "ens4"}]),
                vec![11, 12],
            ),
        ];
        let expected = expected.map(|(path, value, words)| (path.to_owned(), value, words));
        assert_eq!(said, expected);
        assert!(!format!("{gathered:?}").contains("9000"), "{gathered:?}");
    }

    #[test]
    fn what_does_not_fit_stays_text() {
        for (text, shape, value) in [
            ("yes", Shape::Bool, json!("yes")),
            ("false", Shape::Bool, json!(false)),
            ("09", Shape::Number, json!("09")),
            ("-1", Shape::Number, json!(-1)),
            ("1.5", Shape::Number, json!("1.5")),
            ("", Shape::Number, json!("")),
            (
                "99999999999999999999",
                Shape::Number,
                json!("99999999999999999999"),
            ),
            ("x", Shape::Map, json!("x")),
        ] {
            assert_eq!(typed(text, shape), value, "{text}");
        }
    }

    #[test]
    fn camel_case_interfaces_have_the_short_form_too() {
        let line = Cmdline::parse("harvester.install.managementInterface.interfaces=ens3");
        let lists = |_: &[Segment]| Shape::List;
        let map = |path: &[Segment]| {
            if path.len() == 3 {
                lists(path)
            } else {
                Shape::Map
            }
        };
        let (settings, _) = parse_settings(&line, &map);
        assert_eq!(gather(&settings, &map)[0].value, json!([{"name": "ens3"}]));
    }
}
