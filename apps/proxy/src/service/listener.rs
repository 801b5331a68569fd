//! Listeners: how their connections begin, and where their requests go.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use weir_config::{Action, HostMatch, Page, Prefix, Protocol, Route};
use weir_socket::ListenerId;

use super::Target;
use super::gate::Gate;
use super::own_health::OwnHealth;
use crate::router::Router;

/// One listener.
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) bind: Vec<SocketAddr>,
    /// Where it listens, once it does.
    pub(super) ids: Vec<ListenerId>,
    pub(super) entry: Entry,
    pub(super) proxy_protocol: bool,
    pub(super) trusted: Vec<Prefix>,
    pub(super) request_id: bool,
    /// What the image is called in Via, if it is.
    pub(super) via: Option<Box<[u8]>>,
    /// Requests get a field of the listener's.
    pub(super) is_adding: bool,
    pub(super) keep_alive: bool,
    /// Its connections are HTTP from the first byte, and all alike.
    pub(super) is_plain: bool,
    /// Who may come, if not everybody.
    pub(super) gate: Option<Gate>,
    /// Where others ask how it is.
    pub(super) health: Option<OwnHealth>,
    pub(super) router: Router<Target>,
}

/// What a listener's connections begin with, behind a PROXY header if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Http,
    /// Anything, for a pool.
    Tcp(u16),
    /// A ClientHello whose name chooses the route.
    Hello,
}

impl Listener {
    pub(super) fn new(
        listener: &weir_config::Listener,
        cores: usize,
        health: Option<OwnHealth>,
        router: Router<Target>,
    ) -> Self {
        let pool = listener.routes.first().and_then(|route| match route.action {
            Action::Pool(index) => Some(index as u16),
            _ => None,
        });
        let gate = Gate::new(listener, cores);
        Self {
            name: listener.name.clone(),
            bind: listener.bind.clone(),
            ids: Vec::new(),
            entry: match (listener.protocol, pool) {
                (Protocol::Http, _) => Entry::Http,
                (Protocol::TlsPassthrough, _) => Entry::Hello,
                // The configuration is checked: the only route leads to a pool.
                (Protocol::Tcp, pool) => Entry::Tcp(pool.unwrap_or(0)),
            },
            proxy_protocol: listener.proxy_protocol,
            trusted: listener.trusted_proxies.clone(),
            request_id: listener.request_id,
            via: listener.via.as_deref().map(|name| name.as_bytes().into()),
            is_adding: listener.request_id || listener.via.is_some(),
            keep_alive: listener.keep_alive,
            is_plain: listener.protocol == Protocol::Http && listener.trusted_proxies.is_empty() && gate.is_none(),
            gate,
            health,
            router,
        }
    }
}

/// Metrics, and where the configuration came from: `origin`.
pub(super) fn admin_listener(address: SocketAddr, origin: Target) -> Listener {
    // The router asks for the target, and never for the action.
    let routes = ["/metrics", "/configuration"].map(|path| Route::new(HostMatch::Any, path, Action::Page(Page::Demo)));
    Listener {
        name: "admin".into(),
        bind: [address].into(),
        ids: Vec::new(),
        entry: Entry::Http,
        proxy_protocol: false,
        trusted: Vec::new(),
        request_id: false,
        via: None,
        is_adding: false,
        keep_alive: true,
        is_plain: true,
        gate: None,
        health: None,
        router: Router::new(&routes, |route| if route.path == "/metrics" { Target::Metrics } else { origin }),
    }
}
