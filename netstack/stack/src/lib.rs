//! One network stack shard per core: demultiplexing, ARP, ICMP, IP, control protocols.
#![no_std]
