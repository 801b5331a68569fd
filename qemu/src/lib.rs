//! The weir command: check, build, run, demo, test.
#![no_std]
