//! The guest's metrics page, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use crate::guest::Guest;
use crate::{Failed, http};

/// Time between two looks at a page that is to change.
const PERIOD: Duration = Duration::from_millis(100);

/// Values by name and labels, such as `weir_flows{core="0"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics(BTreeMap<String, u64>);

impl Metrics {
    /// Reads the page.
    pub fn read(address: SocketAddrV4) -> Result<Self, Failed> {
        let response = http::get(address, "/metrics")?;
        if response.status != 200 {
            return Err(format!("the metrics page says {}", response.head).into());
        }
        let text = response.text();
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        Ok(Self(samples.filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?))).collect()))
    }

    /// All values of one name, by their labels.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        let mine = self.0.iter().filter_map(move |(key, value)| Some((key.strip_prefix(name)?, *value)));
        mine.filter(|(labels, _)| labels.is_empty() || labels.starts_with('{'))
    }

    /// The sum over all labels.
    pub fn sum(&self, name: &str) -> u64 {
        self.of(name).map(|(_, value)| value).sum()
    }

    /// The values for each core, in order.
    pub fn per_core(&self, name: &str) -> Vec<u64> {
        (0..).map_while(|core| self.0.get(&format!("{name}{{core=\"{core}\"}}")).copied()).collect()
    }
}

/// Reads the page until it is as it should be; fails with what it was in the end.
pub fn wait_until(
    guest: &mut Guest,
    address: SocketAddrV4,
    limit: Duration,
    mut good: impl FnMut(&Metrics) -> bool,
) -> Result<Metrics, Failed> {
    let deadline = Instant::now() + limit;
    loop {
        let metrics = Metrics::read(address)?;
        if good(&metrics) {
            return Ok(metrics);
        }
        if Instant::now() > deadline {
            return Err(guest.report(&format!("the metrics did not become right: {metrics:#?}")));
        }
        // Time passes while the console is listened to.
        guest.vm.next_event(Some(Instant::now() + PERIOD));
    }
}
