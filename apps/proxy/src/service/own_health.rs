//! `[listener.health]`: whether this image is to get requests, for the balancer or the resolver in front of it.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use core::time::Duration;

use weir_config::{Action, HostMatch, Page, Route};
use weir_http1::Request;
use weir_socket::Sockets;

use super::local::Local;
use super::serve::Reply;
use super::{Service, Target};
use crate::metrics::MetricsSource;
use crate::slab::Key;

/// The page of one listener.
pub(super) struct OwnHealth {
    told_to_fail: bool,
    /// Of which one has to have a server that is up; empty: it does not matter.
    pools: Box<[u16]>,
    pub(super) notice: Duration,
    well: Target,
    told: Target,
    leaving: Target,
    down: Target,
}

impl OwnHealth {
    pub(super) fn new(listener: &weir_config::Listener, local: &mut Local) -> Option<Self> {
        let own = listener.health.as_ref()?;
        let pools = listener.routes.iter().filter_map(|route| match route.action {
            Action::Pool(index) if own.fail_when_down => Some(index as u16),
            _ => None,
        });
        Some(Self {
            told_to_fail: own.fail,
            pools: pools.collect(),
            notice: Duration::from_nanos(own.notice_ns),
            well: local.text(200, "well\n"),
            told: local.text(503, "told to fail\n"),
            leaving: local.text(503, "leaving\n"),
            down: local.text(503, "no server is up\n"),
        })
    }

    /// The listener's routes, and one to the page on each host that has routes of its own.
    pub(super) fn routes(listener: &weir_config::Listener) -> Cow<'_, [Route]> {
        let Some(own) = &listener.health else { return Cow::Borrowed(&listener.routes) };
        let mut hosts: Box<[&HostMatch]> =
            listener.routes.iter().map(|route| &route.host).chain([&HostMatch::Any]).collect();
        hosts.sort_unstable();
        // The router asks for the target, and never for the action.
        let page = |host: &HostMatch| Route::new(host.clone(), &own.path, Action::Page(Page::Demo));
        let pages = hosts.chunk_by(|a, b| a == b).filter_map(|same| same.first()).map(|host| page(host));
        listener.routes.iter().cloned().chain(pages).collect()
    }
}

impl<M: MetricsSource> Service<M> {
    #[cold]
    pub(super) fn answer_health(&mut self, net: &mut impl Sockets, key: Key, request: &Request<'_>, reply: Reply) {
        let listener = self.fronts.get_mut(key).and_then(|front| self.listeners.get(usize::from(front.listener)));
        let Some(own) = listener.and_then(|listener| listener.health.as_ref()) else { return };
        let now = net.now();
        let is_up = |pool: &u16| self.upstreams.get(usize::from(*pool)).is_some_and(|pool| pool.has_server_up(now));
        let target = match own.pools.is_empty() || own.pools.iter().any(is_up) {
            _ if own.told_to_fail => own.told,
            _ if self.left_at.is_some() => own.leaving,
            true => own.well,
            false => own.down,
        };
        self.answer(net, key, request, target, reply);
    }
}
