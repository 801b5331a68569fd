//! A seeded world of engines and lossy links, for tests.
#![no_std]
