//! What a console has said so far, as plain text that can be searched.
//!
//! In: the raw bytes of a terminal with the moment of their arrival. Out: lines without
//! escape sequences, the place and moment of a text, and lines that mean that the guest is
//! lost. Pure: no I/O, no clock.

use std::time::Instant;

/// Texts that no healthy boot or install prints, wherever they stand in a line.
const FATAL: &[&str] = &[
    "Kernel panic",
    "BUG: unable to handle",
    "Oops: ",
    "Entering emergency mode",
    "You are in emergency mode",
    "dracut-emergency",
    "Give root password",
    "Security Violation",
    "Out of memory: Kill",
    "oom-kill:",
    "is corrupted", // dm-verity: "device-mapper: verity: 254:3: data block 7 is corrupted"
    "harrow: install failed",
    "so nothing is installed",
    "harrow: BOOT FAILED",
];

/// Texts that are fatal at the start of a line: GRUB's errors.
const FATAL_START: &[&str] = &["error: "];

/// GRUB's errors that change nothing on a machine without graphics.
const HARMLESS: &[&str] = &["no suitable video mode", "no video mode activated"];

/// Where and when a text was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// When its last character arrived.
    pub at: Instant,
    /// The whole line it ends in, as far as it has arrived.
    pub line: String,
    /// Which of the texts asked for it was.
    pub which: usize,
}

/// Everything a console has said. Feed it with [`Transcript::feed`].
#[derive(Default)]
pub struct Transcript {
    parser: vte::Parser,
    sheet: Sheet,
    /// Length of the text after each feed, and when that was.
    marks: Vec<(usize, Instant)>,
    /// Where [`Transcript::next`] goes on.
    cursor: usize,
    /// Where [`Transcript::fatal`] goes on: always the start of a line.
    scanned: usize,
}

impl Transcript {
    /// Takes more of the terminal's bytes, which arrived at `at`. Sequences and characters
    /// may be cut anywhere.
    pub fn feed(&mut self, bytes: &[u8], at: Instant) {
        self.parser.advance(&mut self.sheet, bytes);
        self.marks.push((self.sheet.text.len(), at));
    }

    /// All text so far.
    pub fn text(&self) -> &str {
        &self.sheet.text
    }

    /// The first of `texts` that was said after the last one found, if it was; the search
    /// goes on after it.
    pub fn next(&mut self, texts: &[&str]) -> Option<Match> {
        let (end, found) = self.find(texts)?;
        self.cursor = end;
        Some(found)
    }

    /// As [`Transcript::next`], but waits for the end of its line; the search goes on after it.
    pub fn next_line(&mut self, texts: &[&str]) -> Option<Match> {
        let (end, found) = self.find(texts)?;
        self.cursor = end + self.sheet.text[end..].find('\n')?;
        Some(found)
    }

    fn find(&self, texts: &[&str]) -> Option<(usize, Match)> {
        let rest = &self.sheet.text[self.cursor..];
        let (start, which) = texts
            .iter()
            .enumerate()
            .filter_map(|(which, text)| Some((rest.find(text)?, which)))
            .min()?;
        let end = self.cursor + start + texts[which].len();
        let found = Match {
            at: self.moment_of(end)?,
            line: self.line_around(end).to_owned(),
            which,
        };
        Some((end, found))
    }

    /// Forgets what was said and not searched yet.
    pub fn skip_to_end(&mut self) {
        self.cursor = self.sheet.text.len();
    }

    /// The first line not looked at before that means that the guest is lost.
    pub fn fatal(&mut self) -> Option<String> {
        let rest = &self.sheet.text[self.scanned..];
        let found = rest.lines().find(|line| is_fatal(line)).map(str::to_owned);
        // A line that is still being written is looked at again.
        self.scanned += rest.rfind('\n').map_or(0, |end| end + 1);
        found
    }

