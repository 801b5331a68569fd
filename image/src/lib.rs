//! Builds bootable images from a configuration.
#![no_std]
