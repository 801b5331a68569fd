//! The built-in HTTP server: fixed responses and files from an archive.
#![no_std]
