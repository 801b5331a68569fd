//! Which route a request takes: by host (exact, then `*.suffix`, then any), then by the longest path prefix.
//!
//! Cost: a listener with one route for everything costs one comparison; otherwise the host is hashed once for each kind it may
//! be of, and two binary searches compare words, whatever the number of routes.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use weir_config::{HostMatch, Route};

use crate::upstream::mix;
use crate::words::{WORD_LEN, front};

/// The routes of one listener. `T` is what they lead to.
pub(crate) struct Router<T> {
    /// What everything leads to, if the only route is for every host and path.
    only: Option<T>,
    exact: Hosts<T>,
    /// Each begins with a dot.
    suffixes: Hosts<T>,
    any: Paths<T>,
}

/// Hosts in lower case.
struct Hosts<T> {
    /// One bit for each length that they have, modulo 64: most others have another one.
    lengths: u64,
    /// Sorted by their hashes.
    known: Box<[HostRoutes<T>]>,
}

struct HostRoutes<T> {
    hash: u64,
    host: String,
    paths: Paths<T>,
}

/// The paths of one host.
struct Paths<T> {
    /// What `/` leads to, which takes any path that no other takes.
    root: Option<T>,
    /// The others, sorted.
    others: Box<[PathRoute<T>]>,
}

struct PathRoute<T> {
    /// The prefix's [`front`].
    front: u64,
    prefix: String,
    /// The longest other prefix of this prefix.
    parent: Option<usize>,
    target: T,
}

impl<T: Copy> Router<T> {
    /// Builds the tables; `target` says what each route leads to.
    pub(crate) fn new(routes: &[Route], mut target: impl FnMut(&Route) -> T) -> Self {
        let mut sorted: Vec<(&Route, T)> = routes.iter().map(|route| (route, target(route))).collect();
        sorted.sort_by(|(a, _), (b, _)| (&a.host, &a.path).cmp(&(&b.host, &b.path)));
        let only = match sorted.as_slice() {
            [(route, target)] if route.host == HostMatch::Any && route.path == "/" => Some(*target),
            _ => None,
        };
        let (mut exact, mut suffixes, mut any) = (Vec::new(), Vec::new(), Paths::new(&[]));
        for group in sorted.chunk_by(|(a, _), (b, _)| a.host == b.host) {
            let paths = Paths::new(group);
            match group.first().map(|(route, _)| &route.host) {
                Some(HostMatch::Exact(host)) => exact.push(HostRoutes::new(host, paths)),
                Some(HostMatch::Suffix(suffix)) => suffixes.push(HostRoutes::new(suffix, paths)),
                Some(HostMatch::Any) => any = paths,
                None => {}
            }
        }
        Self { only, exact: Hosts::new(exact), suffixes: Hosts::new(suffixes), any }
    }

    /// Where a request for `path` goes; `host` gives its host without port, if that matters.
    #[inline]
    pub(crate) fn find<'r>(&self, path: &[u8], host: impl FnOnce() -> &'r [u8]) -> Option<T> {
        match self.only {
            Some(target) if path.first() == Some(&b'/') => Some(target),
            _ => self.search(host(), path),
        }
    }

    fn search(&self, host: &[u8], path: &[u8]) -> Option<T> {
        let is_known = self.exact.has_length(host) || !self.suffixes.known.is_empty();
        let found = if is_known { self.search_hosts(host, path) } else { None };
        found.or_else(|| self.any.find(path))
    }

    #[inline(never)]
    fn search_hosts(&self, host: &[u8], path: &[u8]) -> Option<T> {
        let exact = self.exact.find(host).and_then(|paths| paths.find(path));
        exact.or_else(|| self.search_suffixes(host, path))
    }

    /// The longest suffix first.
    fn search_suffixes(&self, host: &[u8], path: &[u8]) -> Option<T> {
        let dots = host.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(index, _)| index);
        dots.filter(|index| *index > 0).find_map(|index| self.suffixes.find(host.get(index..)?)?.find(path))
    }
}

impl<T> HostRoutes<T> {
    fn new(host: &str, paths: Paths<T>) -> Self {
        Self { hash: hash(host.as_bytes()), host: host.into(), paths }
    }
}

impl<T> Hosts<T> {
    fn new(mut hosts: Vec<HostRoutes<T>>) -> Self {
        hosts.sort_by_key(|known| known.hash);
        let lengths = hosts.iter().fold(0, |lengths, known| lengths | length_bit(known.host.as_bytes()));
        Self { lengths, known: hosts.into() }
    }

