//! docs/config.md: every key, every source, every code, from the types that decide them.
//!
//! In: nothing. Out: Markdown. A test compares it with the file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::advice::range;
use super::codes::{Code, Severity};
use super::schema::{self, Kind, Shape};
use super::tree::join;

const INTRO: &str = "# The config

<!-- Made by `make bless` from the types in installer/src/config; do not edit. -->

One YAML file describes a node. The keys are those of SUSE Harvester's configuration (`scheme_version: 1`), so its files
work as they are, plus Harrow's own. camelCase, kebab-case, singular and older names of keys are read too;
`harrow config convert` prints a file with today's. `harrow config check` checks configs on any machine, one or a whole
cluster; `harrow config example` prints a file to begin with.

`harrow config schema` prints the JSON Schema for editors. It offers today's keys and takes the usual spellings of others
(camelCase, PascalCase, kebab-case, letters alone, capitals, the singular), so that a Harvester file shows no false errors.

## Sources

Weakest first:

| source | where |
|---|---|
| image defaults | `/usr/share/harrow/config.yaml` of the live system |
| seed disks | NoCloud (label `cidata`, file `user-data`) and ConfigDrive (label `config-2`, file `openstack/latest/user_data`), FAT or ISO 9660, on any disk, partition or CD of the machine, or given with `--seed` |
| cloud metadata | `user-data` below the URL of `ds=nocloud;s=URL` (or `ds=nocloud-net`) on the kernel command line |
| `install.config_url` | http or https, with `install.config_headers` and `install.config_ca`; a path, from `/` on, is one on the medium. Any other source can name it, cloud metadata too, but not the config that came from here |
| the OEM partition | a node's own config, at every boot |
| files | `/harrow/harrow.yaml` on the medium, `harrow.yaml` on its small FAT partition, then `--config` in their order, the later stronger |
| kernel command line | `harrow.` and `harvester.` |
| `--set` | in their order |

They are merged key by key. A list, and a disk rule, is taken as a whole from the strongest source that has it. A key without a
value, such as `vip:`, says nothing. `harrow config show` prints the result with the origin of every value; with `--follow` it fetches
the configs that an install would fetch, not the keys of `github:USER`. An install on the live medium takes all sources of the machine, or with `--alone` only what it is given.

What is fetched is tried for three minutes (`--wait SECONDS`), again and again while the network or the server has a fault that
may go away; a server may ask for pauses (`Retry-After`) of up to a minute. `ds=nocloud` or `ds=configdrive` without a URL promises a seed disk:
an install waits a minute for it. A disk with an empty `user-data` says nothing.

A password in clear becomes its hash (SHA-512 of crypt(3)) as it is read. `github:USER` in `os.ssh_authorized_keys` is fetched at the
install, before anything is written; the node keeps the keys themselves, and an install that can't have them fails.

On the kernel command line and in `--set`, a key is written with dots: `harrow.install.mode=create` (or `harvester.`), and
`--set install.mode=create`. A key that is repeated makes a list; `os.write_files[0].path` is an item of a list of maps. A NIC is `ens3`,
a MAC address, or `hwAddr:MAC,name:ens3`. Values with `[` or `{` in front are YAML. `harrow.boot.` belongs to the boot chain.

The first line `#cloud-config` is fine, and so is a config inside `harvester:` or `harrow:`; one that is packed by gzip, in base64, or
the one config of a MIME message, whose other parts are ignored with a warning. This is so for every source; one has 1 MiB at most.

";

/// The whole text.
pub fn render() -> String {
    let mut text = String::from(INTRO);
    text += "## Keys\n\nMarks: *secret* is never shown; *later* is checked, but nothing acts on it yet; \
             *no effect* is accepted for Harvester's sake.\n\n";
    if let Some(fields) = schema::shape().kind.fields() {
        render_table("", fields, &mut text);
        for (key, shape) in fields {
            render_below(key, shape, &mut text);
        }
    }
    text += "## Problems\n\nThe codes are stable. With errors nothing is done (exit code 11); with warnings alone \
             `harrow config check` ends with 0.\n\n| code | severity | meaning |\n|---|---|---|\n";
    for severity in [Severity::Error, Severity::Warning] {
        for code in Code::ALL.iter().filter(|c| c.severity() == severity) {
            // Writing to a String can't fail.
            let _ = writeln!(
                text,
                "| `{}` | {} | {} |",
                code.name(),
                severity.name(),
                code.meaning()
            );
        }
    }
    text
}

