//! The demo page.

use alloc::string::ToString;

use crate::prepared::{Prepared, leak};

const TEMPLATE: &str = include_str!("demo.html");

/// The page that tells which listener on which core answered. Names of listeners need no escaping: they are letters,
/// digits, `-`, `_` and `.`.
#[must_use]
pub fn demo_page(server: &str, core: usize) -> Prepared {
    let page = TEMPLATE.replace("{{server}}", server).replace("{{core}}", &core.to_string());
    let page = page.replace("{{version}}", env!("CARGO_PKG_VERSION"));
    Prepared::new(200, "text/html; charset=utf-8", &[("Cache-Control", "no-store")], leak(page.into_bytes()))
}
