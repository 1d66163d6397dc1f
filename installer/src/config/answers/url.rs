//! URLs, which can hold a user, a password or a token.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::super::formats::masked_url;

/// The text of a URL as it was said. `Debug` shows it without its secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UrlText(String);

impl Deref for UrlText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for UrlText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for UrlText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", masked_url(&self.0))
    }
}

impl JsonSchema for UrlText {
    fn schema_name() -> Cow<'static, str> {
        "UrlText".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::load::check_sources;
    use super::super::super::source::{Source, SourceKind};

    #[test]
    fn debug_of_answers_and_config_shows_no_secret_of_a_url() {
        let url = "https://u:hunter2@h/x?hunter2";
        let text = format!(
            "server_url: {url}\ntoken: a\nos: {{password: a}}\ncluster: {{csi_charts: [{{repo: '{url}'}}]}}\n\
             install: {{mode: join, config_url: '{url}', iso_url: '{url}', bundle_mirror: '{url}', \
             webhooks: [{{event: FAILED, url: 'https://h/hunter2'}}]}}\n"
        );
        let checked = check_sources(&[Source::yaml(SourceKind::File, "f", text)]);
        assert_eq!(
            checked.answers.install.config_url.as_deref(),
            Some(url),
            "the value itself is kept"
        );
        let config = checked.usable_config().unwrap();
        let shown = format!("{checked:?} {config:?} {:#?}", checked.answers);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("https://***@h/x?…"), "{shown}");
    }
}
