//! Writing the heads that go to servers and clients.

use alloc::vec::Vec;

use weir_http1::{Body, HOST_BYTES_MAX, HeadWriter, Request, Response, Version};
use weir_httpd::Connection;
use weir_socket::Sockets;

use crate::exchange::{Framing, Head};
use crate::way::{Changes, Edited};

/// What a proxy adds to a head at most, beside the fields it forwards, in bytes: `X-Forwarded-*` (a host among them, of
/// [`HOST_BYTES_MAX`] at most), framing, Host, and a route's own fields.
pub(crate) const ADDED_BYTES_MAX: usize = 1024 + 8 * 1024;
const _: () = assert!(2 * HOST_BYTES_MAX + size_of::<crate::front::ForwardingText>() < 1024);

/// A response's body that goes into the same buffer as its head, in bytes.
pub(crate) const SMALL_BODY_BYTES_MAX: usize = 512;

/// A head that can be written, and once more where there is more room.
pub(crate) trait WriteHead {
    fn write(&self, writer: &mut HeadWriter<'_>);
}

impl<F: Fn(&mut HeadWriter<'_>)> WriteHead for F {
    fn write(&self, writer: &mut HeadWriter<'_>) {
        self(writer);
    }
}

/// Writes a head into one buffer; into several by way of `scratch` when it is longer. None: no buffer is free, or it is
/// longer than `scratch`.
#[inline]
pub(crate) fn write(net: &mut impl Sockets, scratch: &mut [u8], head: &impl WriteHead) -> Option<Head> {
    let mut packet = net.allocate()?;
    let room = packet.tailroom();
    let mut writer = HeadWriter::new(packet.extend(room).ok()?);
    head.write(&mut writer);
    match writer.finish() {
        Some(len) => {
            packet.truncate(len);
            Some(Head::One(packet.freeze()))
        }
        None => {
            drop(packet);
            write_long(net, scratch, head)
        }
    }
}

#[cold]
fn write_long(net: &mut impl Sockets, scratch: &mut [u8], head: &impl WriteHead) -> Option<Head> {
    let mut writer = HeadWriter::new(scratch);
    head.write(&mut writer);
    let len = writer.finish()?;
    let mut bytes = scratch.get(..len)?;
    let mut chunks = Vec::new();
    while !bytes.is_empty() {
        let mut packet = net.allocate()?;
        let (part, rest) = bytes.split_at(packet.tailroom().min(bytes.len()));
        packet.extend_from_slice(part).ok()?;
        chunks.try_reserve(1).ok()?;
        chunks.push(packet.freeze());
        bytes = rest;
    }
    Some(Head::Many(chunks))
}

/// A request as a server gets it: our own framing, the client's fields but for those of its connection.
pub(crate) struct RequestHead<'a> {
    pub request: &'a Request<'a>,
    /// The value of Host where the request has none.
    pub server_host: &'a [u8],
    /// What [`client_text`](crate::front::Front::client_text) says.
    pub forwarding: &'a [u8],
    pub changes: Option<&'a Changes<'a>>,
}

impl WriteHead for RequestHead<'_> {
    #[inline(always)]
    fn write(&self, writer: &mut HeadWriter<'_>) {
        let Self { request, server_host, forwarding, changes } = *self;
        if let Some(changes) = changes {
            return changes.request(writer, request, server_host, forwarding);
        }
        if !request.is_plain() {
            writer.bytes(request.method_text);
            writer.bytes(b" ");
            writer.bytes(request.path_and_query);
            writer.bytes(b" HTTP/1.1\r\n");
        }
        for lines in request.forwarded() {
            writer.bytes(lines);
        }
        // HTTP/1.0 knows requests without Host; with an absolute target, the client's Host is checked to be the same.
        let host = if request.host.is_empty() { server_host } else { request.host };
        if !request.has_host_field {
            writer.field("Host", host);
        }
        request_framing(writer, request);
        writer.bytes(forwarding);
        writer.text(host);
        writer.bytes(b"\r\n\r\n");
    }
}

/// How a request's body is delimited, as far as its own fields do not say it.
#[inline(always)]
pub(crate) fn request_framing(writer: &mut HeadWriter<'_>, request: &Request<'_>) {
    match (request.body, request.content_length) {
        (Body::Chunked, _) => writer.bytes(b"Transfer-Encoding: chunked\r\n"),
        (_, Some(length)) if !request.fields.has_length() => writer.content_length(length),
        _ => {}
    }
}

/// A final response as the client gets it.
pub(crate) struct ResponseHead<'a> {
    pub response: &'a Response<'a>,
    pub framing: Framing,
    pub connection: Connection,
    pub edits: Option<&'a Edited<'a>>,
    /// All of its body, or nothing.
    pub body: &'a [u8],
}

