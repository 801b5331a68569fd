//! What is measured: services, loads, and the shapes of requests.

use serde::{Deserialize, Serialize};
use weir_meter::lab::load::Load;

/// Which guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// Weir.
    Weir,
    /// The Linux guest.
    Linux,
}

impl System {
    /// Both, Weir first.
    pub const ALL: [Self; 2] = [Self::Weir, Self::Linux];

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Weir => "Weir",
            Self::Linux => "Linux",
        }
    }
}

/// One program that answers requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Weir's built-in server.
    Httpd,
    /// nginx on Linux.
    Nginx,
    /// Weir's proxy.
    Proxy,
    /// HAProxy on Linux.
    Haproxy,
    /// nginx as a proxy on Linux.
    NginxProxy,
}

impl Service {
    /// All, those of one duel beside one another.
    pub const ALL: [Self; 5] = [Self::Httpd, Self::Nginx, Self::Proxy, Self::Haproxy, Self::NginxProxy];

    /// The guest it is in.
    #[must_use]
    pub fn system(self) -> System {
        match self {
            Self::Httpd | Self::Proxy => System::Weir,
            Self::Nginx | Self::Haproxy | Self::NginxProxy => System::Linux,
        }
    }

    /// The guest's port.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Httpd | Self::Nginx => 80,
            Self::Proxy | Self::Haproxy => 81,
            Self::NginxProxy => 82,
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Httpd => "Weir httpd",
            Self::Nginx => "nginx",
            Self::Proxy => "Weir proxy",
            Self::Haproxy => "HAProxy",
            Self::NginxProxy => "nginx as proxy",
        }
    }
}

/// Weir's service, and whom it is compared with.
pub const DUELS: [(Service, Service); 3] =
    [(Service::Httpd, Service::Nginx), (Service::Proxy, Service::Haproxy), (Service::Proxy, Service::NginxProxy)];

/// How connections are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reuse {
    /// Many requests on each.
    KeepAlive,
    /// One request on each.
    PerRequest,
}

impl Reuse {
    /// Both.
    pub const ALL: [Self; 2] = [Self::KeepAlive, Self::PerRequest];

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KeepAlive => "keep-alive",
            Self::PerRequest => "connection per request",
        }
    }

    /// The client.
    #[must_use]
    pub fn load(self) -> Load {
        match self {
            Self::KeepAlive => Load::Wrk,
            Self::PerRequest => Load::Ab,
        }
    }
}

/// What a request is like, and how many there are at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Length of the answer's body in bytes.
    pub size: u32,
    /// Requests under way at any time.
    pub connections: u32,
}

/// The shape of all headline figures.
pub const PLAIN: Shape = Shape { size: 64, connections: 32 };

/// The plain shape with as many connections for each vCPU: with fewer, a vCPU finds smaller bursts, and that is no matter of
/// what vCPUs share.
#[must_use]
pub fn scaled(cores: u32) -> Shape {
    Shape { connections: PLAIN.connections * cores, ..PLAIN }
}

/// All shapes: longer answers, and more connections.
pub const SHAPES: [Shape; 4] = [
    PLAIN,
    Shape { size: 1 << 10, connections: 32 },
    Shape { size: 64 << 10, connections: 32 },
    Shape { size: 64, connections: 1000 },
];

/// The longest body of a transfer in bulk, in bytes.
pub const BULK_LEN: usize = 64 << 20;

impl Shape {
    /// What is asked for.
    #[must_use]
    pub fn path(self) -> String {
        if self.size == 64 { "/".into() } else { format!("/files/{}", self.size) }
    }

    /// The size for people.
    #[must_use]
    pub fn size_name(self) -> String {
        if self.size < 1 << 10 { format!("{} B", self.size) } else { format!("{} KiB", self.size >> 10) }
    }
}

/// One cell of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// Virtual processors, and queue pairs.
    pub cores: u32,
    /// How connections are used.
    pub reuse: Reuse,
    /// The requests.
    #[serde(flatten)]
    pub shape: Shape,
}

impl Cell {
    /// For people: `keep-alive, 2 vCPU, 64 B, 32 connections`.
    #[must_use]
    pub fn name(self) -> String {
        let Shape { connections, .. } = self.shape;
        format!("{}, {} vCPU, {}, {connections} connections", self.reuse.name(), self.cores, self.shape.size_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duel_is_between_weir_and_linux() {
        for (weir, linux) in DUELS {
            assert_eq!((weir.system(), linux.system()), (System::Weir, System::Linux));
        }
    }

    #[test]
    fn cells_have_names_and_paths() {
        let cell = Cell { cores: 2, reuse: Reuse::KeepAlive, shape: SHAPES[2] };
        assert_eq!(cell.name(), "keep-alive, 2 vCPU, 64 KiB, 32 connections");
        assert_eq!((cell.shape.path().as_str(), PLAIN.path().as_str()), ("/files/65536", "/"));
    }
}
