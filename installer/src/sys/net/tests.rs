//! Fetching from servers on this machine that do what bad servers do.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::*;
use crate::test_server::{self, answer, good, serve_tls};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server of a config, see [`test_server::serve`].
fn serve(answers: Vec<Vec<u8>>) -> (String, mpsc::Receiver<String>) {
    let (url, requests) = test_server::serve(answers);
    (url + "/config.yaml", requests)
}

fn fetch_small(url: &str, patience: Duration) -> anyhow::Result<Vec<u8>> {
    Fetch::new(url, patience).run_for_config()
}

fn redirect(to: &str) -> Vec<u8> {
    answer("302 Found", &format!("Location: {to}\r\n"), "")
}

fn error_of(url: &str) -> String {
    let error = Fetch::new(url, PATIENCE).run_for_config().unwrap_err();
    format!("{error:#}")
}

#[test]
fn faults_are_tried_again_and_refusals_are_not() {
    for fault in ["503 Busy", "408 Slow", "429 Often"] {
        let (url, _) = serve(vec![answer(fault, "", ""), good("hi")]);
        assert_eq!(fetch_small(&url, PATIENCE).unwrap(), b"hi", "{fault}");
    }
    for refusal in ["404 Not Found", "401 Unauthorized", "410 Gone"] {
        let (url, _) = serve(vec![answer(refusal, "", ""), good("hi")]);
        assert!(error_of(&url).contains(&refusal[..3]), "{refusal}");
    }
    let nobody = fetch_small("http://127.0.0.1:1/x", Duration::ZERO).unwrap_err();
    assert!(
        format!("{nobody:#}").contains("http://127.0.0.1:1/x"),
        "{nobody:#}"
    );
}

#[test]
fn a_server_says_how_long_it_wants_to_be_left_alone() {
    let busy = |seconds: &str| {
        let header = format!("Retry-After: {seconds}\r\n");
        answer("503 Busy", &header, "")
    };
    let (url, _) = serve(vec![busy("2"), good("hi")]);
    let start = Instant::now();
    assert_eq!(fetch_small(&url, PATIENCE).unwrap(), b"hi");
    assert!(start.elapsed() >= Duration::from_secs(2));
    // An hour is more than there is: it is asked once more at the end.
    let (url, _) = serve(vec![busy("3600"), good("hi")]);
    let start = Instant::now();
    let answer = fetch_small(&url, Duration::from_secs(3));
    assert_eq!(answer.unwrap(), b"hi");
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(4),
        "{took:?}"
    );
}

#[test]
fn other_schemes_are_refused_each_with_its_reason() {
    for (url, reason) in [
        ("tftp://a/b", "TFTP"),
        ("ftp://a/b", "ftp can't be used"),
        ("file:///etc/x", "a file is no URL"),
        ("gopher://a", "not known"),
        ("harrow.yaml", "is not a URL"),
    ] {
        assert!(error_of(url).contains(reason), "{url}: {}", error_of(url));
    }
}

#[test]
fn a_server_that_hangs_or_drips_is_left_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        // Never answers the first; gives the others a byte now and then.
        let _silent = listener.accept().unwrap();
        while let Ok((mut stream, _)) = listener.accept() {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
            let _closed = stream.write_all(head.as_bytes());
            while stream.write_all(b"x").is_ok() {
                wait::pause_for(Duration::from_millis(50));
            }
        }
    });
    for case in ["hangs", "drips"] {
        let start = Instant::now();
        let error = Fetch::new(&url, Duration::from_millis(1200))
            .run()
            .unwrap_err();
        assert!(
            start.elapsed() < Duration::from_secs(6),
            "{case}: {:?}",
            start.elapsed()
        );
        assert!(
            format!("{error:#}").contains("fetching http://127"),
            "{case}: {error:#}"
        );
    }
}

#[test]
fn sizes_and_pages() {
    let (url, _) = serve(vec![good("x".repeat(SMALL)), good("x".repeat(SMALL + 1))]);
    assert_eq!(fetch_small(&url, PATIENCE).unwrap().len(), SMALL);
    assert!(error_of(&url).contains("larger than 1048576 bytes"));
    let html = |body: &str| answer("200 OK", "Content-Type: text/html; charset=x\r\n", body);
    for page in [
        good("\u{feff}\n <!DOCTYPE html><p>"),
        good("<HTML>"),
        html("<p>login"),
    ] {
        let (url, _) = serve(vec![page]);
        assert!(error_of(&url).contains("web page"));
    }
    for config in [html("token: x"), good("<<: *a\n"), good("")] {
        let (url, _) = serve(vec![config]);
        fetch_small(&url, PATIENCE).unwrap();
    }
}

