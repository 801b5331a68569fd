//! `[pool.health]`.

use alloc::format;

use super::Result;
use crate::document::{Item, Section};
use crate::error::ErrorKind;
use crate::model::{Health, HttpCheck};

const MILLISECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600_000 * MILLISECOND;

pub(super) fn read(mut section: Section<'_>) -> Result<Health> {
    section.not_yet(&["method", "port", "send", "proxy_protocol", "agent"])?;
    let http = section.table("http", "http")?.map(http).transpose()?;
    let defaults = Health::default();
    let mut duration = |key, default| match section.take(key) {
        None => Ok(default),
        Some(item) => item.duration_ns(50 * MILLISECOND..=HOUR),
    };
    let interval_ns = duration("interval", defaults.interval_ns)?;
    let timeout_ns = duration("timeout", defaults.timeout_ns)?;
    let mut count = |key, default| match section.take(key) {
        None => Ok(default),
        Some(item) => item.integer(1..=100).map(|count| count as u8),
    };
    let rise = count("rise", defaults.rise)?;
    let fall = count("fall", defaults.fall)?;
    section.finish()?;
    Ok(Health { http, interval_ns, timeout_ns, rise, fall })
}

fn http(mut section: Section<'_>) -> Result<HttpCheck> {
    section.not_yet(&["method", "headers", "body"])?;
    let path_item = section.require("path", "\"/healthz\"")?;
    let path = path_item.string()?;
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        let message = format!("a check cannot ask for `{}`", crate::document::printable(path));
        let help = "a path begins with `/` and has no spaces: \"/healthz\"";
        return Err(path_item.fault(ErrorKind::InvalidValue, message, help));
    }
    let host = section.take("host").map(|item| item.field_value()).transpose()?;
    let expect = section.take("expect").map_or(Ok((200, 399)), |item| statuses(&item))?;
    section.finish()?;
    Ok(HttpCheck { path: path.into(), host: host.map(Into::into), expect })
}

/// `"200"` or `"200-399"`.
fn statuses(item: &Item<'_>) -> Result<(u16, u16)> {
    let text = item.string()?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| text.parse().ok().filter(|status| text.len() == 3 && (100..=599).contains(status));
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => {
            let message = format!("`{}` is no range of statuses", crate::document::printable(text));
            Err(item.fault(ErrorKind::OutOfRange, message, "write one status or two: \"200\", \"200-399\""))
        }
    }
}
