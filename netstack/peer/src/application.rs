//! Weir's side of the flows: each follows its [`Plan`] and reports its [`Outcome`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;

use weir_socket::{Chunk, CloseReason, Event, FlowId, ListenerId, Readiness, Received, SendError, Sockets, Token};
use weir_stack::Shard;

use crate::Failed;
use crate::plan::{Ends, Outcome, Plan, Reading};

/// Bytes queued at once.
const CHUNK_BYTES: usize = 64 << 10;

const TOKEN: Token = Token(1);

struct Listener {
    id: ListenerId,
    plan: Plan,
    outcomes: Sender<Outcome>,
}

struct Job {
    plan: Plan,
    outcomes: Sender<Outcome>,
    outcome: Outcome,
    /// The peer ended its direction.
    peer_ended: bool,
    /// We ended ours.
    we_ended: bool,
}

/// All flows of one shard.
#[derive(Default)]
pub struct Application {
    listeners: Vec<Listener>,
    jobs: HashMap<FlowId, Job>,
}

impl Application {
    /// Follows `plan` with each client of `local`.
    ///
    /// # Errors
    /// The shard refuses to listen.
    pub fn listen(
        &mut self,
        net: &mut Shard,
        local: SocketAddr,
        plan: Plan,
        outcomes: Sender<Outcome>,
    ) -> Result<(), Failed> {
        let id = net.listen(local, TOKEN)?;
        self.listeners.push(Listener { id, plan, outcomes });
        Ok(())
    }

    /// Opens a flow and follows `plan`.
    ///
    /// # Errors
    /// The shard refuses to connect.
    pub fn connect(
        &mut self,
        net: &mut Shard,
        remote: SocketAddr,
        plan: Plan,
        outcomes: Sender<Outcome>,
    ) -> Result<(), Failed> {
        let flow = net.connect(remote, TOKEN)?;
        let port = net.local_address(flow).map_or(0, |address| address.port());
        self.jobs.insert(flow, Job::new(plan.of_client(port), outcomes));
        Ok(())
    }

    /// Lets the flows read that were not to read until now.
    pub fn release(&mut self, net: &mut Shard) {
        for job in self.jobs.values_mut() {
            job.plan.reading = Reading::Eager;
        }
        let flows: Vec<FlowId> = self.jobs.keys().copied().collect();
        flows.into_iter().for_each(|flow| self.drive(net, flow));
    }

    /// Flows that are not through yet.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.jobs.len()
    }

    /// Bytes that the flows have received which are not through yet.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.jobs.values().map(|job| job.outcome.received).sum()
    }

    /// Reacts to one event.
    pub fn handle(&mut self, net: &mut Shard, event: Event) {
        match event {
            Event::Acceptable { listener, .. } => self.accept(net, listener),
            Event::Flow { flow, ready, .. } => {
                if ready != Readiness::NONE {
                    self.drive(net, flow);
                }
            }
        }
    }

    fn accept(&mut self, net: &mut Shard, listener: ListenerId) {
        let Some(listener) = self.listeners.iter().find(|known| known.id == listener) else { return };
        let (plan, outcomes) = (listener.plan, listener.outcomes.clone());
        let id = listener.id;
        while let Some(flow) = net.accept(id, TOKEN) {
            let port = net.peer_address(flow).map_or(0, |address| address.port());
            self.jobs.insert(flow, Job::new(plan.of_client(port), outcomes.clone()));
            self.drive(net, flow);
        }
    }

    fn drive(&mut self, net: &mut Shard, flow: FlowId) {
        let Some(job) = self.jobs.get_mut(&flow) else { return };
        if let Some(broken) = job.read(net, flow).err().or_else(|| job.write(net, flow).err()) {
            job.outcome.broken = Some(broken);
        } else if !(job.peer_ended && job.we_ended) {
            return;
        }
        net.close(flow);
        // A test that has seen enough no longer listens.
        let _ = job.outcomes.send(job.outcome);
        self.jobs.remove(&flow);
    }
}

impl Job {
    fn new(plan: Plan, outcomes: Sender<Outcome>) -> Self {
        let outcome = Outcome { sent: 0, received: 0, wrong_at: None, broken: None };
        Self { plan, outcomes, outcome, peer_ended: false, we_ended: false }
    }

    fn read(&mut self, net: &mut Shard, flow: FlowId) -> Result<(), CloseReason> {
        while self.plan.reading == Reading::Eager && !self.peer_ended {
            match net.receive(flow) {
                Received::Data(chunk) => {
                    let offset = self.outcome.received;
                    let wrong_at = self.plan.receive.difference(offset, &chunk);
                    self.outcome.wrong_at = self.outcome.wrong_at.or(wrong_at);
                    self.outcome.received += chunk.len() as u64;
                }
                Received::Nothing => break,
                Received::End => self.peer_ended = true,
                Received::Closed(reason) => return Err(reason),
            }
        }
        Ok(())
    }

    fn write(&mut self, net: &mut Shard, flow: FlowId) -> Result<(), CloseReason> {
        if self.we_ended || self.plan.ends == Ends::Last && !self.peer_ended {
            return Ok(());
        }
        while self.outcome.sent < self.plan.send.len {
            let piece = self.plan.send.at(self.outcome.sent, CHUNK_BYTES);
            match net.send(flow, Chunk::from_static(piece)) {
                Ok(()) => self.outcome.sent += piece.len() as u64,
                Err(SendError::Full(_)) => return Ok(()),
                Err(SendError::Closed(reason)) => return Err(reason),
            }
        }
        net.shutdown(flow);
        self.we_ended = true;
        Ok(())
    }
}
