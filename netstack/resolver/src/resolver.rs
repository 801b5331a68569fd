//! The names, and the questions under way.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use weir_socket::Instant;

use crate::counters::{Counters, Happening};
use crate::message::{self, Answer, Family};
use crate::name::Name;
use crate::stream::{Found, Stream, otherwise};
use crate::{Datagrams, Streams};

/// Questions under way at the same time; each has a port.
pub const QUESTIONS_MAX: usize = 8;
/// How often each server is asked before a name counts as failed, for now.
const ROUNDS: usize = 2;
/// How long the first round waits for an answer; each further one twice as long.
const ANSWER_TIME: Duration = Duration::from_secs(1);
/// Until a name that failed is asked for again, at first and at most: twice as long after each failure.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Datagrams looked at for one question in one call.
const DATAGRAMS_PER_POLL: usize = 4;
/// The end of time.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// For how long answers hold, whatever they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlBounds {
    /// At least.
    pub min: Duration,
    /// At most.
    pub max: Duration,
}

/// What a resolver has to know of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Whom to ask; the first that answers is asked first from then on.
    pub servers: Vec<SocketAddr>,
    /// Whether this machine reaches IPv4 addresses: they are preferred.
    pub has_v4: bool,
    /// Whether it reaches IPv6 addresses.
    pub has_v6: bool,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A name has other addresses than before, or an answer again after a failure.
    Resolved {
        /// Number of the name.
        name: usize,
        /// At least one.
        addresses: Vec<IpAddr>,
    },
    /// A name could not be resolved; it has been, or failed for another reason, before.
    Failed {
        /// Number of the name.
        name: usize,
        /// Why.
        failure: Failure,
        /// Whether it keeps addresses of an earlier answer.
        is_kept: bool,
    },
}

/// Why a name could not be resolved, by what the last server that was asked did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The name does not exist.
    NoSuchName,
    /// It exists, and has no address that this machine reaches.
    NoAddress,
    /// Its addresses are loopback, multicast or unspecified.
    Unusable,
    /// The server failed or refused.
    Refused,
    /// The answer does not fit into a datagram.
    Truncated,
    /// The answer makes no sense.
    Malformed,
    /// No server answers.
    Timeout,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchName => "there is no such name",
            Self::NoAddress => "it has no address that can be reached from here",
            Self::Unusable => "its addresses are none of another machine",
            Self::Refused => "the DNS server fails or refuses",
            Self::Truncated => "the answer is too long for a datagram",
            Self::Malformed => "the answer makes no sense",
            Self::Timeout => "no DNS server answers",
        })
    }
}

/// How many names are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct States {
    /// With addresses, as of the last question.
    pub resolved: u64,
    /// With addresses of an earlier answer: the last question failed.
    pub kept: u64,
    /// Without addresses.
    pub unresolved: u64,
}

/// The addresses of a fixed set of names. See the crate's page.
///
/// Calls: [`configure`](Self::configure) when the network changes; [`poll`](Self::poll) when
/// [`next_deadline`](Self::next_deadline) says so, and whenever datagrams may have arrived while it
/// [`is_waiting`](Self::is_waiting); then [`poll_event`](Self::poll_event) until there is none.
pub struct Resolver {
    pub(crate) names: Box<[Entry]>,
    ttl: TtlBounds,
    network: Network,
    /// The server that answered last, or is next after one that did not.
    first_server: usize,
    pub(crate) questions: Vec<Question>,
    /// When the next name is due that is not being asked for.
    next_due: Instant,
    events: VecDeque<Event>,
    pub(crate) counters: Counters,
}

/// One name.
pub(crate) struct Entry {
    pub(crate) name: Name,
    addresses: Vec<IpAddr>,
    failure: Option<Failure>,
    /// Failures in a row.
    failures: u8,
    /// When to ask; never while it is being asked for.
    due: Instant,
}

/// A question under way.
pub(crate) struct Question {
    pub(crate) name: usize,
    pub(crate) family: Family,
    first_server: usize,
    attempt: usize,
    pub(crate) server: SocketAddr,
    port: u16,
    pub(crate) id: u16,
    pub(crate) deadline: Instant,
    /// The connection, if the answer was too long for a datagram.
    pub(crate) stream: Option<Stream>,
}

impl Question {
    /// Gives back what it asked through.
    pub(crate) fn leave(&mut self, net: &mut (impl Datagrams + Streams)) {
        if self.port != 0 {
            net.unbind(self.port);
        }
        self.port = 0;
        if let Some(stream) = self.stream.take() {
            net.close(stream.flow);
        }
    }
}

/// What is left to do about a question.
pub(crate) enum Next {
    Wait,
    AnotherAttempt(Failure),
    /// There is more than came, these addresses at best: over TCP.
    AtLength(Option<Found>),
    Done(Result<Found, Failure>),
}

