//! A disk that somebody plugged in: FAT or ISO 9660, or something that begins like them.
#![no_main]

use std::io::Write as _;
use std::os::fd::AsRawFd as _;

use harrow::config::seed::read_seed;

/// The limit that is asked for, and how much more a file system may keep in memory.
const LIMIT: u64 = 64 << 10;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut file = tempfile::tempfile().expect("a file for the disk");
    file.write_all(data).expect("writing the disk");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    harrow_fuzz::limited(data, || match read_seed(path.as_ref(), LIMIT) {
        Ok(Some(seed)) => assert!(seed.user_data.len() as u64 <= LIMIT),
        Ok(None) => {}
        Err(error) => assert!(!format!("{error:#}").is_empty()),
    });
});
