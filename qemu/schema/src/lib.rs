//! The configuration's schema for people and for editors: every key with its type, range, default and meaning.
//!
//! `weir-config` reads configurations and stays as small as the image wants it; here stands the same once more with words,
//! for [`json_schema`] and [`reference`]. The crate's tests ask the reader about every row: whether it knows exactly these keys,
//! these types, ranges, choices and defaults.

#![forbid(unsafe_code)]

mod json;
mod listener;
mod pool;
mod reference;
mod root;

pub use json::json_schema;
pub use reference::{reference, sections, table};
pub use root::ROOT;

/// A table of the configuration.
#[derive(Debug)]
pub struct Section {
    /// Its keys, in the order in which people want to know them.
    pub keys: &'static [Key],
    /// Keys of which there is exactly one.
    pub one_of: &'static [&'static str],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What its value is.
    pub shape: Shape,
    /// What holds without it.
    pub default: Default,
    /// In one sentence, as Markdown.
    pub meaning: &'static str,
}

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Any text, as far as the schema is concerned.
    Text,
    /// A text, or a list of them.
    Texts,
    /// 1 to 63 letters, digits, `-`, `_` and `.`.
    Name,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// From the first to the second.
    Integer(u64, u64),
    /// One of these numbers.
    Numbers(&'static [u16]),
    /// `true` or `false`.
    Boolean,
    /// A text such as `"2s"`, from the first to the second.
    Duration(&'static str, &'static str),
    /// A text such as `"64KiB"`, from the first to the second.
    Size(&'static str, &'static str),
    /// A text such as `"100/s"`.
    Rate,
    /// A table of header fields: names and values are free.
    Fields,
    /// A table that is written in one line.
    Inline(&'static Section),
    /// A text, or such a table.
    TextOrInline(&'static Section),
    /// A table with a heading of its own.
    Table(&'static Section),
    /// A list of them.
    List(&'static Section),
}

/// What holds without a key.
#[derive(Debug, Clone, Copy)]
pub enum Default {
    /// It has to be there; this is an example.
    Required(&'static str),
    /// This value, in TOML.
    Value(&'static str),
    /// This, in words.
    Words(&'static str),
}

const fn key(name: &'static str, shape: Shape, default: Default, meaning: &'static str) -> Key {
    Key { name, shape, default, meaning }
}

const fn section(keys: &'static [Key]) -> Section {
    Section { keys, one_of: &[] }
}
