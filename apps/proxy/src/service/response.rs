//! A response on its way to its client: heads are written anew, bodies move.

use alloc::vec::Vec;

use weir_http1::{
    Body, BodyReader, CHUNK_HEAD_BYTES_MAX, HeadLimits, HeadWriter, LAST_CHUNK, Piece, Response, Version,
    write_chunk_head,
};
use weir_httpd::HttpDate;
use weir_packet::Chunk;
use weir_socket::{FlowId, Sockets};

use super::forward::Fault;
use super::relay::split;
use crate::exchange::{Exchange, Framing, Head, ResponseState, follow};
use crate::front::connection;
use crate::heads::{self, ResponseHead};
use crate::log::Entry;
use crate::stream::{HeadBytes, Inbox, Outbox};
use crate::way::Edited;

/// What a response's head is read and written by.
pub(super) struct HeadContext<'s> {
    pub limits: &'s HeadLimits,
    pub edits: Option<&'s Edited<'s>>,
}

/// What a head was that was forwarded.
struct Taken {
    /// Its bytes, and those of the body that went with it.
    used: usize,
    /// The status of a final response.
    status: Option<u16>,
}

/// Where a response goes.
pub(super) struct Client<'f> {
    pub flow: FlowId,
    pub outbox: &'f mut Outbox,
    /// For heads that are longer than a buffer.
    pub scratch: &'f mut [u8],
    pub date: &'f mut HttpDate,
    /// For the access log, if there is one.
    pub entry: Option<&'f mut Entry>,
}

