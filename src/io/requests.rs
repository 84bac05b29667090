//! How much the requests may cost that anybody can make, and the connections that are kept for them.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use super::endpoint::{Endpoint, ServedGuard};
use crate::proto::limiter::{Bucket, PostLimiter, PostSender, Rate, WaitingLimits, WaitingRoom};

/// Connections that were served and are kept for a next request. A member keeps one or two for its
/// probes, four while it posts, and 128 members may share an address; the one that was served longest
/// ago is closed, which costs its client a new one.
const KEPT: WaitingLimits = WaitingLimits { total_max: 512, address_max: 256 };

/// Probes answered: 128 members make 64 a second.
const PROBES: Rate = Rate::per_second(1_000);

/// Requests at the host, or on their way to it and back.
const ROUTED_MAX: usize = 64;

/// Of one address: whoever sends a body or takes an answer as slowly as he may holds up no more of them.
const ROUTED_PER_ADDRESS_MAX: usize = 16;

/// What is under way.
pub(super) struct Requests {
    kept: RefCell<WaitingRoom<u64>>,
    probes: RefCell<Bucket>,
    routed: RefCell<PostLimiter>,
}

/// The right to one request at the host.
pub(super) struct Routed {
    endpoint: Rc<Endpoint>,
    address: IpAddr,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            kept: RefCell::new(WaitingRoom::new(KEPT)),
            probes: RefCell::default(),
            routed: RefCell::new(PostLimiter::new(ROUTED_MAX, ROUTED_PER_ADDRESS_MAX)),
        }
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
        !self.routed.borrow().is_idle()
    }
}

impl Routed {
    /// The handshake of this connection is complete; `None` if the host has enough to do, or its share for
    /// this address.
    pub(super) fn begin(endpoint: &Rc<Endpoint>, guard: &ServedGuard, address: IpAddr) -> Option<Self> {
        if !endpoint.requests.routed.borrow_mut().begin(PostSender::Address(address)) {
            return None;
        }
        endpoint.leave_waiting(guard);
        Some(Self { endpoint: Rc::clone(endpoint), address })
    }
}

impl Drop for Routed {
    fn drop(&mut self) {
        self.endpoint.requests.routed.borrow_mut().end(PostSender::Address(self.address));
    }
}
