//! How many handshakes strangers may cost us.
//!
//! ```text
//!   accept(2) ──▶ HandshakeLimiter::admits ──▶ WaitingRoom::enter ──▶ read the head
//!                    no: close                  full: close the oldest     │
//!                                                                          ▼
//!                 HandshakeLimiter::charge ◀── refused ── WaitingRoom::leave ── served
//! ```
//!
//! Nothing is charged for a handshake that is served, so a cluster that works is never limited.

mod bucket;
mod handshakes;
mod posts;
mod waiting;

pub use bucket::{Bucket, Rate};
pub use handshakes::{HandshakeLimiter, HandshakeLimits, Standing};
pub use posts::{POSTS_MAX, POSTS_PER_SENDER_MAX, PostLimiter, PostSender};
pub use waiting::{WaitingLimits, WaitingRoom};

use std::net::IpAddr;

/// What counts as one address: an IPv4 address, or the /64 of an IPv6 address, of which one host
/// owns all.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct AddressKey(u64);

impl AddressKey {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // Keys below 2^32 belong to no IPv6 prefix in use but ::/64, which holds loopback: that
            // shares the key of 0.0.0.0, which stands for the clients of a unix socket.
            IpAddr::V4(v4) => Self(u64::from(v4.to_bits())),
            IpAddr::V6(v6) => Self((v6.to_bits() >> 64) as u64),
        }
    }
}
