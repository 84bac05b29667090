//! What was sent, and what became of it.

use raftring::raftpb::Message;

use super::conn::ConnId;
use super::stamp::Stamp;

#[derive(Debug)]
pub(super) struct Sent {
    pub(super) message: Message,
    pub(super) stamp: Stamp,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) fate: Fate,
    pub(super) delivered: bool,
    /// Sent after the last fault: must arrive.
    pub(super) fresh: bool,
}

/// Where a message is, as its sender was told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// No stream was up for it (the pipeline's, which is not simulated).
    WithoutStream,
    /// Its lane was full.
    LaneFull,
    /// In a lane.
    Queued,
    /// In a lane whose connection broke.
    LostInLane,
    /// Encoded for this connection.
    Encoded(ConnId),
    /// Encoded, and among those that `detach` gave up.
    Reported(ConnId),
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) sent: Vec<Sent>,
}

impl Ledger {
    /// Whether what was decoded says what was sent. The codec leaves out what is unset and makes up
    /// what is implied, so values are compared and not their presence.
    pub(super) fn is_same(sent: &Message, got: &Message) -> bool {
        let scalars = |m: &Message| {
            let head = (m.type_number(), m.from(), m.to(), m.term(), m.log_term(), m.index());
            (head, m.commit(), m.reject(), m.reject_hint(), m.vote(), m.responses.len())
        };
        let entries = sent.entries.iter().zip(&got.entries);
        scalars(sent) == scalars(got)
            && sent.context() == got.context()
            && sent.entries.len() == got.entries.len()
            && entries.into_iter().all(|(a, b)| {
                (a.r#type(), a.term(), a.index(), a.data()) == (b.r#type(), b.term(), b.index(), b.data())
            })
    }
}
