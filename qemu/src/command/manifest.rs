//! The manifest of an image: what is in it and what it will carry, as JSON. No date is in it, so that the same image has the same
//! manifest.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use weir_config::{Action, Config};

use super::sizing;
use crate::cli::Format;

/// The version of this format.
const MANIFEST_VERSION: u32 = 1;

/// What a manifest tells of.
pub(super) struct Contents<'a> {
    pub format: Format,
    /// Length of the image as it is written, and its hash.
    pub image_bytes: u64,
    pub image_sha256: String,
    /// The program within it.
    pub elf: Option<&'a [u8]>,
    /// The text of the configuration, and what it says.
    pub text: &'a str,
    pub config: &'a Config,
    /// Configuration and files as they are loaded.
    pub archive_bytes: u64,
}

impl Contents<'_> {
    /// The manifest.
    pub(super) fn manifest(&self) -> String {
        let mut manifest = json!({
            "manifest": MANIFEST_VERSION,
            "weir": env!("CARGO_PKG_VERSION"),
            "image": { "format": name(self.format), "bytes": self.image_bytes, "sha256": self.image_sha256 },
            "configuration": {
                "bytes": self.text.len(),
                "sha256": sha256(self.text.as_bytes()),
                "listeners": self.listeners(),
                "uses": self.uses(),
            },
        });
        if let Some(elf) = self.elf {
            manifest["elf"] = json!({ "bytes": elf.len(), "sha256": sha256(elf) });
            manifest["boot"] = json!(boot(self.format));
            manifest["archive"] = json!({ "bytes": self.archive_bytes });
            manifest["limits"] = self.limits();
        }
        let text = serde_json::to_string_pretty(&manifest).expect("keys are texts");
        text + "\n"
    }

    fn listeners(&self) -> Value {
        let listeners = self.config.listeners.iter();
        listeners.map(|listener| json!({ "name": listener.name, "bind": listener.bind })).collect()
    }

    /// What of Weir the configuration puts to use.
    fn uses(&self) -> Vec<&'static str> {
        let routes = || self.config.listeners.iter().flat_map(|listener| &listener.routes);
        let all = [
            ("balancing", !self.config.pools.is_empty()),
            ("health-checks", self.config.pools.iter().any(|pool| pool.health.is_some())),
            ("files", routes().any(|route| matches!(route.action, Action::Files(_)))),
            ("metrics", self.config.admin.is_some()),
        ];
        all.into_iter().filter_map(|(name, is_used)| is_used.then_some(name)).collect()
    }

    /// By the computation of the image itself.
    fn limits(&self) -> Value {
        let rows = sizing::USUAL.into_iter().map(|(memory, cores)| {
            let machine = sizing::machine(memory, cores, self.archive_bytes);
            let mut row = json!({ "memory_mib": memory, "cores": cores });
            match machine.plan(self.config.limits.connections) {
                Ok(plan) => {
                    row["connections_max"] = plan.connections_of_all().into();
                    row["flows_max"] = plan.flows_of_all().into();
                    row["buffers"] = plan.buffers_of_all().into();
                }
                Err(_) => row["starts"] = false.into(),
            }
            row
        });
        rows.collect()
    }
}

const fn name(format: Format) -> &'static str {
    match format {
        Format::Elf => "elf",
        Format::Raw => "raw",
        Format::Qcow2 => "qcow2",
        Format::Iso => "iso",
        Format::Cidata => "cidata",
    }
}

/// The ways to start it.
const fn boot(format: Format) -> &'static [&'static str] {
    match format {
        Format::Elf => &["pvh", "multiboot2"],
        Format::Raw | Format::Qcow2 | Format::Iso => &["bios", "uefi"],
        Format::Cidata => &[],
    }
}

/// The length of a file and its hash, without holding it in memory.
///
/// # Errors
/// It cannot be read.
pub(super) fn hash_file(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut part = vec![0; 1 << 20];
    loop {
        let len = file.read(&mut part)?;
        if len == 0 {
            return Ok((bytes, hex(&hash.finalize())));
        }
        hash.update(&part[..len]);
        bytes += len as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_standard() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_manifest_says_what_is_in_the_image() {
        let config = Config::parse(weir_config::DEMO).expect("a good one");
        let contents = Contents {
            format: Format::Elf,
            image_bytes: 3,
            image_sha256: sha256(b"abc"),
            elf: Some(b"abc"),
            text: weir_config::DEMO,
            config: &config,
            archive_bytes: 60 << 20,
        };
        let manifest: Value = serde_json::from_str(&contents.manifest()).expect("JSON");
        assert_eq!(manifest["image"]["format"], "elf");
        assert_eq!(manifest["image"]["sha256"], sha256(b"abc"));
        assert_eq!(manifest["limits"][0], json!({ "memory_mib": 64, "cores": 1, "starts": false }));
        let plan = sizing::machine(128, 1, 60 << 20).plan(None).expect("enough");
        assert_eq!(manifest["limits"][1]["connections_max"], plan.connections_of_all());
        assert!(manifest["limits"][2]["connections_max"].as_u64() > manifest["limits"][1]["connections_max"].as_u64());
        assert!(manifest["configuration"]["uses"].as_array().is_some_and(|uses| uses.contains(&"balancing".into())));
    }
}
