//! A config file that anybody wrote: parsed, then every rule.
#![no_main]

use harrow::config::{Answers, resolve};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    harrow_fuzz::limited(data, || match Answers::parse(text, "fuzz") {
        Ok(answers) => {
            if let Err(problems) = resolve(&answers) {
                assert!(!problems.0.is_empty() && !problems.to_string().is_empty());
            }
        }
        Err(error) => assert!(!format!("{error:#}").is_empty()),
    });
});
