//! Why a message was refused.

macro_rules! rejects {
    ($( $(#[doc = $doc:literal])+ $name:ident = $status:literal, $text:literal; )*) => {
        /// Why a message was refused. Each is counted by its [`name`](Self::name) and answered with its
        /// [`status`](Self::status); a response that is refused becomes a 502 instead.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Reject { $( $(#[doc = $doc])+ $name, )* }

        impl Reject {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The status that answers a request like this.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The name under which it is counted.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The place of its counter.
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

rejects! {
    /// The first line is not `method SP target SP version`, or not a status line.
    StartLine = 400, "start_line";
    /// A field name with other than token characters, white space before the colon, a folded line, or no colon.
    FieldName = 400, "field_name";
    /// A control character in a field value.
    FieldValue = 400, "field_value";
    /// A line that does not end in CR LF.
    LineEnd = 400, "line_end";
    /// More than a few empty lines before a request, or any before a response.
    LeadingBytes = 400, "leading_bytes";
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version = 505, "version";
    /// A target that has no valid form, a fragment, or a byte that no URI has.
    Target = 400, "target";
    /// A target longer than the limit.
    TargetTooLong = 414, "target_too_long";
    /// A head longer than the limit.
    HeadTooLarge = 431, "head_too_large";
    /// More fields than the limit.
    TooManyFields = 431, "too_many_fields";
    /// HTTP/1.1 without Host.
    HostMissing = 400, "host_missing";
    /// More than one Host.
    HostRepeated = 400, "host_repeated";
    /// A Host that is not a name or address with an optional port, or too long for one.
    HostInvalid = 400, "host_invalid";
    /// A Host that differs from the authority of the target.
    HostMismatch = 400, "host_mismatch";
    /// Content-Length together with Transfer-Encoding.
    LengthAndCoding = 400, "length_and_coding";
    /// Several different Content-Length.
    LengthRepeated = 400, "length_repeated";
    /// A Content-Length that is not a number, or too large a one.
    LengthInvalid = 400, "length_invalid";
    /// A transfer coding other than exactly one `chunked`.
    CodingUnknown = 400, "coding_unknown";
    /// Transfer-Encoding in HTTP/1.0.
    CodingInHttp10 = 400, "coding_in_http10";
    /// A body together with CONNECT.
    BodyWithConnect = 400, "body_with_connect";
    /// An expectation other than `100-continue`.
    Expectation = 417, "expectation";
    /// A method that the server does not know.
    MethodUnknown = 501, "method_unknown";
    /// CONNECT: this is not a forward proxy.
    Connect = 501, "connect";
    /// A chunk size that is not 1 to 16 hexadecimal digits.
    ChunkSize = 400, "chunk_size";
    /// White space or control characters in a chunk extension, or too long a one.
    ChunkExtension = 400, "chunk_extension";
    /// Chunk data that CR LF does not follow.
    ChunkEnd = 400, "chunk_end";
    /// A trailer section that is malformed, too long, or has a field that belongs into a head.
    Trailer = 400, "trailer";
    /// A body longer than the limit.
    BodyTooLarge = 413, "body_too_large";
    /// A status code below 100.
    StatusCode = 400, "status_code";
}

impl core::fmt::Display for Reject {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl core::error::Error for Reject {}
