//! A config that a cloud passed on: gzip, base64, MIME.
#![no_main]

use harrow::config::packed::unpack;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    harrow_fuzz::limited(data, || match unpack(data) {
        Ok(found) => assert!(found.bytes.is_empty() || !data.is_empty()),
        Err(wrong) => assert!(!wrong.message.is_empty()),
    });
});
