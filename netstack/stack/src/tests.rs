//! Dialogues with a shard, frame by frame. The peer's frames are made and read by smoltcp, which knows nothing of ours.

mod arp;
mod dhcp;
mod garbage;
mod icmp;
mod ipv6;
mod loopback;
mod presence;
mod splice;
mod steering;
mod stray;
mod tcp;
mod udp;
mod wire;
