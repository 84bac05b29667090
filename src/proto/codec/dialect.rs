//! Which fields without a value are written.

/// How a release of etcd writes its messages (protocol 7.3). Every release reads all of them, so
/// the choice matters only to those who compare bytes.
///
/// ```text
///                                V3_4   V3_6   V3_7   Full
///   scalars of Message, Entry     all    all    set    all
///   Message.snapshot              all    set    set    set
///   scalars in a snapshot         all    all    set    set
///   Message.vote                  none   all    set    set
///   Message.responses             none   set    set    set
///   bytes fields                  set    set    set    set
///
///   all: written even if unset, as zero     set: written if set, zero or not     none: left out
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Dialect {
    /// etcd 3.4 and 3.5 (dialect A): gogoproto, with a snapshot in every message.
    V3_4,
    /// etcd 3.6 (dialect B): gogoproto, the snapshot optional, a vote in every message.
    V3_6,
    /// etcd 3.7 and later (dialect C): presence exactly as set.
    V3_7,
    /// Shaped like [`Dialect::V3_7`], with all scalars of [`Message`] and [`Entry`] written: what
    /// etcd's raft sets differs by message type, and a reader of either habit finds what it looks for.
    ///
    /// [`Message`]: crate::raftpb::Message
    /// [`Entry`]: crate::raftpb::Entry
    #[default]
    Full,
}

impl Dialect {
    /// All of them, for tests.
    pub const ALL: [Self; 4] = [Self::V3_4, Self::V3_6, Self::V3_7, Self::Full];

    /// Unset scalars of a message and its entries are written as zero.
    #[inline]
    pub(super) const fn fills_message(self) -> bool {
        !matches!(self, Self::V3_7)
    }

    /// Unset scalars and submessages inside of a snapshot are written as zero.
    #[inline]
    pub(super) const fn fills_snapshot(self) -> bool {
        matches!(self, Self::V3_4 | Self::V3_6)
    }

    /// A message without a snapshot is written with a blank one.
    #[inline]
    pub(super) const fn adds_snapshot(self) -> bool {
        matches!(self, Self::V3_4)
    }

    /// An unset vote is written as zero.
    #[inline]
    pub(super) const fn fills_vote(self) -> bool {
        matches!(self, Self::V3_6)
    }

    /// The release knows `vote` and `responses`.
    #[inline]
    pub(super) const fn has_vote_and_responses(self) -> bool {
        !matches!(self, Self::V3_4)
    }
}
