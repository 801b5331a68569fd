//! The TCP engine: sans-IO, one per core.
#![no_std]
