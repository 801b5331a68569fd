//! The chunked coding: the body is the same however it is cut into buffers.

use weir_http1::{Body, BodyReader, Piece, Reject};

use crate::features::Features;

/// What chunked bodies are made of.
pub const WORDS: &[&[u8]] = &[
    b"0\r\n\r\n",
    b"\r\n",
    b"5\r\nhello\r\n",
    b"1;a=b\r\n",
    b"ffffffffffffffff\r\n",
    b"8000000000000000\r\n",
    b"0\r\nTrailer: x\r\n\r\n",
    b"00000000000000001\r\n",
    b"Content-Length: 3\r\n",
];

/// Most calls for one piece of input: each takes a byte, but for the one that says that the body has ended.
const CALLS_PER_BYTE: usize = 2;

/// The first byte says how the rest is cut into pieces.
pub fn run(data: &[u8]) -> Features {
    let mut features = Features::default();
    let Some((&cut, body)) = data.split_first() else { return features };
    let whole = decode(body, body.len().max(1));
    let cut = decode(body, usize::from(cut % 16) + 1);
    let bytes = decode(body, 1);
    assert_eq!(whole, bytes, "one buffer and single bytes differ");
    assert_eq!(whole, cut, "one buffer and several differ");
    match whole.end {
        Err(reject) => features.add_name(reject.name()),
        Ok(is_complete) => features.add(u32::from(is_complete)),
    }
    features.add_count(1, whole.data.len() as u64);
    features.add_count(2, whole.framing as u64);
    features
}

#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    data: Vec<u8>,
    framing: usize,
    end: Result<bool, Reject>,
}

fn decode(body: &[u8], piece_len: usize) -> Decoded {
    let mut reader = BodyReader::new(Body::Chunked);
    let mut decoded = Decoded { data: Vec::new(), framing: 0, end: Ok(false) };
    for piece in body.chunks(piece_len) {
        let mut rest = piece;
        let mut calls = 0;
        while !rest.is_empty() {
            calls += 1;
            assert!(calls <= piece.len() * CALLS_PER_BYTE, "the decoder does not advance");
            match reader.read(rest) {
                Ok(Piece::Data(len)) => {
                    assert!(len > 0 && len <= rest.len(), "{len} of {} bytes", rest.len());
                    decoded.data.extend_from_slice(&rest[..len]);
                    rest = &rest[len..];
                }
                Ok(Piece::Framing(len)) => {
                    assert!(len > 0 && len <= rest.len(), "{len} of {} bytes", rest.len());
                    decoded.framing += len;
                    rest = &rest[len..];
                }
                Ok(Piece::End) => {
                    assert!(reader.is_complete());
                    decoded.end = Ok(true);
                    return decoded;
                }
                Err(reject) => {
                    // How much of a refused piece was looked at before is the cutting's affair.
                    decoded.framing = 0;
                    decoded.end = Err(reject);
                    return decoded;
                }
            }
        }
    }
    decoded.end = Ok(reader.is_complete());
    decoded
}
