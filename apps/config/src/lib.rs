//! The configuration schema, shared by the image and the host tools.
#![no_std]
