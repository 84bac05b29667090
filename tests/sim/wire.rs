//! One direction of a connection: bytes go in, the same bytes come out, later, in other pieces, or
//! never.
//!
//! ```text
//!   write --> | flight: (when, bytes) ... | --arrive--> | unread | --take--> reader
//!             '------------------- unacked ----------------------'
//! ```

use std::collections::VecDeque;
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Pipe {
    flight: VecDeque<(Duration, Vec<u8>)>,
    unread: Vec<u8>,
    read: usize,
    /// Bytes written and not read yet; what vanished counts too, for nobody acknowledges it.
    unacked: usize,
    /// Bytes written since the beginning.
    written: u64,
    last_arrival: Duration,
    closed: bool,
    pub(super) vanishes: bool,
    pub(super) corrupt_next: bool,
}

impl Pipe {
    /// Bytes that a write may hand over now.
    pub(super) fn room(&self, socket_bytes: usize) -> usize {
        socket_bytes.saturating_sub(self.unacked)
    }

    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Takes `bytes`, to arrive at `at` or behind what was written before.
    pub(super) fn write(&mut self, bytes: Vec<u8>, at: Duration) -> Duration {
        self.written += bytes.len() as u64;
        self.unacked += bytes.len();
        self.last_arrival = self.last_arrival.max(at);
        if !self.vanishes && !self.closed {
            self.flight.push_back((self.last_arrival, bytes));
        }
        self.last_arrival
    }

    /// What is due by now can be read.
    pub(super) fn arrive(&mut self, now: Duration) {
        while self.flight.front().is_some_and(|(at, _)| *at <= now) {
            let (_, bytes) = self.flight.pop_front().expect("looked at");
            self.unread.extend_from_slice(&bytes);
        }
    }

    /// Reads up to `most` bytes; never empty but at `most` 0 or when nothing is there.
    pub(super) fn take(&mut self, most: usize) -> &[u8] {
        if self.read == self.unread.len() {
            self.unread.clear();
            self.read = 0;
        }
        let from = self.read;
        let count = most.min(self.unread.len() - from);
        self.read += count;
        self.unacked -= count;
        &self.unread[from..from + count]
    }

    pub(super) fn unread(&self) -> usize {
        self.unread.len() - self.read
    }

    pub(super) const fn is_read_up(&self) -> bool {
        self.unacked == 0
    }

    /// The writer says that nothing follows (FIN).
    pub(super) fn close(&mut self) {
        self.closed |= !self.vanishes;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The reader has read all and was told that nothing follows.
    pub(super) fn is_at_end(&self) -> bool {
        self.closed && self.flight.is_empty() && self.unread() == 0
    }

    /// When everything written so far has arrived.
    pub(super) const fn last_arrival(&self) -> Duration {
        self.last_arrival
    }
}
