//! The guest's metrics page, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use crate::guest::Guest;
use crate::{Failed, http};

/// Time between two looks at a page that is to change.
const PERIOD: Duration = Duration::from_millis(100);

/// Values by name and labels, such as `weir_requests_total{core="0",listener="web"}`.
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

    /// The sum for each core, in order, over the samples that have this other label too.
    pub fn per_core(&self, name: &str, label: &str) -> Vec<u64> {
        let of_core = |core: u32| {
            let wanted = format!("core=\"{core}\"");
            let mine = self.of(name).filter(|(labels, _)| labels.contains(&wanted) && labels.contains(label));
            mine.map(|(_, value)| value).reduce(|sum, value| sum + value)
        };
        (0..).map_while(of_core).collect()
    }

    /// The sum over the samples that have this label.
    pub fn labelled(&self, name: &str, label: &str) -> u64 {
        self.of(name).filter(|(labels, _)| labels.contains(label)).map(|(_, value)| value).sum()
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

/// What has happened to exchanges so far, for the message of a test that fails.
pub fn incidents(page: SocketAddrV4) -> String {
    let Ok(metrics) = Metrics::read(page) else { return "no metrics".into() };
    let counted = metrics.of("weir_incidents_total").filter(|(_, value)| *value > 0);
    counted.map(|(labels, value)| format!("{labels} {value}\n")).collect()
}
