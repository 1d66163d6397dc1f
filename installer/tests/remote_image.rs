//! Images from a server on this machine, and all that servers do wrong.

#![allow(clippy::unwrap_used)] // helpers of tests may panic

mod common;

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::{Duration, Instant};

use common::Place;
use common::bad_server::{Answer, Request, Server};
use harrow::failure::{Failure, Kind};
use harrow::image::set::{ImageSet, from_io};
use harrow::image::source;
use harrow::install::report::Report;
use harrow::sys::cmd::Cmd;
use harrow::sys::net::remote::Limits;

const QUICK: Limits = Limits {
    retries: 3,
    stall: Duration::from_secs(1),
};

fn open(url: &str) -> anyhow::Result<ImageSet> {
    ImageSet::open_at(&source::Place::of(Path::new(url)), QUICK)
}

/// The slot image as it comes.
fn slot(url: &str) -> anyhow::Result<Vec<u8>> {
    let set = open(url)?;
    let mut bytes = Vec::new();
    let mut reader = set.reader(&set.manifest.slot.file)?;
    reader.read_to_end(&mut bytes).map_err(from_io)?;
    Ok(bytes)
}

fn good_slot(place: &Place) -> Vec<u8> {
    fs::read(place.image().join("slot.img")).unwrap()
}

/// Answers `slot.img` in a way of its own, everything else well.
fn only_slot(
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    move |request| match request.path.as_str() {
        "slot.img" => answer(request),
        _ => Answer::default(),
    }
}

