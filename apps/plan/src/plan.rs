//! Free memory divided among cores: computed at boot and printed with the ready line.

use core::fmt;

use weir_packet::SLOT_BYTES;

/// Memory is given out to cores in units of large pages.
const UNIT_BYTES: u64 = 2 << 20;

/// Kept for cold objects: configuration, counters, the control plane, page tables.
const RESERVE_BYTES: u64 = 8 << 20;

/// What the application has for a client connection and its connection to a server, in bytes; the image checks that it suffices.
pub const CONNECTION_BYTES: usize = 768;

/// How a core's share is divided, in sixteenths: packets, flow tables, and connections of the application. The rest stays free
/// for tables that grow. 512 MiB carry 100,000 proxied connections so.
const POOL_SIXTEENTHS: u64 = 6;
const TABLE_SIXTEENTHS: u64 = 5;
const CONNECTION_SIXTEENTHS: u64 = 3;
const _: () = assert!(POOL_SIXTEENTHS + TABLE_SIXTEENTHS + CONNECTION_SIXTEENTHS <= 14);

/// A core's share of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Cores that share.
    pub cores: usize,
    /// Bytes of one core's packet pool.
    pub pool_bytes: usize,
    /// Bytes of one core's flow tables.
    pub table_bytes: usize,
    /// Client connections of one core.
    pub connections: usize,
}

/// The machine has less memory than its cores need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLittleMemory {
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Bytes that are needed.
    pub needed_bytes: u64,
}

impl Plan {
    /// Divides `free_bytes`, but for a reserve, evenly among `cores`. `connections_max` limits the connections of all cores
    /// together.
    ///
    /// # Errors
    /// A core's pool would be smaller than one unit.
    pub fn new(free_bytes: u64, cores: usize, connections_max: Option<u32>) -> Result<Self, TooLittleMemory> {
        let cores = cores.max(1);
        let needed_bytes = RESERVE_BYTES + cores as u64 * (UNIT_BYTES * 16).div_ceil(POOL_SIXTEENTHS);
        let share = free_bytes.saturating_sub(RESERVE_BYTES) / cores as u64;
        let part = |sixteenths: u64| share * sixteenths / 16;
        let pool_bytes = part(POOL_SIXTEENTHS) / UNIT_BYTES * UNIT_BYTES;
        if pool_bytes == 0 {
            return Err(TooLittleMemory { free_bytes, needed_bytes });
        }
        let table_bytes = part(TABLE_SIXTEENTHS) as usize;
        // A proxied connection is two flows.
        let by_flows = weir_tcp::Config::for_memory(table_bytes).flows_max / 2;
        let by_memory = part(CONNECTION_SIXTEENTHS) as usize / CONNECTION_BYTES;
        let by_choice = connections_max.map_or(usize::MAX, |max| (max as usize).div_ceil(cores));
        let connections = by_flows.min(by_memory).min(by_choice).max(1);
        Ok(Self { cores, pool_bytes: pool_bytes as usize, table_bytes, connections })
    }

    /// Buffers of one core's pool.
    #[must_use]
    pub const fn buffers(&self) -> usize {
        self.pool_bytes / SLOT_BYTES - 1
    }

    /// The limits of one core's TCP.
    #[must_use]
    pub fn tcp(&self) -> weir_tcp::Config {
        weir_tcp::Config::for_memory(self.table_bytes)
    }

    /// Client connections of all cores.
    #[must_use]
    pub const fn connections_of_all(&self) -> usize {
        self.connections * self.cores
    }

    /// TCP flows of all cores.
    #[must_use]
    pub fn flows_of_all(&self) -> usize {
        self.tcp().flows_max * self.cores
    }

    /// Buffers of all cores.
    #[must_use]
    pub const fn buffers_of_all(&self) -> usize {
        self.buffers() * self.cores
    }
}

impl fmt::Display for TooLittleMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        write!(f, "{} MiB of free memory are too little, ", self.free_bytes >> 20)?;
        write!(f, "{} MiB are needed: give the VM more memory or fewer cores", mib(self.needed_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn cores_share_memory_evenly_and_leave_some() {
        for (free_mib, cores) in [(40, 1), (240, 2), (240, 8), (65_536, 64)] {
            let plan = Plan::new(free_mib * MIB, cores, None).expect("enough memory");
            let given =
                (plan.pool_bytes + plan.table_bytes + plan.connections * CONNECTION_BYTES) as u64 * cores as u64;
            assert!(given <= free_mib * MIB - RESERVE_BYTES, "{free_mib} MiB, {cores} cores");
            assert_eq!(plan.pool_bytes as u64 % UNIT_BYTES, 0);
            assert!(plan.buffers() >= 1000);
        }
    }

    #[test]
    fn half_a_gibibyte_carries_a_hundred_thousand_clients() {
        for cores in [1, 2, 4] {
            let plan = Plan::new(496 * MIB, cores, None).expect("enough memory");
            assert!(plan.connections_of_all() >= 100_000, "{plan:?}");
        }
    }

    #[test]
    fn a_configured_limit_of_connections_is_shared_by_the_cores() {
        let plan = Plan::new(1 << 30, 4, Some(1001)).expect("enough memory");
        assert_eq!(plan.connections, 251);
    }

    #[test]
    fn too_little_memory_says_how_much_is_needed_and_that_much_suffices() {
        for cores in [1, 8, 64] {
            let error = Plan::new(RESERVE_BYTES, cores, None).expect_err("nothing but the reserve");
            assert!(Plan::new(error.needed_bytes, cores, None).is_ok());
        }
    }
}
