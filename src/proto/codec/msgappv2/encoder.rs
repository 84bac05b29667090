//! The sending end of a `msgapp` stream.

use super::{APP_ENTRIES, HeadBytes, LINK_HEARTBEAT, MSG_APP, Position};
use crate::id::MemberId;
use crate::proto::codec::encode::{Prefix, put_entry_frames, put_message};
use crate::proto::codec::size::{message_size, message_size_without_entries};
use crate::proto::codec::varint::Pen;
use crate::proto::codec::{Dialect, Sink};
use crate::raftpb::{Entry, Message, MessageType};

/// The three frames, in the order of their type bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AppFrame {
    /// `00`.
    LinkHeartbeat,
    /// `01`, entries and commit alone. Names no peer: followers at the same position get the
    /// same bytes, so that one encoding serves all of them.
    AppEntries,
    /// `02`, the whole message.
    MsgApp,
}

/// Writes frames. Agrees with `msgAppV2Encoder.encode`, and insists for `01` that nothing is lost
/// by leaving the head out (sharp edges 20 and 21).
#[derive(Clone, Debug)]
pub struct MsgAppV2Encoder {
    local: MemberId,
    remote: MemberId,
    dialect: Dialect,
    position: Position,
    head: HeadBytes,
}

impl MsgAppV2Encoder {
    /// An encoder for a new connection on which `local` sends to `remote`.
    #[must_use]
    pub fn new(local: MemberId, remote: MemberId, dialect: Dialect) -> Self {
        let head = HeadBytes::new(local, remote, 0, dialect);
        Self { local, remote, dialect, position: Position::default(), head }
    }

    /// What the message takes without its entries.
    #[inline]
    fn head_bytes(&self, message: &Message) -> usize {
        match self.dialect {
            // Only what is set is written: each message has a shape of its own.
            Dialect::V3_7 => message_size_without_entries(message, self.dialect),
            _ if message.context.is_some() || message.snapshot.is_some() => {
                message_size_without_entries(message, self.dialect)
            }
            _ => self.head.with(message.index(), message.commit()),
        }
    }

    /// Writes one frame. Returns the protobuf size of the message, whatever frame it travels in:
    /// that is what rafthttp's byte metrics count.
    pub fn encode(&mut self, message: &Message, sink: &mut impl Sink) -> usize {
        let frame = self.frame(message);
        let size = match frame {
            AppFrame::LinkHeartbeat => {
                sink.put_slice(&[LINK_HEARTBEAT]);
                message_size(message, self.dialect)
            }
            AppFrame::AppEntries => {
                let entries = encode_app_entries(&message.entries, message.commit(), self.dialect, sink);
                entries + self.head_bytes(message)
            }
            AppFrame::MsgApp => {
                let size = message_size(message, self.dialect);
                put_message(Prefix::Typed(MSG_APP, size as u64), message, self.dialect, sink);
                size
            }
        };
        self.advance(message, frame);
        size
    }

    /// The frame that `message` goes in if it is the next on the stream.
    #[inline]
    #[must_use]
    pub fn frame(&self, message: &Message) -> AppFrame {
        if message.is_link_heartbeat() {
            AppFrame::LinkHeartbeat
        } else if self.continues(message) && is_implied(message) {
            AppFrame::AppEntries
        } else {
            AppFrame::MsgApp
        }
    }

    /// Declares that `message` was put on the stream in `frame`: for those who write the frame
    /// themselves, as one encoding for several followers.
    #[inline]
    pub fn advance(&mut self, message: &Message, frame: AppFrame) {
        match frame {
            AppFrame::LinkHeartbeat => {}
            AppFrame::AppEntries => self.position = self.position.after_entries(message.entries.len()),
            AppFrame::MsgApp => {
                self.position = Position::after_message(message);
                self.head = HeadBytes::new(self.local, self.remote, self.position.term, self.dialect);
            }
        }
    }

