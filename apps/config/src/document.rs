//! Tables and values of a TOML document with their places, and the checks that every key shares.
//!
//! A [`Section`] is asked for the keys it may have; [`Section::finish`] then finds the keys nobody asked for. An [`Item`] is
//! one key with its value; its methods convert the value or say what is wrong with it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ErrorKind, Fault};
use crate::model::{Prefix, Rate};
use crate::{NAME_BYTES_MAX, units};

type Result<T> = core::result::Result<T, Fault>;

/// One table.
pub(crate) struct Section<'d> {
    /// How messages call it: `[network]`, `[[pool]]`.
    title: &'static str,
    span: Range<usize>,
    table: &'d DeTable<'d>,
    asked: Vec<&'static str>,
}

/// One key with its value.
pub(crate) struct Item<'d> {
    key: &'static str,
    value: &'d Spanned<DeValue<'d>>,
}

impl<'d> Section<'d> {
    pub(crate) fn new(title: &'static str, span: Range<usize>, table: &'d DeTable<'d>) -> Self {
        Self { title, span, table, asked: Vec::new() }
    }

    /// The value of `key`, which is from now on a known key.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Item<'d>> {
        self.asked.push(key);
        self.table.get(key).map(|value| Item { key, value })
    }

    /// The value of `key`, which must be there.
    pub(crate) fn require(&mut self, key: &'static str, example: &str) -> Result<Item<'d>> {
        self.take(key).ok_or_else(|| self.missing(key, example))
    }

    pub(crate) fn missing(&self, key: &str, example: &str) -> Fault {
        let message = format!("{} has no `{key}`", self.title);
        Fault::new(self.span.clone(), ErrorKind::MissingKey, message, format!("add `{key} = {example}`"))
    }

    /// A table under `key`, or none.
    pub(crate) fn table(&mut self, key: &'static str, title: &'static str) -> Result<Option<Section<'d>>> {
        self.take(key).map(|item| item.section(title)).transpose()
    }

    /// The tables under `key` that are written as `[[key]]`; an empty list without it.
    pub(crate) fn tables(&mut self, key: &'static str, title: &'static str, max: usize) -> Result<Vec<Section<'d>>> {
        let Some(item) = self.take(key) else { return Ok(Vec::new()) };
        let DeValue::Array(array) = item.value.get_ref() else {
            return Err(item.wrong_type("a list of tables", &format!("write it as `{title}`")));
        };
        if array.len() > max {
            let message = format!("{} {title} sections are more than the limit of {max}", array.len());
            return Err(item.fault(ErrorKind::TooLarge, message, "split the configuration over several images"));
        }
        array.iter().map(|value| Item { key, value }.section(title)).collect()
    }

    /// All keys and their values, where the keys are free.
    pub(crate) fn into_items(self) -> impl Iterator<Item = (&'d str, Item<'d>)> {
        let item = |(key, value): (&'d Spanned<_>, &'d Spanned<DeValue<'d>>)| {
            let key: &'d alloc::borrow::Cow<'d, str> = key.get_ref();
            (key.as_ref(), Item { key: "value", value })
        };
        self.table.iter().map(item)
    }

    /// Refuses keys of the plan that this version does not honour.
    pub(crate) fn not_yet(&mut self, keys: &[&'static str]) -> Result<()> {
        let planned = self.table.keys().find(|key| keys.contains(&key.get_ref().as_ref()));
        match planned {
            None => Ok(()),
            Some(key) => Err(Fault::new(
                key.span(),
                ErrorKind::NotSupportedYet,
                format!("`{}` in {} is not supported yet", key.get_ref(), self.title),
                "remove it; this version would not honour it",
            )),
        }
    }

    /// Refuses every key that nobody asked for.
    pub(crate) fn finish(self) -> Result<()> {
        let unknown = self.table.keys().find(|key| !self.asked.contains(&key.get_ref().as_ref()));
        let Some(key) = unknown else { return Ok(()) };
        let name = key.get_ref().as_ref();
        let help = match self.asked.iter().find(|known| is_near(known, name)) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("keys of {}: {}", self.title, self.asked.join(", ")),
        };
        let message = format!("unknown key `{}` in {}", printable(name), self.title);
        Err(Fault::new(key.span(), ErrorKind::UnknownKey, message, help))
    }

    pub(crate) fn fault(&self, kind: ErrorKind, message: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault::new(self.span.clone(), kind, message, help)
    }

    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

impl<'d> Item<'d> {
    pub(crate) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    pub(crate) fn fault(&self, kind: ErrorKind, message: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault::new(self.span(), kind, message, help)
    }

    fn wrong_type(&self, wanted: &str, help: &str) -> Fault {
        let message = format!("`{}` must be {wanted}, this is {}", self.key, type_name(self.value.get_ref()));
        self.fault(ErrorKind::WrongType, message, help)
    }

