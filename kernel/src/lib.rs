//! Bare metal: boot, cores, memory, interrupts, time, console, PCI access.
#![no_std]
