//! HTTP/1 parser and writer, sans-IO.
#![no_std]
