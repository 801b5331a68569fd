//! The Date field (RFC 9110 section 5.6.7).

use crate::write::HeadWriter;

/// Length of an IMF-fixdate.
pub const DATE_BYTES: usize = 29;

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Writes the IMF-fixdate of a point in time, `Sun, 06 Nov 1994 08:49:37 GMT`; [`DATE_BYTES`] long up to the year 9999, where
/// it stops.
pub fn write_date(writer: &mut HeadWriter<'_>, unix_seconds: u64) {
    const LAST: u64 = 253_402_300_799;
    let seconds = unix_seconds.min(LAST);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_date(days);
    writer.bytes(DAYS.get((days % 7) as usize).map_or(b"   ", |name| *name));
    writer.bytes(b", ");
    two(writer, day);
    writer.bytes(b" ");
    writer.bytes(MONTHS.get(month as usize).map_or(b"   ", |name| *name));
    writer.bytes(b" ");
    two(writer, year / 100);
    two(writer, year % 100);
    writer.bytes(b" ");
    two(writer, second / 3600);
    writer.bytes(b":");
    two(writer, second / 60 % 60);
    writer.bytes(b":");
    two(writer, second % 60);
    writer.bytes(b" GMT");
}

fn two(writer: &mut HeadWriter<'_>, value: u64) {
    writer.bytes(&[b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]);
}

/// Year, month from 0 and day from 1 of a day since 1970-01-01 in the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is a year's last: the lengths of the months before it repeat in
/// groups of 153 days for five months, and 400 years have 146,097 days.
pub fn civil_date(days: u64) -> (u64, u64, u64) {
    let since = days + 719_468; // 0000-03-01
    let (era, day_of_era) = (since / 146_097, since % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    (year, month, day)
}
