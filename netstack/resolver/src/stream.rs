//! Questions over TCP, for answers that do not fit into a datagram (RFC 7766).

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use weir_socket::{FlowId, Instant};

use crate::counters::Happening;
use crate::message::{self, Answer};
use crate::resolver::{Failure, Next, Resolver, judge};
use crate::{Datagrams, Streams};

/// From the attempt to connect to the whole answer.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// RFC 7766 8: a message stands behind its length.
const LENGTH_BYTES: usize = 2;
/// What one answer over TCP can have, with its length.
pub const STREAM_BYTES_MAX: usize = LENGTH_BYTES + u16::MAX as usize;

/// Addresses, and for how many seconds they hold.
pub(crate) type Found = (Vec<IpAddr>, u32);

/// A question that is asked over TCP.
pub(crate) struct Stream {
    pub flow: FlowId,
    /// What came before the cut: better than nothing.
    pub fallback: Option<Found>,
    received: Vec<u8>,
}

impl Resolver {
    /// Asks the same server the same question again, on a connection of its own. None: it has begun; otherwise what follows.
    pub(crate) fn ask_at_length(
        &mut self,
        index: usize,
        fallback: Option<Found>,
        now: Instant,
        net: &mut (impl Datagrams + Streams),
    ) -> Option<Next> {
        let question = self.questions.get_mut(index)?;
        let entry = self.names.get(question.name)?;
        question.leave(net);
        question.id = net.random();
        let bytes = message::question(question.id, &entry.name, question.family);
        // RFC 7766 8: length and message in one write.
        let framed = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
        let Some(flow) = net.open(question.server, &framed) else {
            self.counters.count(Happening::NotSent);
            return Some(otherwise(fallback, Failure::Truncated));
        };
        self.counters.count(Happening::AskedTcp);
        question.stream = Some(Stream { flow, fallback, received: Vec::new() });
        question.deadline = now + ANSWER_TIME;
        None
    }

    /// Reads what has arrived for a question over TCP.
    pub(crate) fn hear_at_length(&mut self, index: usize, net: &mut impl Streams) -> Next {
        let Some(question) = self.questions.get_mut(index) else { return Next::Wait };
        let (Some(stream), Some(entry)) = (&mut question.stream, self.names.get(question.name)) else {
            return Next::Wait;
        };
        let is_open = net.read(stream.flow, &mut stream.received);
        let answer = match whole(&stream.received) {
            Some(bytes) => message::read(bytes, question.id, &entry.name, question.family),
            None if is_open => return Next::Wait,
            None => Answer::Truncated,
        };
        let (happening, next) = judge(answer);
        self.counters.count(happening);
        // Nobody else speaks on this connection: what is no answer is nonsense.
        next.unwrap_or(Next::AnotherAttempt(Failure::Malformed))
    }
}

/// What is done when TCP brings nothing.
pub(crate) fn otherwise(fallback: Option<Found>, failure: Failure) -> Next {
    fallback.map_or(Next::AnotherAttempt(failure), |found| Next::Done(Ok(found)))
}

/// The message, once all of it is there.
fn whole(received: &[u8]) -> Option<&[u8]> {
    let (length, rest) = received.split_first_chunk::<LENGTH_BYTES>()?;
    rest.get(..u16::from_be_bytes(*length).into())
}
