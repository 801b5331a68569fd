use alloc::string::String;

use crate::bytes::is_token;
use crate::{ArrayWriter, DATE_BYTES, FieldName, HeadWriter, Reject, ShortText, reason_phrase, write_date};

fn written(write: impl FnOnce(&mut HeadWriter<'_>)) -> String {
    let mut buffer = [0; 200];
    let mut writer = HeadWriter::new(&mut buffer);
    write(&mut writer);
    let len = writer.finish().expect("fits");
    String::from_utf8(buffer[..len].to_vec()).expect("ASCII")
}

#[test]
fn a_head_is_written() {
    let head = written(|writer| {
        writer.status_line(404, reason_phrase(404));
        writer.content_length(u64::MAX);
        writer.field("X", b"y");
        writer.bytes(b"\r\n");
    });
    assert_eq!(head, "HTTP/1.1 404 Not Found\r\nContent-Length: 18446744073709551615\r\nX: y\r\n\r\n");
}

#[test]
fn what_does_not_fit_is_noticed_at_the_end() {
    let mut buffer = [0; 10];
    let mut writer = HeadWriter::new(&mut buffer);
    writer.bytes(b"12345678901");
    writer.bytes(b"1");
    assert_eq!(writer.finish(), None);
    let mut writer = HeadWriter::new(&mut buffer);
    writer.bytes(b"1234567890");
    assert_eq!(writer.finish(), Some(10));
}

#[test]
fn hexadecimal_has_no_leading_zeros() {
    for (value, text) in [(0, "0"), (9, "9"), (10, "a"), (0x10, "10"), (0xabc, "abc"), (u64::MAX, "ffffffffffffffff")] {
        assert_eq!(written(|writer| writer.hexadecimal(value)), text);
    }
}

#[test]
fn dates() {
    for (seconds, text) in [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
        (1_709_164_799, "Wed, 28 Feb 2024 23:59:59 GMT"),
        (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
        (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] {
        assert_eq!(written(|writer| write_date(writer, seconds)), text);
        assert_eq!(text.len(), DATE_BYTES);
    }
}

#[test]
fn names_are_known_in_any_case() {
    assert_eq!(FieldName::of(b"HOST"), FieldName::Host);
    assert_eq!(FieldName::of(b"Transfer-encoding"), FieldName::TransferEncoding);
    assert_eq!(FieldName::of(b"x-forwarded-PROTO"), FieldName::XForwardedProto);
    assert_eq!(FieldName::of(b"Transfer_encoding"), FieldName::Other);
    assert_eq!(FieldName::of(b""), FieldName::Other);
}

/// Names are compared in words: a name that differs in one byte, wherever it stands, is another one.
#[test]
fn names_differ_in_every_byte() {
    let names = [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Authorization",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
    ];
    for known in names {
        let meaning = FieldName::of(known.as_bytes());
        assert_ne!(meaning, FieldName::Other, "{known}");
        assert_eq!(FieldName::of(&known.as_bytes()[1..]), FieldName::Other);
        assert_eq!(FieldName::of([known, "s"].concat().as_bytes()), FieldName::Other);
        for place in 0..known.len() {
            for byte in (0..=255).filter(|&byte| is_token(byte)) {
                let mut name = known.as_bytes().to_vec();
                name[place] = byte;
                let is_same = name.eq_ignore_ascii_case(known.as_bytes());
                let other = names.iter().find(|other| name.eq_ignore_ascii_case(other.as_bytes()));
                assert_eq!(FieldName::of(&name) == meaning, is_same, "{}", name.escape_ascii());
                assert!(other.is_some() || FieldName::of(&name) == FieldName::Other, "{}", name.escape_ascii());
            }
        }
    }
}

#[test]
fn rejects_are_numbered_in_order() {
    for (index, reject) in Reject::ALL.iter().enumerate() {
        assert_eq!(reject.index(), index);
        assert!((400..=505).contains(&reject.status()) && !reason_phrase(reject.status()).is_empty());
    }
}

#[test]
fn numbers_are_written_in_decimal() {
    let all = (0..100_000).chain((1..20).flat_map(|n| {
        let power = 10_u64.pow(n);
        [power - 1, power, power + 1, power.saturating_mul(7).saturating_add(70_707)]
    }));
    for value in all.chain([99_999_999, 12_345_678, 90_000_009, u64::MAX]) {
        assert_eq!(written(|writer| writer.decimal(value)), std::format!("{value}"));
    }
}

/// Where a word of digits has no room, their own number counts.
#[test]
fn a_number_fits_to_its_last_digit() {
    for (value, len) in [(7, 1), (42, 2), (9_876, 4), (12_345_678, 8), (123_456_789, 9)] {
        for room in 0..12 {
            let mut buffer = [0; 12];
            let mut writer = HeadWriter::new(&mut buffer[..room]);
            writer.decimal(value);
            assert_eq!(writer.finish(), (len <= room).then_some(len), "{value} in {room}");
            assert_eq!(len <= room, buffer.starts_with(std::format!("{value}").as_bytes()));
        }
    }
}

#[test]
fn texts_of_all_lengths_are_written() {
    let bytes: String = (0..80).map(|n| char::from(b' ' + n)).collect();
    for len in 0..80 {
        let text = &bytes[..len];
        assert_eq!(written(|writer| writer.text(text.as_bytes())), text);
        let mut buffer = [0; 80];
        let mut writer = HeadWriter::new(&mut buffer[..len]);
        writer.text(&bytes.as_bytes()[..len + 1]);
        assert_eq!(writer.finish(), None, "{len}");
        assert_eq!(buffer, [0; 80]);
    }
}

/// What an array writer of twenty bytes, with room for four, makes of it.
fn in_array(write: impl FnOnce(&mut ArrayWriter<'_, 20>)) -> Option<String> {
    let mut array = [b'.'; 20];
    let mut writer = ArrayWriter::new(&mut array);
    write(&mut writer);
    let len = writer.finish()?;
    Some(String::from_utf8(array[..len].to_vec()).expect("ASCII"))
}

#[test]
fn an_array_has_room_for_all_or_says_so() {
    const THREE: ShortText = ShortText::new(b"abc");
    assert_eq!(in_array(|_| {}).as_deref(), Some(""));
    assert_eq!(in_array(|writer| writer.short(&THREE)).as_deref(), Some("abc"));
    type Deed = fn(&mut ArrayWriter<'_, 20>);
    let one_more: [Deed; 4] = [
        |writer| writer.byte(b'd'),
        |writer| writer.decimal(4),
        |writer| writer.text(b"e"),
        |writer| writer.long(b"f"),
    ];
    for (deed, end) in one_more.into_iter().zip(["d", "4", "e", "f"]) {
        let written = in_array(|writer| {
            writer.short(&THREE);
            deed(writer);
        });
        assert_eq!(written, Some(std::format!("abc{end}")));
        let written = in_array(|writer| {
            writer.short(&THREE);
            deed(writer);
            deed(writer);
        });
        assert_eq!(written, None);
    }
    // What comes behind a text that had no room, short as it is, does not make it good.
    for len in [5, 20, 21, 300] {
        assert_eq!(in_array(|writer| writer.text(&[b'x'; 300][..len])), None);
        assert_eq!(in_array(|writer| (writer.long(&[b'x'; 300][..len]), writer.front(b"y", 0)).1), None);
    }
}

#[test]
fn a_text_of_two_vectors_has_room_to_its_last_byte() {
    const TEXT: ShortText<32> = ShortText::new(b"abcdefghijklmnopqrstuvwx");
    for (before, written) in [(0, Some(24)), (3, Some(27)), (4, Some(28)), (5, None), (20, None)] {
        let mut array = [0; 44];
        let mut writer = ArrayWriter::new(&mut array);
        (0..before).for_each(|_| writer.byte(b'.'));
        writer.short(&TEXT);
        assert_eq!(writer.finish(), written);
        assert!(written.is_none_or(|len| array[before..len] == *b"abcdefghijklmnopqrstuvwx"));
    }
}

#[test]
fn an_array_takes_texts_of_all_lengths_and_numbers() {
    let bytes: String = (0..200).map(|n| char::from(b' ' + n % 90)).collect();
    for len in 0..200 {
        for is_long in [false, true] {
            let mut array = [0; 216];
            let mut writer = ArrayWriter::new(&mut array);
            let text = &bytes.as_bytes()[..len];
            if is_long {
                writer.long(text)
            } else {
                writer.text(text)
            }
            assert_eq!(writer.finish(), Some(len));
            assert_eq!(array[..len], bytes.as_bytes()[..len]);
        }
    }
    for value in (0..100_000).chain([99_999_999, 100_000_000, u64::MAX - 1, u64::MAX]) {
        let mut array = [0; 40];
        let mut writer = ArrayWriter::new(&mut array);
        writer.decimal(value);
        let len = writer.finish().expect("room");
        assert_eq!(array[..len], *std::format!("{value}").as_bytes());
    }
}
