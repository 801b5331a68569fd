//! The text of a configuration: errors have a place in it, and what was understood can be explained.

use weir_config::Config;

use crate::features::Features;

/// Pieces of the schema.
pub const WORDS: &[&[u8]] = &[
    b"[[listener]]\n",
    b"[[pool]]\n",
    b"[[pool.server]]\n",
    b"[[listener.route]]\n",
    b"[network]\n",
    b"[admin]\n",
    b"[limits]\n",
    b"[timeouts]\n",
    b"[tuning]\n",
    b"name = \"a\"\n",
    b"bind = \"0.0.0.0:80\"\n",
    b"address = \"10.0.0.2:80\"\n",
    b"pool = \"a\"\n",
    b"weight = 256\n",
    b"\"2s\"",
    b"\"64KiB\"",
    b"\"18446744073709551615h\"",
    b"9223372036854775807",
    b"-1",
    b"= { ",
    b"[[[[",
    b"\"\"\"",
    b"\\u{ffff}",
    "ü".as_bytes(),
];

pub fn run(data: &[u8]) -> Features {
    let mut features = Features::default();
    let text = String::from_utf8_lossy(data);
    match Config::parse(&text) {
        Ok(config) => {
            assert!(!config.explain().is_empty());
            features.add_count(1, config.listeners.len() as u64);
            features.add_count(2, config.pools.len() as u64);
            features.add_count(3, config.listeners.iter().map(|listener| listener.routes.len() as u64).sum());
            features.add_count(4, config.pools.iter().map(|pool| pool.servers.len() as u64).sum());
        }
        Err(error) => {
            features.add_name(&format!("{:?}", error.kind()));
            let lines = text.split('\n').count().max(1);
            let line = error.line() as usize;
            assert!((1..=lines).contains(&line), "line {line} of {lines}: {error}");
            let width = text.split('\n').nth(line - 1).map_or(0, |line| line.chars().count());
            let column = error.column() as usize;
            assert!((1..=width + 1).contains(&column), "column {column} of {width}: {error}");
            assert!(!error.message().is_empty() && !error.help().is_empty(), "an error without words");
        }
    }
    features
}
