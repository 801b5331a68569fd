use alloc::vec::Vec;
use alloc::{format, vec};

use super::Random;
use super::rows::CHUNKED;
use crate::{Body, BodyReader, ChunkedDecoder, HeadWriter, LAST_CHUNK, Piece, Reject, write_chunk_head};

/// Decodes `input` in buffers of `step` bytes: the data, and how many bytes belonged to the body.
fn decode(input: &[u8], step: usize) -> Result<(Vec<u8>, Option<usize>), Reject> {
    let mut reader = BodyReader::new(Body::Chunked);
    let (mut data, mut used) = (Vec::new(), 0);
    for buffer in input.chunks(step) {
        let mut rest = buffer;
        while !rest.is_empty() {
            match reader.read(rest)? {
                Piece::Data(len) => {
                    data.extend_from_slice(&rest[..len]);
                    (rest, used) = (&rest[len..], used + len);
                }
                Piece::Framing(len) => (rest, used) = (&rest[len..], used + len),
                Piece::End => return Ok((data, Some(used))),
            }
        }
    }
    Ok((data, reader.is_complete().then_some(used)))
}

#[test]
fn a_body_is_the_same_however_it_is_cut() {
    let text = b"5\r\nhello\r\n00006;name=\"value\"\r\n world\r\n0\r\nX-Sum: 1\r\nX-Other:\t2\xff\r\n\r\nGET ";
    for step in 1..=text.len() {
        assert_eq!(decode(text, step), Ok((b"hello world".to_vec(), Some(text.len() - 4))), "step {step}");
    }
}

/// Every row: what is refused, and under which name.
#[test]
fn framing_table() {
    for (reject, text) in CHUNKED {
        for step in [1, text.len()] {
            assert_eq!(decode(text, step), Err(*reject), "{} in {step}", text.escape_ascii());
        }
    }
    let long_extension = format!("5;{}\r\n", "a".repeat(257));
    assert_eq!(decode(long_extension.as_bytes(), 7), Err(Reject::ChunkExtension));
    assert!(decode(format!("5;{}\r\n", "a".repeat(256)).as_bytes(), 7).is_ok());
    let long_trailer = format!("0\r\n{}\r\n", "X: yyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(400));
    assert_eq!(decode(long_trailer.as_bytes(), 1000), Err(Reject::Trailer));
}

#[test]
fn the_largest_size_is_a_size() {
    let mut decoder = ChunkedDecoder::new();
    assert_eq!(decoder.read(b"FFFFffffFFFFffff\r\nab"), Ok(Piece::Framing(18)));
    assert_eq!(decoder.read(b"ab"), Ok(Piece::Data(2)));
    assert!(!decoder.is_complete());
}

#[test]
fn nothing_after_the_end_is_taken() {
    let mut decoder = ChunkedDecoder::new();
    assert_eq!(decoder.read(b"0\r\n\r\nGET / HTTP/1.1\r\n"), Ok(Piece::Framing(5)));
    assert!(decoder.is_complete());
    assert_eq!(decoder.read(b"GET"), Ok(Piece::End));
}

#[test]
fn lengths_are_followed() {
    let mut reader = BodyReader::new(Body::Length(5));
    assert_eq!(reader.read(b"abc"), Ok(Piece::Data(3)));
    assert!(!reader.is_complete());
    assert_eq!(reader.read(b"defg"), Ok(Piece::Data(2)));
    assert!(reader.is_complete());
    assert_eq!(reader.read(b"fg"), Ok(Piece::End));
    assert_eq!(BodyReader::new(Body::None).read(b"x"), Ok(Piece::End));
    let mut forever = BodyReader::new(Body::UntilClose);
    assert_eq!(forever.read(b"abc"), Ok(Piece::Data(3)));
    assert!(!forever.is_complete());
}

#[test]
fn what_is_written_is_read_back() {
    let mut random = Random(7);
    for _ in 0..100 {
        let (mut written, mut expected) = (Vec::new(), Vec::new());
        for index in 0..random.below(6) {
            let data = vec![b'x'; 1 + random.below(3000)];
            let mut head = [0; crate::CHUNK_HEAD_BYTES_MAX];
            let mut writer = HeadWriter::new(&mut head);
            write_chunk_head(&mut writer, data.len(), index == 0);
            let len = writer.finish().expect("fits");
            written.extend_from_slice(&head[..len]);
            written.extend_from_slice(&data);
            expected.extend_from_slice(&data);
        }
        if !expected.is_empty() {
            written.extend_from_slice(b"\r\n");
        }
        written.extend_from_slice(LAST_CHUNK);
        let len = written.len();
        assert_eq!(decode(&written, 1 + random.below(2000)), Ok((expected, Some(len))));
    }
}

#[test]
fn no_bytes_make_the_decoder_panic() {
    let mut random = Random(0x5eed);
    let alphabet = b"0123456789abcdefF\r\n\r\n;=: xX\0\xff";
    for _ in 0..5_000 {
        let text: Vec<u8> = (0..random.below(80)).map(|_| alphabet[random.below(alphabet.len())]).collect();
        assert_eq!(decode(&text, 1).is_ok(), decode(&text, 80).is_ok());
    }
}
