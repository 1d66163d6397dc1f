//! gzip with a limit, since a small file can unpack to a huge one.

use std::io::Read as _;

use super::{Wrong, wrong};

/// What is taken however small the input is.
const FLOOR: usize = 64 << 10;
/// What is taken for each byte of input; configs shrink to a tenth, bombs to a thousandth.
const RATIO: usize = 30;
/// The most that is ever taken.
const CEILING: usize = 16 << 20;

/// Whether bytes begin like gzip (RFC 1952, 2.3.1).
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Unpacks gzip, all members of it. Refuses what unpacks to more than 30 times its size
/// (64 KiB are always fine) or to more than 16 MiB.
pub fn gunzip(packed: &[u8]) -> Result<Vec<u8>, Wrong> {
    let limit = (FLOOR.max(packed.len().saturating_mul(RATIO))).min(CEILING);
    let mut bytes = Vec::new();
    let unpacked = flate2::read::MultiGzDecoder::new(packed)
        .take(limit as u64 + 1)
        .read_to_end(&mut bytes);
    match unpacked {
        Err(e) => wrong(format!("not gzip: {e}"), "the output of `gzip -c FILE`"),
        Ok(_) if bytes.len() > limit => wrong(
            format!("unpacks to more than {limit} bytes"),
            "configs are small; fetch large files after the install",
        ),
        Ok(_) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        let mut encoder = flate2::read::GzEncoder::new(bytes, flate2::Compression::best());
        encoder.read_to_end(&mut packed).unwrap();
        packed
    }

    #[test]
    fn bombs_and_damage_are_refused() {
        let packed = gzip(b"harrow");
        assert!(is_gzip(&packed));
        assert_eq!(gunzip(&packed).unwrap(), b"harrow");
        assert_eq!(
            gunzip(&[&packed[..], &packed].concat()).unwrap(),
            b"harrowharrow"
        );
        assert_eq!(gunzip(&gzip(&vec![0; FLOOR])).unwrap().len(), FLOOR);
        assert!(
            gunzip(&gzip(&vec![0; 40 << 20]))
                .unwrap_err()
                .message
                .contains("more than")
        );
        assert!(gunzip(&packed[..packed.len() - 4]).is_err());
        assert!(gunzip(b"plain").is_err());
        assert!(gunzip(b"").is_err());
    }
}
