//! User-data that a cloud passed on: gzip, base64, MIME.
#![no_main]

use harrow::config::seed::unwrap_user_data;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    harrow_fuzz::limited(data, || match unwrap_user_data(data) {
        Ok(text) => assert!(!text.starts_with("#!")),
        Err(wrong) => assert!(!wrong.message.is_empty()),
    });
});
