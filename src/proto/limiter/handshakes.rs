//! Handshakes that fail, by address and by member.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Instant;

use crate::id::MemberId;

use super::AddressKey;
use super::bucket::{Bucket, Rate};

/// How many failing handshakes there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HandshakeLimits {
    /// From one address: what one etcd member needs that is refused both its streams, each dialled
    /// ten times a second.
    pub address: Rate,
    /// From all addresses together.
    pub total: Rate,
    /// Of one known member, wherever it comes from: both its streams, twice over. Its own, for 128
    /// members may share one address, and strangers must not use up what members need.
    pub member: Rate,
}

impl Default for HandshakeLimits {
    fn default() -> Self {
        Self { address: Rate::per_second(20), total: Rate::per_second(200), member: Rate::per_second(40) }
    }
}

/// Where a connection comes from, as far as its address tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// An address at which a known member lives. Others' failures do not shut it out.
    MemberAddress,
    /// Any other.
    Stranger,
}

/// Counts handshakes that failed and tells whose next connection is not worth a read.
#[derive(Clone, Debug)]
pub struct HandshakeLimiter {
    limits: HandshakeLimits,
    total: Bucket,
    addresses: Table<AddressKey>,
    members: Table<MemberId>,
}

/// Buckets that are not full, at most [`TABLE_ENTRIES_MAX`].
#[derive(Clone, Debug)]
struct Table<K>(HashMap<K, Bucket>);

/// Entries of a table. With the default limits no more than 400 buckets of addresses can miss a
/// token at one moment (a burst of 200 and the 200 of the second in which they fill up again), so
/// forgetting the full ones always makes room; and a cluster has far fewer members.
const TABLE_ENTRIES_MAX: usize = 1024;

impl HandshakeLimiter {
    /// Nothing has failed yet.
    #[must_use]
    pub fn new(limits: HandshakeLimits) -> Self {
        Self {
            limits,
            total: Bucket::default(),
            addresses: Table(HashMap::new()),
            members: Table(HashMap::new()),
        }
    }

    /// Whether a connection from `address` may try a handshake. If not, close it unread.
    #[must_use]
    pub fn admits(&self, address: IpAddr, standing: Standing, now: Instant) -> bool {
        let address_has = self.addresses.has_token(AddressKey::of(address), self.limits.address, now);
        let total_has = self.total.has_token(self.limits.total, now);
        address_has && (total_has || standing == Standing::MemberAddress)
    }

    /// A handshake from `address` failed. `member` is who it said it was, if that is a known peer.
    ///
    /// A member's failures are its own until there are too many; from then on, and for everyone
    /// else, they count against the address and the total.
    pub fn charge(&mut self, address: IpAddr, member: Option<MemberId>, now: Instant) {
        let limits = self.limits;
        if member.is_some_and(|member| self.members.take(member, limits.member, now)) {
            return;
        }
        if self.total.take(limits.total, now) {
            self.addresses.take(AddressKey::of(address), limits.address, now);
        }
    }
}

impl Default for HandshakeLimiter {
    fn default() -> Self {
        Self::new(HandshakeLimits::default())
    }
}

impl<K: Copy + Eq + Hash> Table<K> {
    fn has_token(&self, key: K, rate: Rate, now: Instant) -> bool {
        self.0.get(&key).is_none_or(|bucket| bucket.has_token(rate, now))
    }

    fn take(&mut self, key: K, rate: Rate, now: Instant) -> bool {
        if self.0.len() >= TABLE_ENTRIES_MAX && !self.0.contains_key(&key) {
            self.0.retain(|_, bucket| !bucket.is_full(now));
            if self.0.len() >= TABLE_ENTRIES_MAX {
                return false;
            }
        }
        self.0.entry(key).or_default().take(rate, now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use super::*;

    fn address(last: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + last).into()
    }

    #[test]
    fn an_address_that_keeps_failing_is_shut_out_alone() {
        let (mut limiter, now) = (HandshakeLimiter::default(), Instant::now());
        for _ in 0..20 {
            assert!(limiter.admits(address(1), Standing::Stranger, now));
            limiter.charge(address(1), None, now);
        }
        assert!(!limiter.admits(address(1), Standing::Stranger, now));
        assert!(!limiter.admits(address(1), Standing::MemberAddress, now), "its own failures");
        assert!(limiter.admits(address(2), Standing::Stranger, now));
        assert!(limiter.admits(address(1), Standing::Stranger, now + Duration::from_millis(50)));
    }

    #[test]
    fn many_addresses_are_shut_out_together_but_for_those_of_members() {
        let (mut limiter, now) = (HandshakeLimiter::default(), Instant::now());
        for i in 0..200 {
            limiter.charge(address(i), None, now);
        }
        assert!(!limiter.admits(address(1000), Standing::Stranger, now));
        assert!(limiter.admits(address(1000), Standing::MemberAddress, now));
    }

    #[test]
    fn refused_members_behind_one_address_do_not_use_up_its_tokens() {
        let (mut limiter, mut now) = (HandshakeLimiter::default(), Instant::now());
        // 128 members, both streams of each refused ten times a second.
        for _ in 0..100 {
            now += Duration::from_millis(100);
            for member in 1..=128 {
                limiter.charge(address(1), Some(MemberId(member)), now);
                limiter.charge(address(1), Some(MemberId(member)), now);
            }
            assert!(limiter.admits(address(1), Standing::Stranger, now));
        }
    }

    #[test]
    fn who_claims_a_members_id_gets_no_more_than_that_member() {
        let (mut limiter, now) = (HandshakeLimiter::default(), Instant::now());
        for _ in 0..60 {
            limiter.charge(address(1), Some(MemberId(1)), now);
        }
        assert!(!limiter.admits(address(1), Standing::Stranger, now));
    }

    #[test]
    fn the_tables_are_bounded_whatever_comes() {
        let (mut limiter, mut now) = (HandshakeLimiter::default(), Instant::now());
        for i in 0..20_000 {
            limiter.charge(address(i), Some(MemberId(u64::from(i))), now);
            limiter.charge(address(i), None, now);
            now += Duration::from_micros(100);
        }
        assert!(limiter.addresses.0.len() <= TABLE_ENTRIES_MAX);
        assert!(limiter.members.0.len() <= TABLE_ENTRIES_MAX);
    }

    #[test]
    fn a_flood_of_the_past_does_not_hide_the_next_offender() {
        let (mut limiter, start) = (HandshakeLimiter::default(), Instant::now());
        // More addresses than the table holds, at the rate that the total lets through.
        let mut now = start;
        for i in 0..2 * TABLE_ENTRIES_MAX as u32 {
            now += Duration::from_millis(5);
            limiter.charge(address(i), None, now);
        }
        now += Duration::from_secs(1);
        for _ in 0..20 {
            limiter.charge(address(1 << 20), None, now);
        }
        assert!(!limiter.admits(address(1 << 20), Standing::Stranger, now));
    }

    #[test]
    fn a_host_with_many_ipv6_addresses_is_one_address() {
        let key = |text: &str| AddressKey::of(text.parse::<Ipv6Addr>().expect("valid").into());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), AddressKey::of(address(1)));
    }
}
