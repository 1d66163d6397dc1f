//! A web server that does what bad servers do, and remembers what it was asked.

// A test may panic, and not each needs all of it.
#![allow(clippy::unwrap_used, dead_code)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What the server was asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Without the first slash.
    pub path: String,
    /// First byte of the range, when there is one, and whether that is more than one byte.
    pub start: Option<u64>,
    pub probe: bool,
    /// Requests of this path before.
    pub number: usize,
}

/// How it answers.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Instead of 200 and 206.
    pub status: Option<&'static str>,
    /// More headers, each with its line's end.
    pub headers: String,
    /// Whether ranges are understood.
    pub ranges: bool,
    /// Byte of the file at which the connection ends.
    pub cut: Option<u64>,
    /// Whether it stays open there and says nothing.
    pub stall: bool,
    /// What is sent instead of the file.
    pub body: Option<Vec<u8>>,
    /// Added to the length that is told.
    pub wrong_length: i64,
    /// Whether the length is told at all.
    pub length: bool,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            status: None,
            headers: String::new(),
            ranges: true,
            cut: None,
            stall: false,
            body: None,
            wrong_length: 0,
            length: true,
        }
    }
}

impl Answer {
    pub fn status(status: &'static str) -> Self {
        Self {
            status: Some(status),
            body: Some(Vec::new()),
            ..Self::default()
        }
    }
}

type Behave = dyn Fn(&Request) -> Answer + Send + Sync;

/// A server of a folder's files.
pub struct Server {
    /// URL of the folder, ending with a slash.
    pub url: String,
    sent: Arc<AtomicU64>,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn new(dir: &Path, behave: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            url: format!("http://{}/", listener.local_addr().unwrap()),
            sent: Arc::default(),
            asked: Arc::default(),
        };
        let (sent, asked) = (Arc::clone(&server.sent), Arc::clone(&server.asked));
        let (dir, behave): (PathBuf, Arc<Behave>) = (dir.to_owned(), Arc::new(behave));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (sent, asked) = (Arc::clone(&sent), Arc::clone(&asked));
                let (dir, behave) = (dir.clone(), Arc::clone(&behave));
                std::thread::spawn(move || serve(stream, &dir, &*behave, &sent, &asked));
            }
        });
        server
    }

    /// Bytes of bodies that were sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// What was asked for, in order.
    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    dir: &Path,
    behave: &Behave,
    sent: &AtomicU64,
    asked: &Mutex<Vec<Request>>,
) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let path = path.trim_start_matches('/').to_owned();
    let range = head.lines().find_map(|l| l.strip_prefix("range: bytes="));
    let range = range.and_then(|range| range.split_once('-'));
    let first = range.and_then(|(first, _)| first.parse::<u64>().ok());
    let last = range.and_then(|(_, last)| last.parse::<u64>().ok());
    let request = {
        let mut asked = asked.lock().unwrap();
        let request = Request {
            number: asked.iter().filter(|r| r.path == path).count(),
            path: path.clone(),
            start: first,
            probe: last.is_some() && last == first,
        };
        asked.push(request.clone());
        request
    };
    let answer = behave(&request);
    let whole = match &answer.body {
        Some(body) => body.clone(),
        None => match fs::read(dir.join(&path)) {
            Ok(bytes) => bytes,
            Err(_) => {
                let head =
                    "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(head.as_bytes()).ok();
                return;
            }
        },
    };
    let size = whole.len() as u64;
    let (start, end, part) = match first {
        Some(start) if answer.ranges && answer.status.is_none() => {
            let end = last.map_or(size, |last| (last + 1).min(size));
            (start.min(end), end, true)
        }
        _ => (0, size, false),
    };
    let status = answer.status.unwrap_or(match part {
        true => "206 Partial Content",
        false => "200 OK",
    });
    let mut head = format!(
        "HTTP/1.1 {status}\r\n{}Connection: close\r\n",
        answer.headers
    );
    if part {
        head += &format!(
            "Content-Range: bytes {start}-{}/{size}\r\n",
            end.saturating_sub(1)
        );
    }
    if answer.length {
        let length = (end - start).saturating_add_signed(answer.wrong_length);
        head += &format!("Content-Length: {length}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes()).ok();
    let stop = match answer.cut {
        Some(cut) if !request.probe && (cut > start || (answer.stall && cut == start)) => {
            end.min(cut)
        }
        _ => end,
    };
    let body = &whole[start as usize..stop as usize];
    for piece in body.chunks(64 << 10) {
        if stream.write_all(piece).is_err() {
            return;
        }
        sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
    }
    if answer.stall && stop < end {
        // Until the other side has had enough.
        let _hung_up = stream.read(&mut byte).unwrap_or(0);
    }
}
