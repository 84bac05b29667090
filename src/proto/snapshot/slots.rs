//! How many snapshots are under way.

use std::fmt;

/// Snapshots that go one way: few in all, and one a peer. `K` names a peer.
#[derive(Clone, Debug)]
pub struct Slots<K> {
    max: usize,
    taken: Vec<K>,
}

/// Why a snapshot may not begin now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoSlot {
    /// One to or from this peer is under way.
    SamePeer,
    /// As many as may be are under way.
    Total,
}

impl<K: Copy + Eq> Slots<K> {
    /// So many at once.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { max, taken: Vec::new() }
    }

    /// A snapshot begins. [`Slots::leave`] follows.
    ///
    /// # Errors
    /// If it may not.
    pub fn enter(&mut self, peer: K) -> Result<(), NoSlot> {
        if self.taken.contains(&peer) {
            return Err(NoSlot::SamePeer);
        }
        if self.taken.len() >= self.max {
            return Err(NoSlot::Total);
        }
        self.taken.push(peer);
        Ok(())
    }

    /// It ended.
    pub fn leave(&mut self, peer: K) {
        self.taken.retain(|other| *other != peer);
    }

    /// How many are under way.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.taken.len()
    }

    /// True if none is under way.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }
}

impl fmt::Display for NoSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SamePeer => "a snapshot for this peer is under way",
            Self::Total => "too many snapshots are under way",
        })
    }
}

impl std::error::Error for NoSlot {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_peer_and_few_in_all() {
        let mut slots = Slots::new(2);
        assert_eq!(slots.enter(1), Ok(()));
        assert_eq!(slots.enter(1), Err(NoSlot::SamePeer));
        assert_eq!(slots.enter(2), Ok(()));
        assert_eq!(slots.enter(3), Err(NoSlot::Total));
        slots.leave(1);
        assert_eq!(slots.enter(3), Ok(()));
        assert_eq!(slots.len(), 2);
        slots.leave(2);
        slots.leave(3);
        assert!(slots.is_empty());
    }
}
