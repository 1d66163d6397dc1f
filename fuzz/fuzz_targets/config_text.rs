//! A config file that anybody wrote: unpacked, parsed, then every check and rule.
#![no_main]

use harrow::config::packed::unpack;
use harrow::config::{Source, SourceKind, check_sources, render_text};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // What unpacking costs is the target `user_data`'s; here the text counts as the input.
    let unpacked = unpack(data).map_or_else(|_| data.to_vec(), |u| u.bytes.into_owned());
    let input = if unpacked.len() > data.len() { &unpacked } else { data };
    let source = Source::yaml(SourceKind::File, "fuzz", data);
    harrow_fuzz::limited(input, || {
        let checked = check_sources(&[source]);
        assert_eq!(checked.config.is_none(), checked.problems.has_errors());
        let said = checked.problems.0.iter();
        assert!(said.clone().all(|p| !p.message.is_empty() && p.at.is_some()));
        assert!(checked.readable || render_text(&checked).is_empty());
        if let Ok(config) = checked.usable_config() {
            assert!(checked.readable && !format!("{config:?}").is_empty());
        }
    });
});
