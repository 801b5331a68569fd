//! `[log]`.

use alloc::format;

use super::Result;
use crate::document::{Item, Section};
use crate::error::ErrorKind;
use crate::model::{AccessLog, Log};

pub(super) fn read(section: Option<Section<'_>>) -> Result<Log> {
    let Some(mut section) = section else { return Ok(Log::default()) };
    let syslog = section.take("syslog").map(|item| remote(&item, "10.0.0.5:514")).transpose()?;
    let choices = [
        ("off", AccessLog::Off),
        ("console", AccessLog::Console),
        ("syslog", AccessLog::Syslog),
        ("both", AccessLog::Both),
    ];
    let access_item = section.take("access");
    let access = access_item.as_ref().map_or(Ok(AccessLog::Off), |item| item.choice(&choices, &[]))?;
    if let (Some(item), true, None) = (access_item, access.is_on_syslog(), syslog) {
        let message = "the access log is to go to a log server, and there is none";
        return Err(item.fault(ErrorKind::ConflictingKeys, message, "add `syslog = \"10.0.0.5:514\"`"));
    }
    section.finish()?;
    Ok(Log { syslog, access })
}

/// The address of a service on another machine.
pub(super) fn remote(item: &Item<'_>, example: &str) -> Result<core::net::SocketAddr> {
    let address = item.socket_address(example)?;
    if address.ip().is_unspecified() || address.ip().is_multicast() || address.ip().is_loopback() {
        let message = format!("no other machine can be reached at {address}");
        return Err(item.fault(ErrorKind::InvalidAddress, message, "give the address of one machine"));
    }
    Ok(address)
}
