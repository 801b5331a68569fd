//! Features of the network device (virtio 1.2, 5.1.3), and which of them we take.

use super::Options;
use crate::virtio::features::{EVENT_IDX, Feature, Features, INDIRECT_DESC, Named};

/// The device completes transport checksums of frames that we send.
pub const CSUM: Feature = Feature(0);
/// We accept frames whose transport checksum is partial, or verified by the device.
pub const GUEST_CSUM: Feature = Feature(1);
/// The device names its MTU.
pub const MTU: Feature = Feature(3);
/// The device names its address.
pub const MAC: Feature = Feature(5);
/// We accept TCP over IPv4 in frames longer than the MTU.
pub const GUEST_TSO4: Feature = Feature(7);
/// We accept TCP over IPv6 in frames longer than the MTU.
pub const GUEST_TSO6: Feature = Feature(8);
/// The device cuts TCP over IPv4 into segments.
pub const HOST_TSO4: Feature = Feature(11);
/// The device cuts TCP over IPv6 into segments.
pub const HOST_TSO6: Feature = Feature(12);
/// A received frame may be spread over several buffers.
pub const MRG_RXBUF: Feature = Feature(15);
/// The device reports the state of the link.
pub const STATUS: Feature = Feature(16);
/// There is a control queue.
pub const CTRL_VQ: Feature = Feature(17);
/// The device asks us to announce our address after a migration.
pub const GUEST_ANNOUNCE: Feature = Feature(21);
/// There are several queue pairs, switched on by the control queue.
pub const MQ: Feature = Feature(22);

/// The device chooses the queue of a received frame by a hash whose key and table we set.
pub const RSS: Feature = Feature(60);

const NAMES: &[(Feature, &str)] = &[
    (CSUM, "CSUM"),
    (GUEST_CSUM, "GUEST_CSUM"),
    (Feature(2), "CTRL_GUEST_OFFLOADS"),
    (MTU, "MTU"),
    (MAC, "MAC"),
    (GUEST_TSO4, "GUEST_TSO4"),
    (GUEST_TSO6, "GUEST_TSO6"),
    (Feature(9), "GUEST_ECN"),
    (Feature(10), "GUEST_UFO"),
    (HOST_TSO4, "HOST_TSO4"),
    (HOST_TSO6, "HOST_TSO6"),
    (Feature(13), "HOST_ECN"),
    (Feature(14), "HOST_UFO"),
    (MRG_RXBUF, "MRG_RXBUF"),
    (STATUS, "STATUS"),
    (CTRL_VQ, "CTRL_VQ"),
    (Feature(18), "CTRL_RX"),
    (Feature(19), "CTRL_VLAN"),
    (GUEST_ANNOUNCE, "GUEST_ANNOUNCE"),
    (MQ, "MQ"),
    (Feature(23), "CTRL_MAC_ADDR"),
    (Feature(57), "HASH_REPORT"),
    (Feature(59), "GUEST_HDRLEN"),
    (RSS, "RSS"),
    (Feature(61), "RSC_EXT"),
    (Feature(62), "STANDBY"),
    (Feature(63), "SPEED_DUPLEX"),
];

/// A set of features with their names, for printing.
pub fn named(features: Features) -> Named {
    Named { features, names: NAMES }
}

/// What a feature makes no sense without (5.1.3.1).
const NEEDS: &[(Feature, Feature)] = &[
    (HOST_TSO4, CSUM),
    (HOST_TSO6, CSUM),
    (GUEST_TSO4, GUEST_CSUM),
    (GUEST_TSO6, GUEST_CSUM),
    // Ours: a frame of 64 KiB into one buffer of 2 KiB does not go.
    (GUEST_TSO4, MRG_RXBUF),
    (GUEST_TSO6, MRG_RXBUF),
    (MQ, CTRL_VQ),
    (RSS, MQ),
    (GUEST_ANNOUNCE, CTRL_VQ),
    (GUEST_ANNOUNCE, STATUS),
];

/// The features we take of those that the device offers. Any may be absent.
pub(super) fn choose(offered: Features, options: &Options) -> Features {
    let mut wanted = Features::of(&[
        CSUM,
        GUEST_CSUM,
        MTU,
        MAC,
        MRG_RXBUF,
        STATUS,
        CTRL_VQ,
        GUEST_ANNOUNCE,
        MQ,
        INDIRECT_DESC,
        EVENT_IDX,
    ]);
    if options.segmentation {
        wanted = wanted | Features::of(&[HOST_TSO4, HOST_TSO6]);
    }
    if options.large_receive {
        wanted = wanted | Features::of(&[GUEST_TSO4, GUEST_TSO6]);
    }
    if options.spread_key.is_some() && options.pairs_max > 1 {
        wanted = wanted.with(RSS);
    }
    let offered = offered & !options.refuse;
    let mut chosen = offered & wanted;
    for &(feature, needed) in NEEDS {
        if !chosen.has(needed) {
            chosen = chosen.without(feature);
        }
    }
    chosen
}