/// The sections of a key's own keys.
fn render_below(path: &str, shape: &Shape, text: &mut String) {
    match &shape.kind {
        Kind::Struct(fields) | Kind::TextOr(fields) => {
            let _ = writeln!(text, "### `{path}`\n\n{}\n", shape.description);
            render_table(path, fields, text);
            for (key, inner) in fields {
                render_below(&join(path, key), inner, text);
            }
        }
        Kind::List(inner) => render_inner(&format!("{path}[]"), inner, text),
        Kind::Map(inner) => render_inner(&format!("{path}.NAME"), inner, text),
        _ => {}
    }
}

fn render_inner(path: &str, inner: &Shape, text: &mut String) {
    if inner.kind.fields().is_some() {
        render_below(path, inner, text);
    }
}

fn render_table(path: &str, fields: &BTreeMap<String, Shape>, text: &mut String) {
    text.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
    for (key, shape) in fields {
        let default = shape
            .default
            .as_ref()
            .map_or_else(String::new, |d| match d {
                serde_json::Value::String(word) => format!("`{word}`"),
                other => format!("`{other}`"),
            });
        let _ = writeln!(
            text,
            "| `{}` | {} | {default} | {} |",
            join(path, key),
            type_of(shape),
            meaning_of(shape)
        );
    }
    text.push('\n');
}

fn type_of(shape: &Shape) -> String {
    match &shape.kind {
        Kind::Struct(_) => "keys".into(),
        Kind::Map(inner) => format!("map of {}", type_of(inner)),
        Kind::List(inner) => format!("list of {}", type_of(inner)),
        Kind::Text => match &shape.form {
            Some(form) => form.replace('-', " "),
            None => "text".into(),
        },
        Kind::Choice(words) => {
            let words: Vec<String> = words.iter().map(|(w, _)| format!("`{w}`")).collect();
            words.join(" ")
        }
        Kind::Int { min, max } => format!("number, {}", range(*min, *max)),
        Kind::Bool => "`true` `false`".into(),
        Kind::TextOr(_) => "text or keys".into(),
    }
}

fn meaning_of(shape: &Shape) -> String {
    let mut meaning = shape.description.replace('\n', " ");
    if let Kind::Choice(words) = &shape.kind {
        for (word, what) in words.iter().filter(|(_, what)| !what.is_empty()) {
            let _ = write!(meaning, " `{word}`: {what}");
        }
    }
    if let Some(example) = &shape.example {
        let _ = write!(meaning, " Such as `{example}`.");
    }
    if let Some(reason) = &shape.no_meaning {
        let _ = write!(meaning, " *No effect: {reason}.*");
    }
    let mut marks = Vec::new();
    if shape.secret {
        marks.push("*secret*");
    }
    if shape.not_yet {
        marks.push("*later*");
    }
    if !marks.is_empty() {
        let _ = write!(meaning, " ({})", marks.join(", "));
    }
    meaning.replace('|', "\\|")
}

/// A commented config to begin with, for a mode.
pub fn example(mode: super::InstallMode) -> &'static str {
    use super::InstallMode;
    match mode {
        InstallMode::Create => include_str!("examples/create.yaml"),
        InstallMode::Join => include_str!("examples/join.yaml"),
        InstallMode::Install => include_str!("examples/install.yaml"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::check_sources;
    use super::super::source::{Source, SourceKind};
    use super::super::{InstallMode, fleet};
    use super::*;

    #[test]
    fn examples_have_no_errors_and_make_a_cluster() {
        let check = |mode, name: &str| {
            let checked = check_sources(&[Source::yaml(SourceKind::File, name, example(mode))]);
            assert!(!checked.problems.has_errors(), "{}", checked.problems);
            checked
        };
        let create = check(InstallMode::Create, "create");
        let join = check(InstallMode::Join, "join");
        check(InstallMode::Install, "install");
        let problems = fleet::check_fleet(&[create, join]);
        let codes: Vec<Code> = problems.0.iter().map(|p| p.code).collect();
        assert_eq!(codes, [Code::EvenControlPlane]);
    }
}