    /// Whether a host is as long as one of them, as far as is known at once.
    #[inline]
    fn has_length(&self, host: &[u8]) -> bool {
        self.lengths & length_bit(host) != 0
    }

    /// The routes of a host, whatever the case of its letters.
    fn find(&self, host: &[u8]) -> Option<&Paths<T>> {
        if !self.has_length(host) {
            return None;
        }
        let hash = hash(host);
        let first = self.known.partition_point(|known| known.hash < hash);
        let mut same = self.known.get(first..)?.iter().take_while(|known| known.hash == hash);
        same.find(|known| is_same(host, known.host.as_bytes())).map(|known| &known.paths)
    }
}

#[inline]
fn length_bit(host: &[u8]) -> u64 {
    1 << (host.len() % 64)
}

/// The same for hosts that differ in the case of letters only. Only those of the configuration stand in a table, so that
/// nobody gains by finding others with the same hash.
#[inline]
fn hash(host: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    mix(words(host).fold(host.len() as u64, |hash, word| (hash ^ lower(word)).wrapping_mul(FACTOR).rotate_left(32)))
}

/// Whether a host is `known`, which is in lower case.
#[inline]
fn is_same(host: &[u8], known: &[u8]) -> bool {
    host.len() == known.len() && words(host).map(lower).eq(words(known))
}

/// Eight bytes at a time; the last ones overlap with those before, unless there are no eight.
#[inline]
fn words(host: &[u8]) -> impl Iterator<Item = u64> {
    let (words, rest) = host.as_chunks();
    let last = match host.last_chunk() {
        Some(last) if !rest.is_empty() => Some(u64::from_le_bytes(*last)),
        Some(_) => None,
        None => Some(front(rest)),
    };
    words.iter().map(|word| u64::from_le_bytes(*word)).chain(last)
}

/// Eight bytes of ASCII in lower case: the sums have a byte's highest bit where it is not below `A`, and where it is above `Z`.
#[inline]
const fn lower(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let from_a = word.wrapping_add(ONES * (0x80 - b'A' as u64));
    let above_z = word.wrapping_add(ONES * (0x7f - b'Z' as u64));
    word | ((from_a ^ above_z) & (ONES << 7)) >> 2
}

impl<T: Copy> Paths<T> {
    /// `routes` are sorted by path.
    fn new(routes: &[(&Route, T)]) -> Self {
        let mut paths: Vec<PathRoute<T>> = Vec::with_capacity(routes.len());
        let mut root = None;
        for (route, target) in routes {
            if route.path == "/" {
                root = Some(*target);
                continue;
            }
            // The one before is the parent or has it as an ancestor: whatever stands between a prefix and its extension
            // in the order is an extension too.
            let mut parent = paths.len().checked_sub(1);
            while let Some(candidate) = parent.and_then(|index| paths.get(index)) {
                if route.path.starts_with(&candidate.prefix) {
                    break;
                }
                parent = candidate.parent;
            }
            let front = front(route.path.as_bytes());
            paths.push(PathRoute { front, prefix: route.path.clone(), parent, target: *target });
        }
        Self { root, others: paths.into() }
    }

    /// The longest prefix that takes `path`. `/` itself is taken by itself only.
    #[inline]
    fn find(&self, path: &[u8]) -> Option<T> {
        let other = if path == b"/" || self.others.is_empty() { None } else { self.find_other(path) };
        other.or(self.root.filter(|_| path.first() == Some(&b'/')))
    }

    /// The same argument as in `new`: the last prefix that is not greater than the path, or one of its ancestors.
    #[inline(never)]
    fn find_other(&self, path: &[u8]) -> Option<T> {
        let own = front(path);
        let is_before = |route: &PathRoute<T>| match route.front == own && route.prefix.len() > WORD_LEN {
            true => is_before_path(&route.prefix, path),
            // A path has no zeros: if the fronts are the same, a prefix of so few bytes is one of this path's.
            false => route.front <= own,
        };
        let mut index = self.others.partition_point(is_before).checked_sub(1);
        while let Some(route) = index.and_then(|index| self.others.get(index)) {
            if covers(&route.prefix, path) {
                return Some(route.target);
            }
            index = route.parent;
        }
        None
    }
}

/// What has the same front, as a function of its own: a comparison that is a call takes registers.
#[inline(never)]
fn is_before_path(prefix: &str, path: &[u8]) -> bool {
    prefix.as_bytes() <= path
}

