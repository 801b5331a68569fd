//! Receive-side scaling: which pair receives a frame (virtio 1.2, 5.1.6.5.7).
//!
//! The device computes the Toeplitz hash of addresses and ports with our key, and looks the pair up in our table: entry
//! `hash mod len`, filled with the pairs in turn. What it cannot hash goes to pair 0. So the pair of every TCP segment is
//! known before it arrives, and the stack can choose its source ports for it.

use alloc::vec::Vec;

use super::{Options, feature};
use crate::DeviceError;
use crate::virtio::{Features, Transport};

/// Bytes of the key: enough for the longest input, two IPv6 addresses and two ports.
pub const KEY_BYTES: usize = 40;

/// Longest table in use.
const TABLE_LEN_MAX: u16 = 128;

/// Fields of the device configuration (5.1.4).
const CONFIG_KEY_BYTES_MAX: usize = 17;
const CONFIG_TABLE_LEN_MAX: usize = 18;
const CONFIG_HASH_TYPES: usize = 20;

/// What is hashed (5.1.6.4.3.1): addresses of IP, and of TCP the ports too.
const HASH_IPV4: u16 = 1 << 0;
const HASH_TCPV4: u16 = 1 << 1;
const HASH_IPV6: u16 = 1 << 3;
const HASH_TCPV6: u16 = 1 << 4;

/// Bytes of the longest `struct virtio_net_rss_config`.
pub(super) const CONFIG_BYTES_MAX: usize = 8 + 2 * TABLE_LEN_MAX as usize + 3 + KEY_BYTES;

/// How a device spreads received frames over its pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Key of the Toeplitz hash.
    pub key: [u8; KEY_BYTES],
    /// Entries of the table, a power of two. Entry `i` is pair `i mod pairs`.
    pub table_len: u16,
    /// Pairs in use.
    pub pairs: u16,
    hash_types: u16,
}

impl Spread {
    /// What a device with these features can do; none without `RSS`.
    pub(super) fn read<T: Transport>(
        transport: &T,
        features: Features,
        options: &Options,
        pairs: usize,
    ) -> Result<Option<Self>, DeviceError> {
        let Some(key) = options.spread_key.filter(|_| features.has(feature::RSS)) else { return Ok(None) };
        let table_len = transport.config16(CONFIG_TABLE_LEN_MAX)?.min(TABLE_LEN_MAX);
        let hash_types = transport.config16(CONFIG_HASH_TYPES)? & (HASH_IPV4 | HASH_TCPV4 | HASH_IPV6 | HASH_TCPV6);
        let table_len = if table_len == 0 { 1 } else { 1 << table_len.ilog2() };
        Ok(Some(Self { key, table_len, pairs: pairs.max(1) as u16, hash_types }))
    }

    /// The command's data, all numbers little endian.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CONFIG_BYTES_MAX);
        bytes.extend_from_slice(&u32::from(self.hash_types).to_le_bytes());
        bytes.extend_from_slice(&(self.table_len - 1).to_le_bytes());
        // What is not hashed goes to pair 0.
        bytes.extend_from_slice(&0_u16.to_le_bytes());
        for entry in 0..self.table_len {
            bytes.extend_from_slice(&(entry % self.pairs).to_le_bytes());
        }
        bytes.extend_from_slice(&self.pairs.to_le_bytes());
        bytes.push(KEY_BYTES as u8);
        bytes.extend_from_slice(&self.key);
        bytes
    }
}

/// Drops the feature where the device takes no key of our length or cannot hash TCP over both IPs.
pub(super) fn limit<T: Transport>(transport: &T, chosen: Features) -> Result<Features, DeviceError> {
    const NEEDED: u16 = HASH_TCPV4 | HASH_TCPV6;
    if !chosen.has(feature::RSS) {
        return Ok(chosen);
    }
    let takes_key = usize::from(transport.config8(CONFIG_KEY_BYTES_MAX)?) >= KEY_BYTES;
    let hashes_tcp = transport.config16(CONFIG_HASH_TYPES)? & NEEDED == NEEDED;
    let has_table = transport.config16(CONFIG_TABLE_LEN_MAX)? > 0;
    Ok(if takes_key && hashes_tcp && has_table { chosen } else { chosen.without(feature::RSS) })
}
