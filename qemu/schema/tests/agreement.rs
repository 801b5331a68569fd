//! What the schema says of every key, asked of the reader.

use std::sync::LazyLock;

use jsonschema::Validator;
use weir_config::{Config, ErrorKind};
use weir_schema::{Default, Key, Section, Shape, json_schema};

const WEB: &str = "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n";
const PAGE: &str = "[[listener.route]]\npage = \"demo\"\n";
const SERVER: &str = "[[pool.server]]\nname = \"a\"\naddress = \"10.0.0.1:80\"\n";

/// A section of the schema, and a configuration in which its keys stand where the sign `¶` is.
struct Place {
    title: String,
    section: &'static Section,
    around: String,
    is_inline: bool,
}

impl Place {
    /// What the section has to have, `key` aside, and one line more.
    fn with(&self, key: &str, line: &str) -> String {
        let required = self.section.keys.iter().filter(|own| own.name != key);
        let mut lines: Vec<String> = required
            .filter_map(|own| match own.default {
                Default::Required(example) if !example.is_empty() => Some(format!("{} = {example}", own.name)),
                _ => None,
            })
            .collect();
        if !self.section.one_of.is_empty() && !self.section.one_of.contains(&key) {
            lines.push("pool = \"api\"".to_owned());
        }
        lines.push(line.to_owned());
        self.around.replace('¶', lines.join(if self.is_inline { ", " } else { "\n" }).trim_end_matches(", "))
    }
}

/// Every section and every table in one line.
fn places() -> Vec<Place> {
    let pool = format!("[[pool]]\nname = \"api\"\n{SERVER}");
    let page = format!("{WEB}{PAGE}");
    let around = |title: &str| match title {
        "[[listener]]" => format!("[[listener]]\n¶\n{PAGE}"),
        "[listener.health]" => format!("{WEB}[listener.health]\n¶\n{PAGE}"),
        "[[listener.route]]" => format!("{WEB}[[listener.route]]\n¶\n{pool}"),
        "[[pool]]" => format!("{page}[[pool]]\n¶\n{SERVER}"),
        "[pool.health]" => format!("{page}[[pool]]\nname = \"api\"\n[pool.health]\n¶\n{SERVER}"),
        "[[pool.health.tcp]]" => format!("{page}[[pool]]\nname = \"api\"\n[[pool.health.tcp]]\n¶\n{SERVER}"),
        "[[pool.server]]" => format!("{page}[[pool]]\nname = \"api\"\n[[pool.server]]\n¶\n"),
        title => format!("{title}\n¶\n{page}"),
    };
    let mut places = Vec::new();
    for (title, section) in weir_schema::sections() {
        let place = Place { around: around(&title), title, section, is_inline: false };
        for key in section.keys {
            if let Shape::Inline(inner) | Shape::TextOrInline(inner) = key.shape {
                let around = place.with(key.name, &format!("{} = {{ ¶ }}", key.name));
                let title = format!("{} {}", place.title, key.name);
                places.push(Place { title, section: inner, around, is_inline: true });
            }
        }
        places.push(place);
    }
    places
}

/// The reader's error: its kind, and all of its words.
fn error(text: &str) -> (ErrorKind, String) {
    let error = Config::parse(text).expect_err(text);
    (error.kind(), error.to_string())
}

fn parses(text: &str) -> Config {
    Config::parse(text).unwrap_or_else(|error| panic!("{error}\nin\n{text}"))
}

/// What a text is by the JSON Schema.
fn is_valid(text: &str) -> bool {
    let value: serde_json::Value = toml::from_str(text).expect(text);
    static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| jsonschema::draft202012::new(&json_schema()).unwrap());
    VALIDATOR.is_valid(&value)
}

#[test]
fn the_reader_knows_these_keys_and_no_other() {
    let place = |title| Place { title, section: &weir_schema::ROOT, around: String::new(), is_inline: false };
    let root = (place("the file".to_owned()), format!("zzz = 1\n{WEB}{PAGE}"));
    let others = places().into_iter().map(|place| {
        let text = place.with("", "zzz = 1");
        (place, text)
    });
    for (place, text) in others.chain([root]) {
        let (kind, words) = error(&text);
        assert_eq!(kind, ErrorKind::UnknownKey, "{words}\nin\n{text}");
        let mut known: Vec<&str> = words.rsplit(": ").next().unwrap_or_default().split(", ").collect();
        let mut written: Vec<&str> = place.section.keys.iter().map(|key| key.name).collect();
        known.sort_unstable();
        written.sort_unstable();
        assert_eq!(known, written, "{}", place.title);
        assert!(!is_valid(&text), "{text}");
    }
}