/// Prefixes match whole segments.
#[inline(never)]
fn covers(prefix: &str, path: &[u8]) -> bool {
    let rest = path.strip_prefix(prefix.as_bytes());
    rest.is_some_and(|rest| prefix.ends_with('/') || matches!(rest, [] | [b'/', ..]))
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use weir_config::{Action, Page};

    fn router(routes: &[(&str, &str)]) -> Router<usize> {
        let routes: Vec<Route> = routes
            .iter()
            .map(|(host, path)| {
                let host = match host.strip_prefix('*') {
                    Some("") => HostMatch::Any,
                    Some(suffix) => HostMatch::Suffix(suffix.into()),
                    None => HostMatch::Exact((*host).into()),
                };
                Route::new(host, path, Action::Page(Page::Demo))
            })
            .collect();
        let all = routes.clone();
        Router::new(&routes, |route| all.iter().position(|other| other == route).expect("one of them"))
    }

    #[test]
    fn the_most_specific_route_wins() {
        let router = router(&[
            ("*", "/"),
            ("*", "/api"),
            ("*", "/api/v2/"),
            ("*", "/apix"),
            ("www.example.com", "/"),
            ("www.example.com", "/api/"),
            ("*.example.com", "/"),
            ("*.b.example.com", "/x"),
        ]);
        for (host, path, expected) in [
            ("other", "/", Some(0)),
            ("other", "/api", Some(1)),
            ("other", "/api/v1", Some(1)),
            ("other", "/api/v2", Some(1)),
            ("other", "/api/v2/", Some(2)),
            ("other", "/api/v2/x", Some(2)),
            ("other", "/apix/y", Some(3)),
            ("other", "/apiy", Some(0)),
            ("WWW.Example.com", "/", Some(4)),
            ("www.example.com", "/api/x", Some(5)),
            ("www.example.com", "/api", Some(4)),
            ("a.example.com", "/api", Some(6)),
            ("a.b.example.com", "/y", Some(6)),
            ("a.b.example.com", "/x", Some(7)),
            ("example.com", "/api", Some(1)),
            ("", "/", Some(0)),
            ("other", "*", None),
        ] {
            assert_eq!(router.find(path.as_bytes(), || host.as_bytes()), expected, "{host} {path}");
        }
    }

    #[test]
    fn every_host_of_many_is_found_in_any_case() {
        let names: Vec<String> = (0..300).map(|n| format!("{}.{n}.example", "h".repeat(n % 19))).collect();
        let routes: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "/")).collect();
        let router = router(&routes);
        for (index, name) in names.iter().enumerate() {
            assert_eq!(router.find(b"/x", || name.as_bytes()), Some(index), "{name}");
            assert_eq!(router.find(b"/x", || name.to_ascii_uppercase().leak().as_bytes()), Some(index), "{name}");
            for other in [&name[1..], &name[..name.len() - 1], &[name, "x"].concat()] {
                assert!(names.iter().any(|n| n == other) || router.find(b"/x", || other.as_bytes()).is_none());
            }
        }
    }

    #[test]
    fn letters_become_lower_case_in_every_place() {
        for byte in 0..128 {
            for place in 0..8 {
                for other in *b"AZaz@[`{-.09" {
                    let mut bytes = [other; 8];
                    bytes[place] = byte;
                    let expected = u64::from_le_bytes(bytes.map(|byte| byte.to_ascii_lowercase()));
                    assert_eq!(lower(u64::from_le_bytes(bytes)), expected, "{}", bytes.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn a_single_route_takes_everything() {
        assert_eq!(router(&[("*", "/")]).find(b"/y", || b"x"), Some(0));
        assert_eq!(router(&[("*", "/y")]).find(b"/z", || b"x"), None);
        assert_eq!(router(&[("a", "/")]).find(b"/", || b"b"), None);
    }

    #[test]
    fn the_tables_agree_with_trying_all_routes() {
        let segments = ["a", "b", "ab", "a-", ""];
        let mut paths = Vec::new();
        for first in segments {
            for second in segments {
                paths.push(["/", first].concat());
                paths.push(["/", first, "/", second].concat());
            }
        }
        paths.sort();
        paths.dedup();
        for skip in 0..5 {
            let chosen: Vec<&String> =
                paths.iter().enumerate().filter(|(i, _)| i % 5 != skip).map(|(_, p)| p).collect();
            let router = router(&chosen.iter().map(|path| ("*", path.as_str())).collect::<Vec<_>>());
            for path in &paths {
                let covering = chosen.iter().enumerate().filter(|(_, prefix)| covers(prefix, path.as_bytes()));
                let expected = covering.max_by_key(|(_, prefix)| prefix.len()).map(|(index, _)| index);
                assert_eq!(router.find(path.as_bytes(), || b""), expected, "{path}");
            }
        }
    }
}
