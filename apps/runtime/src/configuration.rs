//! Which configuration holds: the one in the image, or one that QEMU hands over; the later wins.
//!
//! One that is wrong is reported with its place, and the next best is used: a balancer that comes up with yesterday's routes
//! is better than one that does not come up.

use alloc::string::String;
use core::str;

use weir_config::Config;
use weir_httpd::Archive;
use weir_kernel::{error, fw_cfg, info, warn};

/// The configuration's name in the archive.
const EMBEDDED_NAME: &str = "weir.toml";
/// Its name as a file of QEMU's (`-fw_cfg name=opt/weir/config,file=...`).
const FW_CFG_NAME: &str = "opt/weir/config";

/// The configuration and the files that go with it.
pub struct Chosen {
    /// What holds.
    pub config: Config,
    /// The image's archive; empty without one.
    pub archive: Archive,
}

/// Finds the configuration that holds.
pub fn choose(payload: Option<&'static [u8]>) -> Chosen {
    let archive = payload.map(Archive::new).transpose().unwrap_or_else(|error| {
        error!("configuration: the image's archive cannot be read: {error}");
        None
    });
    let archive = archive.unwrap_or_default();
    let embedded = archive.find(EMBEDDED_NAME.as_bytes());
    let handed = fw_cfg::read(FW_CFG_NAME);
    let config = handed
        .and_then(|text| parse("fw_cfg", &text))
        .or_else(|| embedded.and_then(|text| parse("image", text)))
        .unwrap_or_else(fallback);
    Chosen { config, archive }
}

fn parse(source: &str, text: &[u8]) -> Option<Config> {
    let Ok(text) = str::from_utf8(text) else {
        error!("configuration: {source}: not UTF-8");
        return None;
    };
    match Config::parse(text) {
        Ok(config) => {
            info!("configuration: {source}, {} bytes", text.len());
            Some(config)
        }
        Err(error) => {
            report(source, &error);
            None
        }
    }
}

fn report(source: &str, error: &weir_config::Error) {
    let text = alloc::format!("{error}");
    for line in text.lines() {
        error!("configuration: {source}:{line}");
    }
}

fn fallback() -> Config {
    warn!("configuration: none that is usable; serving the demo");
    // A test of the configuration crate parses it.
    Config::parse(weir_config::DEMO).unwrap_or_else(|error| {
        let message: String = alloc::format!("the demo configuration is broken: {error}");
        panic!("{message}")
    })
}
