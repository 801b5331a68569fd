//! What a core takes from the rings between cores, and what it puts into them.

use weir_hal::CoreId;
use weir_kernel::cores;
use weir_socket::Sockets;

use super::Core;
use crate::bed::Bed;
use crate::mail::{Mail, Word};

/// Messages taken from each other core in one turn.
const MESSAGES_PER_TURN: usize = 64;
/// Messages about load that a core may sleep over: few beside what fits into its ring.
const UNREAD_MAX: usize = 32;
/// Time between two reports of a core's load at least, in nanoseconds.
const REPORT_PERIOD_NS: u64 = 10_000_000;

/// When the other cores are told of this one's load.
#[derive(Default)]
pub(super) struct Reporting {
    /// There was something to do since the last time.
    pub(super) is_due: bool,
    last_ns: u64,
}

impl Core {
    /// Takes what the other cores have sent. Whether there was anything.
    #[inline]
    pub(super) fn take_messages(&mut self) -> bool {
        let any = self.has_mail() && self.open_mail();
        self.service.go_on(&mut self.shard);
        any
    }

    /// Whether a ring may have something for this core.
    #[inline]
    pub(super) fn has_mail(&self) -> bool {
        self.bed().is_some_and(Bed::has_mail)
    }

    /// Where the others see that this core sleeps, and tell it of mail.
    #[inline]
    pub(super) fn bed(&self) -> Option<&Bed> {
        self.common.beds.get(self.id.index())
    }

    #[cold]
    fn open_mail(&mut self) -> bool {
        if let Some(bed) = self.bed() {
            bed.open_mail();
        }
        let mut any = false;
        for from in 0..self.links.cores() {
            let mut left = MESSAGES_PER_TURN;
            while left > 0
                && let Some(message) = self.links.receive_from(from)
            {
                self.take_message(message);
                left -= 1;
            }
            any |= left < MESSAGES_PER_TURN;
            if left == 0
                && let Some(bed) = self.bed()
            {
                // There may be more.
                bed.tell_mail();
            }
        }
        any
    }

    fn take_message(&mut self, message: Mail) {
        match message {
            Mail::Stack(message) => self.shard.handle_message(message),
            Mail::Word(Word::Verdict(verdict)) => self.service.apply_verdict(verdict, self.shard.now()),
            Mail::Word(Word::Moved(moved)) => self.service.apply_address(&mut self.shard, moved),
            Mail::Word(Word::Leave) => self.leave(),
            Mail::Trade(trade) => self.service.apply_trade(&mut self.shard, trade),
            Mail::Loads(loads) => self.service.apply_loads(&self.shard, loads),
        }
    }

    /// Carries messages to the rings.
    pub(super) fn give_messages(&mut self) -> bool {
        let mut any = false;
        while let Some((target, message)) = self.shard.poll_message() {
            any = true;
            self.calls.add(target);
            if let Err(Mail::Stack(message)) = self.links.send(target, Mail::Stack(message)) {
                self.shard.refuse_message(target, message);
                // The ring has to be emptied first; the rest waits for the next turn.
                break;
            }
        }
        while let Some((target, trade)) = self.service.poll_trade() {
            any = true;
            self.calls.add(target.into());
            if self.links.send(target.into(), Mail::Trade(trade)).is_err() {
                self.service.refuse_trade(target, trade);
                break;
            }
        }
        if self.service.has_reports() {
            any = true;
            self.tell_loads();
        }
        any
    }

    /// Looks what other cores do not know of this one's load, if the last time is long enough ago.
    #[inline]
    pub(super) fn report_load(&mut self, now_ns: u64) {
        if self.reporting.is_due && now_ns >= self.reporting.last_ns + REPORT_PERIOD_NS {
            self.reporting = Reporting { is_due: false, last_ns: now_ns };
            self.service.report_loads();
            if self.service.reports_loads()
                && let Some(bed) = self.bed()
            {
                // What the others have told is taken at once, and no message of it by itself.
                bed.tell_mail();
            }
        }
    }

    /// When [`report_load`](Self::report_load) has something to do.
    pub(super) fn report_due_ns(&self) -> Option<u64> {
        let is_due = self.reporting.is_due && self.service.reports_loads();
        is_due.then_some(self.reporting.last_ns + REPORT_PERIOD_NS)
    }

    /// Whoever is told looks for it when it tells its own load, or when too much of it is in its ring.
    #[cold]
    fn tell_loads(&mut self) {
        let Self { service, links, calls, .. } = self;
        service.tell_loads(|core, loads| {
            let is_sent = links.send(core.into(), Mail::Loads(loads)).is_ok();
            if links.queued(core.into()) >= UNREAD_MAX {
                calls.add(core.into());
            }
            is_sent
        });
    }

    #[cold]
    pub(super) fn wake_sleepers(&mut self) {
        let wakes = &mut self.turns.wakes;
        self.calls.answer(&self.common.beds, |core| {
            if let Ok(core) = u16::try_from(core) {
                cores::wake(CoreId(core));
                *wakes += 1;
            }
        });
    }
}
