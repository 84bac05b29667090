//! What everyone asks of a message.

use bytes::Bytes;

use super::{Entry, Message, MessageType, Snapshot};

impl Message {
    /// The type, if it is one that this library knows; `None` for a number that a newer etcd may
    /// have given a meaning. [`Message::type_number`] tells the number. An unset type is MsgHup,
    /// as in etcd.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> Option<MessageType> {
        MessageType::try_from(self.type_number()).ok()
    }

    /// The type as the number on the wire; 0 (MsgHup) if unset.
    #[inline]
    #[must_use]
    pub const fn type_number(&self) -> i32 {
        match self.r#type {
            Some(number) => number,
            None => 0,
        }
    }

    /// True if the type is `kind`.
    #[inline]
    #[must_use]
    pub fn is(&self, kind: MessageType) -> bool {
        self.type_number() == kind as i32
    }

    /// True for the message that keeps an idle stream alive: MsgHeartbeat from nobody to nobody,
    /// whatever else it says (protocol 6.1). Agrees with `isLinkHeartbeatMessage`.
    ///
    /// Never passed to raft.
    #[inline]
    #[must_use]
    pub fn is_link_heartbeat(&self) -> bool {
        self.is(MessageType::MsgHeartbeat) && self.from() == 0 && self.to() == 0
    }

    /// The link heartbeat, as rafthttp's `linkHeartbeatMessage`.
    #[must_use]
    pub fn link_heartbeat() -> Self {
        Self { r#type: Some(MessageType::MsgHeartbeat as i32), ..Self::default() }
    }

    /// True if the entries have the indexes that follow on the message's own, one by one, as
    /// those of any MsgApp do.
    #[inline]
    #[must_use]
    pub fn has_contiguous_entries(&self) -> bool {
        let mut index = self.index();
        self.entries.iter().all(|entry| {
            index = index.wrapping_add(1);
            entry.index() == index
        })
    }

    /// The index of its snapshot; 0 without one.
    #[must_use]
    pub fn snapshot_index(&self) -> u64 {
        self.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref()).map_or(0, |meta| meta.index())
    }

    /// The term of its snapshot; 0 without one.
    #[must_use]
    pub fn snapshot_term(&self) -> u64 {
        self.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref()).map_or(0, |meta| meta.term())
    }

    /// Everything in the message that has no fixed size: entry data, context, snapshot data, and the
    /// same of its responses.
    pub fn payloads(&self) -> impl Iterator<Item = &Bytes> {
        let entries = self.entries.iter().filter_map(|entry| entry.data.as_ref());
        let snapshot = self.snapshot.iter().filter_map(|snapshot| snapshot.data.as_ref());
        let responses = self.responses.iter().flat_map(Self::boxed_payloads);
        entries.chain(&self.context).chain(snapshot).chain(responses)
    }

    /// For responses, which may have responses.
    fn boxed_payloads(&self) -> Box<dyn Iterator<Item = &Bytes> + '_> {
        Box::new(self.payloads())
    }

    /// Bytes of all payloads. What bounds in bytes count.
    ///
    /// The message and its entries themselves are not in the sum: see the pinned sizes in the tests
    /// of this file.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.payloads().map(Bytes::len).sum()
    }
}

impl Snapshot {
    /// True if it says nothing: no data, no members, every number zero. etcd 3.4 and 3.5 put such
    /// a snapshot into every message (protocol 7.3).
    #[must_use]
    pub fn is_blank(&self) -> bool {
        let blank_metadata = self.metadata.as_ref().is_none_or(|metadata| {
            let blank_state = metadata.conf_state.as_ref().is_none_or(|state| {
                state.voters.is_empty()
                    && state.learners.is_empty()
                    && state.voters_outgoing.is_empty()
                    && state.learners_next.is_empty()
                    && !state.auto_leave()
            });
            blank_state && metadata.index() == 0 && metadata.term() == 0
        });
        blank_metadata && bytes_len(self.data.as_ref()) == 0
    }
}

impl Entry {
    /// Bytes of its data.
    #[inline]
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        bytes_len(self.data.as_ref())
    }
}

#[inline]
fn bytes_len(bytes: Option<&Bytes>) -> usize {
    bytes.map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raftpb::{ConfState, SnapshotMetadata};

    /// Messages are moved by value through mailboxes and batches; a byte more is paid at each hop,
    /// and the bounds on decoded memory are sums of these.
    #[test]
    fn sizes_are_what_the_bounds_assume() {
        assert_eq!(size_of::<Message>(), 232);
        assert_eq!(size_of::<Entry>(), 72);
    }

    #[test]
    fn a_link_heartbeat_is_known_by_type_from_and_to_alone() {
        let mut message = Message::link_heartbeat();
        assert!(message.is_link_heartbeat());
        message.commit = Some(7);
        message.from = Some(0);
        assert!(message.is_link_heartbeat());
        message.to = Some(1);
        assert!(!message.is_link_heartbeat());
        assert!(!Message::default().is_link_heartbeat());
    }

    #[test]
    fn unknown_types_stay_numbers() {
        let message = Message { r#type: Some(77), ..Message::default() };
        assert_eq!(message.kind(), None);
        assert_eq!(message.type_number(), 77);
        assert_eq!(Message::default().kind(), Some(MessageType::MsgHup));
    }

    #[test]
    fn payload_bytes_counts_all_that_has_no_fixed_size() {
        let entry = Entry { data: Some(Bytes::from_static(b"abc")), ..Entry::default() };
        let snapshot = Snapshot { data: Some(Bytes::from_static(b"snap")), ..Snapshot::default() };
        let mut message = Message {
            entries: vec![entry.clone(), Entry::default(), entry],
            snapshot: Some(Box::new(snapshot)),
            context: Some(Bytes::from_static(b"x")),
            ..Message::default()
        };
        assert_eq!(message.payload_bytes(), 11);
        message.responses = vec![message.clone()];
        assert_eq!(message.payload_bytes(), 22);
    }

    #[test]
    fn a_blank_snapshot_is_one_without_any_value() {
        let mut snapshot = Snapshot::default();
        assert!(snapshot.is_blank());
        snapshot.data = Some(Bytes::new());
        snapshot.metadata = Some(SnapshotMetadata {
            conf_state: Some(ConfState { auto_leave: Some(false), ..ConfState::default() }),
            index: Some(0),
            term: Some(0),
        });
        assert!(snapshot.is_blank());
        snapshot.metadata.get_or_insert_default().index = Some(1);
        assert!(!snapshot.is_blank());
    }
}
