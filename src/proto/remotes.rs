//! Remotes: members that are known from what they told or from what the host read elsewhere, and are no
//! peers (yet). Who becomes one, and how long he stays. Protocol sections 4.6 and 8.7.
//!
//! In etcd everybody who knows the cluster id becomes one, with four workers, for ever (protocol
//! section 17 row 13). Here strangers cost no more than [`LEARNED_MAX`] of them.

use std::time::{Duration, Instant};

use crate::id::MemberId;

/// Remotes that told of themselves: more than a cluster ever adds while one of its members lags behind.
pub const LEARNED_MAX: usize = 16;

/// One that was not sent anything for so long is forgotten; it may introduce itself again.
pub const LEARNED_TTL: Duration = Duration::from_secs(600);

/// Between two that are learned.
pub const LEARN_INTERVAL: Duration = Duration::from_secs(1);

/// Where there is no place left, one that was not sent anything for so long gives way: raft answers a
/// leader's heartbeats ten times a second, so whoever is talked to stays, whatever strangers do.
pub const SPARED_FOR: Duration = Duration::from_secs(10);

/// All remotes of a transport, each with something of the caller's.
#[derive(Clone, Debug)]
pub struct Remotes<T> {
    remotes: Vec<Remote<T>>,
    learned_at: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Remote<T> {
    member: MemberId,
    value: T,
    /// When it was learned or was last sent something; `None` for those that the host added.
    used_at: Option<Instant>,
}

/// What became of an introduction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Learned<T> {
    /// It is a remote already.
    Known,
    /// It is a remote now, in the place of another one perhaps.
    New {
        /// The other one, to be stopped.
        evicted: Option<T>,
    },
    /// Another one was learned a moment ago.
    TooSoon,
    /// There is no place.
    Full,
}

impl<T> Default for Remotes<T> {
    fn default() -> Self {
        Self { remotes: Vec::new(), learned_at: None }
    }
}

impl<T> Remotes<T> {
    /// A remote.
    #[must_use]
    pub fn get(&self, member: MemberId) -> Option<&T> {
        self.remotes.iter().find(|remote| remote.member == member).map(|remote| &remote.value)
    }

    /// The same, for something that is sent to it at `now`.
    pub fn used(&mut self, member: MemberId, now: Instant) -> Option<&T> {
        let remote = self.remotes.iter_mut().find(|remote| remote.member == member)?;
        remote.used_at = remote.used_at.map(|_| now);
        Some(&remote.value)
    }

    /// The host adds one, which stays; one that was learned stays from now on. True if it is new.
    pub fn add(&mut self, member: MemberId, value: impl FnOnce() -> T) -> bool {
        if let Some(known) = self.remotes.iter_mut().find(|remote| remote.member == member) {
            known.used_at = None;
            return false;
        }
        self.remotes.push(Remote { member, value: value(), used_at: None });
        true
    }

    /// One introduces itself.
    pub fn learn(&mut self, member: MemberId, now: Instant, value: impl FnOnce() -> T) -> Learned<T> {
        if self.get(member).is_some() {
            return Learned::Known;
        }
        if self.learned_at.is_some_and(|at| now < at + LEARN_INTERVAL) {
            return Learned::TooSoon;
        }
        let learned = self.remotes.iter().filter(|remote| remote.used_at.is_some()).count();
        let evicted = if learned < LEARNED_MAX {
            None
        } else {
            match self.least_used(now) {
                Some(place) => Some(self.remotes.swap_remove(place).value),
                None => return Learned::Full,
            }
        };
        self.learned_at = Some(now);
        self.remotes.push(Remote { member, value: value(), used_at: Some(now) });
        Learned::New { evicted }
    }

    /// The learned one that has waited longest for something to be sent, if that is long enough.
    fn least_used(&self, now: Instant) -> Option<usize> {
        let used = |(place, remote): (usize, &Remote<T>)| remote.used_at.map(|at| (at, place));
        let (used_at, place) = self.remotes.iter().enumerate().filter_map(used).min()?;
        (now >= used_at + SPARED_FOR).then_some(place)
    }

