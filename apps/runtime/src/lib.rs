//! The assembler: probes devices, builds one shard per core, runs turns for ever.
#![no_std]
