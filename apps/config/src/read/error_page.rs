//! `[[error_page]]`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Result;
use crate::document::Section;
use crate::error::ErrorKind;
use crate::model::Respond;

/// Every error that the image answers by itself.
pub(super) const STATUSES: [u16; 15] = [400, 404, 405, 408, 413, 414, 417, 429, 431, 500, 501, 502, 503, 504, 505];

/// Longest page: a client that causes errors is not to be given much for it.
const PAGE_BYTES_MAX: usize = 64 * 1024;

pub(super) fn read(sections: Vec<Section<'_>>) -> Result<Vec<Respond>> {
    let mut pages: Vec<Respond> = Vec::new();
    for mut section in sections {
        let item = section.require("status", "503")?;
        let status = item.integer(400..=599)? as u16;
        if !STATUSES.contains(&status) {
            let known: Vec<String> = STATUSES.iter().map(ToString::to_string).collect();
            let help = format!("choose one of {}", known.join(", "));
            return Err(item.fault(ErrorKind::InvalidValue, format!("{status} is never answered from here"), help));
        }
        if pages.iter().any(|page| page.status == status) {
            let message = format!("there is already an [[error_page]] for {status}");
            return Err(item.fault(ErrorKind::DuplicateName, message, "remove one of the two"));
        }
        let body_item = section.require("body", "\"…\"")?;
        let body = body_item.string()?;
        if body.len() > PAGE_BYTES_MAX {
            let message = format!("the page has {} bytes, the limit is {PAGE_BYTES_MAX}", body.len());
            return Err(body_item.fault(ErrorKind::TooLarge, message, "link to what makes it large"));
        }
        let content_type =
            section.take("content_type").map_or(Ok("text/html; charset=utf-8"), |item| item.field_value())?;
        section.finish()?;
        pages.push(Respond { status, body: body.into(), content_type: content_type.into() });
    }
    Ok(pages)
}
