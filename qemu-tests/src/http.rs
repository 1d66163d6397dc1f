//! A web server on the loopback that gives a few files to guests, which see it at 10.0.2.2.
//!
//! In: names and contents. Out: URLs, and a log of what was asked for. It ends when dropped.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, anyhow};
use tiny_http::{Request, Response, Server};

/// The host, as guests on QEMU's user network see it.
const HOST: &str = "10.0.2.2";

/// Content of the files by their path, such as `/config.yaml`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A running server.
pub struct FileServer {
    server: Arc<Server>,
    port: u16,
    log: Arc<Mutex<Vec<String>>>,
}

impl FileServer {
    /// Serves `files` on a free port of the loopback.
    pub fn start(files: Files) -> anyhow::Result<Self> {
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
            for request in theirs.incoming_requests() {
                let line = answer(request, &files);
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
    let asked = format!("{} {}", request.method(), request.url());
    let response = match files.get(request.url()) {
        Some(bytes) => Response::from_data(bytes.clone()),
        None => Response::from_data("not here\n").with_status_code(404),
    };
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
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
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
}
