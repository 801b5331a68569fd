//! The reference: a Markdown table of each section.

use crate::{Default, Key, ROOT, Section, Shape};

/// All sections with what the file calls them, the file's own order: `[network]`, `[[listener.route]]`.
#[must_use]
pub fn sections() -> Vec<(String, &'static Section)> {
    let mut found = Vec::new();
    walk("", &ROOT, &mut found);
    found
}

fn walk(path: &str, section: &'static Section, found: &mut Vec<(String, &'static Section)>) {
    for key in section.keys {
        let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        match key.shape {
            Shape::Table(inner) => {
                found.push((format!("[{path}]"), inner));
                walk(&path, inner, found);
            }
            Shape::List(inner) => {
                found.push((format!("[[{path}]]"), inner));
                walk(&path, inner, found);
            }
            _ => {}
        }
    }
}

/// The whole reference.
#[must_use]
pub fn reference() -> String {
    let parts = sections().into_iter().map(|(title, section)| format!("## `{title}`\n\n{}", table(section)));
    parts.collect::<Vec<_>>().join("\n")
}

/// A section's table. What a table in one line has follows its key: `http`, `http.path`.
#[must_use]
pub fn table(section: &Section) -> String {
    let mut lines = String::from("| key | type | meaning | default |\n| --- | --- | --- | --- |\n");
    rows("", section, &mut lines);
    lines
}

fn rows(prefix: &str, section: &Section, lines: &mut String) {
    for key in section.keys {
        let Some(shape) = shape_text(key.shape) else { continue };
        let default = match key.default {
            Default::Required(_) => "required".to_owned(),
            Default::Value(value) => format!("`{value}`"),
            Default::Words(words) => words.to_owned(),
        };
        let Key { name, meaning, .. } = key;
        lines.push_str(&format!("| `{prefix}{name}` | {shape} | {meaning} | {default} |\n"));
        if let Shape::Inline(inner) | Shape::TextOrInline(inner) = key.shape {
            rows(&format!("{prefix}{name}."), inner, lines);
        }
    }
}

/// None: it has a table of its own.
fn shape_text(shape: Shape) -> Option<String> {
    Some(match shape {
        Shape::Text => "text".to_owned(),
        Shape::Texts => "text or list of texts".to_owned(),
        Shape::Name => "name".to_owned(),
        Shape::Choice(words) => words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "),
        Shape::Integer(min, max) => format!("{min} to {max}"),
        Shape::Numbers(numbers) => numbers.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
        Shape::Boolean => "`true`, `false`".to_owned(),
        Shape::Duration(min, max) => format!("duration, {min} to {max}"),
        Shape::Size(min, max) => format!("size, {min} to {max}"),
        Shape::Rate => "rate".to_owned(),
        Shape::Fields => "table of texts".to_owned(),
        Shape::Inline(_) => "table".to_owned(),
        Shape::TextOrInline(_) => "text or table".to_owned(),
        Shape::Table(_) | Shape::List(_) => return None,
    })
}