    /// Forgets this one if nothing was sent to it for too long.
    pub fn expire(&mut self, member: MemberId, now: Instant) -> Option<T> {
        let is_over = |remote: &Remote<T>| {
            remote.member == member && remote.used_at.is_some_and(|at| now >= at + LEARNED_TTL)
        };
        let place = self.remotes.iter().position(is_over)?;
        Some(self.remotes.swap_remove(place).value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (MemberId, &T)> {
        self.remotes.iter().map(|remote| (remote.member, &remote.value))
    }

    /// Forgets all of them.
    pub fn clear(&mut self) -> impl Iterator<Item = T> {
        std::mem::take(&mut self.remotes).into_iter().map(|remote| remote.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: usize) -> MemberId {
        MemberId(id as u64)
    }

    /// As many learned as there may be, one a second from `start` on.
    fn full(start: Instant) -> Remotes<usize> {
        let mut remotes = Remotes::default();
        for n in 0..LEARNED_MAX {
            let now = start + n as u32 * LEARN_INTERVAL;
            assert_eq!(remotes.learn(id(n), now, || n), Learned::New { evicted: None });
        }
        remotes
    }

    #[test]
    fn one_is_learned_a_second() {
        let (mut remotes, start) = (Remotes::default(), Instant::now());
        assert_eq!(remotes.learn(id(1), start, || 1), Learned::New { evicted: None });
        assert_eq!(remotes.learn(id(1), start, || 9), Learned::Known);
        let soon = start + LEARN_INTERVAL - Duration::from_nanos(1);
        assert_eq!(remotes.learn(id(2), soon, || 2), Learned::TooSoon);
        assert_eq!(remotes.learn(id(2), start + LEARN_INTERVAL, || 2), Learned::New { evicted: None });
        assert_eq!((remotes.get(id(1)), remotes.get(id(2)), remotes.get(id(3))), (Some(&1), Some(&2), None));
    }

    /// Protocol section 17 row 13.
    #[test]
    fn strangers_are_never_more_and_drive_out_only_whom_nobody_talks_to() {
        let start = Instant::now();
        let mut remotes = full(start);
        remotes.add(id(1000), || 1000);
        let mut now = start + LEARNED_MAX as u32 * LEARN_INTERVAL;
        for n in 100..400 {
            assert!(remotes.used(id(3), now).is_some());
            let learned = remotes.learn(id(n), now, || n);
            assert!(!matches!(learned, Learned::New { evicted: Some(3 | 1000) | None }), "{n}: {learned:?}");
            now += LEARN_INTERVAL;
            assert_eq!(remotes.iter().count(), LEARNED_MAX + 1);
        }
        assert!(remotes.get(id(3)).is_some() && remotes.get(id(1000)).is_some());
    }

    #[test]
    fn where_everybody_is_talked_to_nobody_is_learned() {
        let start = Instant::now();
        let mut remotes = full(start);
        let now = start + LEARNED_MAX as u32 * LEARN_INTERVAL;
        for n in 0..LEARNED_MAX {
            remotes.used(id(n), now);
        }
        let spared = now + SPARED_FOR - Duration::from_nanos(1);
        assert_eq!(remotes.learn(id(100), spared, || 100), Learned::Full);
        assert!(matches!(
            remotes.learn(id(100), now + SPARED_FOR, || 100),
            Learned::New { evicted: Some(_) }
        ));
    }

    #[test]
    fn what_the_host_added_stays_and_what_was_learned_is_forgotten_in_time() {
        let (mut remotes, start) = (Remotes::default(), Instant::now());
        assert!(remotes.add(id(1), || 1));
        assert!(!remotes.add(id(1), || 9));
        let _ = remotes.learn(id(2), start, || 2);
        let _ = remotes.learn(id(3), start + LEARN_INTERVAL, || 3);
        assert!(!remotes.add(id(3), || 9), "from now on it is the host's");
        let used = start + LEARNED_TTL / 2;
        assert_eq!(remotes.used(id(2), used), Some(&2));
        for member in 1..=3 {
            assert_eq!(remotes.expire(id(member), used + LEARNED_TTL - Duration::from_nanos(1)), None);
        }
        let late = used + LEARNED_TTL;
        assert_eq!([1, 2, 3].map(|member| remotes.expire(id(member), late)), [None, Some(2), None]);
        let mut left: Vec<_> = remotes.clear().collect();
        left.sort_unstable();
        assert_eq!((left, remotes.iter().count()), (vec![1, 3], 0));
    }
}
