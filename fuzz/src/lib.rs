//! What all fuzz targets share: a limit on memory.

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Bytes of memory for each byte of input.
const RATIO: usize = 100;
/// Bytes of memory that are fine for any input: tables and buffers of a fixed size.
const BASE: usize = 384 << 10;

/// Whether unpacking makes more of an input, so that what it costs is no matter of its size.
pub fn is_packed(input: &[u8]) -> bool {
    !matches!(
        harrow::config::packed::unpack(input).map(|u| u.bytes),
        Ok(std::borrow::Cow::Borrowed(_))
    )
}

/// Runs `read` on `input`; panics when it takes more memory at once than 100 times the input
/// and a fixed base. Hangs are the fuzzer's to find (`-timeout`).
pub fn limited<T>(input: &[u8], read: impl FnOnce() -> T) -> T {
    // The schema is read once in a process, whatever the input.
    harrow::config::schema::shape();
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = read();
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let most = input.len() * RATIO + BASE;
    assert!(
        taken <= most,
        "{taken} bytes of memory for {} of input, at most {most}",
        input.len()
    );
    result
}
