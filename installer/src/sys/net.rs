//! HTTP: fetching a small file, patiently.
//!
//! In: a URL, a limit of time. Out: its bytes, or an error that says what the server or the
//! network said last. TLS is rustls with the Mozilla roots.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::wait;

/// Time for one attempt.
const ATTEMPT: Duration = Duration::from_secs(20);
/// Pause between attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// The largest file that is taken.
const LIMIT: u64 = 1 << 20;

/// Fetches `url`; tries again for `patience` as long as the server can't be reached or has a
/// fault of its own. What the server refuses (4xx) is final.
pub fn fetch_small(url: &str, patience: Duration) -> anyhow::Result<Vec<u8>> {
    if !(url.starts_with("http://") || url.starts_with("https://")) {
        bail!("{url} is not an http or https URL");
    }
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(ATTEMPT))
        .build();
    let agent = ureq::Agent::new_with_config(config);
    let mut last = None;
    let waited = wait::until(url, patience, PAUSE, || match agent.get(url).call() {
        Ok(mut answer) => {
            let body = answer.body_mut().with_config().limit(LIMIT);
            Ok(Some(body.read_to_vec().context("reading the answer")?))
        }
        Err(error @ ureq::Error::StatusCode(400..=499)) => Err(anyhow::Error::new(error)),
        Err(error) => {
            tracing::debug!("fetching {url}: {error}");
            last = Some(error);
            Ok(None)
        }
    });
    match (waited, last) {
        (Err(_), Some(error)) => Err(anyhow::Error::new(error)),
        (result, _) => result,
    }
    .with_context(|| format!("fetching {url}"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Answers each connection with the next of `answers`.
    fn serve(answers: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                let _size = stream.read(&mut request).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        format!("http://{address}/config.yaml")
    }

    #[test]
    fn faults_are_tried_again_and_refusals_are_not() {
        let fault = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let good = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
        let gone = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let patience = Duration::from_secs(30);
        let url = serve(Box::leak(Box::new([fault, good])));
        assert_eq!(fetch_small(&url, patience).unwrap(), b"hi");
        let url = serve(Box::leak(Box::new([gone])));
        assert!(format!("{:#}", fetch_small(&url, patience).unwrap_err()).contains("404"));
        assert!(fetch_small("tftp://x/y", patience).is_err());
        let nobody = fetch_small("http://127.0.0.1:1/x", Duration::ZERO).unwrap_err();
        assert!(
            format!("{nobody:#}").contains("http://127.0.0.1:1/x"),
            "{nobody:#}"
        );
    }
}