#[test]
fn headers_are_sent_and_stay_with_their_server() {
    let (other, other_requests) = serve(vec![good("there")]);
    let (url, requests) = serve(vec![redirect("/next"), redirect(&other)]);
    let mut fetch = Fetch::new(url.replace("//", "//user:hunter2@"), PATIENCE);
    fetch.headers = vec![("X-Token".into(), "hunter3".into())];
    assert_eq!(fetch.run().unwrap().bytes, b"there");
    let first = requests.recv().unwrap();
    assert!(
        first.to_ascii_lowercase().contains("x-token: hunter3"),
        "{first}"
    );
    assert!(first.contains("Basic dXNlcjpodW50ZXIy"), "{first}");
    let second = requests.recv().unwrap();
    assert!(
        second.contains("GET /next") && second.contains("hunter3"),
        "{second}"
    );
    let third = other_requests.recv().unwrap();
    assert!(
        !third.contains("hunter3") && !third.contains("Basic"),
        "{third}"
    );
    assert!(!format!("{fetch:?}").contains("hunter"), "{fetch:?}");
}

#[test]
fn secrets_are_in_no_error() {
    let (url, _) = serve(vec![answer("403 Forbidden", "", "")]);
    let mut fetch = Fetch::new(url.replace("//", "//u:hunter2@") + "?key=hunter2", PATIENCE);
    fetch.headers = vec![("X-Token".into(), "hunter2".into())];
    let error = format!("{:#}", fetch.run().unwrap_err());
    assert!(
        error.contains("403") && !error.contains("hunter2"),
        "{error}"
    );
    fetch.headers = vec![("X-Token".into(), "hunter2\n".into())];
    let error = format!("{:#}", fetch.run().unwrap_err());
    assert!(
        error.contains("X-Token") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn redirects_end() {
    let (url, _) = serve(vec![redirect("/again"); 7]);
    assert!(error_of(&url).contains("more than 5 redirects"));
    let (url, _) = serve(vec![redirect("tftp://a/b")]);
    assert!(error_of(&url).contains("TFTP"));
    let (url, _) = serve(vec![answer("301 Moved", "", "")]);
    assert!(error_of(&url).contains("leads nowhere"));
}

mod tls {
    use super::*;

    #[test]
    fn only_the_given_ca_makes_a_private_server_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let (url, ca) = serve_tls(dir.path(), good("hi"));
        let mut fetch = Fetch::new(url, PATIENCE);
        let start = Instant::now();
        let error = format!("{:#}", fetch.run().unwrap_err());
        assert!(error.contains("not trusted"), "{error}");
        assert!(start.elapsed() < PATIENCE / 2, "it was tried again");
        fetch.ca = Some(ca);
        assert_eq!(fetch.run().unwrap().bytes, b"hi");
        // Another name of the same server is not in its certificate.
        fetch.url = fetch.url.replace("127.0.0.1", "localhost");
        let error = format!("{:#}", fetch.run().unwrap_err());
        assert!(error.contains("not trusted"), "{error}");
    }

    #[test]
    fn no_redirect_leaves_https() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, _) = serve(vec![good("hi")]);
        let (url, ca) = serve_tls(dir.path(), redirect(&plain));
        let mut fetch = Fetch::new(url, PATIENCE);
        fetch.ca = Some(ca);
        let error = format!("{:#}", fetch.run().unwrap_err());
        assert!(error.contains("from https to http://"), "{error}");
    }

    #[test]
    fn a_ca_must_be_one() {
        for bad in ["", "hello", "-----BEGIN CERTIFICATE-----\nAA"] {
            let mut fetch = Fetch::new("https://127.0.0.1:1/", Duration::ZERO);
            fetch.ca = Some(bad.to_owned());
            let error = format!("{:#}", fetch.run().unwrap_err());
            assert!(error.contains("the CA"), "{bad}: {error}");
        }
    }
}