impl Resolver {
    /// Resolves `names`, which are numbered in their order, as soon as there is a [`Network`].
    #[must_use]
    pub fn new(names: Vec<Name>, ttl: TtlBounds) -> Self {
        let entry = |name| Entry { name, addresses: Vec::new(), failure: None, failures: 0, due: Instant::default() };
        Self {
            names: names.into_iter().map(entry).collect(),
            ttl,
            network: Network::default(),
            first_server: 0,
            questions: Vec::with_capacity(QUESTIONS_MAX),
            next_due: Instant::default(),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Tells what the network is like. If that is news, names that failed are asked for at once.
    pub fn configure(&mut self, network: &Network, now: Instant) {
        if self.network == *network {
            return;
        }
        self.network.clone_from(network);
        self.first_server = 0;
        for entry in self.names.iter_mut().filter(|entry| entry.failure.is_some() && entry.due != NEVER) {
            (entry.due, entry.failures) = (now, 0);
        }
        self.next_due = now;
    }

    /// Whether there is anybody to ask.
    #[must_use]
    pub fn has_servers(&self) -> bool {
        !self.network.servers.is_empty()
    }

    /// Whether a datagram is waited for.
    #[inline]
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.questions.is_empty()
    }

    /// When [`poll`](Self::poll) has to be called, datagrams aside.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let has_room = self.has_servers() && self.questions.len() < QUESTIONS_MAX;
        let due = Some(self.next_due).filter(|due| has_room && *due != NEVER);
        self.questions.iter().map(|question| question.deadline).chain(due).min()
    }

