//! From one flow to another: received buffers become queued ones.

use weir_socket::{CloseReason, FlowId, Received, SendError, SpliceStop, Spliced};

use super::Engine;
use super::verbs::held;
use crate::flow::{NotOpen, State};

impl Engine {
    /// See [`weir_socket::Sockets::splice`].
    ///
    /// A buffer is taken from the source only after the target was seen to have a place for it: a buffer that was taken
    /// could not be given back, and its bytes would have opened the window (RFC 9293, 3.8.6) for nothing.
    pub fn splice(&mut self, from: FlowId, to: FlowId, max: usize) -> Spliced {
        let mut moved = 0;
        let stop = loop {
            if moved == max {
                break SpliceStop::Limit(None);
            }
            if let Err(stop) = self.source_has_bytes(from).and_then(|()| self.target_has_room(to)) {
                break stop;
            }
            let Received::Data(mut chunk) = self.receive(from) else { break SpliceStop::Nothing };
            let left = max - moved;
            let (part, rest) = if chunk.len() > left { (chunk.split_to(left), Some(chunk)) } else { (chunk, None) };
            let len = part.len();
            match self.send(to, part) {
                Ok(()) => moved += len,
                Err(SendError::Full(_) | SendError::Closed(_)) => unreachable!("the target's room was looked at"),
            }
            if rest.is_some() {
                break SpliceStop::Limit(rest);
            }
        };
        Spliced { moved, stop }
    }

    #[inline]
    fn source_has_bytes(&mut self, from: FlowId) -> Result<(), SpliceStop> {
        let released = SpliceStop::SourceClosed(CloseReason::Released);
        let Some(slot) = held(&mut self.flows, from) else { return Err(released) };
        match &slot.state {
            State::Open(open) if open.is_readable() => Ok(()),
            State::Open(open) if open.fin_received() => Err(SpliceStop::End),
            State::Open(_) | State::NotOpen(NotOpen::Opening(_)) => Err(SpliceStop::Nothing),
            State::NotOpen(NotOpen::Ended(ended)) if ended.inbox.len() > 0 => Ok(()),
            State::NotOpen(NotOpen::Ended(ended)) if ended.fin_received && ended.reason == CloseReason::Finished => {
                Err(SpliceStop::End)
            }
            State::NotOpen(NotOpen::Ended(ended)) => Err(SpliceStop::SourceClosed(ended.reason)),
            State::NotOpen(NotOpen::Vacant) => Err(released),
        }
    }

    /// Whether the target takes a buffer now. If not, its next room is reported.
    #[inline]
    fn target_has_room(&mut self, to: FlowId) -> Result<(), SpliceStop> {
        let released = SpliceStop::TargetClosed(CloseReason::Released);
        let Some(slot) = held(&mut self.flows, to) else { return Err(released) };
        let admits = match &mut slot.state {
            State::Open(open) => open.admits(&mut self.shared),
            State::NotOpen(NotOpen::Opening(opening)) => opening.admits(&mut self.shared),
            State::NotOpen(NotOpen::Ended(ended)) => Err(ended.reason),
            State::NotOpen(NotOpen::Vacant) => Err(CloseReason::Released),
        };
        match admits {
            Ok(true) => Ok(()),
            Ok(false) => Err(SpliceStop::Full),
            Err(reason) => Err(SpliceStop::TargetClosed(reason)),
        }
    }
}
