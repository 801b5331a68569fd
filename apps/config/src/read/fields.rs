//! `request_headers` and `response_headers` of a route.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Result;
use super::pool::is_token_byte;
use crate::document::{Item, Section, printable};
use crate::error::ErrorKind;
use crate::model::FieldRules;

/// Changes of one route and direction at most.
const RULES_MAX: usize = 32;

/// Bytes of all names and values of one route and direction at most.
const RULE_BYTES_MAX: usize = 4096;

/// Fields that say how a message is delimited or what the connection is for: they are ours alone.
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

pub(super) fn read(item: Option<Item<'_>>) -> Result<FieldRules> {
    let Some(item) = item else { return Ok(FieldRules::default()) };
    let mut section = item.section("a table with `set`, `add` and `remove`")?;
    let set = pairs(section.table("set", "set = { NAME = \"VALUE\" }")?)?;
    let add = pairs(section.table("add", "add = { NAME = \"VALUE\" }")?)?;
    let names = section.take("remove").map_or(Ok(Vec::new()), |item| item.strings())?;
    let remove = names.iter().map(|item| name(item, item.string()?)).collect::<Result<Vec<_>>>()?;
    section.finish()?;
    let bytes: usize = set.iter().chain(&add).map(|(name, value)| name.len() + value.len() + 4).sum();
    if set.len() + add.len() + remove.len() > RULES_MAX || bytes > RULE_BYTES_MAX {
        let message = format!("more than {RULES_MAX} fields, or {RULE_BYTES_MAX} bytes");
        return Err(item.fault(ErrorKind::TooLarge, message, "leave some of the changes to the servers"));
    }
    // A request has one (RFC 9112 3.2).
    let added = add.iter().map(|(name, _)| name);
    if let Some(host) = remove.iter().chain(added).find(|name| name.eq_ignore_ascii_case("host")) {
        let message = format!("a request cannot be without `{host}`, nor have two");
        return Err(item.fault(ErrorKind::InvalidValue, message, "set it instead"));
    }
    if let Some(name) = repeated(&set) {
        let message = format!("`{name}` is set twice");
        return Err(item.fault(ErrorKind::DuplicateName, message, "remove one of the two: case makes no difference"));
    }
    Ok(FieldRules { remove, set, add })
}

pub(super) fn pairs(section: Option<Section<'_>>) -> Result<Vec<(String, String)>> {
    let Some(section) = section else { return Ok(Vec::new()) };
    let pair = |(key, item): (&str, Item<'_>)| Ok((name(&item, key)?, item.field_value()?.into()));
    section.into_items().map(pair).collect()
}

/// The first name that stands there before, in whatever case.
fn repeated(pairs: &[(String, String)]) -> Option<&str> {
    let names = || pairs.iter().map(|(name, _)| name.as_str());
    names()
        .enumerate()
        .find_map(|(at, name)| names().take(at).any(|other| other.eq_ignore_ascii_case(name)).then_some(name))
}

fn name(item: &Item<'_>, text: &str) -> Result<String> {
    if text.is_empty() || text.len() > 255 || !text.bytes().all(is_token_byte) {
        let message = format!("\"{}\" is not the name of a header field", printable(text));
        return Err(item.fault(ErrorKind::InvalidName, message, "use letters, digits and `-`, as in \"X-Name\""));
    }
    if RESERVED.iter().any(|reserved| text.eq_ignore_ascii_case(reserved)) {
        let message = format!("`{text}` says how messages and connections end");
        return Err(item.fault(ErrorKind::InvalidName, message, "leave it out: it is written where it is needed"));
    }
    Ok(text.into())
}
