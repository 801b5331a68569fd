//! Which route a request takes: by host (exact, then `*.suffix`, then any), then by the longest path prefix.
//!
//! Cost: a listener with one route for everything costs one comparison; otherwise two binary searches per kind of host,
//! whatever the number of routes.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;

use weir_config::{HostMatch, Route};

/// The routes of one listener. `T` is what they lead to.
pub(crate) struct Router<T> {
    /// What everything leads to, if the only route is for every host and path.
    only: Option<T>,
    /// Sorted by host.
    exact: Box<[(String, Paths<T>)]>,
    /// Sorted by suffix, which begins with a dot.
    suffixes: Box<[(String, Paths<T>)]>,
    any: Paths<T>,
}

/// The paths of one host, sorted.
struct Paths<T>(Box<[PathRoute<T>]>);

struct PathRoute<T> {
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
        let (mut exact, mut suffixes, mut any) = (Vec::new(), Vec::new(), Paths(Box::default()));
        for group in sorted.chunk_by(|(a, _), (b, _)| a.host == b.host) {
            let paths = Paths::new(group);
            match group.first().map(|(route, _)| &route.host) {
                Some(HostMatch::Exact(host)) => exact.push((host.clone(), paths)),
                Some(HostMatch::Suffix(suffix)) => suffixes.push((suffix.clone(), paths)),
                Some(HostMatch::Any) => any = paths,
                None => {}
            }
        }
        Self { only, exact: exact.into(), suffixes: suffixes.into(), any }
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
        let exact = lookup(&self.exact, host).and_then(|paths| paths.find(path));
        exact.or_else(|| self.search_suffixes(host, path)).or_else(|| self.any.find(path))
    }

    /// The longest suffix first.
    fn search_suffixes(&self, host: &[u8], path: &[u8]) -> Option<T> {
        if self.suffixes.is_empty() {
            return None;
        }
        let dots = host.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(index, _)| index);
        dots.filter(|index| *index > 0).find_map(|index| lookup(&self.suffixes, host.get(index..)?)?.find(path))
    }
}

/// Hosts are in lower case in the table and compared without case.
fn lookup<'t, T>(table: &'t [(String, Paths<T>)], host: &[u8]) -> Option<&'t Paths<T>> {
    let index = table.binary_search_by(|(known, _)| compare(known.as_bytes(), host)).ok()?;
    table.get(index).map(|(_, paths)| paths)
}

fn compare(known: &[u8], host: &[u8]) -> Ordering {
    known.iter().copied().cmp(host.iter().map(u8::to_ascii_lowercase))
}

impl<T: Copy> Paths<T> {
    /// `routes` are sorted by path.
    fn new(routes: &[(&Route, T)]) -> Self {
        let mut paths: Vec<PathRoute<T>> = Vec::with_capacity(routes.len());
        for (route, target) in routes {
            // The one before is the parent or has it as an ancestor: whatever stands between a prefix and its extension
            // in the order is an extension too.
            let mut parent = paths.len().checked_sub(1);
            while let Some(candidate) = parent.and_then(|index| paths.get(index)) {
                if route.path.starts_with(&candidate.prefix) {
                    break;
                }
                parent = candidate.parent;
            }
            paths.push(PathRoute { prefix: route.path.clone(), parent, target: *target });
        }
        Self(paths.into())
    }

    /// The same argument as in `new`: the last prefix that is not greater than the path, or one of its ancestors.
    fn find(&self, path: &[u8]) -> Option<T> {
        let mut index = self.0.partition_point(|route| route.prefix.as_bytes() <= path).checked_sub(1);
        while let Some(route) = index.and_then(|index| self.0.get(index)) {
            if covers(&route.prefix, path) {
                return Some(route.target);
            }
            index = route.parent;
        }
        None
    }
}

/// Prefixes match whole segments.
fn covers(prefix: &str, path: &[u8]) -> bool {
    let rest = path.strip_prefix(prefix.as_bytes());
    rest.is_some_and(|rest| prefix.ends_with('/') || matches!(rest, [] | [b'/', ..]))
}

#[cfg(test)]
mod tests {
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
