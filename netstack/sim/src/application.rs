//! What the applications do with a flow, and what they check while they do it.

use std::net::SocketAddr;

use weir_packet::Pool;
use weir_socket::{CloseReason, FlowId, Readiness, Received, SendError};
use weir_tcp::Engine;

use crate::random::Random;

/// How a flow ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client ends its direction as soon as it has written; both go on reading.
    ClientShutsDown,
    /// The server ends its direction as soon as it has written; both go on reading.
    ServerShutsDown,
    /// Both do.
    BothShutDown,
    /// The client closes once it has everything, the server when it sees that.
    ClientCloses,
    /// The server closes once everything it wrote was acknowledged and everything came.
    ServerCloses,
    /// The client aborts in the middle.
    ClientAborts,
}

/// What is to happen on one flow.
#[derive(Debug, Clone)]
pub struct FlowPlan {
    /// The client's end.
    pub client: SocketAddr,
    /// The server's end.
    pub server: SocketAddr,
    /// When the client connects, in milliseconds.
    pub starts_ms: u64,
    /// Bytes that the client sends, and the server.
    pub bytes: [u64; 2],
    /// Bytes read at most at each look: slow readers close their window.
    pub read_max: [usize; 2],
    /// Milliseconds between looks of a slow reader; 0: it reads at once.
    pub pause_ms: [u64; 2],
    /// Bytes written at once at most.
    pub write_max: usize,
    /// How it ends.
    pub ending: Ending,
    /// Nagle's algorithm, on both sides.
    pub nagle: bool,
}

/// One end's progress.
#[derive(Debug)]
pub(crate) struct FlowApplication {
    pub plan: usize,
    side: usize,
    pub flow: FlowId,
    pub wrote: u64,
    pub read: u64,
    saw_end: bool,
    shut: bool,
    /// Gone, and how.
    pub done: Option<Done>,
}

/// How one end finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Closed,
    Aborted,
    Lost(CloseReason),
}

/// The byte at `offset` of the stream that `side` sends on flow number `plan`.
fn byte(plan: usize, side: usize, offset: u64) -> u8 {
    (offset.wrapping_add(plan as u64 * 77).wrapping_add(side as u64 * 31).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56)
        as u8
}

impl FlowApplication {
    pub fn new(plan: usize, side: usize, flow: FlowId) -> Self {
        Self { plan, side, flow, wrote: 0, read: 0, saw_end: false, shut: false, done: None }
    }

    /// Does what can be done now. Answers when it wants to look again, in milliseconds, if not only upon an event.
    pub fn look(
        &mut self,
        plan: &FlowPlan,
        engine: &mut Engine,
        pool: &Pool,
        random: &mut Random,
        ready: Readiness,
    ) -> Result<Option<u64>, String> {
        if self.done.is_some() {
            return Ok(None);
        }
        let again = self.read_some(plan, engine)?;
        if self.done.is_none() {
            self.write_some(plan, engine, pool, random)?;
        }
        if self.done.is_none() {
            self.end_when_due(plan, engine);
        }
        if ready.contains(Readiness::CLOSED) && self.done.is_none() {
            self.finish(engine, again.is_some());
        }
        // Nothing reports that the last byte was acknowledged: who waits for that asks now and then.
        let complete = self.wrote == plan.bytes[self.side] && self.read == plan.bytes[1 - self.side];
        Ok(again.or(complete.then_some(50)).filter(|_| self.done.is_none()))
    }

    fn read_some(&mut self, plan: &FlowPlan, engine: &mut Engine) -> Result<Option<u64>, String> {
        let mut left = plan.read_max[self.side];
        while left > 0 {
            match engine.receive(self.flow) {
                Received::Data(chunk) => {
                    for &seen in chunk.iter() {
                        let expected = byte(self.plan, 1 - self.side, self.read);
                        if seen != expected {
                            return Err(format!("flow {}: byte {} is {seen}, not {expected}", self.plan, self.read));
                        }
                        self.read += 1;
                    }
                    left = left.saturating_sub(chunk.len());
                }
                Received::Nothing => return Ok(None),
                Received::End => {
                    self.saw_end = true;
                    if self.read != plan.bytes[1 - self.side] {
                        return Err(format!("flow {}: ended after {} bytes", self.plan, self.read));
                    }
                    return Ok(None);
                }
                Received::Closed(reason) => {
                    engine.close(self.flow);
                    self.done = Some(Done::Lost(reason));
                    return Ok(None);
                }
            }
        }
        Ok(Some(plan.pause_ms[self.side].max(1)))
    }

    fn write_some(
        &mut self,
        plan: &FlowPlan,
        engine: &mut Engine,
        pool: &Pool,
        random: &mut Random,
    ) -> Result<(), String> {
        while self.wrote < plan.bytes[self.side] && !self.shut {
            let room = engine.send_room(self.flow);
            let len = (plan.bytes[self.side] - self.wrote).min(1 + random.below(plan.write_max as u64)).min(1_700);
            // Leaves buffers for the engine's own segments, as an application with a budget does.
            if pool.free() < pool.capacity() / 4 {
                return Ok(());
            }
            let Some(mut packet) = pool.allocate() else { return Ok(()) };
            let bytes: Vec<u8> = (0..len).map(|i| byte(self.plan, self.side, self.wrote + i)).collect();
            packet.extend_from_slice(&bytes).map_err(|_| "a buffer is too small".to_string())?;
            match engine.send(self.flow, packet.freeze()) {
                Ok(()) => self.wrote += len,
                Err(SendError::Full(_)) if room == 0 => return Ok(()),
                // The table of chunks is full as well: the same as no room.
                Err(SendError::Full(_)) => return Ok(()),
                Err(SendError::Closed(_)) => return Ok(()),
            }
        }
        Ok(())
    }

    fn end_when_due(&mut self, plan: &FlowPlan, engine: &mut Engine) {
        let wrote_all = self.wrote == plan.bytes[self.side];
        let read_all = self.read == plan.bytes[1 - self.side];
        let acknowledged = engine.send_queued(self.flow) == 0;
        let client = self.side == 0;
        match plan.ending {
            Ending::ClientAborts if client && self.read + self.wrote >= (plan.bytes[0] + plan.bytes[1]) / 2 => {
                engine.abort(self.flow);
                self.done = Some(Done::Aborted);
            }
            Ending::ClientShutsDown if client && wrote_all => self.shut_down(engine),
            Ending::ServerShutsDown if !client && wrote_all => self.shut_down(engine),
            Ending::BothShutDown if wrote_all => self.shut_down(engine),
            Ending::ClientCloses if client && wrote_all && read_all && acknowledged => self.close(engine),
            Ending::ServerCloses if !client && wrote_all && read_all && acknowledged => self.close(engine),
            _ => {}
        }
        if self.done.is_none() && self.saw_end && wrote_all {
            self.close(engine);
        }
    }

    fn shut_down(&mut self, engine: &mut Engine) {
        if !self.shut {
            self.shut = true;
            engine.shutdown(self.flow);
        }
    }

    fn close(&mut self, engine: &mut Engine) {
        engine.close(self.flow);
        self.done = Some(Done::Closed);
    }

    /// The engine reported the end: whatever is left is read, then the reason.
    fn finish(&mut self, engine: &mut Engine, more: bool) {
        if more {
            return;
        }
        if let Received::Closed(reason) = engine.receive(self.flow) {
            engine.close(self.flow);
            self.done = Some(Done::Lost(reason));
        }
    }
}