    /// The next thing that has changed.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The name of a number.
    #[must_use]
    pub fn name(&self, number: usize) -> Option<&Name> {
        self.names.get(number).map(|entry| &entry.name)
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many names are in which state.
    #[must_use]
    pub fn states(&self) -> States {
        let mut states = States::default();
        for entry in &self.names {
            *match (entry.addresses.is_empty(), entry.failure) {
                (true, _) => &mut states.unresolved,
                (false, None) => &mut states.resolved,
                (false, Some(_)) => &mut states.kept,
            } += 1;
        }
        states
    }

    /// Takes what has arrived, gives up what is too late, and asks for what is due.
    pub fn poll(&mut self, now: Instant, net: &mut (impl Datagrams + Streams)) {
        let mut index = 0;
        while let Some(deadline) = self.questions.get(index).map(|question| question.deadline) {
            let next = match self.hear(index, net) {
                Next::Wait if deadline <= now => {
                    self.counters.count(Happening::Timeout);
                    Next::AnotherAttempt(Failure::Timeout)
                }
                next => next,
            };
            if self.go_on(index, next, now, net) {
                index += 1;
            }
        }
        if self.next_due <= now && self.has_servers() && self.questions.len() < QUESTIONS_MAX {
            self.begin_due(now, net);
        }
    }

    /// Reads what has arrived for a question.
    fn hear(&mut self, index: usize, net: &mut (impl Datagrams + Streams)) -> Next {
        let Some(question) = self.questions.get(index) else { return Next::Wait };
        if question.stream.is_some() {
            return self.hear_at_length(index, net);
        }
        let Some(entry) = self.names.get(question.name) else { return Next::Done(Err(Failure::NoSuchName)) };
        for _ in 0..DATAGRAMS_PER_POLL {
            let Some((source, payload)) = net.receive(question.port) else { break };
            let answer = if source == question.server {
                message::read(&payload, question.id, &entry.name, question.family)
            } else {
                Answer::Stranger
            };
            let (happening, next) = match answer {
                Answer::Addresses { addresses, ttl_seconds } if message::is_truncated(&payload) => {
                    (Happening::Truncated, Some(Next::AtLength(Some((addresses, ttl_seconds)))))
                }
                Answer::Truncated => (Happening::Truncated, Some(Next::AtLength(None))),
                answer => judge(answer),
            };
            self.counters.count(happening);
            if let Some(next) = next {
                return next;
            }
        }
        Next::Wait
    }

    /// Does what is left to do about a question. False: it is done, and another one may be in its place.
    fn go_on(&mut self, index: usize, next: Next, now: Instant, net: &mut (impl Datagrams + Streams)) -> bool {
        let next = match next {
            Next::AtLength(fallback) => match self.ask_at_length(index, fallback, now, net) {
                None => return true,
                Some(next) => next,
            },
            next => next,
        };
        let Some(question) = self.questions.get_mut(index) else { return false };
        let next = match (next, &mut question.stream) {
            (Next::AnotherAttempt(failure), Some(stream)) => otherwise(stream.fallback.take(), failure),
            (next, _) => next,
        };
        match next {
            Next::Wait | Next::AtLength(_) => return true,
            Next::AnotherAttempt(failure) => {
                // Who does not answer is not the first to be asked the next time.
                let servers = self.network.servers.len().max(1);
                if (question.first_server + question.attempt) % servers == self.first_server {
                    self.first_server = (self.first_server + 1) % servers;
                }
                question.attempt += 1;
                if question.attempt < servers * ROUNDS && self.ask(index, now, net) {
                    return true;
                }
                self.finish(index, Err(failure), now, net);
            }
            Next::Done(Err(Failure::NoAddress)) if question.family == Family::V4 && self.network.has_v6 => {
                question.family = Family::V6;
                question.attempt = 0;
                if self.ask(index, now, net) {
                    return true;
                }
                self.finish(index, Err(Failure::NoAddress), now, net);
            }
            Next::Done(result) => {
                let servers = self.network.servers.len().max(1);
                self.first_server = (question.first_server + question.attempt) % servers;
                self.finish(index, result, now, net);
            }
        }
        false
    }

    /// Sends a question, from a port and with an identifier that were never used for it. False: there is no port, or nobody
    /// to ask.
    fn ask(&mut self, index: usize, now: Instant, net: &mut (impl Datagrams + Streams)) -> bool {
        let Some(question) = self.questions.get_mut(index) else { return false };
        let Some(entry) = self.names.get(question.name) else { return false };
        let servers = &self.network.servers;
        let place = (question.first_server + question.attempt) % servers.len().max(1);
        let Some(&server) = servers.get(place) else { return false };
        question.leave(net);
        let Some(port) = net.bind() else {
            self.counters.count(Happening::NoPort);
            return false;
        };
        let round = question.attempt / servers.len().max(1);
        (question.port, question.id, question.server) = (port, net.random(), server);
        question.deadline = now + ANSWER_TIME * (1 << round.min(4));
        let bytes = message::question(question.id, &entry.name, question.family);
        // One that was not sent is missed like one that was lost: the way may be there when it is sent again.
        let is_sent = net.send(port, server, &bytes);
        self.counters.count(if is_sent { Happening::Asked } else { Happening::NotSent });
        true
    }

    fn finish(
        &mut self,
        index: usize,
        result: Result<Found, Failure>,
        now: Instant,
        net: &mut (impl Datagrams + Streams),
    ) {
        let mut question = self.questions.swap_remove(index);
        question.leave(net);
        let Some(entry) = self.names.get_mut(question.name) else { return };
        match result {
            Ok((addresses, ttl_seconds)) => {
                let ttl = Duration::from_secs(ttl_seconds.into()).clamp(self.ttl.min, self.ttl.max);
                entry.due = now + ttl;
                if entry.failure.take().is_some() || !is_same_set(&entry.addresses, &addresses) {
                    self.events.push_back(Event::Resolved { name: question.name, addresses: addresses.clone() });
                }
                (entry.addresses, entry.failures) = (addresses, 0);
            }
            Err(failure) => {
                entry.due = now + PAUSE_MAX.min(PAUSE_MIN * (1 << entry.failures.min(6)));
                entry.failures = entry.failures.saturating_add(1);
                if entry.failure.replace(failure) != Some(failure) {
                    let is_kept = !entry.addresses.is_empty();
                    self.events.push_back(Event::Failed { name: question.name, failure, is_kept });
                }
            }
        }
        self.next_due = self.next_due.min(entry.due);
    }

    /// Asks for the names that are due, as many as may be asked for at the same time.
    fn begin_due(&mut self, now: Instant, net: &mut (impl Datagrams + Streams)) {
        let family = if self.network.has_v4 || !self.network.has_v6 { Family::V4 } else { Family::V6 };
        for name in 0..self.names.len() {
            if self.questions.len() == QUESTIONS_MAX {
                break;
            }
            let Some(entry) = self.names.get_mut(name).filter(|entry| entry.due <= now) else { continue };
            entry.due = NEVER;
            let (first_server, server) = (self.first_server, SocketAddr::from(([0, 0, 0, 0], 0)));
            let (attempt, port, id, stream) = (0, 0, 0, None);
            let question = Question { name, family, first_server, attempt, server, port, id, deadline: now, stream };
            self.questions.push(question);
            let index = self.questions.len() - 1;
            if !self.ask(index, now, net) {
                self.finish(index, Err(Failure::Timeout), now, net);
            }
        }
        self.next_due = self.names.iter().map(|entry| entry.due).min().unwrap_or(NEVER);
    }
}

/// How an answer is counted, and what follows from it; nothing from one that is none.
pub(crate) fn judge(answer: Answer) -> (Happening, Option<Next>) {
    let done = |failure| Some(Next::Done(Err(failure)));
    let again = |failure| Some(Next::AnotherAttempt(failure));
    match answer {
        Answer::Addresses { addresses, ttl_seconds } => {
            (Happening::Answered, Some(Next::Done(Ok((addresses, ttl_seconds)))))
        }
        Answer::NoSuchName => (Happening::NoSuchName, done(Failure::NoSuchName)),
        Answer::NoAddress => (Happening::NoAddress, done(Failure::NoAddress)),
        Answer::Unusable => (Happening::Unusable, done(Failure::Unusable)),
        // Another server may do better.
        Answer::Refused => (Happening::Refused, again(Failure::Refused)),
        Answer::Truncated => (Happening::Truncated, again(Failure::Truncated)),
        Answer::Malformed => (Happening::Malformed, again(Failure::Malformed)),
        Answer::Stranger => (Happening::Stranger, None),
    }
}

/// Whether both have the same addresses: servers turn their order at every answer.
fn is_same_set(a: &[IpAddr], b: &[IpAddr]) -> bool {
    a.len() == b.len() && a.iter().all(|address| b.contains(address))
}
