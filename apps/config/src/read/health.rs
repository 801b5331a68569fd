//! `[pool.health]`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Result;
use crate::document::{Item, Section};
use crate::error::ErrorKind;
use crate::model::{CheckMethod, Health, HttpCheck, TcpStep};
use crate::units::{HOUR, MILLISECOND};

/// Bytes of a check's own fields at most: the request has to fit into one packet.
const HEADER_BYTES_MAX: usize = 1024;
/// Steps of a check at most, and bytes that one of them sends (they have to fit into one packet) and looks for.
const STEPS_MAX: usize = 16;
const SEND_BYTES_MAX: usize = 1024;
const EXPECT_BYTES_MAX: usize = 256;

pub(super) fn read(mut section: Section<'_>) -> Result<Health> {
    section.not_yet(&["agent"])?;
    let port = section.take("port").map(|item| item.integer(1..=65535)).transpose()?;
    let http = section.table("http", "http")?.map(http).transpose()?;
    let tcp = steps(section.tables("tcp", "[[pool.health.tcp]]", crate::SECTIONS_MAX)?)?;
    if http.is_some() && !tcp.is_empty() {
        let message = "a check cannot ask by `http` and by `tcp`";
        return Err(section.fault(ErrorKind::ConflictingKeys, message, "remove one of them"));
    }
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
    Ok(Health { port: port.map(|port| port as u16), http, tcp, interval_ns, timeout_ns, rise, fall })
}

/// `[[pool.health.tcp]]`: what is said on the bare connection.
fn steps(sections: Vec<Section<'_>>) -> Result<Vec<TcpStep>> {
    let mut steps = Vec::new();
    for mut section in sections {
        if steps.len() == STEPS_MAX {
            let message = format!("a check of more than {STEPS_MAX} steps");
            return Err(section.fault(ErrorKind::TooLarge, message, "ask the server for less"));
        }
        let send = said(&mut section, "send", SEND_BYTES_MAX)?.unwrap_or_default();
        let expect = said(&mut section, "expect", EXPECT_BYTES_MAX)?;
        let Some(expect) = expect else { return Err(section.missing("expect", "\"+PONG\"")) };
        section.finish()?;
        steps.push(TcpStep { send, expect });
    }
    Ok(steps)
}

/// A text of at least one byte.
fn said(section: &mut Section<'_>, key: &'static str, bytes_max: usize) -> Result<Option<String>> {
    let Some(item) = section.take(key) else { return Ok(None) };
    let text = item.string()?;
    if text.is_empty() {
        return Err(item.fault(ErrorKind::InvalidValue, format!("`{key}` is empty"), "write what is said"));
    }
    if text.len() > bytes_max {
        let message = format!("`{key}` has {} bytes, the limit is {bytes_max}", text.len());
        return Err(item.fault(ErrorKind::TooLarge, message, "ask for less, or look for less in the answer"));
    }
    Ok(Some(text.into()))
}

fn http(mut section: Section<'_>) -> Result<HttpCheck> {
    section.not_yet(&["body"])?;
    let path_item = section.require("path", "\"/healthz\"")?;
    let path = path_item.string()?;
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        let message = format!("a check cannot ask for `{}`", crate::document::printable(path));
        let help = "a path begins with `/` and has no spaces: \"/healthz\"";
        return Err(path_item.fault(ErrorKind::InvalidValue, message, help));
    }
    let methods = [CheckMethod::Get, CheckMethod::Head, CheckMethod::Options].map(|method| (method.name(), method));
    let method = section.take("method").map_or(Ok(CheckMethod::Get), |item| item.choice(&methods, &[]))?;
    let headers = section.take("headers").map_or(Ok(Vec::new()), |item| headers(&item))?;
    let host = section.take("host").map(|item| item.field_value()).transpose()?;
    let expect = section.take("expect").map_or(Ok((200, 399)), |item| statuses(&item))?;
    section.finish()?;
    Ok(HttpCheck { method, path: path.into(), host: host.map(Into::into), headers, expect })
}

fn headers(item: &Item<'_>) -> Result<Vec<(String, String)>> {
    let headers = super::fields::pairs(Some(item.section("headers = { NAME = \"VALUE\" }")?))?;
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    if bytes > HEADER_BYTES_MAX {
        let message = format!("the fields of a check have {bytes} bytes, the limit is {HEADER_BYTES_MAX}");
        return Err(item.fault(ErrorKind::TooLarge, message, "leave some of them out"));
    }
    match headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")) {
        None => Ok(headers),
        Some(_) => {
            Err(item.fault(ErrorKind::InvalidValue, "`Host` has a key of its own", "write it as `host = \"…\"`"))
        }
    }
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
