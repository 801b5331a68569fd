//! The language of the dialogues: segments as text, in the manner of packet scripts.
//!
//! ```text
//!   S. 0:0(0) ack 1 win 65535 <mss 1460,ws 7,sackOK,ts 100 0,sack 5:7 9:11>
//! ```
//!
//! Flags are `S`, `F`, `R`, `P`, `E` (ECE), `W` (CWR) and `.` (ACK). Sequence numbers are relative to the sender's SYN, also in
//! RSTs without one. Of an expected segment, only what is written is compared; flags, sequence and payload length always.

use std::fmt;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    pub flags: String,
    pub seq: u32,
    pub len: u32,
    pub ack: Option<u32>,
    pub win: Option<u16>,
    pub options: Option<Options>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub mss: Option<u16>,
    pub ws: Option<u8>,
    pub sack_ok: bool,
    pub ts: Option<(u32, Option<u32>)>,
    pub sack: Vec<(u32, u32)>,
}

impl Script {
    pub fn parse(text: &str) -> Self {
        let (fixed, options) = match text.split_once('<') {
            Some((fixed, options)) => (fixed, Some(Options::parse(options.trim_end_matches('>')))),
            None => (text, None),
        };
        let mut words = fixed.split_whitespace();
        let flags = words.next().expect("flags").to_string();
        let range = words.next().expect("sequence range");
        let (start, rest) = range.split_once(':').expect("start:end(len)");
        let len = rest.split_once('(').expect("(len)").1.trim_end_matches(')').parse().expect("len");
        let mut script = Self { flags, seq: number(start), len, options, ..Self::default() };
        while let Some(word) = words.next() {
            let value = words.next().expect("a value");
            match word {
                "ack" => script.ack = Some(number(value)),
                "win" => script.win = Some(value.parse().expect("win")),
                other => panic!("unknown word {other}"),
            }
        }
        script
    }

    /// Whether a segment that was seen is what this one asks for.
    pub fn matches(&self, seen: &Script) -> bool {
        let flags = |script: &Script| script.flags.replace('P', "");
        flags(self) == flags(seen)
            && (self.seq, self.len) == (seen.seq, seen.len)
            && self.ack.is_none_or(|ack| Some(ack) == seen.ack)
            && self.win.is_none_or(|win| Some(win) == seen.win)
            && self.options.as_ref().is_none_or(|options| options.matches(seen.options.as_ref().expect("parsed")))
    }
}

/// Relative numbers may be negative.
fn number(text: &str) -> u32 {
    text.parse::<i64>().expect("a number") as u32
}

impl Options {
    fn parse(text: &str) -> Self {
        let mut options = Self::default();
        for option in text.split(',').map(str::trim).filter(|option| !option.is_empty()) {
            let (name, values) = option.split_once(' ').unwrap_or((option, ""));
            let mut values = values.split_whitespace();
            let mut next = || values.next();
            match name {
                "mss" => options.mss = next().map(|v| v.parse().expect("mss")),
                "ws" => options.ws = next().map(|v| v.parse().expect("ws")),
                "sackOK" => options.sack_ok = true,
                "ts" => {
                    let value = next().map_or(0, |v| v.parse().expect("ts"));
                    options.ts = Some((value, next().map(|v| v.parse().expect("echo"))));
                }
                "sack" => {
                    let block = |b: &str| b.split_once(':').map(|(s, e)| (number(s), number(e))).expect("start:end");
                    options.sack = values.map(block).collect();
                }
                other => panic!("unknown option {other}"),
            }
        }
        options
    }

    /// Timestamps: `ts 0` asks for the option, `ts 0 7` for the echo as well.
    fn matches(&self, seen: &Options) -> bool {
        let ts = match (self.ts, seen.ts) {
            (None, None) => true,
            (Some((_, None)), Some(_)) => true,
            (Some((_, Some(echo))), Some((_, seen))) => Some(echo) == seen,
            _ => false,
        };
        let mss = self.mss.is_none() || self.mss == seen.mss;
        let ws = self.ws.is_none() || self.ws == seen.ws;
        ts && mss && ws && self.sack_ok == seen.sack_ok && self.sack == seen.sack
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seq, end) = (self.seq as i32, self.seq.wrapping_add(self.len) as i32);
        write!(f, "{} {seq}:{end}({})", self.flags, self.len)?;
        if let Some(ack) = self.ack {
            write!(f, " ack {}", ack as i32)?;
        }
        if let Some(win) = self.win {
            write!(f, " win {win}")?;
        }
        let Some(options) = &self.options else { return Ok(()) };
        write!(f, " <")?;
        if let Some(mss) = options.mss {
            write!(f, "mss {mss},")?;
        }
        if let Some(ws) = options.ws {
            write!(f, "ws {ws},")?;
        }
        if options.sack_ok {
            write!(f, "sackOK,")?;
        }
        if let Some((value, echo)) = options.ts {
            write!(f, "ts {value} {},", echo.unwrap_or(0))?;
        }
        if !options.sack.is_empty() {
            write!(f, "sack")?;
            for (start, end) in &options.sack {
                write!(f, " {}:{}", *start as i32, *end as i32)?;
            }
        }
        write!(f, ">")
    }
}
