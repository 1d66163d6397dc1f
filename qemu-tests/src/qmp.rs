//! QMP, QEMU's control channel: commands and their results, and events.
//!
//! In: the Unix socket of the monitor. Out: the value that a command returns, or its error;
//! events in the order in which they came, each with the moment of its arrival. One JSON
//! object a line: <https://www.qemu.org/docs/master/interop/qmp-spec.html>.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

/// How long QEMU may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// An event, such as `RESET` or `SHUTDOWN`.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When it arrived.
    pub at: Instant,
    /// Its name.
    pub name: String,
    /// What it says.
    pub data: Value,
}

/// An open channel.
pub struct Qmp {
    stream: UnixStream,
    lines: Receiver<(Instant, Value)>,
    events: VecDeque<Event>,
}

impl Qmp {
    /// Takes QEMU's greeting and leaves the negotiation mode.
    pub fn open(stream: UnixStream) -> anyhow::Result<Self> {
        let (sender, lines) = channel();
        let reader = stream.try_clone().context("duplicating the QMP socket")?;
        std::thread::spawn(move || read(reader, &sender));
        let mut qmp = Self {
            stream,
            lines,
            events: VecDeque::new(),
        };
        match qmp.receive(Instant::now() + ANSWER)? {
            Received::Answer(value) if value.get("QMP").is_some() => {}
            other => bail!("QEMU did not greet on its QMP socket: {other:?}"),
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command to its end.
    pub fn execute(&mut self, command: &str, arguments: Value) -> anyhow::Result<Value> {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        self.stream
            .write_all(line.as_bytes())
            .with_context(|| format!("sending QMP {command}"))?;
        let deadline = Instant::now() + ANSWER;
        loop {
            match self.receive(deadline)? {
                Received::Event => {}
                Received::Nothing => {
                    bail!("QMP {command}: no answer within {} s", ANSWER.as_secs())
                }
                Received::Answer(mut answer) => {
                    if let Some(error) = answer.get("error") {
                        bail!("QMP {command}: {error}");
                    }
                    return Ok(answer["return"].take());
                }
            }
        }
    }

    /// Waits for the next event of this name that was not taken before.
    pub fn wait_event(&mut self, name: &str, limit: Duration) -> anyhow::Result<Event> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(index) = self.events.iter().position(|event| event.name == name)
                && let Some(event) = self.events.remove(index)
            {
                return Ok(event);
            }
            let received = self
                .receive(deadline)
                .with_context(|| format!("waiting for the event {name}"))?;
            if matches!(received, Received::Nothing) {
                bail!("waited {} s for the event {name}, in vain", limit.as_secs());
            }
        }
    }

    /// Takes an event of this name that has come already.
    pub fn take_event(&mut self, name: &str) -> Option<Event> {
        self.wait_event(name, Duration::ZERO).ok()
    }

    /// Whether an event of this name has come after `since` and was not taken.
    pub fn has_event(&mut self, name: &str, since: Instant) -> anyhow::Result<bool> {
        while let Received::Event = self.receive(Instant::now())? {}
        let wanted = |event: &Event| event.name == name && event.at > since;
        Ok(self.events.iter().any(wanted))
    }

    /// Presses the power button.
    pub fn system_powerdown(&mut self) -> anyhow::Result<()> {
        self.execute("system_powerdown", json!({})).map(drop)
    }

    /// Presses the reset button.
    pub fn system_reset(&mut self) -> anyhow::Result<()> {
        self.execute("system_reset", json!({})).map(drop)
    }

    /// Pulls the plug.
    pub fn quit(&mut self) -> anyhow::Result<()> {
        self.execute("quit", json!({})).map(drop)
    }

    /// The next line; events are kept for [`Qmp::wait_event`].
    fn receive(&mut self, deadline: Instant) -> anyhow::Result<Received> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok((at, value)) => Ok(match parse_event(at, &value) {
                Some(event) => {
                    self.events.push_back(event);
                    Received::Event
                }
                None => Received::Answer(value),
            }),
            Err(RecvTimeoutError::Timeout) => Ok(Received::Nothing),
            Err(RecvTimeoutError::Disconnected) => bail!("QEMU closed its QMP socket"),
        }
    }
}

/// What one wait for a line gave.
#[derive(Debug)]
enum Received {
    Event,
    Answer(Value),
    Nothing,
}

fn parse_event(at: Instant, value: &Value) -> Option<Event> {
    Some(Event {
        at,
        name: value.get("event")?.as_str()?.to_owned(),
        data: value.get("data").cloned().unwrap_or(Value::Null),
    })
}

fn read(stream: UnixStream, sender: &Sender<(Instant, Value)>) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if let Ok(value) = serde_json::from_str(&line)
            && sender.send((Instant::now(), value)).is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A QEMU that says these lines, one after each line it is told, the first at once.
    fn open(lines: &'static [&'static str]) -> anyhow::Result<Qmp> {
        let (ours, mut theirs) = UnixStream::pair()?;
        std::thread::spawn(move || {
            let mut told = BufReader::new(theirs.try_clone().unwrap()).lines();
            for line in lines {
                theirs.write_all(line.as_bytes()).unwrap();
                told.next();
            }
        });
        Qmp::open(ours)
    }

    const GREETING: &str = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n";
    const DONE: &str = "{\"return\": {}}\n";

    #[test]
    fn results_and_errors_come_back() {
        let mut qmp = open(&[
            GREETING,
            DONE,
            "{\"return\": {\"status\": \"paused\"}}\n",
            "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"no such thing\"}}\n",
        ])
        .unwrap();
        let status = qmp.execute("query-status", json!({})).unwrap();
        assert_eq!(status["status"], "paused");
        let error = qmp.execute("nonsense", json!({})).unwrap_err().to_string();
        assert!(
            error.contains("nonsense") && error.contains("no such thing"),
            "{error}"
        );
    }

    #[test]
    fn events_between_answers_are_kept_and_taken_once() {
        let mut qmp = open(&[
            GREETING,
            DONE,
            "{\"event\": \"RESET\", \"data\": {\"guest\": true}}\n{\"event\": \"STOP\"}\n{\"return\": {}}\n",
        ])
        .unwrap();
        let start = Instant::now();
        qmp.system_reset().unwrap();
        assert!(qmp.has_event("RESET", start).unwrap());
        assert!(!qmp.has_event("RESET", Instant::now()).unwrap());
        let reset = qmp.wait_event("RESET", ANSWER).unwrap();
        assert_eq!(reset.data["guest"], true);
        assert!(qmp.take_event("RESET").is_none());
        assert!(qmp.take_event("STOP").is_some());
    }

    #[test]
    fn a_channel_that_is_not_qmp_or_closes_is_an_error() {
        assert!(open(&["{\"hello\": 1}\n"]).is_err());
        assert!(open(&[]).is_err());
    }
}
