//! Amounts: sizes of disks, and Kubernetes' quantities of CPU and memory.
//!
//! Kubernetes' grammar is that of `apimachinery/pkg/api/resource/quantity.go`: a decimal number
//! and a suffix, binary (`Ki`), decimal (`k`, `m`) or an exponent (`e3`). Counted in whole units
//! of the smallest kind, so nothing is rounded away.

use super::{Wrong, quoted, wrong};

/// A size with a binary (Ki, Mi, Gi, Ti) or decimal (K, M, G, T) unit, at least `least` bytes.
pub fn size(text: &str, least: u64) -> Result<u64, Wrong> {
    const HINT: &str = "a number with Mi, Gi or Ti, such as 150Gi";
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "K" | "KB" | "k" | "kB" => 1000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        "Ki" | "KiB" => 1 << 10,
        "Mi" | "MiB" => 1 << 20,
        "Gi" | "GiB" => 1 << 30,
        "Ti" | "TiB" => 1 << 40,
        unit => {
            return wrong(format!("{} is not a unit of size", quoted(unit)), HINT);
        }
    };
    let number = digits.trim();
    let plain = number.bytes().all(|b| b.is_ascii_digit());
    let bytes = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor));
    match bytes.filter(|_| plain) {
        None => wrong(format!("{} is not a size", quoted(text)), HINT),
        // Nobody means bytes.
        Some(bytes) if bytes < least && digits.len() == text.len() => wrong(
            format!("{text} has no unit, so it would be bytes"),
            format!("{number}Gi or {number}G"),
        ),
        Some(bytes) if bytes < least => wrong(
            format!("{text} is too small"),
            format!("at least {}", shown_size(least)),
        ),
        Some(bytes) => Ok(bytes),
    }
}

/// A size in the largest binary unit that shows it exactly.
fn shown_size(bytes: u64) -> String {
    let units = [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")];
    let whole = |(shift, _): &&(u32, &str)| bytes > 0 && bytes.is_multiple_of(1 << shift);
    match units.iter().find(whole) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

/// An amount of CPU such as `500m`, `2` or `0.5`, in thousandths of a core.
pub fn cpu_quantity(text: &str) -> Result<u64, Wrong> {
    match parse_thousandths(text) {
        Some(Ok(thousandths)) => Ok(thousandths),
        Some(Err(())) | None => wrong(
            format!("{} is not an amount of CPU", quoted(text)),
            "cores or thousandths of them, such as 2 or 500m",
        ),
    }
}

/// An amount of memory such as `1Gi` or `512M`, in bytes.
pub fn memory_quantity(text: &str) -> Result<u64, Wrong> {
    if text.ends_with('m') {
        return wrong(
            format!("{} counts thousandths of a byte", quoted(text)),
            "Mi for mebibytes, such as 512Mi",
        );
    }
    match parse_thousandths(text) {
        Some(Ok(thousandths)) if thousandths % 1000 == 0 => Ok(thousandths / 1000),
        _ => wrong(
            format!("{} is not an amount of memory", quoted(text)),
            "such as 512Mi or 4Gi",
        ),
    }
}

/// CPU that is kept free on a node: an amount that a machine can have.
pub fn reserved_cpu(text: &str) -> Result<u64, Wrong> {
    const MOST: u64 = 256;
    match cpu_quantity(text)? {
        thousandths if thousandths > MOST * 1000 => wrong(
            format!("{} means {} cores", quoted(text), thousandths / 1000),
            format!("{text}m for thousandths of a core; at most {MOST} cores"),
        ),
        thousandths => Ok(thousandths),
    }
}

/// Memory that is kept free on a node: nothing, or at least a mebibyte.
pub fn reserved_memory(text: &str) -> Result<u64, Wrong> {
    match memory_quantity(text) {
        Ok(bytes @ 1..=0xf_ffff) => wrong(
            format!("{} means {bytes} bytes", quoted(text)),
            "with a unit, such as 512Mi or 2Gi",
        ),
        Err(slip) => match text
            .strip_suffix(['B', 'b'])
            .map(|t| (t, memory_quantity(t)))
        {
            // As sizes of disks are written; Kubernetes does not.
            Some((right, Ok(_))) => wrong(slip.message, right),
            _ => Err(slip),
        },
        right => right,
    }
}

/// A quantity in thousandths, rounded up; `None` when it is none, `Err` when it is too large.
fn parse_thousandths(text: &str) -> Option<Result<u64, ()>> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && part.is_empty()) || part.contains('.') || number.len() > 20 {
        return None;
    }
    // The factor of the suffix, times 1000.
    let factor: u128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        "Pi" => 1000 << 50,
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            let exponent = digits
                .strip_prefix('+')
                .unwrap_or(digits)
                .parse::<u32>()
                .ok()?;
            if digits.starts_with("+-") || exponent > 15 {
                return None;
            }
            1000 * 10_u128.pow(exponent)
        }
    };
    let number: u128 = format!("{whole}{part}").parse().ok()?;
    let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
    let thousandths = number.checked_mul(factor)?.div_ceil(scale);
    Some(u64::try_from(thousandths).map_err(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_are_what_a_machine_has() {
        assert_eq!(reserved_cpu("500m"), Ok(500));
        assert!(reserved_cpu("500").unwrap_err().hint.starts_with("500m"));
        assert_eq!(reserved_memory("0"), Ok(0));
        assert_eq!(reserved_memory("2Gi"), Ok(2 << 30));
        assert!(reserved_memory("2").unwrap_err().message.contains("bytes"));
        assert_eq!(reserved_memory("2GB").unwrap_err().hint, "2G");
        assert_eq!(size("150", 1 << 30).unwrap_err().hint, "150Gi or 150G");
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("1", 1),
            ("2Ki", 2048),
            ("150Gi", 150 << 30),
            ("1T", 1_000_000_000_000),
            (" 4 MiB", 4 << 20),
            ("0", 0),
        ] {
            assert_eq!(size(text, 0), Ok(bytes), "{text}");
        }
        for bad in [
            "",
            "Gi",
            "-1Gi",
            "+1Gi",
            "1.5Gi",
            "1Xi",
            "1gi",
            "99999999999Ti",
            "1 0Gi",
        ] {
            assert!(size(bad, 0).is_err(), "{bad}");
        }
        assert!(size("1Gi", 2 << 30).unwrap_err().hint.contains("2Gi"));
        assert!(size("149Gi", 150 << 30).is_err());
        assert!(size("150Gi", 150 << 30).is_ok());
    }

    #[test]
    fn cpus() {
        for (text, milli) in [
            ("500m", 500),
            ("2", 2000),
            ("0.5", 500),
            (".5", 500),
            ("1.", 1000),
            ("0.0001", 1),
            ("1e1", 10_000),
            ("1E+1", 10_000),
            ("1k", 1_000_000),
            ("0", 0),
        ] {
            assert_eq!(cpu_quantity(text), Ok(milli), "{text}");
        }
        for bad in [
            "", "m", ".", "-1", "+1", "1.2.3", "1 ", "1x", "1e", "1e99", "1e+-1", "2 cores",
        ] {
            assert!(cpu_quantity(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn memory() {
        for (text, bytes) in [
            ("1Gi", 1 << 30),
            ("512M", 512_000_000),
            ("1.5Gi", 3 << 29),
            ("1024", 1024),
            ("1e3", 1000),
        ] {
            assert_eq!(memory_quantity(text), Ok(bytes), "{text}");
        }
        for bad in ["1m", "1GB", "0.5", "99999999999999999999Pi", "1K"] {
            assert!(memory_quantity(bad).is_err(), "{bad}");
        }
    }
}