    /// The decoder would make up the same head: type, from, to, term, logTerm, index.
    #[inline]
    fn continues(&self, message: &Message) -> bool {
        message.is(MessageType::MsgApp)
            && message.index() == self.position.index
            && message.log_term() == self.position.term
            && message.term() == self.position.term
            && message.from() == self.local.0
            && message.to() == self.remote.0
    }
}

/// Nothing is said that `01` leaves out, and the entries carry the indexes that the frame implies.
#[inline]
fn is_implied(message: &Message) -> bool {
    !message.reject()
        && message.reject_hint() == 0
        && message.vote() == 0
        && message.responses.is_empty()
        // Present but blank says nothing: messages that came from etcd 3.4 look so.
        && message.context.as_ref().is_none_or(|context| context.is_empty())
        && message.snapshot.as_ref().is_none_or(|snapshot| snapshot.is_blank())
        && message.has_contiguous_entries()
}

/// Writes an AppEntries frame. Returns what the entries take inside of a message (each with key
/// and length), which is not what they take in the frame.
pub fn encode_app_entries(entries: &[Entry], commit: u64, dialect: Dialect, sink: &mut impl Sink) -> usize {
    let front = |pen: &mut Pen<'_>| {
        pen.byte(APP_ENTRIES);
        pen.frame_integer(entries.len() as u64);
    };
    put_entry_frames(front, entries, commit, dialect, sink)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::codec::VecSink;
    use crate::raftpb::Snapshot;

    /// Fits the start of a connection.
    fn append() -> Message {
        Message {
            r#type: Some(MessageType::MsgApp as i32),
            to: Some(2),
            from: Some(1),
            entries: vec![Entry { index: Some(1), ..Entry::default() }],
            ..Message::default()
        }
    }

    #[test]
    fn only_an_append_that_loses_nothing_goes_without_its_head() {
        let encoder = MsgAppV2Encoder::new(MemberId(1), MemberId(2), Dialect::Full);
        let frame = |change: &dyn Fn(&mut Message)| {
            let mut message = append();
            change(&mut message);
            encoder.frame(&message)
        };
        let empty = Some(bytes::Bytes::new());
        let implied: [&dyn Fn(&mut Message); 5] = [
            &|_| {},
            &|m| m.entries.clear(),
            &|m| m.commit = Some(7),
            &|m| m.context = empty.clone(),
            &|m| m.snapshot = Some(Box::default()),
        ];
        for change in implied {
            assert_eq!(frame(change), AppFrame::AppEntries);
        }
        let said: [&dyn Fn(&mut Message); 14] = [
            &|m| m.r#type = Some(MessageType::MsgAppResp as i32),
            &|m| m.from = Some(3),
            &|m| m.to = None,
            &|m| m.term = Some(1),
            &|m| m.log_term = Some(1),
            &|m| m.index = Some(1),
            &|m| m.entries[0].index = Some(2),
            &|m| m.entries.push(Entry { index: Some(3), ..Entry::default() }),
            &|m| m.reject = Some(true),
            &|m| m.reject_hint = Some(1),
            &|m| m.context = Some(bytes::Bytes::from_static(b"x")),
            &|m| m.vote = Some(1),
            &|m| m.responses.push(Message::default()),
            &|m| m.snapshot = Some(Box::new(Snapshot { data: Some("x".into()), metadata: None })),
        ];
        for (n, change) in said.into_iter().enumerate() {
            assert_eq!(frame(change), AppFrame::MsgApp, "change {n}");
        }
    }

    #[test]
    fn a_frame_that_was_written_elsewhere_moves_the_position_too() {
        let message = append();
        let next = Message {
            index: Some(1),
            entries: vec![Entry { index: Some(2), ..Entry::default() }],
            ..append()
        };
        let mut encoder = MsgAppV2Encoder::new(MemberId(1), MemberId(2), Dialect::Full);
        let mut shared = encoder.clone();
        encoder.encode(&message, &mut VecSink::default());
        shared.advance(&message, shared.frame(&message));
        assert_eq!(encoder.frame(&next), AppFrame::AppEntries);
        assert_eq!(shared.frame(&next), AppFrame::AppEntries);
    }
}
