//! Wrong keys, counted by where they come from.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use presence_core::Timestamp;

/// How many wrong keys an address may show in one [`WINDOW`].
const MOST: u32 = 10;
/// How long wrong keys count, from the first one.
const WINDOW: Duration = Duration::from_secs(60);
/// How many addresses are remembered; the one that failed first is forgotten first.
const ADDRESSES: usize = 10_000;

/// Who has shown wrong keys lately.
///
/// A key of 32 bytes is not guessed at any rate; this keeps the attempts from costing, and shows them.
#[derive(Debug, Default)]
pub(super) struct Failures {
    by_address: BTreeMap<IpAddr, Failed>,
    /// In the order of their first failure, which is the order in which they are forgotten.
    order: VecDeque<IpAddr>,
}

#[derive(Debug)]
struct Failed {
    since: Timestamp,
    times: u32,
}

impl Failures {
    /// How long `peer` is not listened to, if it is not.
    pub(super) fn wait(&mut self, peer: IpAddr, now: Timestamp) -> Option<Duration> {
        self.forget(now);
        let failed = self.by_address.get(&network(peer)).filter(|failed| failed.times >= MOST)?;
        Some(failed.since.saturating_add(WINDOW).since(now))
    }

    /// Counts a wrong key.
    pub(super) fn count(&mut self, peer: IpAddr, now: Timestamp) {
        self.forget(now);
        let peer = network(peer);
        if let Some(failed) = self.by_address.get_mut(&peer) {
            failed.times = failed.times.saturating_add(1);
            return;
        }
        if self.order.len() >= ADDRESSES
            && let Some(first) = self.order.pop_front()
        {
            self.by_address.remove(&first);
        }
        self.by_address.insert(peer, Failed { since: now, times: 1 });
        self.order.push_back(peer);
    }

    /// Forgets whose window is over. A clock that went back ends it as well: it must lock nobody out for long.
    fn forget(&mut self, now: Timestamp) {
        while let Some(first) = self.order.front() {
            let is_live = |failed: &Failed| now >= failed.since && now < failed.since.saturating_add(WINDOW);
            if self.by_address.get(first).is_some_and(is_live) {
                return;
            }
            self.by_address.remove(first);
            self.order.pop_front();
        }
    }
}

/// Who a single attacker is: an address, or the /64 that a host of IPv6 can move in.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ten_wrong_keys_in_a_minute_are_enough() {
        let mut failures = Failures::default();
        let peer = ip("192.0.2.1");
        for second in 0..10 {
            assert_eq!(failures.wait(peer, at(100 + second)), None);
            failures.count(peer, at(100 + second));
        }
        assert_eq!(failures.wait(peer, at(109)), Some(Duration::from_secs(51)));
        assert_eq!(failures.wait(ip("::ffff:192.0.2.1"), at(159)), Some(Duration::from_secs(1)));
        assert_eq!(failures.wait(ip("192.0.2.2"), at(109)), None);
        assert_eq!(failures.wait(peer, at(160)), None);
        failures.count(peer, at(160));
        assert_eq!(failures.wait(peer, at(160)), None);
    }

    #[test]
    fn a_clock_that_went_back_locks_nobody_out() {
        let mut failures = Failures::default();
        let peer = ip("192.0.2.1");
        for _ in 0..10 {
            failures.count(peer, at(1_000_000));
        }
        assert_eq!(failures.wait(peer, at(100)), None);
    }

    #[test]
    fn a_host_of_ipv6_is_its_network() {
        let mut failures = Failures::default();
        for host in 0..10 {
            failures.count(ip(&format!("2001:db8:0:1::{host}")), at(100));
        }
        assert!(failures.wait(ip("2001:db8:0:1:ffff::1"), at(100)).is_some());
        assert_eq!(failures.wait(ip("2001:db8:0:2::1"), at(100)), None);
    }

    #[test]
    fn no_more_than_ten_thousand_addresses_are_remembered() {
        let mut failures = Failures::default();
        let peer = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..20_000 {
            failures.count(peer(number), at(100));
        }
        assert_eq!((failures.by_address.len(), failures.order.len()), (ADDRESSES, ADDRESSES));
        assert!(
            failures.by_address.contains_key(&peer(19_999))
                && !failures.by_address.contains_key(&peer(9_999))
        );
        failures.wait(peer(0), at(160));
        assert_eq!((failures.by_address.len(), failures.order.len()), (0, 0));
    }
}
