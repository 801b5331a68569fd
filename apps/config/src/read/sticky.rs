//! `sticky` of a `[[pool]]`: the cookie by which clients stay with their servers.

use alloc::format;

use super::Result;
use super::check::Places;
use super::pool::is_token_byte;
use crate::document::{Item, Section, printable};
use crate::error::{ErrorKind, Fault};
use crate::model::{Config, Protocol, SameSite, StickyCookie};
use crate::units::{HOUR, SECOND};

/// Longest name and path of a cookie, and length of a secret, in bytes.
const NAME_BYTES_MAX: usize = 64;
const PATH_BYTES_MAX: usize = 256;
const SECRET_BYTES: core::ops::RangeInclusive<usize> = 16..=256;

pub(super) fn read(mut section: Section<'_>) -> Result<StickyCookie> {
    let name_item = section.require("cookie", "\"SERVERID\"")?;
    let name = name(&name_item)?;
    let secret = section.take("secret").map_or(Ok(""), |item| secret(&item))?;
    let path = section.take("path").map_or(Ok("/"), |item| path(&item))?;
    let max_age = section.take("max_age").map(|item| item.duration_ns(SECOND..=9_600 * HOUR)).transpose()?;
    let secure = section.take("secure").map_or(Ok(false), |item| item.boolean())?;
    let choices = [("lax", SameSite::Lax), ("strict", SameSite::Strict), ("none", SameSite::None)];
    let same_site_item = section.take("same_site");
    let same_site = same_site_item.as_ref().map_or(Ok(SameSite::Lax), |item| item.choice(&choices, &[]))?;
    if let Some(item) = same_site_item.filter(|_| same_site == SameSite::None && !secure) {
        let message = "browsers refuse a cookie with `same_site = \"none\"` that is not `secure`";
        return Err(item.fault(ErrorKind::ConflictingKeys, message, "add `secure = true`, or choose \"lax\""));
    }
    section.finish()?;
    let max_age_s = max_age.map(|ns| ns / SECOND);
    Ok(StickyCookie { name: name.into(), secret: secret.into(), path: path.into(), max_age_s, secure, same_site })
}

fn name<'d>(item: &Item<'d>) -> Result<&'d str> {
    let name = item.string()?;
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_token_byte) {
        return Ok(name);
    }
    let message = format!("\"{}\" is not the name of a cookie", printable(name));
    Err(item.fault(ErrorKind::InvalidName, message, "use 1 to 64 letters, digits, `-` and `_`: \"SERVERID\""))
}

/// The message does not show it.
fn secret<'d>(item: &Item<'d>) -> Result<&'d str> {
    let secret = item.string()?;
    if SECRET_BYTES.contains(&secret.len()) {
        return Ok(secret);
    }
    let message = format!("the secret has {} bytes, 16 to 256 are good", secret.len());
    Err(item.fault(ErrorKind::InvalidValue, message, "take a long one from chance: `openssl rand -hex 16`"))
}

/// RFC 6265 4.1.1: no control bytes and no semicolon.
fn path<'d>(item: &Item<'d>) -> Result<&'d str> {
    let path = item.string()?;
    let is_good = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
    if path.starts_with('/') && path.len() <= PATH_BYTES_MAX && is_good {
        return Ok(path);
    }
    let message = format!("\"{}\" is not the path of a cookie", printable(path));
    Err(item.fault(
        ErrorKind::InvalidValue,
        message,
        "a path begins with `/` and has no spaces or semicolons: \"/app\"",
    ))
}

/// Only HTTP has cookies.
pub(super) fn check(config: &Config, places: &Places) -> Result<()> {
    let is_wrong = |(listener, pool, _): &&(usize, usize, _)| {
        let listener = config.listeners.get(*listener);
        let pool = config.pools.get(*pool);
        listener.is_some_and(|listener| listener.protocol != Protocol::Http) && pool.is_some_and(|p| p.sticky.is_some())
    };
    match places.pool_routes.iter().find(is_wrong) {
        None => Ok(()),
        Some((_, pool, span)) => {
            let name = config.pools.get(*pool).map_or("?", |pool| &pool.name);
            let message = format!("pool \"{name}\" has a sticky cookie, and only listeners of HTTP have cookies");
            let help = "make a pool without `sticky`; `balance = \"hash\"` keeps clients by their address";
            Err(Fault::new(span.clone(), ErrorKind::ConflictingKeys, message, help))
        }
    }
}
