//! Feature bits (virtio 1.2, 2.2 and 6).

use core::fmt;
use core::ops::{BitAnd, BitOr, Not};

/// One feature, by its bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature(pub u8);

/// Descriptors may point to tables of descriptors.
pub const INDIRECT_DESC: Feature = Feature(28);
/// Each side names the index at which it wants to be told.
pub const EVENT_IDX: Feature = Feature(29);
/// The device follows virtio 1.0 or later.
pub const VERSION_1: Feature = Feature(32);
/// Addresses go through the platform's translation, which is the identity here.
pub const ACCESS_PLATFORM: Feature = Feature(33);
/// Memory is ordered as the platform orders it for real devices.
pub const ORDER_PLATFORM: Feature = Feature(36);

/// A set of features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Features(u64);

impl Features {
    /// No feature.
    pub const NONE: Self = Self(0);

    /// From the bits of the registers.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// As bits for the registers.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set of `list`.
    pub const fn of(list: &[Feature]) -> Self {
        let mut set = Self::NONE;
        let mut i = 0;
        while i < list.len() {
            set = set.with(list[i]);
            i += 1;
        }
        set
    }

    /// With `feature` in addition.
    #[must_use]
    pub const fn with(self, feature: Feature) -> Self {
        Self(self.0 | 1 << feature.0)
    }

    /// Without `feature`.
    #[must_use]
    pub const fn without(self, feature: Feature) -> Self {
        Self(self.0 & !(1 << feature.0))
    }

    /// Whether `feature` is in the set.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 & 1 << feature.0 != 0
    }
}

impl BitAnd for Features {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Features {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Not for Features {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

/// Bits of all device types, with the names of the specification.
const COMMON_NAMES: &[(Feature, &str)] = &[
    (INDIRECT_DESC, "INDIRECT_DESC"),
    (EVENT_IDX, "EVENT_IDX"),
    (VERSION_1, "VERSION_1"),
    (ACCESS_PLATFORM, "ACCESS_PLATFORM"),
    (ORDER_PLATFORM, "ORDER_PLATFORM"),
];

/// A set with the names of a device type, for printing: `MAC,STATUS,VERSION_1,bit50`.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// The set.
    pub features: Features,
    /// Names of the bits that belong to the device type.
    pub names: &'static [(Feature, &'static str)],
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for bit in (0..64).filter(|&bit| self.features.has(Feature(bit))) {
            if !first {
                f.write_str(",")?;
            }
            first = false;
            let mut names = self.names.iter().chain(COMMON_NAMES);
            match names.find(|(feature, _)| feature.0 == bit) {
                Some((_, name)) => f.write_str(name)?,
                None => write!(f, "bit{bit}")?,
            }
        }
        Ok(())
    }
}
