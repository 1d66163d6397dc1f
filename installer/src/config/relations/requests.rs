//! Requests that an install makes: webhooks and the config at a URL.

use super::super::answers::Answers;
use super::super::problem::{Code, Problems};

/// What a request needs, and secrets that would travel in clear.
pub fn requests_are_complete(answers: &Answers, problems: &mut Problems) {
    for (i, hook) in answers.install.webhooks.iter().enumerate() {
        let field = |key: &str| format!("install.webhooks[{i}].{key}");
        if hook.event.is_none() {
            let hint = "STARTED, SUCCEEDED or FAILED";
            problems.add(Code::Missing, field("event"), "missing", hint);
        }
        let Some(url) = &hook.url else {
            problems.add(Code::Missing, field("url"), "missing", "the URL to call");
            continue;
        };
        let auth = &hook.basic_auth;
        match auth.user.as_deref() {
            None | Some("") if auth.password.is_some() => {
                let hint = "the user whose password this is";
                problems.add(Code::Missing, field("basic_auth.user"), "missing", hint);
            }
            // It would end there (RFC 7617, 2).
            Some(user) if user.contains(':') => problems.add(
                Code::BadValue,
                field("basic_auth.user"),
                "a user with a colon can't be sent",
                "the password goes into basic_auth.password",
            ),
            _ => {}
        }
        let clear = is_clear(url.expose()) || hook.insecure == Some(true);
        if clear && hook.basic_auth.password.is_some() {
            problems.add(
                Code::Insecure,
                field("basic_auth"),
                "the password could be read on its way",
                "https:// with a certificate that is checked",
            );
        }
    }
    let install = &answers.install;
    let url = install.config_url.as_deref().unwrap_or_default();
    if url.is_empty() {
        for (key, given) in [
            ("config_headers", !install.config_headers.is_empty()),
            ("config_ca", install.config_ca.is_some()),
        ] {
            if given {
                problems.add(
                    Code::NoUse,
                    format!("install.{key}"),
                    "does nothing without install.config_url",
                    "give the URL, or leave this out",
                );
            }
        }
    }
    if is_clear(url) && !install.config_headers.is_empty() {
        problems.add(
            Code::Insecure,
            "install.config_url",
            "install.config_headers could be read on their way",
            "https://",
        );
    }
}

/// Whether a request to a URL can be read on its way. A template is one to some host, too.
fn is_clear(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"))
}
