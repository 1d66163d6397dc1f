//! YAML of what is rendered, in one style.
//!
//! In: anything serde can write. Out: text that YAML's old and new readers take for the same.

use serde::Serialize;
use serde_saphyr::SerializerOptions;

/// A value as a YAML document.
pub(super) fn text<T: Serialize>(value: &T) -> String {
    // A long line stays one: folded text is hard to search.
    let mut options = SerializerOptions::default();
    options.folded_wrap_chars = usize::MAX;
    // Writing a text can fail only for what no type here has, such as a map as a key. RKE2
    // refuses a file like this one and says so.
    serde_saphyr::to_string_with_options(value, options)
        .unwrap_or_else(|error| format!("!can-not-be-written {error}\n"))
}

/// Several documents in one file.
pub(super) fn documents(texts: &[String]) -> String {
    texts.join("---\n")
}

/// Whether a flag that is off can be left out.
pub(super) fn is_off(flag: &bool) -> bool {
    !*flag
}
