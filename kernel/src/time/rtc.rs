//! The PC's real-time clock, read once. Its resolution is a second.

use x86_64::instructions::port::Port;

const UPDATE_IN_PROGRESS: u8 = 0x80;
const BINARY: u8 = 0x04;
const HOURS_24: u8 = 0x02;
const READS_MAX: usize = 10_000;

/// The registers as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Raw {
    second: u8,
    minute: u8,
    hour: u8,
    day: u8,
    month: u8,
    year: u8,
    century: u8,
    status_b: u8,
}

/// Nanoseconds since 1970; `None` when the clock holds no date.
pub(crate) fn unix_ns() -> Option<u64> {
    let mut last = read();
    for _ in 0..READS_MAX {
        let next = read();
        if next == last {
            return unix_seconds(last).map(|seconds| seconds * 1_000_000_000);
        }
        last = next;
    }
    None
}

fn read() -> Raw {
    for _ in 0..READS_MAX {
        if register(0x0a) & UPDATE_IN_PROGRESS == 0 {
            break;
        }
    }
    Raw {
        second: register(0x00),
        minute: register(0x02),
        hour: register(0x04),
        day: register(0x07),
        month: register(0x08),
        year: register(0x09),
        century: register(0x32),
        status_b: register(0x0b),
    }
}

fn register(index: u8) -> u8 {
    // SAFETY: index and data port of the real-time clock, used by this module alone; reading these registers has no effect.
    unsafe {
        Port::<u8>::new(0x70).write(index);
        Port::<u8>::new(0x71).read()
    }
}

fn unix_seconds(raw: Raw) -> Option<u64> {
    let number = |value: u8| {
        let decimal = if raw.status_b & BINARY != 0 { value } else { (value >> 4) * 10 + (value & 0xf) };
        u64::from(decimal)
    };
    let afternoon = raw.status_b & HOURS_24 == 0 && raw.hour & 0x80 != 0;
    let hour = match (raw.status_b & HOURS_24 != 0, number(raw.hour & 0x7f)) {
        (true, hour) => hour,
        (false, hour) => hour % 12 + if afternoon { 12 } else { 0 },
    };
    let century = match number(raw.century) {
        century @ 19..=29 => century,
        _ => 20,
    };
    let year = century * 100 + number(raw.year);
    let (month, day, minute, second) = (number(raw.month), number(raw.day), number(raw.minute), number(raw.second));
    let valid = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    (valid && second < 61).then(|| days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days from 1970-01-01 in the Gregorian calendar. Years begin in March here, so that the leap day comes last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCD: Raw = Raw {
        second: 0x59,
        minute: 0x34,
        hour: 0x12,
        day: 0x29,
        month: 0x02,
        year: 0x24,
        century: 0x20,
        status_b: HOURS_24,
    };

    #[test]
    fn a_leap_day_in_decimal_digits() {
        assert_eq!(unix_seconds(BCD), Some(1_709_210_099));
    }

    #[test]
    fn the_same_in_binary_and_with_twelve_hours() {
        let binary =
            Raw { second: 59, minute: 34, hour: 0x80 | 12, day: 29, month: 2, year: 24, century: 20, status_b: BINARY };
        assert_eq!(unix_seconds(binary), Some(1_709_210_099));
    }

    #[test]
    fn midnight_in_twelve_hours_is_twelve_in_the_morning() {
        let midnight = Raw { hour: 0x12, status_b: 0, ..BCD };
        assert_eq!(unix_seconds(midnight), Some(1_709_210_099 - 12 * 3600));
    }

    #[test]
    fn a_clock_without_a_date_is_refused() {
        assert_eq!(unix_seconds(Raw::default()), None);
        assert_eq!(unix_seconds(Raw { second: 0xff, minute: 0xff, hour: 0xff, day: 0xff, ..BCD }), None);
    }

    #[test]
    fn the_epoch_and_a_century_that_is_no_leap_year() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(2100, 3, 1) - days_since_1970(2100, 2, 28), 1);
        assert_eq!(days_since_1970(2000, 3, 1) - days_since_1970(2000, 2, 28), 2);
    }
}
