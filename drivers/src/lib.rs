//! Device drivers: virtio transport and rings, virtio-net.
#![no_std]