impl WriteHead for ResponseHead<'_> {
    #[inline(always)]
    fn write(&self, writer: &mut HeadWriter<'_>) {
        let Self { response, framing, connection, edits, body } = *self;
        // RFC 9110 8.6: a 204 has no Content-Length; with HEAD and 304 it tells of another response and stays.
        if response.status == 204 && response.content_length.is_some() {
            without_length(writer, response, edits);
            writer.bytes(connection.field());
            return writer.bytes(b"\r\n");
        }
        match edits {
            None => lines(writer, response),
            Some(edits) => edited_lines(writer, response, edits),
        }
        match (response.body, framing) {
            (Body::Chunked, Framing::Keep) | (_, Framing::Chunk { .. }) => {
                writer.bytes(b"Transfer-Encoding: chunked\r\n");
            }
            _ => {
                if let Some(length) = response.content_length.filter(|_| !response.fields.has_length()) {
                    writer.content_length(length);
                }
            }
        }
        writer.bytes(connection.field());
        writer.bytes(b"\r\n");
        writer.bytes(body);
    }
}

/// The whole body of a response, if it came with the head and is so short that copying it costs less than a second buffer.
#[inline]
pub(crate) fn small_body<'b>(response: &Response<'_>, bytes: &'b [u8]) -> &'b [u8] {
    match response.body {
        Body::Length(len) if len <= SMALL_BODY_BYTES_MAX as u64 => {
            bytes.get(response.head_len..response.head_len + len as usize).unwrap_or_default()
        }
        _ => b"",
    }
}

/// A 1xx as the client gets it.
pub(crate) fn interim(writer: &mut HeadWriter<'_>, response: &Response<'_>) {
    match response.content_length {
        None => lines(writer, response),
        Some(_) => without_length(writer, response, None),
    }
    writer.bytes(b"\r\n");
}

/// Status line and fields.
#[inline]
fn lines(writer: &mut HeadWriter<'_>, response: &Response<'_>) {
    if response.version == Version::Http10 {
        status_line(writer, response);
    }
    for lines in response.forwarded() {
        writer.bytes(lines);
    }
}

/// The same with the changes of a route.
#[cold]
fn edited_lines(writer: &mut HeadWriter<'_>, response: &Response<'_>, edits: &Edited<'_>) {
    if edits.only_adds() {
        lines(writer, response);
    } else {
        status_line(writer, response);
        field_lines(response).for_each(|line| edits.pass(writer, line));
    }
    edits.add(writer);
}

fn field_lines<'b>(response: &Response<'b>) -> impl Iterator<Item = &'b [u8]> {
    response.fields.end_to_end().flat_map(|run| run.split_inclusive(|&byte| byte == b'\n'))
}

/// A 101 as the client gets it: the server's fields with the changes of a route, and what says that the protocol changes.
#[cold]
pub(crate) fn switching(
    writer: &mut HeadWriter<'_>,
    response: &Response<'_>,
    edits: Option<&Edited<'_>>,
    protocol: &[u8],
) {
    without_length(writer, response, edits);
    writer.bytes(b"Connection: Upgrade\r\nUpgrade: ");
    writer.bytes(protocol);
    writer.bytes(b"\r\n\r\n");
}

fn status_line(writer: &mut HeadWriter<'_>, response: &Response<'_>) {
    writer.bytes(b"HTTP/1.1 ");
    writer.bytes(response.status_text);
    writer.bytes(b"\r\n");
}

/// Status line and fields of a response that cannot have a body, and may say all the same how long it is.
#[cold]
fn without_length(writer: &mut HeadWriter<'_>, response: &Response<'_>, edits: Option<&Edited<'_>>) {
    status_line(writer, response);
    let is_length = |line: &&[u8]| line.get(..15).is_some_and(|name| name.eq_ignore_ascii_case(b"content-length:"));
    let lines = field_lines(response).filter(|line| !is_length(line));
    match edits {
        None => lines.for_each(|line| writer.bytes(line)),
        Some(edits) => {
            lines.for_each(|line| edits.pass(writer, line));
            edits.add(writer);
        }
    }
}

/// How a response's body travels to a client of this version.
#[inline]
pub(crate) fn framing(body: Body, client: Version) -> Framing {
    match (body, client) {
        (Body::Chunked, Version::Http10) => Framing::Strip,
        (Body::UntilClose, Version::Http11) => Framing::Chunk { is_first: true },
        // For HTTP/1.0 the end of the connection is the end of the body.
        _ => Framing::Keep,
    }
}