#[test]
fn what_has_to_be_there_is_missed() {
    for place in places() {
        let text = place.with("", "");
        parses(&text);
        assert!(is_valid(&text), "{text}");
        for key in place.section.keys.iter().filter(|key| matches!(key.default, Default::Required(e) if !e.is_empty()))
        {
            let text = place.with(key.name, "");
            assert_eq!(error(&text).0, ErrorKind::MissingKey, "{text}");
            assert!(!is_valid(&text), "{text}");
        }
    }
}

#[test]
fn types_are_what_is_written() {
    for (place, key) in all_keys() {
        let wanted = match key.shape {
            Shape::Text | Shape::Choice(_) | Shape::Name | Shape::TextOrInline(_) => "must be a string",
            Shape::Texts => "must be a string or a list of strings",
            Shape::Integer(..) | Shape::Numbers(_) => "must be an integer",
            Shape::Boolean => "must be true or false",
            Shape::Duration(..) => "must be a duration",
            Shape::Size(..) => "must be a size",
            Shape::Rate => "must be a rate",
            Shape::Fields | Shape::Inline(_) | Shape::Table(_) => "must be a table",
            Shape::List(_) => continue,
        };
        let text = place.with(key.name, &format!("{} = 1.5", key.name));
        let (kind, words) = error(&text);
        assert_eq!(kind, ErrorKind::WrongType, "{words}\nin\n{text}");
        assert!(words.contains(wanted), "{words}\nin\n{text}");
        assert!(!is_valid(&text), "{text}");
    }
}

#[test]
fn ranges_and_choices_are_what_is_written() {
    for (place, key) in all_keys() {
        let with = |value: &str| place.with(key.name, &format!("{} = {value}", key.name));
        let refused = |value: &str, wanted: ErrorKind, part: &str| {
            let (kind, words) = error(&with(value));
            assert_eq!(kind, wanted, "{words}\nin\n{}", with(value));
            assert!(words.contains(part), "{words}\nlacks\n{part}");
        };
        match key.shape {
            Shape::Integer(min, max) => {
                refused(&(max + 1).to_string(), ErrorKind::OutOfRange, &format!("outside of {min} to {max}\n"));
                assert!(!is_valid(&with(&(max + 1).to_string())) && is_valid(&with(&max.to_string())));
            }
            Shape::Duration(min, max) => {
                refused("\"999999h\"", ErrorKind::OutOfRange, &format!("outside of {min} to {max}\n"));
            }
            Shape::Size(min, max) => {
                refused("\"1073741824GiB\"", ErrorKind::OutOfRange, &format!("outside of {min} to {max}\n"));
            }
            Shape::Choice(words) => {
                let listed: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                refused("\"zzz\"", ErrorKind::InvalidValue, &format!("help: choose {}", listed.join(" or ")));
                assert!(!is_valid(&with("\"zzz\"")) && is_valid(&with(&listed[0])));
            }
            Shape::Numbers(numbers) => {
                let unlisted = numbers[0] + 3;
                let listed: Vec<String> = numbers.iter().map(u16::to_string).collect();
                let help = listed.join(", ");
                let (_, words) = error(&with(&unlisted.to_string()));
                assert!(words.replace(" or ", ", ").ends_with(&help), "{words}\nlacks\n{help}");
            }
            _ => {}
        }
    }
}

#[test]
fn defaults_are_what_is_written() {
    for (place, key) in all_keys() {
        let Default::Value(value) = key.default else { continue };
        let text = place.with(key.name, &format!("{} = {value}", key.name));
        assert_eq!(parses(&text), parses(&place.with(key.name, "")), "{text}");
        assert!(is_valid(&text), "{text}");
    }
}

fn all_keys() -> Vec<(Place, &'static Key)> {
    let keys = |place: Place| {
        let again = move || Place {
            title: place.title.clone(),
            section: place.section,
            around: place.around.clone(),
            is_inline: place.is_inline,
        };
        place.section.keys.iter().map(move |key| (again(), key))
    };
    places().into_iter().flat_map(keys).collect()
}
