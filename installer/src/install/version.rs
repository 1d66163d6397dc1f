//! Which of two versions is the later one.
//!
//! In: versions as manifests have them. Out: an order, that of Debian's packages (deb-version(7)):
//! numbers count as numbers, `~` comes before everything, also before the end. Pure.

use std::cmp::Ordering;

/// Compares two versions.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let words = (take(&mut a, false), take(&mut b, false));
        let numbers = (number(take(&mut a, true)), number(take(&mut b, true)));
        let order = compare_words(words.0, words.1).then_with(|| {
            let by_length = numbers.0.len().cmp(&numbers.1.len());
            by_length.then_with(|| numbers.0.cmp(numbers.1))
        });
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// Takes digits, or what is none, from the beginning.
fn take<'a>(text: &mut &'a [u8], digits: bool) -> &'a [u8] {
    let end = text.iter().position(|b| b.is_ascii_digit() != digits);
    let (head, tail) = text.split_at(end.unwrap_or(text.len()));
    *text = tail;
    head
}

fn number(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    &digits[zeros..]
}

fn compare_words(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    };
    let length = a.len().max(b.len());
    let ranks = (0..length).map(|i| rank(a.get(i)).cmp(&rank(b.get(i))));
    ranks.fold(Ordering::Equal, Ordering::then)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::cmd::Cmd;

    /// Judged by dpkg.
    #[test]
    fn dpkg_agrees() {
        let versions = [
            "0.1.0",
            "0.1.0~rc1",
            "0.1.0~rc2",
            "0.1.0~",
            "0.1.0+1",
            "0.1.00",
            "0.1.10",
            "0.1.9",
            "0.2",
            "0.2.0",
            "1",
            "01",
            "1a",
            "1.a",
            "1.1",
            "2026.11.01",
            "2026.9.30",
            "10-rc.1",
        ];
        for a in versions {
            for b in versions {
                let relation = match compare(a, b) {
                    Ordering::Less => "lt",
                    Ordering::Equal => "eq",
                    Ordering::Greater => "gt",
                };
                let dpkg = Cmd::new("dpkg").args(["--compare-versions", a, relation, b]);
                assert!(
                    dpkg.run_any().unwrap().status.success(),
                    "{a} {relation} {b}"
                );
            }
        }
    }
}
