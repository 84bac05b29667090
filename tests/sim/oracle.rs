//! What is asserted of everything that comes out of a connection, and of its end.

use raftring::proto::codec::screen;
use raftring::proto::stream::ReadError;
use raftring::raftpb::Message;

use super::conn::{Conn, ConnId};
use super::ledger::Ledger;
use super::node::{Slot, member};
use super::stamp::Stamp;
use super::world::World;

impl World {
    /// I2: what comes out is what went in, from the first message on, without a gap. I3: once.
    pub(super) fn deliver(&mut self, slot: Slot, conn: ConnId, message: &Message) {
        let at = self.conns[conn].transcript.decoded;
        if self.conns[conn].transcript.tainted_from.is_some_and(|from| at >= from) {
            self.tally.garbage_ignored += 1;
            return;
        }
        if let Err(what) = self.check_delivered(slot, conn, message) {
            self.fail(format!("conn {conn}, message {at}: {what}"));
        }
        self.conns[conn].transcript.decoded += 1;
        self.tally.delivered += 1;
    }

    fn check_delivered(&mut self, slot: Slot, conn: ConnId, message: &Message) -> Result<(), String> {
        let transcript = &mut self.conns[conn].transcript;
        let Some(&id) = transcript.encoded.get(transcript.decoded) else {
            return Err(format!("nothing of the kind was encoded for it: {message:?}"));
        };
        let sent = &mut self.ledger.sent[id];
        if !Ledger::is_same(&sent.message, message) {
            return Err(format!("{:?} became {message:?}", sent.message));
        }
        if let Some(stamp) = Stamp::of(message)?
            && stamp != sent.stamp
        {
            return Err(format!("{stamp:?} instead of {:?}", sent.stamp));
        }
        let Stamp { class, seq, .. } = sent.stamp;
        if transcript.last_seq[class as usize].is_some_and(|last| last >= seq) {
            return Err(format!("{:?} after {:?}", sent.stamp, transcript.last_seq));
        }
        transcript.last_seq[class as usize] = Some(seq);
        if std::mem::replace(&mut sent.delivered, true) {
            return Err(format!("{:?} for the second time", sent.stamp));
        }
        screen(message, member(slot.node), member(slot.peer)).map_err(|error| error.to_string())
    }
}

impl Conn {
    /// Streams end for a reason, and a clean end is never made up.
    pub(super) fn may_end_with(&self, error: &ReadError) -> Result<(), String> {
        if self.transcript.is_tainted() {
            return Ok(());
        }
        let (encoded, decoded) = (self.transcript.encoded.len(), self.transcript.decoded);
        match error {
            ReadError::Eof if self.is_http_1_0 && self.excuse.is_some() => Ok(()),
            ReadError::Eof if !self.ended => Err("nobody ended it".to_owned()),
            ReadError::Eof if decoded < encoded => Err(format!("only {decoded} of {encoded} came out")),
            ReadError::Eof => Ok(()),
            ReadError::UnexpectedEof | ReadError::Silent if self.excuse.is_some() => Ok(()),
            ReadError::UnexpectedEof | ReadError::Silent => Err("nothing had happened to it".to_owned()),
            _ => Err("no bit of it was flipped".to_owned()),
        }
    }
}