    /// The last `count` lines.
    pub fn tail(&self, count: usize) -> String {
        let lines: Vec<&str> = self.sheet.text.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    fn moment_of(&self, end: usize) -> Option<Instant> {
        let index = self.marks.partition_point(|(length, _)| *length < end);
        self.marks.get(index).map(|(_, at)| *at)
    }

    fn line_around(&self, offset: usize) -> &str {
        let text = &self.sheet.text;
        let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
        let end = text[offset..]
            .find('\n')
            .map_or(text.len(), |at| offset + at);
        text[start..end].trim_end()
    }
}

fn is_fatal(line: &str) -> bool {
    let line = line.trim_start();
    let bad = FATAL.iter().any(|text| line.contains(text))
        || FATAL_START.iter().any(|text| line.starts_with(text));
    bad && !HARMLESS.iter().any(|text| line.contains(text))
}

/// A terminal that only grows: text is kept, everything else is dropped, and going to another
/// row begins a line.
#[derive(Default)]
struct Sheet {
    text: String,
    row: u16,
    returned: bool,
}

impl Sheet {
    fn end_line(&mut self) {
        self.returned = false;
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }
}

impl vte::Perform for Sheet {
    fn print(&mut self, c: char) {
        if self.returned {
            self.end_line();
        }
        self.text.push(c);
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' => self.end_line(),
            b'\r' => self.returned = true,
            b'\t' => self.text.push(' '),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &vte::Params, _: &[u8], _: bool, action: char) {
        match action {
            'H' | 'f' => {
                let row = params.iter().flatten().next().copied().unwrap_or(1);
                if row != self.row {
                    self.end_line();
                }
                self.row = row;
                self.returned = false;
            }
            'J' => self.end_line(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn said(bytes: &[u8]) -> Transcript {
        let mut transcript = Transcript::default();
        transcript.feed(bytes, Instant::now());
        transcript
    }

    #[test]
    fn text_is_found_whatever_the_terminal_does_around_it() {
        for (bytes, text) in [
            (
                &b"\x1b[0;32m  OK  \x1b[0m] Started\r\n"[..],
                "  OK  ] Started\n",
            ),
            (b"\x1b[5;1Hone\x1b[6;1Htwo", "one\ntwo"),
            (b"\x1b[5;1Hs\x1b[5;2He\x1b[5;3Ht", "set"),
            (b"10%\r20%\r\n\r\n30%", "10%\n20%\n30%"),
            (b"\x1b]0;title\x07prompt$ ", "prompt$ "),
            ("gr\u{fc}n".as_bytes(), "gr\u{fc}n"),
        ] {
            assert_eq!(said(bytes).text(), text, "{bytes:?}");
        }
    }

    #[test]
    fn a_text_cut_in_pieces_has_the_time_of_its_last_piece() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut transcript = Transcript::default();
        transcript.feed(b"har\x1b[", start);
        assert_eq!(transcript.next(&["harrow: "]), None);
        transcript.feed(b"1mrow: installer 1\r\nnext", later);
        let found = transcript.next(&["harrow: "]).unwrap();
        assert_eq!(
            (found.at, found.line.as_str()),
            (later, "harrow: installer 1")
        );
    }

    #[test]
    fn the_search_goes_on_after_what_was_found() {
        let mut transcript = said(b"a [1/2] x\r\nb [2/2] y\r\n");
        assert_eq!(transcript.next(&["/2]"]).unwrap().line, "a [1/2] x");
        assert_eq!(transcript.next(&["z", "/2]"]).unwrap().which, 1);
        assert_eq!(transcript.next(&["/2]"]), None);
        let mut transcript = said(b"second first second");
        assert_eq!(transcript.next(&["first", "second"]).unwrap().which, 1);
    }

    #[test]
    fn a_line_is_found_when_it_is_complete() {
        let mut transcript = said(b"harrow: [1/2] wri");
        assert_eq!(transcript.next_line(&["harrow: ["]), None);
        transcript.feed(b"ting\r\n", Instant::now());
        assert_eq!(
            transcript.next_line(&["harrow: ["]).unwrap().line,
            "harrow: [1/2] writing"
        );
        assert_eq!(transcript.next_line(&["harrow: "]), None);
    }

    #[test]
    fn skipped_text_is_not_found() {
        let mut transcript = said(b"login: ");
        transcript.skip_to_end();
        assert_eq!(transcript.next(&["login"]), None);
    }

    #[test]
    fn fatal_lines_are_recognised() {
        for line in [
            "[    1.2] Kernel panic - not syncing: VFS",
            "Give root password for maintenance",
            "error: file `/boot/vmlinuz' not found.",
            "Verification failed: (0x1A) Security Violation",
            "[ 20.1] oom-kill:constraint=CONSTRAINT_NONE",
            "[  5.0] device-mapper: verity: 254:3: data block 7 is corrupted",
            "harrow: install failed: no disk",
        ] {
            assert_eq!(said(line.as_bytes()).fatal().as_deref(), Some(line));
        }
        for line in [
            "[    1.2] ACPI Error: AE_NOT_FOUND",
            "error: no suitable video mode found.",
            "harrow: [3/12] writing the ESP (0 error: none)",
            "Reached target Emergency Mode is not what we do",
        ] {
            assert_eq!(said(line.as_bytes()).fatal(), None, "{line}");
        }
    }

    #[test]
    fn a_fatal_line_is_seen_while_it_is_written_and_once_when_done() {
        let mut transcript = said(b"fine\r\nKernel pan");
        assert_eq!(transcript.fatal(), None);
        transcript.feed(b"ic - not syncing\r\n", Instant::now());
        assert!(transcript.fatal().is_some());
        assert_eq!(transcript.fatal(), None);
    }
}
