//! Bugs that the simulator must catch, planted by its own test and by nobody else: without the
//! feature `test-support` a [`Planted`] is empty and every question is answered with no.

use super::writer::Connection;

/// A bug of a stream writer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    not(feature = "test-support"),
    expect(dead_code, unreachable_pub, reason = "planted by tests alone")
)]
pub enum Bug {
    /// The codec goes on where it was on the connection before.
    KeepEncoder,
    /// What was encoded for the connection before leaves on the next one.
    KeepOutbox,
    /// No heartbeat while a write is in flight.
    SkipHeartbeatWhenBusy,
    /// A detach tells only what had not left yet.
    ForgetInFlight,
    /// The end of the body is not written.
    ForgetLastChunk,
}

/// Which bug is planted, and what it needs.
#[derive(Debug, Default)]
pub(super) struct Planted {
    #[cfg(feature = "test-support")]
    bug: Option<Bug>,
    #[cfg(feature = "test-support")]
    kept: Option<Connection>,
}

#[cfg(not(feature = "test-support"))]
#[expect(clippy::needless_pass_by_ref_mut, reason = "the same calls as with the feature")]
impl Planted {
    pub(super) const fn is(&self, _: Bug) -> bool {
        false
    }

    pub(super) fn detached(&mut self, _: Connection) {}

    pub(super) fn attached(&mut self, _: &mut Connection) {}
}

#[cfg(feature = "test-support")]
impl Bug {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::KeepEncoder,
        Self::KeepOutbox,
        Self::SkipHeartbeatWhenBusy,
        Self::ForgetInFlight,
        Self::ForgetLastChunk,
    ];
}

#[cfg(feature = "test-support")]
impl Planted {
    pub(super) const fn new(bug: Bug) -> Self {
        Self { bug: Some(bug), kept: None }
    }

    pub(super) fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(super) fn detached(&mut self, connection: Connection) {
        self.kept = Some(connection);
    }

    pub(super) fn attached(&mut self, connection: &mut Connection) {
        if let Some(kept) = self.kept.take() {
            match self.bug {
                Some(Bug::KeepEncoder) => connection.encoder = kept.encoder,
                Some(Bug::KeepOutbox) => connection.outbox = kept.outbox,
                _ => {}
            }
        }
    }
}
