//! `[log]`.

use alloc::format;

use super::Result;
use crate::document::{Item, Section};
use crate::error::ErrorKind;
use crate::model::Log;

pub(super) fn read(section: Option<Section<'_>>) -> Result<Log> {
    let Some(mut section) = section else { return Ok(Log::default()) };
    let syslog = section.take("syslog").map(|item| remote(&item, "10.0.0.5:514")).transpose()?;
    section.finish()?;
    Ok(Log { syslog })
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
