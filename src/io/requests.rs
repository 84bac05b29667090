//! How much the requests may cost that anybody can make, and the connections that are kept for them.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use super::endpoint::{Endpoint, ServedGuard};
use crate::proto::limiter::{Bucket, Rate, WaitingLimits, WaitingRoom};

/// Connections that were served and are kept for a next request. A member keeps one or two for its
/// probes, four while it posts, and 128 members may share an address; the one that was served longest
/// ago is closed, which costs its client a new one.
const KEPT: WaitingLimits = WaitingLimits { total_max: 512, address_max: 256 };

/// Probes answered: 128 members make 64 a second.
const PROBES: Rate = Rate::per_second(1_000);

/// Requests at the host, or on their way to it and back.
const ROUTED_MAX: usize = 64;

/// What is under way.
pub(super) struct Requests {
    kept: RefCell<WaitingRoom<u64>>,
    probes: RefCell<Bucket>,
    routed: Cell<usize>,
}

/// The right to one request at the host.
pub(super) struct Routed(Rc<Endpoint>);

impl Default for Requests {
    fn default() -> Self {
        Self { kept: RefCell::new(WaitingRoom::new(KEPT)), probes: RefCell::default(), routed: Cell::new(0) }
    }
}

impl Requests {
    /// The connection was served and may stay; the one to close for it, if there are too many.
    pub(super) fn keep(&self, address: IpAddr, connection: u64) -> Option<u64> {
        let mut kept = self.kept.borrow_mut();
        kept.leave(connection);
        kept.enter(address, connection)
    }

    /// The connection is closed.
    pub(super) fn leave(&self, connection: u64) {
        self.kept.borrow_mut().leave(connection);
    }

    /// True if a probe may be answered now.
    pub(super) fn admits_probe(&self, now: Instant) -> bool {
        self.probes.borrow_mut().take(PROBES, now)
    }

    /// True while the host is asked for something.
    pub(super) fn are_routed(&self) -> bool {
        self.routed.get() > 0
    }
}

impl Routed {
    /// The handshake of this connection is complete; `None` if the host has enough to do.
    pub(super) fn begin(endpoint: &Rc<Endpoint>, guard: &ServedGuard) -> Option<Self> {
        let routed = &endpoint.requests.routed;
        if routed.get() >= ROUTED_MAX {
            return None;
        }
        endpoint.leave_waiting(guard);
        routed.set(routed.get() + 1);
        Some(Self(Rc::clone(endpoint)))
    }
}

impl Drop for Routed {
    fn drop(&mut self) {
        let routed = &self.0.requests.routed;
        routed.set(routed.get() - 1);
    }
}