/// The error, which names the URL of `file`.
fn refused(url: &str, file: &str, kind: Kind, words: &[&str]) {
    let error = slot(url).map(|bytes| bytes.len()).unwrap_err();
    let text = format!("{error:#}");
    assert_eq!(Failure::of(&error).unwrap().kind, kind, "{text}");
    assert!(text.contains(&format!("{url}{file}")), "no URL in: {text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

fn install(place: &Place, image: &str) {
    install_with(place, image, &[]);
}

fn install_with(place: &Place, image: &str, more: &[&str]) {
    let output = common::harrow("install")
        .arg("--config")
        .arg(place.config())
        .args(["--image", image, "--size", "64G", "--retries", "3"])
        .args(more)
        .arg("--device")
        .arg(place.disk())
        .run_any()
        .unwrap();
    assert!(output.status.success(), "{}", output.stderr);
    fs::remove_file(place.disk()).unwrap();
}

/// An ISO with the image and something that nobody needs.
fn make_iso(place: &Place) -> std::path::PathBuf {
    let tree = place.path("tree");
    fs::create_dir(&tree).unwrap();
    fs::rename(place.image(), tree.join("harrow")).unwrap();
    fs::write(tree.join("filler"), vec![1; 30 << 20]).unwrap();
    let iso = place.path("harrow.iso");
    Cmd::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-r", "-V", "HARROW", "-o"])
        .arg(&iso)
        .arg(&tree)
        .run()
        .unwrap();
    fs::rename(tree.join("harrow"), place.image()).unwrap();
    iso
}

#[test]
fn installs_from_everywhere() {
    let place = Place::new();
    let server = Server::new(&place.image(), |_| Answer::default());
    install(&place, &server.url);
    let iso = make_iso(&place);
    install(&place, iso.to_str().unwrap());
    let server = Server::new(place.dir.path(), |_| Answer::default());
    install(&place, &format!("{}harrow.iso", server.url));
    // What is needed was sent, some of it twice; the rest of the ISO was not.
    let needed: u64 = place.manifest().files().map(|file| file.size).sum();
    assert!(server.sent() < needed + (4 << 20), "{}", server.sent());
    assert!(server.asked().iter().all(|request| request.start.is_some()));
    // The config names it when nobody else does.
    let line = format!("  iso_url: {}harrow.iso", server.url);
    let config = common::CONFIG.replace("install: {", &format!("install: {{ {}, ", line.trim()));
    fs::write(place.config(), config).unwrap();
    let output = common::harrow("plan")
        .arg("--config")
        .arg(place.config())
        .arg("--device")
        .arg(place.disk())
        .args(["--size", "64G"])
        .run_any()
        .unwrap();
    assert!(output.status.success(), "{}", output.stderr);
}

#[test]
fn a_dropped_connection_goes_on_where_it_was() {
    let place = Place::new();
    let good = good_slot(&place);
    let tenth = good.len() as u64 / 10;
    for (ranges, tag) in [(true, "ETag: \"a\"\r\n"), (true, ""), (false, "")] {
        for number in 1..10 {
            let server = Server::new(
                &place.image(),
                only_slot(move |request| Answer {
                    ranges,
                    headers: tag.into(),
                    // A server that knows no ranges would drop each of its answers there.
                    cut: Some(tenth * number).filter(|_| ranges || request.number == 3),
                    ..Answer::default()
                }),
            );
            assert!(slot(&server.url).unwrap() == good, "{ranges} {number}");
            if ranges {
                let again = server.asked();
                let again = again.iter().find(|r| r.start == Some(tenth * number));
                assert!(again.is_some(), "{number}: it was not resumed");
            }
        }
    }
    // At each tenth of one and the same download, through the ISO too.
    let all = move |request: &Request| Answer {
        cut: (!request.probe)
            .then(|| (request.start.unwrap_or(0) / tenth + 1) * tenth)
            .filter(|_| request.path.ends_with("slot.img") || request.path.ends_with(".iso")),
        ..Answer::default()
    };
    let server = Server::new(&place.image(), all);
    assert!(slot(&server.url).unwrap() == good);
    install(&place, &server.url);
    make_iso(&place);
    let server = Server::new(place.dir.path(), all);
    assert!(slot(&format!("{}harrow.iso", server.url)).unwrap() == good);
}

#[test]
fn refusals_and_faults_are_told_with_the_url() {
    let place = Place::new();
    for (status, kind) in [
        ("500 Broken", Kind::ImageUnreachable),
        ("503 Busy", Kind::ImageUnreachable),
        ("403 Forbidden", Kind::ImageUnreachable),
    ] {
        let server = Server::new(&place.image(), only_slot(move |_| Answer::status(status)));
        refused(&server.url, "slot.img", kind, &[&status[..3], "at byte 0"]);
        // Not in the middle either.
        let server = Server::new(
            &place.image(),
            only_slot(move |request| match request.start {
                Some(start) if start > 0 => Answer::status(status),
                _ => Answer {
                    cut: Some(1_000_000),
                    ..Answer::default()
                },
            }),
        );
        refused(
            &server.url,
            "slot.img",
            kind,
            &[&status[..3], "at byte 1000000"],
        );
        // Once is no harm, when it is the server's own fault.
        if !status.starts_with('4') {
            let server = Server::new(
                &place.image(),
                only_slot(move |request| match request.number {
                    0 | 2 => Answer::status(status),
                    _ => Answer::default(),
                }),
            );
            assert!(slot(&server.url).unwrap() == good_slot(&place));
        }
    }
    let server = Server::new(
        &place.image(),
        only_slot(|_| Answer::status("404 Not Found")),
    );
    let error = format!("{:#}", open(&server.url).unwrap_err());
    assert!(
        error.contains("slot.img") && error.contains(&server.url),
        "{error}"
    );
    let server = Server::new(&place.path("nowhere"), |_| Answer::default());
    let error = format!("{:#}", open(&server.url).unwrap_err());
    assert!(
        error.contains("is not an image") && error.contains(&server.url),
        "{error}"
    );
    let error = format!("{:#}", open("http://127.0.0.1:1/x/").unwrap_err());
    assert!(
        error.contains("http://127.0.0.1:1/x/manifest.json at byte 0"),
        "{error}"
    );
    let error = format!(
        "{:#}",
        open(&format!("{}harrow.iso", server.url)).unwrap_err()
    );
    assert!(error.contains("no such file"), "{error}");
}

#[test]
fn garbage_and_wrong_lengths() {
    let place = Place::new();
    let good = good_slot(&place);
    let mut garbage = good.clone();
    garbage.iter_mut().for_each(|byte| *byte ^= 0x55);
    let server = Server::new(
        &place.image(),
        only_slot(move |_| Answer {
            body: Some(garbage.clone()),
            ..Answer::default()
        }),
    );
    refused(
        &server.url,
        "slot.img",
        Kind::ImageDamaged,
        &["is damaged", "sha256"],
    );
    // The length of the whole is wrong: found before anything is read.
    for wrong_length in [-1000, 1000] {
        let server = Server::new(
            &place.image(),
            only_slot(move |_| Answer {
                ranges: false,
                wrong_length,
                ..Answer::default()
            }),
        );
        let said = good.len() as i64 + wrong_length;
        let words = [format!("has {said} bytes"), good.len().to_string()];
        refused(
            &server.url,
            "slot.img",
            Kind::ImageDamaged,
            &[&words[0], &words[1]],
        );
        // The length of a part is wrong: what is missing is asked for again.
        let server = Server::new(
            &place.image(),
            only_slot(move |request| Answer {
                wrong_length: if request.number < 3 { wrong_length } else { 0 },
                ..Answer::default()
            }),
        );
        assert!(slot(&server.url).unwrap() == good, "{wrong_length}");
    }
    // No length, and then too little or too much.
    for (size, words) in [
        (good.len() - 1, "1 bytes too early"),
        (good.len() + 1, "longer"),
    ] {
        let mut body = good.clone();
        body.resize(size, 0);
        let server = Server::new(
            &place.image(),
            only_slot(move |_| Answer {
                ranges: false,
                length: false,
                body: Some(body.clone()),
                ..Answer::default()
            }),
        );
        refused(&server.url, "slot.img", Kind::ImageDamaged, &[words]);
    }
}

#[test]
fn a_web_page_is_no_image() {
    let place = Place::new();
    let page = || Answer {
        body: Some(b"<!DOCTYPE html><p>Log in".to_vec()),
        headers: "Content-Type: text/html\r\n".into(),
        ..Answer::default()
    };
    let server = Server::new(&place.image(), move |_| page());
    refused(
        &server.url,
        "manifest.json",
        Kind::ImageDamaged,
        &["web page"],
    );
    let iso = format!("{}harrow.iso", server.url);
    let error = format!("{:#}", open(&iso).unwrap_err());
    assert!(
        error.contains("web page") && error.contains(&iso),
        "{error}"
    );
}

#[test]
fn a_stalled_server_is_left_in_time() {
    let place = Place::new();
    let stall = |number: usize| {
        only_slot(move |request| Answer {
            cut: (request.number < number).then_some(1_234_567),
            stall: true,
            ..Answer::default()
        })
    };
    // Once: it goes on.
    let server = Server::new(&place.image(), stall(3));
    assert!(slot(&server.url).unwrap() == good_slot(&place));
    // Always.
    let server = Server::new(&place.image(), stall(usize::MAX));
    let start = Instant::now();
    let words = ["stalled", "at byte 1234567", "given up"];
    refused(&server.url, "slot.img", Kind::ImageUnreachable, &words);
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_file_that_changes_is_noticed() {
    let place = Place::new();
    let changed = |first: &'static str, then: &'static str, more: bool| {
        let longer = [good_slot(&place), vec![0; 10]].concat();
        Server::new(
            &place.image(),
            only_slot(move |request| Answer {
                headers: if request.number < 3 { first } else { then }.into(),
                cut: (request.number < 3).then_some(2_000_000),
                body: (more && request.number >= 3).then(|| longer.clone()),
                ..Answer::default()
            }),
        )
    };
    for (server, words) in [
        (changed("ETag: \"a\"\r\n", "ETag: \"b\"\r\n", false), "ETag"),
        (
            changed("Last-Modified: x\r\n", "Last-Modified: y\r\n", false),
            "time of change",
        ),
        (changed("", "", true), "now has"),
    ] {
        let words = ["changed", words, "at byte 2000000"];
        refused(&server.url, "slot.img", Kind::ImageUnreachable, &words);
    }
}

#[test]
fn a_redirect_is_followed() {
    let place = Place::new();
    let there = Server::new(&place.image(), |_| Answer::default());
    let to = there.url.clone();
    let server = Server::new(&place.image(), move |request| Answer {
        headers: format!("Location: {to}{}\r\n", request.path),
        ..Answer::status("302 Found")
    });
    assert!(slot(&server.url).unwrap() == good_slot(&place));
}

#[test]
fn memory_does_not_grow_with_a_packed_image_from_a_server() {
    let place = Place::new();
    place.make_image(160 << 20);
    let slot = place.image().join("slot.img");
    let packed = fs::File::create(place.image().join("slot.img.zst")).unwrap();
    // The largest window that is taken.
    let mut packer = zstd::Encoder::new(packed, 1).unwrap();
    packer.window_log(23).unwrap();
    io::copy(&mut fs::File::open(&slot).unwrap(), &mut packer).unwrap();
    packer.finish().unwrap();
    fs::remove_file(slot).unwrap();
    let server = Server::new(&place.image(), |_| Answer::default());
    let report = place.path("report.json");
    let more = ["--report", report.to_str().unwrap()];
    install_with(&place, &server.url, &more);
    let report: Report = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let peak = report.peak_memory_kib.unwrap();
    assert!(peak < 64 << 10, "{peak} KiB");
}
