//! What a resolver counts.

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// A question was sent.
    Asked,
    /// A question was sent over TCP: its answer did not fit into a datagram.
    AskedTcp,
    /// A question could not be sent: no route, or the server's neighbour did not answer.
    NotSent,
    /// There was no port for a question.
    NoPort,
    /// An answer with addresses.
    Answered,
    /// The server says that the name does not exist.
    NoSuchName,
    /// The name has no address of the family that was asked for.
    NoAddress,
    /// All addresses are of a kind that no server can have: loopback, multicast, unspecified.
    Unusable,
    /// The server failed or refused.
    Refused,
    /// The answer did not fit into a datagram.
    Truncated,
    /// An answer to our question that makes no sense.
    Malformed,
    /// No answer in time.
    Timeout,
    /// A datagram that is no answer to the question: another identifier, name, type or sender.
    Stranger,
}

/// All of them, with their names in metrics.
const NAMES: [(Happening, &str); 13] = [
    (Happening::Asked, "asked"),
    (Happening::AskedTcp, "asked_tcp"),
    (Happening::NotSent, "not_sent"),
    (Happening::NoPort, "no_port"),
    (Happening::Answered, "answered"),
    (Happening::NoSuchName, "no_such_name"),
    (Happening::NoAddress, "no_address"),
    (Happening::Unusable, "unusable"),
    (Happening::Refused, "refused"),
    (Happening::Truncated, "truncated"),
    (Happening::Malformed, "malformed"),
    (Happening::Timeout, "timeout"),
    (Happening::Stranger, "stranger"),
];

/// How often each thing happened.
#[derive(Debug, Clone, Default)]
pub struct Counters([u64; NAMES.len()]);

impl Counters {
    pub(crate) fn count(&mut self, happening: Happening) {
        if let Some(count) = self.0.get_mut(happening as usize) {
            *count += 1;
        }
    }

    /// How often it happened.
    #[must_use]
    pub fn of(&self, happening: Happening) -> u64 {
        self.0.get(happening as usize).copied().unwrap_or_default()
    }

    /// All: name and count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.iter().zip(self.0).map(|((_, name), count)| (*name, count))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn happenings_are_numbered_in_order() {
        assert!(super::NAMES.iter().enumerate().all(|(index, (happening, _))| *happening as usize == index));
    }
}
