//! A web server on the loopback that gives a few files to guests, which see it at 10.0.2.2.
//!
//! In: names and contents, and how many answers shall fail at first. Out: URLs, and a log of what was asked
//! for. Parts of files are given to who asks for them. It ends when dropped.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, anyhow};
use tiny_http::{Header, Request, Response, Server};

/// The host, as guests on QEMU's user network see it.
const HOST: &str = "10.0.2.2";

/// Content of the files by their path, such as `/config.yaml`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What the first answers of a server with faults are, in turn.
const FAULTS: [u16; 3] = [503, 500, 502];

/// A running server.
pub struct FileServer {
    server: Arc<Server>,
    port: u16,
    log: Arc<Mutex<Vec<String>>>,
}

impl FileServer {
    /// Serves `files` on a free port of the loopback.
    pub fn start(files: Files) -> anyhow::Result<Self> {
        Self::start_failing(files, 0)
    }

    /// The same, but the first `faults` answers say that the server has a fault.
    pub fn start_failing(files: Files, faults: usize) -> anyhow::Result<Self> {
        let server = Server::http((Ipv4Addr::LOCALHOST, 0))
            .map_err(|error| anyhow!("starting a web server: {error}"))?;
        let port = server
            .server_addr()
            .to_ip()
            .context("the web server has no port")?
            .port();
        let server = Arc::new(server);
        let log = Arc::new(Mutex::new(Vec::new()));
        let (theirs, their_log) = (Arc::clone(&server), Arc::clone(&log));
        std::thread::spawn(move || {
            for (count, request) in theirs.incoming_requests().enumerate() {
                let line = if count < faults {
                    let fault = Response::from_data("a fault of the test\n");
                    reply(
                        request,
                        fault.with_status_code(FAULTS[count % FAULTS.len()]),
                    )
                } else {
                    answer(request, &files)
                };
                their_log
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        });
        Ok(Self { server, port, log })
    }

    /// Where a guest finds `path`.
    pub fn guest_url(&self, path: &str) -> String {
        format!("http://{HOST}:{}{path}", self.port)
    }

    /// What was asked for so far, such as `GET /config.yaml 200`.
    pub fn requests(&self) -> Vec<String> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.server.unblock();
    }
}

fn answer(request: Request, files: &Files) -> String {
    let Some(bytes) = files.get(request.url()) else {
        let response = Response::from_data("not here\n").with_status_code(404);
        return reply(request, response);
    };
    let size = bytes.len();
    let asked = request.headers().iter().find(|it| it.field.equiv("Range"));
    let Some(range) = asked.map(|it| range_of(it.value.as_str(), size)) else {
        return reply(request, Response::from_data(bytes.clone()));
    };
    let (status, said, part) = match range {
        Some((first, end)) => (206, format!("{first}-{}", end - 1), &bytes[first..end]),
        None => (416, "*".to_owned(), &[][..]),
    };
    let mut response = Response::from_data(part).with_status_code(status);
    if let Ok(header) = Header::from_bytes("Content-Range", format!("bytes {said}/{size}")) {
        response.add_header(header);
    }
    reply(request, response)
}

/// First byte, and the one behind the last, of `bytes=FIRST-` or `bytes=FIRST-LAST`.
fn range_of(value: &str, size: usize) -> Option<(usize, usize)> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let end = match last {
        "" => size,
        last => size.min(last.parse::<usize>().ok()?.checked_add(1)?),
    };
    (first < end).then_some((first, end))
}

fn reply(request: Request, response: Response<Cursor<Vec<u8>>>) -> String {
    let asked = format!("{} {}", request.method(), request.url());
    let status = response.status_code().0;
    // A client that went away shows in what it does next.
    request.respond(response).ok();
    format!("{asked} {status}")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;

    fn get(port: u16, path: &str) -> String {
        get_with(port, path, "")
    }

    fn get_with(port: u16, path: &str, header: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn files_are_served_and_requests_are_remembered() {
        let files = Files::from([("/config.yaml".to_owned(), b"os: {}\n".to_vec())]);
        let server = FileServer::start(files).unwrap();
        let found = get(server.port, "/config.yaml");
        assert!(
            found.starts_with("HTTP/1.1 200") && found.ends_with("os: {}\n"),
            "{found}"
        );
        assert!(get(server.port, "/other").starts_with("HTTP/1.1 404"));
        assert_eq!(
            server.guest_url("/x"),
            format!("http://10.0.2.2:{}/x", server.port)
        );
        drop(get(server.port, "/last"));
        let requests = server.requests();
        assert_eq!(requests[..2], ["GET /config.yaml 200", "GET /other 404"]);
    }

    #[test]
    fn the_first_answers_fail_and_the_next_do_not() {
        let files = Files::from([("/a".to_owned(), b"0123456789".to_vec())]);
        let server = FileServer::start_failing(files, 3).unwrap();
        for _ in 0..4 {
            get(server.port, "/a");
        }
        drop(get(server.port, "/last"));
        assert_eq!(
            server.requests()[..4],
            ["GET /a 503", "GET /a 500", "GET /a 502", "GET /a 200"]
        );
    }

    #[test]
    fn parts_of_files_are_served() {
        let files = Files::from([("/a".to_owned(), b"0123456789".to_vec())]);
        let server = FileServer::start(files).unwrap();
        for (range, start, said, end) in [
            ("bytes=4-", "HTTP/1.1 206", "bytes 4-9/10", "\r\n\r\n456789"),
            ("bytes=0-3", "HTTP/1.1 206", "bytes 0-3/10", "\r\n\r\n0123"),
            ("bytes=8-99", "HTTP/1.1 206", "bytes 8-9/10", "\r\n\r\n89"),
            ("bytes=10-", "HTTP/1.1 416", "bytes */10", "\r\n\r\n"),
            ("bytes=5-4", "HTTP/1.1 416", "bytes */10", "\r\n\r\n"),
            ("lines=1-2", "HTTP/1.1 416", "bytes */10", "\r\n\r\n"),
        ] {
            let text = get_with(server.port, "/a", &format!("Range: {range}\r\n"));
            assert!(
                text.starts_with(start) && text.contains(said) && text.ends_with(end),
                "{range}: {text}"
            );
        }
    }
}
