//! The only place that sleeps: waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Asks `condition` every `pause` until it gives a value; an error after `limit` that says
/// what was waited for.
pub fn until<T>(
    what: &str,
    limit: Duration,
    pause: Duration,
    mut condition: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() >= limit {
            bail!("waited {} s for {what}, in vain", limit.as_secs());
        }
        pause_for(pause);
    }
}

/// Does nothing for a while.
#[allow(clippy::disallowed_methods)] // this is the one door
pub fn pause_for(pause: Duration) {
    std::thread::sleep(pause);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_value_or_says_what_was_missing() {
        let mut left = 3;
        let value = until(
            "three",
            Duration::from_secs(5),
            Duration::from_millis(1),
            || {
                left -= 1;
                Ok((left == 0).then_some("done"))
            },
        );
        assert_eq!(value.unwrap(), "done");
        let never = until("a miracle", Duration::ZERO, Duration::ZERO, || {
            Ok(None::<()>)
        });
        assert!(never.unwrap_err().to_string().contains("a miracle"));
    }
}
