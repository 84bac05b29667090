//! The messages of one `send`.

use std::ops::Deref;

use raftring::raftpb::Message;

/// A batch whose messages are written over, if whoever sends them leaves them there: a host that
/// lives on a core lends its messages and keeps them, one on a thread gives them away.
#[derive(Debug, Default)]
pub struct Batch {
    messages: Vec<Message>,
    /// How many of them are in the batch; those behind are spare.
    len: usize,
}

impl Batch {
    /// Adds a message: `write` gets one of an earlier batch, or a default one.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Message)) {
        if self.len == self.messages.len() {
            self.messages.push(Message::default());
        }
        write(&mut self.messages[self.len]);
        self.len += 1;
    }

    /// Gives the messages away.
    pub fn drain(&mut self) -> impl Iterator<Item = Message> + '_ {
        self.messages.drain(..std::mem::take(&mut self.len))
    }

    /// Empties the batch; its messages stay, to be written over.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl Deref for Batch {
    type Target = [Message];

    fn deref(&self) -> &[Message] {
        &self.messages[..self.len]
    }
}
