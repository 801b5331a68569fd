//! A running virtual machine: QEMU as a child, its console as lines, its control channel.
//!
//! Whatever happens arrives as an [`Event`] on one queue: a console line, a complaint of QEMU itself, the end. Waiting means
//! waiting for an event with a deadline; nothing sleeps. QEMU dies with the [`Vm`], and with this process.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::machine::Machine;
use crate::qemu::Qemu;
use crate::qmp::{self, Order, Qmp};
use crate::tether;

/// The prefix of the line that says the guest serves.
pub const READY: &str = "weir: ready";

/// Longest console line in bytes; a longer one arrives in pieces.
const LINE_LEN_MAX: u64 = 16 << 10;

/// How many of the last console lines are remembered.
const LINES_KEPT_MAX: usize = 10_000;

/// How many of them say why a machine has ended.
const LAST_LINES: usize = 5;

/// What can happen to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The guest printed a line; control characters have been taken out.
    Console(String),
    /// QEMU itself printed a line.
    Complaint(String),
    /// QEMU tells an event of the machine, such as `POWERDOWN` or `SHUTDOWN guest-shutdown`.
    Machine(String),
    /// Somebody outside wants an end, through [`Vm::sender`].
    Interrupt,
    /// QEMU has closed the console: it has ended or is about to.
    Ended,
}

/// Why a line did not come.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// Not within the time limit.
    #[error("no such line within {0:?}")]
    TooLate(Duration),
    /// QEMU ended first.
    #[error("the machine ended first")]
    Ended,
    /// An end was asked for.
    #[error("interrupted")]
    Interrupted,
}

/// A running machine.
#[derive(Debug)]
pub struct Vm {
    child: Child,
    qmp: Qmp,
    events: Receiver<Event>,
    sender: Sender<Event>,
    lines: Vec<String>,
    complaints: Vec<String>,
    ended: bool,
}

