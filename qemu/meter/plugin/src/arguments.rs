//! The arguments behind the file name in `-plugin`.

use std::path::PathBuf;

/// Memory that can be followed by cache line: 64 GiB, for which the words take 8 GiB of address space.
const RAM_LEN_MAX: u64 = 64 << 30;

/// What the plugin is to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    /// Where to listen.
    pub socket: PathBuf,
    /// Count accesses to devices.
    pub devices: bool,
    /// Follow cache lines.
    pub lines: bool,
    /// Virtual addresses below are plain memory at the same physical address.
    pub ram_len: u64,
}

impl Arguments {
    /// Reads `name=value` words; the error is a sentence.
    pub fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let (mut socket, mut devices, mut lines, mut ram_len) = (None, false, false, 0);
        for word in words {
            match word.split_once('=').ok_or_else(|| format!("{word:?} is not name=value"))? {
                ("socket", path) => socket = Some(PathBuf::from(path)),
                ("devices", value) => devices = on_or_off(value)?,
                ("lines", value) => lines = on_or_off(value)?,
                ("ram", value) => {
                    ram_len = value.parse().map_err(|_| format!("ram={value} is no number of bytes"))?;
                }
                (name, _) => return Err(format!("there is no argument {name}")),
            }
        }
        if lines && !(1..=RAM_LEN_MAX).contains(&ram_len) {
            return Err(format!("lines=on needs ram=BYTES, at most {RAM_LEN_MAX}"));
        }
        Ok(Self { socket: socket.ok_or("socket=PATH is missing")?, devices, lines, ram_len })
    }
}

fn on_or_off(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(format!("{other:?} is neither on nor off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Arguments, String> {
        Arguments::parse(text.split(','))
    }

    #[test]
    fn all_that_is_understood() {
        let all = Arguments { socket: "/s".into(), devices: true, lines: true, ram_len: 4096 };
        assert_eq!(parse("socket=/s,devices=on,lines=on,ram=4096"), Ok(all));
        let least = Arguments { socket: "s".into(), devices: false, lines: false, ram_len: 0 };
        assert_eq!(parse("socket=s"), Ok(least));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "devices=on", "socket=s,lines=on", "socket=s,devices=yes", "socket=s,x=1", "socket=s,ram=1G"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
