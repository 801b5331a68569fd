//! JSON Schema, draft 2020-12: what editors and other programs can check. Whether values fit together, `weir check` knows.

use serde_json::{Map, Value, json};

use crate::{Default, Key, ROOT, Section, Shape};

/// The whole schema.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = object(&ROOT);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Configuration of Weir");
    schema
}

fn object(section: &Section) -> Value {
    let properties: Map<String, Value> = section.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let is_required = |key: &&Key| matches!(key.default, Default::Required(_));
    let required: Vec<&str> = section.keys.iter().filter(is_required).map(|key| key.name).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !section.one_of.is_empty() {
        schema["oneOf"] = section.one_of.iter().map(|name| json!({ "required": [name] })).collect();
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = value(key.shape);
    let range = match key.shape {
        Shape::Duration(min, max) | Shape::Size(min, max) => format!("; {min} to {max}"),
        _ => String::new(),
    };
    schema["description"] = json!(format!("{}{range}", key.meaning));
    match key.default {
        // Our values are written in TOML as they are in JSON.
        Default::Value(text) => schema["default"] = serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        Default::Required(text) if !text.is_empty() => {
            schema["examples"] = json!([serde_json::from_str::<Value>(text).unwrap_or_else(|_| json!(text))]);
        }
        Default::Required(_) | Default::Words(_) => {}
    }
    schema
}

fn value(shape: Shape) -> Value {
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Texts => json!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
        ] }),
        Shape::Name => pattern("^[A-Za-z0-9._-]{1,63}$"),
        Shape::Choice(words) => json!({ "enum": words }),
        Shape::Integer(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Shape::Numbers(numbers) => json!({ "enum": numbers }),
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Duration(..) => pattern("^[0-9]+(ms|s|m|h)$"),
        Shape::Size(..) => pattern("^[0-9]+(B|KiB|MiB|GiB)$"),
        Shape::Rate => pattern("^[0-9]+/[sm]$"),
        Shape::Fields => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Shape::Inline(section) | Shape::Table(section) => object(section),
        Shape::TextOrInline(section) => json!({ "anyOf": [{ "type": "string" }, object(section)] }),
        Shape::List(section) => json!({ "type": "array", "items": object(section) }),
    }
}
