//! Connections that have not completed a handshake yet.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::AddressKey;

/// How many connections may wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WaitingLimits {
    /// In the process: 50 peers with four connections each, and probes, fit.
    pub total_max: usize,
    /// From one address.
    pub address_max: usize,
}

impl Default for WaitingLimits {
    fn default() -> Self {
        Self { total_max: 256, address_max: 32 }
    }
}

/// The connections without a completed handshake, oldest first. `C` names a connection.
///
/// When it is full the *oldest* goes: who floods us throws out his own idle connections first, and
/// a member that talks at once is through before its turn comes.
#[derive(Clone, Debug)]
pub struct WaitingRoom<C> {
    limits: WaitingLimits,
    waiting: VecDeque<(AddressKey, C)>,
}

impl<C: Copy + Eq> WaitingRoom<C> {
    /// An empty room.
    ///
    /// # Panics
    /// If a limit is 0.
    #[must_use]
    pub fn new(limits: WaitingLimits) -> Self {
        assert!(limits.total_max > 0, "nobody could ever come in");
        assert!(limits.address_max > 0, "nobody could ever come in");
        Self { limits, waiting: VecDeque::new() }
    }

    /// `connection` from `address` came in. Close the connection that is returned: it had waited
    /// longest, of this address if that has too many, else of all.
    #[must_use = "this connection must be closed"]
    pub fn enter(&mut self, address: IpAddr, connection: C) -> Option<C> {
        let key = AddressKey::of(address);
        let of_address = self.waiting.iter().filter(|(other, _)| *other == key).count();
        let leaves = if of_address >= self.limits.address_max {
            self.waiting.iter().position(|(other, _)| *other == key)
        } else {
            (self.waiting.len() >= self.limits.total_max).then_some(0)
        };
        let closed = leaves.and_then(|at| self.waiting.remove(at)).map(|(_, closed)| closed);
        self.waiting.push_back((key, connection));
        closed
    }

    /// `connection` completed its handshake, or is closed. False if it was not waiting (any more).
    pub fn leave(&mut self, connection: C) -> bool {
        let at = self.waiting.iter().position(|(_, waiting)| *waiting == connection);
        at.and_then(|at| self.waiting.remove(at)).is_some()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True if nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl<C: Copy + Eq> Default for WaitingRoom<C> {
    fn default() -> Self {
        Self::new(WaitingLimits::default())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(i: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + i).into()
    }

    #[test]
    fn an_address_with_too_many_loses_its_own_oldest() {
        let mut room = WaitingRoom::default();
        assert_eq!(room.enter(address(9), 1000), None);
        for i in 0..32 {
            assert_eq!(room.enter(address(1), i), None);
        }
        assert_eq!(room.enter(address(1), 32), Some(0));
        assert!(room.leave(5));
        assert!(!room.leave(5));
        assert_eq!(room.enter(address(1), 33), None);
        assert_eq!(room.enter(address(1), 34), Some(1));
    }

    #[test]
    fn a_full_room_loses_its_oldest() {
        let mut room = WaitingRoom::default();
        for i in 0..256 {
            assert_eq!(room.enter(address(i), i), None);
        }
        assert_eq!(room.enter(address(500), 500), Some(0));
        assert_eq!(room.len(), 256);
        for i in (1..256).chain([500]) {
            assert!(room.leave(i));
        }
        assert!(room.is_empty());
    }
}
