//! A web server on this machine that answers as it is told. The library's own tests use it too.

// A test may panic, and not each needs all of it.
#![allow(clippy::unwrap_used, dead_code)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use harrow::sys::cmd::Cmd;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Answers each connection with the next of `answers`, and nothing after that; tells each
/// request.
pub fn serve(answers: Vec<Vec<u8>>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let _closed = sender.send(converse(stream, &answer));
        }
    });
    (format!("http://{address}"), requests)
}

fn converse(mut stream: impl Read + Write, answer: &[u8]) -> String {
    let mut request = [0; 4096];
    let size = stream.read(&mut request).unwrap_or(0);
    let _closed = stream.write_all(answer);
    String::from_utf8_lossy(&request[..size]).into_owned()
}

/// An answer of HTTP.
pub fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A file.
pub fn good(body: impl AsRef<[u8]>) -> Vec<u8> {
    answer("200 OK", "", body)
}

/// Accepts connections and never says anything.
pub fn serve_nothing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            open.push(stream);
        }
    });
    url
}

/// Serves `answer` by TLS, with a certificate of a CA of its own; gives the CA in PEM.
pub fn serve_tls(dir: &Path, answer: Vec<u8>) -> (String, String) {
    let path = |name: &str| dir.join(name).display().to_string();
    let new = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ];
    Cmd::new("openssl")
        .args(["req", "-x509", "-subj", "/CN=test CA"])
        .args(new)
        .args(["-keyout", &path("ca.key"), "-out", &path("ca.pem")])
        .run()
        .unwrap();
    Cmd::new("openssl")
        .args(["req", "-x509", "-subj", "/CN=server"])
        .args(new)
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-CA", &path("ca.pem"), "-CAkey", &path("ca.key")])
        .args(["-keyout", &path("server.key"), "-out", &path("server.pem")])
        .run()
        .unwrap();
    let chain = CertificateDer::from_pem_file(dir.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            converse(&mut stream, &answer);
            stream.conn.send_close_notify();
            let _closed = stream.flush();
        }
    });
    let ca = fs::read_to_string(dir.join("ca.pem")).unwrap();
    (format!("https://{address}"), ca)
}