impl Vm {
    /// Starts QEMU. To be called from a thread that outlives the machine: see [`tether`].
    ///
    /// # Errors
    /// When QEMU cannot be started. What QEMU finds wrong with its arguments shows as complaints and an early end.
    pub fn start(qemu: &Qemu, machine: &Machine) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut child = tether::command(&qemu.path, machine.host_cpus)
            .args(machine.arguments())
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (sender, events) = mpsc::channel();
        let console = child.stdout.take().expect("the console is a pipe");
        let complaints = child.stderr.take().expect("the complaints are a pipe");
        forward_lines(console, sender.clone(), |line| Some(Event::Console(line)), Some(Event::Ended));
        forward_lines(complaints, sender.clone(), |line| Some(Event::Complaint(line)), None);
        forward_lines(ours.try_clone()?, sender.clone(), |line| qmp::event_name(&line).map(Event::Machine), None);
        // QEMU may be dead already; then the console's end tells.
        let qmp = Qmp::open(ours)?;
        Ok(Self { child, qmp, events, sender, lines: Vec::new(), complaints: Vec::new(), ended: false })
    }

    /// QEMU's process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where somebody else may put events, such as [`Event::Interrupt`].
    #[must_use]
    pub fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// Waits for the next event; `None` when the deadline has passed. After [`Event::Ended`] nothing else comes.
    pub fn next_event(&mut self, deadline: Option<Instant>) -> Option<Event> {
        if self.ended {
            return Some(Event::Ended);
        }
        let event = match deadline {
            None => self.events.recv().ok()?,
            Some(deadline) => match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            },
        };
        match &event {
            Event::Console(line) => remember(&mut self.lines, line),
            Event::Complaint(line) => remember(&mut self.complaints, line),
            Event::Ended => self.ended = true,
            Event::Machine(_) | Event::Interrupt => {}
        }
        Some(event)
    }

    /// Waits for a console line that the predicate accepts, among those that have not been taken yet.
    ///
    /// # Errors
    /// When the machine ends, an end is asked for, or the time is up.
    pub fn wait_for(&mut self, mut accept: impl FnMut(&str) -> bool, limit: Duration) -> Result<String, WaitError> {
        let deadline = Instant::now() + limit;
        loop {
            match self.next_event(Some(deadline)) {
                None => return Err(WaitError::TooLate(limit)),
                Some(Event::Console(line)) if accept(&line) => return Ok(line),
                Some(Event::Ended) => return Err(WaitError::Ended),
                Some(Event::Interrupt) => return Err(WaitError::Interrupted),
                Some(_) => {}
            }
        }
    }

    /// Waits until the guest says that it serves, and returns that line.
    ///
    /// # Errors
    /// As [`Vm::wait_for`].
    pub fn wait_ready(&mut self, limit: Duration) -> Result<String, WaitError> {
        self.wait_for(|line| line.starts_with(READY), limit)
    }

    /// Waits for the end of QEMU; `None` when the time is up first.
    pub fn wait_end(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        while self.next_event(Some(deadline))? != Event::Ended {}
        self.child.wait().ok()
    }

    /// The console lines so far, oldest first.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// What QEMU itself printed so far, in one text. After the end: all of it.
    pub fn complaints(&mut self) -> String {
        // The complaints have a thread of their own, which may be behind the console's.
        while self.ended
            && let Ok(event) = self.events.recv_timeout(Duration::from_millis(100))
        {
            if let Event::Complaint(line) = event {
                remember(&mut self.complaints, &line);
            }
        }
        self.complaints.join("\n")
    }

    /// How it stands, in one line: how QEMU has ended if it has, what QEMU itself said last, and what the guest did.
    pub fn last_words(&mut self) -> String {
        while self.next_event(Some(Instant::now())).is_some_and(|event| event != Event::Ended) {}
        let complaints = self.complaints();
        // It closes the console before it is gone.
        let status = if self.ended { self.child.wait().map(Some) } else { self.child.try_wait() };
        let end = match status {
            Ok(Some(status)) => format!("QEMU ended ({status})"),
            Ok(None) => "QEMU still runs".into(),
            Err(error) => format!("QEMU cannot be waited for: {error}"),
        };
        let complaints: Vec<&str> = complaints.lines().collect();
        let guest: Vec<&str> = self.lines.iter().map(String::as_str).collect();
        end + &last_of("; it said", &complaints) + &last_of("; the guest said", &guest)
    }

    /// Tells QEMU what to do. A machine that has ended is beyond orders, and that is no error.
    pub fn order(&mut self, order: Order) {
        let _ = self.qmp.send(order);
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last few lines behind a word about whose they are, or nothing.
fn last_of(whose: &str, lines: &[&str]) -> String {
    let said: Vec<&str> = lines.iter().copied().filter(|line| !line.trim().is_empty()).collect();
    let last = &said[said.len().saturating_sub(LAST_LINES)..];
    if last.is_empty() { String::new() } else { format!("{whose}: {}", last.join(" | ")) }
}

fn remember(lines: &mut Vec<String>, line: &str) {
    if lines.len() == LINES_KEPT_MAX {
        lines.drain(..LINES_KEPT_MAX / 2);
    }
    lines.push(line.to_owned());
}

/// Reads lines in a thread of its own until the source ends or nobody listens any more.
fn forward_lines<R: Read + Send + 'static>(
    source: R,
    sender: Sender<Event>,
    event: impl Fn(String) -> Option<Event> + Send + 'static,
    end: Option<Event>,
) {
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while source.by_ref().take(LINE_LEN_MAX).read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
            let heard = event(clean(&line)).is_none_or(|event| sender.send(event).is_ok());
            if !heard {
                return;
            }
            line.clear();
        }
        if let Some(end) = end {
            let _ = sender.send(end);
        }
    });
}

/// A line as text that can do nothing to a terminal.
fn clean(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().filter(|&c| c == '\t' || !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_lines_cannot_steer_the_terminal() {
        assert_eq!(clean(b"weir: ready\r\n"), "weir: ready");
        assert_eq!(clean(b"\x1b[2Jgone\x07\ta\xff\n"), "[2Jgone\ta\u{fffd}");
    }

    #[test]
    fn last_words_are_the_last_lines_that_say_something() {
        let lines = ["1", "2", " ", "3", "4", "5", "6", ""];
        assert_eq!(last_of("; it said", &lines), "; it said: 2 | 3 | 4 | 5 | 6");
        assert_eq!(last_of("; it said", &[""]), "");
    }

    #[test]
    fn long_lines_come_in_pieces_and_the_end_comes_last() {
        let (sender, events) = mpsc::channel();
        let source = io::Cursor::new(vec![b'x'; LINE_LEN_MAX as usize + 1]);
        forward_lines(source, sender, |line| Some(Event::Console(line)), Some(Event::Ended));
        let lens: Vec<usize> =
            events.iter().map(|e| if let Event::Console(line) = e { line.len() } else { 0 }).collect();
        assert_eq!(lens, [LINE_LEN_MAX as usize, 1, 0]);
    }
}