    pub(crate) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    pub(crate) fn section(&self, title: &'static str) -> Result<Section<'d>> {
        match self.value.get_ref() {
            DeValue::Table(table) => Ok(Section::new(title, self.span(), table)),
            _ => Err(self.wrong_type("a table", &format!("write it as `{title}`"))),
        }
    }

    pub(crate) fn string(&self) -> Result<&'d str> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(text),
            _ => Err(self.wrong_type("a string", "put the value in double quotes")),
        }
    }

    /// One string, or a list of at least one.
    pub(crate) fn strings(&self) -> Result<Vec<Item<'d>>> {
        match self.value.get_ref() {
            DeValue::String(_) => Ok(Vec::from([Item { key: self.key, value: self.value }])),
            DeValue::Array(array) if array.is_empty() => {
                Err(self.fault(ErrorKind::InvalidValue, format!("`{}` is empty", self.key), "give at least one value"))
            }
            DeValue::Array(array) => Ok(array.iter().map(|value| Item { key: self.key, value }).collect()),
            _ => Err(self.wrong_type("a string or a list of strings", "put the values in double quotes")),
        }
    }

    pub(crate) fn integer(&self, range: RangeInclusive<u64>) -> Result<u64> {
        let DeValue::Integer(integer) = self.value.get_ref() else {
            return Err(self.wrong_type("an integer", "write a number without quotes"));
        };
        let value = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let value = value.and_then(|value| u64::try_from(value).ok()).filter(|value| range.contains(value));
        value.ok_or_else(|| {
            self.out_of_range(&integer.to_string(), &range.start().to_string(), &range.end().to_string())
        })
    }

    pub(crate) fn boolean(&self) -> Result<bool> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.wrong_type("true or false", "write true or false without quotes")),
        }
    }

    fn out_of_range(&self, value: &str, min: &str, max: &str) -> Fault {
        let message = format!("`{}` is {value}, outside of {min} to {max}", self.key);
        self.fault(ErrorKind::OutOfRange, message, format!("choose a value from {min} to {max}"))
    }

    /// A duration in nanoseconds.
    pub(crate) fn duration_ns(&self, range: RangeInclusive<u64>) -> Result<u64> {
        let help = "durations have a unit: \"250ms\", \"2s\", \"5m\" or \"1h\"";
        let DeValue::String(text) = self.value.get_ref() else {
            return Err(self.wrong_type("a duration in quotes", help));
        };
        let Some(value) = units::parse_duration_ns(text) else {
            let message = format!("`{}` is not a duration: \"{}\"", self.key, printable(text));
            return Err(self.fault(ErrorKind::InvalidDuration, message, help));
        };
        if range.contains(&value) {
            return Ok(value);
        }
        Err(self.out_of_range(text, &units::duration_text(*range.start()), &units::duration_text(*range.end())))
    }

    /// A size in bytes.
    pub(crate) fn size_bytes(&self, range: RangeInclusive<u64>) -> Result<u64> {
        let help = "sizes have a unit: \"512B\", \"64KiB\", \"1MiB\" or \"2GiB\"";
        let DeValue::String(text) = self.value.get_ref() else {
            return Err(self.wrong_type("a size in quotes", help));
        };
        let Some(value) = units::parse_size_bytes(text) else {
            let message = format!("`{}` is not a size: \"{}\"", self.key, printable(text));
            return Err(self.fault(ErrorKind::InvalidSize, message, help));
        };
        if range.contains(&value) {
            return Ok(value);
        }
        Err(self.out_of_range(text, &units::size_text(*range.start()), &units::size_text(*range.end())))
    }

    /// How often something may happen: `"100/s"` or `"30/m"`.
    pub(crate) fn rate(&self) -> Result<Rate> {
        let help = "rates are times a second or a minute: \"100/s\", \"30/m\"";
        let DeValue::String(text) = self.value.get_ref() else {
            return Err(self.wrong_type("a rate in quotes", help));
        };
        let per_minute = units::parse_rate_per_minute(text).filter(|rate| (1..=60_000_000).contains(rate));
        per_minute.map(|rate| Rate { per_minute: rate as u32 }).ok_or_else(|| {
            let message = format!("`{}` is not a rate: \"{}\"", self.key, printable(text));
            self.fault(ErrorKind::InvalidValue, message, help)
        })
    }

    /// One of the given words, or one that is planned.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)], planned: &[&str]) -> Result<T> {
        let text = self.string()?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let help = format!("choose {}", words.join(" or "));
        if planned.contains(&text) {
            let message = format!("`{} = \"{text}\"` is not supported yet", self.key);
            return Err(self.fault(ErrorKind::NotSupportedYet, message, help));
        }
        let message = format!("`{}` does not know \"{}\"", self.key, printable(text));
        Err(self.fault(ErrorKind::InvalidValue, message, help))
    }

    /// A name: letters, digits, `-`, `_` and `.`.
    pub(crate) fn name(&self) -> Result<&'d str> {
        let text = self.string()?;
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(is_fine) {
            let message = format!("\"{}\" cannot be a name", printable(text));
            let help = format!("use 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`");
            return Err(self.fault(ErrorKind::InvalidName, message, help));
        }
        Ok(text)
    }

    /// An address with a port.
    pub(crate) fn socket_address(&self, example: &str) -> Result<SocketAddr> {
        let text = self.string()?;
        let help = format!("write an address and a port, as in \"{example}\" or \"[2001:db8::1]:80\"");
        match text.parse::<SocketAddr>() {
            Ok(SocketAddr::V6(address)) if address.ip().to_ipv4_mapped().is_some() => {
                let message = format!("\"{text}\" is an IPv4 address written as an IPv6 one");
                let plain = SocketAddr::new(address.ip().to_canonical(), address.port());
                Err(self.fault(ErrorKind::InvalidAddress, message, format!("write \"{plain}\"")))
            }
            // RFC 4007 11: a zone tells interfaces apart, and there is one.
            Ok(SocketAddr::V6(address)) if address.scope_id() != 0 => {
                let message = format!("\"{text}\" names a zone");
                let help = format!("write \"[{}]:{}\": there is one interface", address.ip(), address.port());
                Err(self.fault(ErrorKind::InvalidAddress, message, help))
            }
            Ok(address) if address.port() == 0 => {
                Err(self.fault(ErrorKind::InvalidAddress, format!("\"{text}\" has port 0"), help))
            }
            Ok(address) => Ok(address),
            Err(_) if host_and_port(text).is_some() => {
                let message = format!("\"{}\" is a host name", printable(text));
                Err(self.fault(ErrorKind::InvalidAddress, message, format!("{help}; names are for servers of pools")))
            }
            Err(_) => {
                let message = format!("\"{}\" is not an address with a port", printable(text));
                let help = unbracketed(text).unwrap_or(help);
                Err(self.fault(ErrorKind::InvalidAddress, message, help))
            }
        }
    }

    pub(crate) fn ip(&self) -> Result<IpAddr> {
        let text = self.string()?;
        text.parse().map_err(|_| self.invalid_ip(text, ["192.0.2.1", "fe80::1"]))
    }

    /// An address and the length of its subnet's prefix.
    pub(crate) fn ip_with_prefix(&self) -> Result<(IpAddr, u8)> {
        let text = self.string()?;
        let parts = text.split_once('/').and_then(|(address, len)| {
            let is_number = !len.is_empty() && len.bytes().all(|byte| byte.is_ascii_digit());
            Some((address.parse::<IpAddr>().ok()?, is_number.then(|| len.parse::<u8>().ok())??))
        });
        let fits = |(address, len): &(IpAddr, u8)| (1..=if address.is_ipv4() { 32 } else { 128 }).contains(len);
        parts.filter(fits).ok_or_else(|| self.invalid_ip(text, ["192.0.2.10/24", "2001:db8::10/64"]))
    }

    /// An address, or one with the length of a prefix.
    pub(crate) fn prefix(&self) -> Result<Prefix> {
        let text = self.string()?;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Prefix { address, len: if address.is_ipv4() { 32 } else { 128 } });
        }
        if let Some(address) = text.strip_suffix("/0").and_then(|address| address.parse().ok()) {
            return Ok(Prefix { address, len: 0 });
        }
        let (address, len) = self.ip_with_prefix()?;
        Ok(Prefix { address, len })
    }

    fn invalid_ip(&self, text: &str, [v4, v6]: [&str; 2]) -> Fault {
        let message = format!("`{}` is \"{}\"", self.key, printable(text));
        let help = format!("write an address as in \"{v4}\" or \"{v6}\"");
        self.fault(ErrorKind::InvalidAddress, message, help)
    }

    /// A string that may stand in a header field: printable ASCII, not empty.
    pub(crate) fn field_value(&self) -> Result<&'d str> {
        let text = self.string()?;
        if text.is_empty() || text.trim() != text || !text.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) {
            let message = format!("`{}` cannot stand in a header field: \"{}\"", self.key, printable(text));
            return Err(self.fault(ErrorKind::InvalidValue, message, "use printable ASCII without blanks at the ends"));
        }
        Ok(text)
    }
}

