//! The HTTP load balancer.
#![no_std]
