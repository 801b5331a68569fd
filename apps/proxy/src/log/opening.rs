//! How a line begins: when, and at which listener.

use alloc::boxed::Box;
use alloc::format;

use weir_http1::civil_date;

const SECOND_NS: u64 = 1_000_000_000;
const MILLISECOND_NS: u64 = 1_000_000;

/// Where the time stands, and in it the milliseconds.
const TIME_AT: usize = "{\"time\":\"".len();
const MILLISECONDS_AT: usize = TIME_AT + "2026-11-25T09:00:00.".len();

/// The lines of one listener up to the client's address, as they begin in the millisecond of the last one.
pub(super) struct Opening {
    /// When its second and itself began, in nanoseconds since 1970.
    second_ns: u64,
    millisecond_ns: u64,
    text: Box<[u8]>,
}

impl Opening {
    pub(super) fn new(listener: &str) -> Self {
        let line = format!("{{\"time\":\"1970-01-01T00:00:00.000Z\",\"listener\":\"{listener}\",\"client\":");
        Self { second_ns: 0, millisecond_ns: 0, text: line.into_bytes().into() }
    }

    /// As lines begin at `unix_ns`; the time is RFC 3339's, in milliseconds.
    #[inline]
    pub(super) fn at(&mut self, unix_ns: u64) -> &[u8] {
        if unix_ns.wrapping_sub(self.millisecond_ns) >= MILLISECOND_NS {
            self.change(unix_ns);
        }
        &self.text
    }

    fn change(&mut self, unix_ns: u64) {
        if unix_ns.wrapping_sub(self.second_ns) >= SECOND_NS {
            self.change_second(unix_ns / SECOND_NS);
        }
        let milliseconds = (unix_ns - self.second_ns) / MILLISECOND_NS;
        self.millisecond_ns = self.second_ns + milliseconds * MILLISECOND_NS;
        let digit = |unit: u64| b'0' + (milliseconds / unit % 10) as u8;
        if let Some(place) = self.text.get_mut(MILLISECONDS_AT..).and_then(|text| text.first_chunk_mut()) {
            *place = [digit(100), digit(10), digit(1)];
        }
    }

    #[cold]
    fn change_second(&mut self, number: u64) {
        self.second_ns = number * SECOND_NS;
        let (year, month, day) = civil_date(number / 86_400);
        let (hour, minute, second) = (number / 3600 % 24, number / 60 % 60, number % 60);
        let text = format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.", month + 1);
        if let Some(place) = self.text.get_mut(TIME_AT..MILLISECONDS_AT)
            && place.len() == text.len()
        {
            place.copy_from_slice(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    #[test]
    fn a_line_begins_with_its_millisecond() {
        let mut opening = Opening::new("web");
        for (unix_ns, time) in [
            (0, "1970-01-01T00:00:00.000"),
            (999_999_999, "1970-01-01T00:00:00.999"),
            (1_000_000_000, "1970-01-01T00:00:01.000"),
            (784_111_777_000_000_000, "1994-11-06T08:49:37.000"),
            (784_111_777_120_999_999, "1994-11-06T08:49:37.120"),
            (784_111_777_019_000_000, "1994-11-06T08:49:37.019"),
            (784_111_776_999_999_999, "1994-11-06T08:49:36.999"),
            (1_709_164_799_000_000_000, "2024-02-28T23:59:59.000"),
            (1_709_164_800_005_000_000, "2024-02-29T00:00:00.005"),
        ] {
            let text = String::from_utf8(opening.at(unix_ns).to_vec()).expect("ASCII");
            assert_eq!(text, format!("{{\"time\":\"{time}Z\",\"listener\":\"web\",\"client\":"));
        }
    }
}