/// The remedy for `2001:db8::1:80`, where nobody can tell the port from the address.
fn unbracketed(text: &str) -> Option<String> {
    let (address, port) = text.rsplit_once(':')?;
    let (address, port): (Ipv6Addr, u16) = (address.parse().ok()?, port.parse().ok()?);
    Some(format!("IPv6 addresses stand in brackets: \"[{address}]:{port}\""))
}

/// The parts of `name:port` with a letter in the name.
pub(crate) fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_name = host.bytes().all(is_host) && host.bytes().any(|byte| byte.is_ascii_alphabetic());
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| *port > 0 && is_name && is_number)?;
    Some((host, port))
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Text from the file for a message: without control characters, and not longer than a line takes.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Whether one insertion, removal or replacement, or a swap of neighbours, makes the words equal.
fn is_near(known: &str, given: &str) -> bool {
    let (a, b) = (known.as_bytes(), given.as_bytes());
    let prefix = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let suffix = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let rest = |word: &[u8]| word.len().saturating_sub(prefix + suffix);
    match (rest(a), rest(b)) {
        (0 | 1, 0 | 1) => a.len().abs_diff(b.len()) <= 1,
        (2, 2) => a.get(prefix) == b.get(prefix + 1) && a.get(prefix + 1) == b.get(prefix),
        _ => false,
    }
}
