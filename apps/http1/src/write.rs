//! Writing heads.

/// Writes into a caller's buffer. What does not fit is remembered instead of reported at every step:
/// [`finish`](Self::finish) says whether all of it is there.
#[derive(Debug)]
pub struct HeadWriter<'b> {
    buffer: &'b mut [u8],
    len: usize,
    has_overflown: bool,
}

impl<'b> HeadWriter<'b> {
    /// A writer at the front of `buffer`.
    #[inline]
    #[must_use]
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, len: 0, has_overflown: false }
    }

    /// Appends bytes as they are.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.len..self.len + bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.has_overflown = true,
        }
    }

    /// Appends a decimal number.
    #[inline]
    pub fn decimal(&mut self, value: u64) {
        if value < 10 {
            return self.bytes(&[b'0' + value as u8]);
        }
        self.bytes(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Appends a hexadecimal number without leading zeros.
    pub fn hexadecimal(&mut self, value: u64) {
        let digits = (64 - value.leading_zeros()).div_ceil(4).max(1);
        for place in (0..digits).rev() {
            let digit = (value >> (4 * place) & 0xf) as u8;
            self.bytes(&[if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }]);
        }
    }

    /// Appends `name: value` CR LF.
    #[inline]
    pub fn field(&mut self, name: &str, value: &[u8]) {
        self.bytes(name.as_bytes());
        self.bytes(b": ");
        self.bytes(value);
        self.bytes(b"\r\n");
    }

    /// Appends `Content-Length: length` CR LF.
    #[inline]
    pub fn content_length(&mut self, length: u64) {
        self.bytes(b"Content-Length: ");
        self.decimal(length);
        self.bytes(b"\r\n");
    }

    /// Appends `HTTP/1.1 status reason` CR LF.
    #[inline]
    pub fn status_line(&mut self, status: u16, reason: &str) {
        self.bytes(b"HTTP/1.1 ");
        self.decimal(status.into());
        self.bytes(b" ");
        self.bytes(reason.as_bytes());
        self.bytes(b"\r\n");
    }

    /// Bytes written so far.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes written, if everything fitted.
    #[inline]
    #[must_use]
    pub fn finish(self) -> Option<usize> {
        (!self.has_overflown).then_some(self.len)
    }
}
