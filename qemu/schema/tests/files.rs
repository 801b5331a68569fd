//! The project's own files against the schema.

use std::fs;
use std::path::{Path, PathBuf};

use weir_config::Config;
use weir_schema::{json_schema, sections, table};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whole configurations: files, and what stands in documents as such.
fn configurations() -> Vec<(String, String)> {
    let examples = fs::read_dir(root().join("apps/config/examples")).unwrap().map(|entry| entry.unwrap().path());
    let files = examples.chain(["apps/config/demo.toml", "qemu/bench/weir.toml"].map(|name| root().join(name)));
    let mut found: Vec<(String, String)> = files.map(|path| (path.display().to_string(), read(&path))).collect();
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for page in pages.chain([root().join("README.md")]).filter(|page| page.extension().is_some_and(|e| e == "md")) {
        let text = read(&page);
        let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        found.extend(blocks.map(|block| (page.display().to_string(), block.to_owned())));
    }
    found
}

#[test]
fn every_example_is_valid_and_a_key_more_makes_it_invalid() {
    let validator = jsonschema::draft202012::new(&json_schema()).unwrap();
    let is_valid = |text: &str| validator.is_valid(&toml::from_str(text).unwrap());
    let configurations = configurations();
    assert!(configurations.len() >= 6, "where are the examples? {}", configurations.len());
    for (name, text) in configurations {
        Config::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let errors: Vec<String> =
            validator.iter_errors(&toml::from_str(&text).unwrap()).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        let more = format!("colour = \"red\"\n{text}");
        assert!(Config::parse(&more).is_err() && !is_valid(&more), "{name}");
    }
}

#[test]
fn the_documented_keys_are_the_generated_ones() {
    let page = read(root().join("docs/configuration.md"));
    for (title, section) in sections() {
        let generated = table(section);
        let heading = format!("# `{title}`\n");
        assert!(page.contains(&heading), "docs/configuration.md has no heading `{title}`");
        assert!(
            page.contains(&generated),
            "docs/configuration.md does not have what `weir schema --reference` says of {title}:\n{generated}"
        );
    }
}

#[test]
fn the_json_schema_is_a_schema() {
    assert!(jsonschema::meta::is_valid(&json_schema()));
    assert_eq!(json_schema()["properties"]["timeouts"]["properties"]["head"]["default"], "10s");
}
