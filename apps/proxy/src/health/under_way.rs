//! A check that has begun: what is said on its connection, until it has ended.

use alloc::vec::Vec;

use weir_packet::Chunk;
use weir_socket::{FlowId, Received, Sockets};

use super::Outcome;
use super::question::Question;
use super::script::Step;

/// What of an answer is looked at: of a response the head, interim ones included, of a script what a step gets.
pub(super) const ANSWER_BYTES_MAX: usize = 8 * 1024;

/// What a server is asked.
#[derive(Clone, Copy)]
pub(super) enum Ask {
    /// Being accepted is enough.
    Nothing,
    Http(Question),
    Script(&'static [Step]),
}

/// A check's connection and what was said on it.
pub(super) struct UnderWay {
    pub flow: FlowId,
    pub is_established: bool,
    /// What the server has said and nobody has taken.
    answer: Vec<u8>,
    /// Of a script.
    steps_done: usize,
    /// Whether the next step has been said.
    is_asked: bool,
}

impl UnderWay {
    pub(super) fn new(flow: FlowId) -> Self {
        Self { flow, is_established: false, answer: Vec::new(), steps_done: 0, is_asked: false }
    }

    /// Asks, now that there is a connection; how the check ended, if it did.
    pub(super) fn begin(&mut self, net: &mut impl Sockets, ask: Ask) -> Option<Outcome> {
        match ask {
            Ask::Nothing => Some(Outcome::Passed),
            Ask::Http(question) => {
                let sent = net.send(self.flow, Chunk::from_static(question.request));
                sent.err().map(|_| Outcome::Closed)
            }
            Ask::Script(steps) => self.go_on(net, steps),
        }
    }

    /// Reads what the server says; how the check ended, if it did.
    pub(super) fn read(&mut self, net: &mut impl Sockets, ask: Ask) -> Option<Outcome> {
        if !self.is_established {
            return None;
        }
        loop {
            match net.receive(self.flow) {
                Received::Data(chunk) => {
                    let room = ANSWER_BYTES_MAX.saturating_sub(self.answer.len());
                    self.answer.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
                }
                Received::Nothing => return None,
                Received::End | Received::Closed(_) => return Some(self.unfinished(ask, Outcome::Closed)),
            }
            let outcome = match ask {
                Ask::Nothing => None,
                Ask::Http(question) => question.judge(&mut self.answer),
                Ask::Script(steps) => self.go_on(net, steps),
            };
            if outcome.is_some() {
                return outcome;
            }
        }
    }

    /// How a check ends that came to no end of its own: a server that has spoken has said the wrong thing.
    pub(super) fn unfinished(&self, ask: Ask, outcome: Outcome) -> Outcome {
        match ask {
            Ask::Script(_) if !self.answer.is_empty() => Outcome::Mismatch,
            _ => outcome,
        }
    }

    /// Goes through the steps as far as the server has spoken; how the check ended, if it did.
    fn go_on(&mut self, net: &mut impl Sockets, steps: &'static [Step]) -> Option<Outcome> {
        while let Some(step) = steps.get(self.steps_done) {
            if !self.is_asked && step.send.is_some() {
                // What came before is no answer to this.
                self.answer.clear();
            }
            let is_asked = core::mem::replace(&mut self.is_asked, true);
            if let Some(text) = step.send.filter(|_| !is_asked)
                && net.send(self.flow, Chunk::from_static(text)).is_err()
            {
                return Some(Outcome::Closed);
            }
            if !step.is_answered(&mut self.answer) {
                return (self.answer.len() >= ANSWER_BYTES_MAX).then_some(Outcome::Mismatch);
            }
            (self.steps_done, self.is_asked) = (self.steps_done + 1, false);
        }
        Some(Outcome::Passed)
    }
}
