//! Durations and sizes: a number and a unit in one string, so that no value is ever misread by a factor of 1000.

use alloc::format;
use alloc::string::String;

/// Times in nanoseconds.
pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MILLISECOND;
pub(crate) const HOUR: u64 = 3_600 * SECOND;
pub(crate) const DAY: u64 = 24 * HOUR;

const DURATIONS: [(&str, u64); 4] = [("ms", MILLISECOND), ("s", SECOND), ("m", 60 * SECOND), ("h", HOUR)];
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Nanoseconds of `"250ms"`, `"2s"`, `"5m"` or `"1h"`.
pub(crate) fn parse_duration_ns(text: &str) -> Option<u64> {
    parse(text, &DURATIONS)
}

/// Bytes of `"512B"`, `"64KiB"`, `"1MiB"` or `"2GiB"`.
pub(crate) fn parse_size_bytes(text: &str) -> Option<u64> {
    parse(text, &SIZES)
}

/// Times a minute of `"100/s"` or `"30/m"`.
pub(crate) fn parse_rate_per_minute(text: &str) -> Option<u64> {
    parse(text, &[("/m", 1), ("/s", 60)])
}

/// The shortest exact form of a rate.
pub(crate) fn rate_text(per_minute: u32) -> String {
    text(per_minute.into(), &[("/m", 1), ("/s", 60)])
}

/// The shortest exact form, as [`parse_duration_ns`] reads it.
pub(crate) fn duration_text(ns: u64) -> String {
    text(ns, &DURATIONS)
}

/// The shortest exact form, as [`parse_size_bytes`] reads it.
pub(crate) fn size_text(bytes: u64) -> String {
    text(bytes, &SIZES)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn text(value: u64, units: &[(&str, u64)]) -> String {
    let exact = units.iter().rev().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    match exact.or(units.first()) {
        Some((unit, factor)) => format!("{}{unit}", value / factor),
        None => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration_ns("250ms"), Some(250_000_000));
        assert_eq!(parse_duration_ns("2s"), Some(2_000_000_000));
        assert_eq!(parse_duration_ns("5m"), Some(300_000_000_000));
        assert_eq!(parse_duration_ns("1h"), Some(3_600_000_000_000));
        for bad in
            ["", "2", "s", "2 s", "-2s", "+2s", "2sec", "1.5s", "2S", "99999999999999999999s", "9999999999h", "２s"]
        {
            assert_eq!(parse_duration_ns(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(parse_size_bytes("512B"), Some(512));
        assert_eq!(parse_size_bytes("64KiB"), Some(65_536));
        assert_eq!(parse_size_bytes("2GiB"), Some(2 << 30));
        for bad in ["64", "64KB", "64K", "64kib", "KiB", "1.5MiB", "99999999999999GiB"] {
            assert_eq!(parse_size_bytes(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn text_reads_back_as_the_same_value() {
        for ns in [0, 250_000_000, 1_500_000_000, 90_000_000_000, 3_600_000_000_000] {
            assert_eq!(parse_duration_ns(&duration_text(ns)), Some(ns));
        }
        for bytes in [0, 1, 1023, 1024, 3 << 20, 5 << 30] {
            assert_eq!(parse_size_bytes(&size_text(bytes)), Some(bytes));
        }
    }
}