impl Client<'_> {
    #[inline]
    fn send(&mut self, net: &mut impl Sockets, chunk: Chunk) -> Result<(), Fault> {
        self.outbox.send(net, self.flow, chunk).map_err(|_| Fault::ClientGone)
    }

    /// Whether nothing waits any more.
    #[inline]
    pub(super) fn flush(&mut self, net: &mut impl Sockets) -> Result<bool, Fault> {
        self.outbox.flush(net, self.flow).map_err(|_| Fault::ClientGone)
    }

    /// Takes bytes of the response's head, and forwards it when it is complete; the status of a final one.
    #[inline]
    pub(super) fn take_head(
        &mut self,
        net: &mut impl Sockets,
        exchange: &mut Exchange,
        inbox: &mut Inbox,
        chunk: Chunk,
        context: &HeadContext<'_>,
    ) -> Result<Option<u16>, Fault> {
        if inbox.gathered.is_some() {
            return self.take_gathered_head(net, exchange, inbox, chunk, context);
        }
        match self.forward_head(net, exchange, &chunk, context)? {
            Some(Taken { used, status }) => {
                inbox.keep_behind(chunk, used);
                Ok(status)
            }
            None => HeadBytes::whole(chunk).incomplete(inbox).map(|()| None).map_err(|_| Fault::NoBuffer),
        }
    }

    /// The same where a part of the head came before.
    #[cold]
    fn take_gathered_head(
        &mut self,
        net: &mut impl Sockets,
        exchange: &mut Exchange,
        inbox: &mut Inbox,
        chunk: Chunk,
        context: &HeadContext<'_>,
    ) -> Result<Option<u16>, Fault> {
        let collected = HeadBytes::collect(inbox, chunk, context.limits.head_bytes);
        let Some(head) = collected.map_err(|_| Fault::NoBuffer)? else { return Ok(None) };
        match self.forward_head(net, exchange, head.bytes(), context)? {
            Some(Taken { used, status }) => {
                head.used(inbox, used);
                Ok(status)
            }
            None => head.incomplete(inbox).map(|()| None).map_err(|_| Fault::NoBuffer),
        }
    }

    /// Forwards the head at the front of `bytes`, and a short body that came with it. None: it is not complete.
    #[inline(never)]
    fn forward_head(
        &mut self,
        net: &mut impl Sockets,
        exchange: &mut Exchange,
        bytes: &[u8],
        context: &HeadContext<'_>,
    ) -> Result<Option<Taken>, Fault> {
        // By reference: a parsed head is larger than what becomes of it.
        let parsed = Response::parse(bytes, exchange.method, context.limits);
        let response = match &parsed {
            Ok(Some(response)) => response,
            Ok(None) => return Ok(None),
            Err(_) => return Err(Fault::BadResponse),
        };
        if response.is_interim() {
            self.interim(net, exchange, response)?;
            return Ok(Some(Taken { used: response.head_len, status: None }));
        }
        let body = heads::small_body(response, bytes);
        self.final_head(net, exchange, response, body, context.edits)?;
        Ok(Some(Taken { used: response.head_len + body.len(), status: Some(response.status) }))
    }

    /// A 1xx goes to clients that know them.
    #[cold]
    fn interim(&mut self, net: &mut impl Sockets, exchange: &Exchange, response: &Response<'_>) -> Result<(), Fault> {
        if exchange.version == Version::Http10 {
            return Ok(());
        }
        let head = heads::write(net, self.scratch, &|writer: &mut HeadWriter<'_>| heads::interim(writer, response))
            .ok_or(Fault::NoBuffer)?;
        self.send_head(net, head)
    }

    /// The head of the final response: from here on, the client knows what to expect. With it goes `body`, which is all of
    /// its body or nothing.
    #[inline]
    fn final_head(
        &mut self,
        net: &mut impl Sockets,
        exchange: &mut Exchange,
        response: &Response<'_>,
        body: &[u8],
        edits: Option<&Edited<'_>>,
    ) -> Result<(), Fault> {
        if response.status == 101 {
            return self.switching_head(net, exchange, response, edits);
        }
        let framing = heads::framing(response.body, exchange.version);
        let ends_with_connection =
            framing == Framing::Strip || (framing == Framing::Keep && response.body == Body::UntilClose);
        // An early response: what is left of the request may never come, and then the connection has no next request.
        exchange.is_persistent &= !ends_with_connection && exchange.request.is_complete();
        let connection = connection(exchange.is_persistent, exchange.version);
        let dated = (!response.fields.has_date()).then(|| Edited::dated(edits, self.date.line(net.now())));
        let edits = dated.as_ref().or(edits);
        let head = ResponseHead { response, framing, connection, edits, body };
        let head = heads::write(net, self.scratch, &head).ok_or(Fault::NoBuffer)?;
        exchange.head = Head::None;
        if let Some(entry) = &mut self.entry {
            entry.add_bytes(body.len());
        }
        exchange.response = ResponseState::Body {
            reader: BodyReader::new(if body.is_empty() { response.body } else { Body::None }),
            framing,
            is_back_persistent: response.is_persistent,
        };
        self.send_head(net, head)
    }

    /// A 101, if the client asked for one.
    #[cold]
    fn switching_head(
        &mut self,
        net: &mut impl Sockets,
        exchange: &Exchange,
        response: &Response<'_>,
        edits: Option<&Edited<'_>>,
    ) -> Result<(), Fault> {
        let protocol = response.upgrade().filter(|_| exchange.is_upgrade).ok_or(Fault::BadResponse)?;
        let head = heads::write(net, self.scratch, &|writer: &mut HeadWriter<'_>| {
            heads::switching(writer, response, edits, protocol)
        });
        self.send_head(net, head.ok_or(Fault::NoBuffer)?)
    }

    #[inline]
    fn send_head(&mut self, net: &mut impl Sockets, head: Head) -> Result<(), Fault> {
        match head {
            Head::None => Ok(()),
            Head::One(chunk) => self.send(net, chunk),
            Head::Many(chunks) => self.send_all(net, chunks),
        }
    }

    #[cold]
    fn send_all(&mut self, net: &mut impl Sockets, chunks: Vec<Chunk>) -> Result<(), Fault> {
        chunks.into_iter().try_for_each(|chunk| self.send(net, chunk))
    }

    /// Forwards the part of a chunk that belongs to the body; the rest comes back.
    #[inline]
    pub(super) fn relay_body(
        &mut self,
        net: &mut impl Sockets,
        reader: &mut BodyReader,
        framing: &mut Framing,
        chunk: Chunk,
    ) -> Result<Chunk, Fault> {
        if let Some(entry) = &mut self.entry {
            entry.add_bytes(chunk.len());
        }
        match framing {
            Framing::Keep => {
                let followed = follow(reader, &chunk).map_err(|_| Fault::BadResponse)?;
                let (part, rest) = split(chunk, followed.used);
                self.send(net, part)?;
                Ok(rest)
            }
            Framing::Strip => self.strip(net, reader, chunk),
            Framing::Chunk { is_first } => {
                let is_first = core::mem::replace(is_first, false);
                self.send_chunked(net, chunk, is_first)?;
                Ok(Chunk::from_static(b""))
            }
        }
    }

    /// Forwards the content of a chunked body without its coding.
    fn strip(&mut self, net: &mut impl Sockets, reader: &mut BodyReader, mut chunk: Chunk) -> Result<Chunk, Fault> {
        while !chunk.is_empty() {
            match reader.read(&chunk).map_err(|_| Fault::BadResponse)? {
                Piece::Data(len) => self.send(net, chunk.split_to(len))?,
                Piece::Framing(len) => chunk.advance(len),
                Piece::End => break,
            }
        }
        Ok(chunk)
    }

    /// Forwards content with the chunked coding put on.
    fn send_chunked(&mut self, net: &mut impl Sockets, chunk: Chunk, is_first: bool) -> Result<(), Fault> {
        let head = chunk_head(net, chunk.len(), is_first).ok_or(Fault::NoBuffer)?;
        self.send(net, head)?;
        self.send(net, chunk)
    }

    /// The server ended its connection. True: that is how the body ends.
    #[cold]
    pub(super) fn end_body(&mut self, net: &mut impl Sockets, exchange: &Exchange) -> Result<bool, Fault> {
        let ResponseState::Body { reader: BodyReader::UntilClose, framing, .. } = &exchange.response else {
            return Ok(false);
        };
        if let Framing::Chunk { is_first } = framing {
            if !is_first {
                self.send(net, Chunk::from_static(b"\r\n"))?;
            }
            self.send(net, Chunk::from_static(LAST_CHUNK))?;
        }
        Ok(true)
    }
}

fn chunk_head(net: &mut impl Sockets, len: usize, is_first: bool) -> Option<Chunk> {
    let mut packet = net.allocate()?;
    let mut writer = HeadWriter::new(packet.extend(CHUNK_HEAD_BYTES_MAX).ok()?);
    write_chunk_head(&mut writer, len, is_first);
    let len = writer.finish()?;
    packet.truncate(len);
    Some(packet.freeze())
}
