//! Field names that have a meaning for framing, connections or forwarding.

/// A field name that a server or proxy treats in a way of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 9110 and the registry")]
pub enum FieldName {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    KeepAlive,
    ProxyConnection,
    Te,
    Trailer,
    Upgrade,
    Expect,
    Date,
    Authorization,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XForwardedPort,
    /// Any other name.
    Other,
}

impl FieldName {
    /// The length decides first, so that most names cost one comparison at most.
    #[inline]
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let one_of = |candidates: &[(&'static [u8], Self)]| {
            let found = candidates.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
            found.map_or(Self::Other, |(_, field)| *field)
        };
        match name.len() {
            2 => one_of(&[(b"te", Self::Te)]),
            4 => one_of(&[(b"host", Self::Host), (b"date", Self::Date)]),
            6 => one_of(&[(b"expect", Self::Expect)]),
            7 => one_of(&[(b"upgrade", Self::Upgrade), (b"trailer", Self::Trailer)]),
            10 => one_of(&[(b"connection", Self::Connection), (b"keep-alive", Self::KeepAlive)]),
            13 => one_of(&[(b"authorization", Self::Authorization)]),
            14 => one_of(&[(b"content-length", Self::ContentLength)]),
            15 => one_of(&[(b"x-forwarded-for", Self::XForwardedFor)]),
            16 => one_of(&[
                (b"x-forwarded-host", Self::XForwardedHost),
                (b"x-forwarded-port", Self::XForwardedPort),
                (b"proxy-connection", Self::ProxyConnection),
            ]),
            17 => {
                one_of(&[(b"transfer-encoding", Self::TransferEncoding), (b"x-forwarded-proto", Self::XForwardedProto)])
            }
            _ => Self::Other,
        }
    }

    /// Whether it concerns one connection only, so that a proxy does not forward it (RFC 9110 7.6.1).
    #[inline]
    #[must_use]
    pub const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::Te
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }

    /// Whether a proxy tells by it for whom it forwards: replaced by the proxy's own, for a stranger could have made it up.
    #[inline]
    #[must_use]
    pub const fn is_forwarding(self) -> bool {
        matches!(self, Self::XForwardedFor | Self::XForwardedHost | Self::XForwardedProto | Self::XForwardedPort)
    }

    /// Whether it keeps its meaning even if `Connection` names it: a peer cannot make a proxy drop these.
    #[inline]
    #[must_use]
    pub const fn is_protected(self) -> bool {
        matches!(
            self,
            Self::Host
                | Self::ContentLength
                | Self::Authorization
                | Self::XForwardedFor
                | Self::XForwardedHost
                | Self::XForwardedProto
                | Self::XForwardedPort
        )
    }
}

/// The members of a comma-separated list (RFC 9110 5.6.1), without white space around them and without empty ones.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty())
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
