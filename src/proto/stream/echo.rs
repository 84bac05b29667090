//! Round trips of a stream: how long a link heartbeat takes to the other end, and its echo back.
//!
//! Where both ends are raftring, who reads a stream answers each link heartbeat with one byte on the
//! same connection, against the direction of the stream. The byte counts the heartbeats of that
//! connection, modulo 256. Nothing in the stream itself changes, and with etcd at the other end nothing
//! is sent back. Both ends say in the handshake that they do it, by [`CONNECTION_OPTION`] in
//! `Connection`: an option of this connection and not of the path, so that a proxy between the two,
//! which could not carry the byte, takes it out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Offered by the reader's request, accepted by the writer's answer. Go ignores it.
pub const CONNECTION_OPTION: &str = "raftring-echo";

/// Heartbeats remembered: three are under way at most within the read timeout.
const PENDING_MAX: usize = 8;

/// The writer's side of one connection.
#[derive(Clone, Debug)]
pub struct Echoes {
    /// Heartbeats that the writer had encoded before this connection.
    before: u64,
    sent: u64,
    received: u64,
    /// Number and time of those that have not come back.
    pending: VecDeque<(u64, Instant)>,
}

/// More came back than was sent: the other end is no reader of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooManyEchoes;

impl Echoes {
    /// For a connection whose writer has encoded so many heartbeats on earlier ones.
    #[must_use]
    pub const fn new(before: u64) -> Self {
        Self { before, sent: 0, received: 0, pending: VecDeque::new() }
    }

    /// True if this count of heartbeats is news: then tell [`Echoes::handle_heartbeats`] the time.
    #[must_use]
    pub const fn is_behind(&self, heartbeats: u64) -> bool {
        heartbeats > self.before + self.sent
    }

    /// The writer has encoded so many heartbeats since it was made, the last of them at `now`. What
    /// that one waits for behind a write in flight counts, as it does for a message.
    pub fn handle_heartbeats(&mut self, heartbeats: u64, now: Instant) {
        self.sent = heartbeats.saturating_sub(self.before);
        if self.pending.len() == PENDING_MAX {
            self.pending.pop_front();
        }
        self.pending.push_back((self.sent, now));
    }

    /// A byte came back: the round trips of that heartbeat and of those before it, which the reader found
    /// at once. To leave them out would leave out the longest.
    ///
    /// # Errors
    /// There was no heartbeat for it: close the connection.
    pub fn handle_echo(
        &mut self,
        echo: u8,
        now: Instant,
    ) -> Result<impl Iterator<Item = Duration>, TooManyEchoes> {
        self.received += 1;
        if self.received > self.sent {
            return Err(TooManyEchoes);
        }
        let found = self.pending.iter().position(|(number, _)| *number as u8 == echo);
        let back = self.pending.drain(..found.map_or(0, |found| found + 1));
        Ok(back.map(move |(_, since)| now.saturating_duration_since(since)))
    }
}

/// The reader's side of one connection: what to answer to the heartbeats that came.
#[derive(Clone, Debug, Default)]
pub struct Echo {
    answered: u64,
}

impl Echo {
    /// So many link heartbeats have come on this connection: the bytes to send back. Of many that came
    /// at once only the last is answered, which answers for all.
    pub fn poll(&mut self, heartbeats: u64) -> Option<u8> {
        if heartbeats == self.answered {
            return None;
        }
        self.answered = heartbeats;
        Some(heartbeats as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn handle(echoes: &mut Echoes, echo: u8, now: Instant) -> Result<Vec<Duration>, TooManyEchoes> {
        Ok(echoes.handle_echo(echo, now)?.collect())
    }

    /// A writer and a reader of one connection.
    fn ends() -> (Echoes, Echo, Instant) {
        (Echoes::new(7), Echo::default(), Instant::now())
    }

    #[test]
    fn each_heartbeat_comes_back_with_its_time() {
        let (mut echoes, mut echo, start) = ends();
        for n in 1..=600_u64 {
            let at = start + MS * n as u32;
            assert!(echoes.is_behind(7 + n));
            echoes.handle_heartbeats(7 + n, at);
            assert!(!echoes.is_behind(7 + n));
            let back = echo.poll(n).expect("an answer");
            assert_eq!(echo.poll(n), None, "once");
            assert_eq!(handle(&mut echoes, back, at + 3 * MS), Ok(vec![3 * MS]));
        }
    }

    #[test]
    fn of_two_that_arrive_at_once_the_last_answers_for_both() {
        let (mut echoes, mut echo, start) = ends();
        echoes.handle_heartbeats(8, start);
        echoes.handle_heartbeats(9, start + 10 * MS);
        let back = echo.poll(2).expect("an answer");
        assert_eq!(handle(&mut echoes, back, start + 11 * MS), Ok(vec![11 * MS, MS]));
        assert_eq!(handle(&mut echoes, 1, start + 11 * MS), Ok(vec![]), "the first is past");
    }

    #[test]
    fn what_is_no_echo_says_nothing_and_too_much_of_it_ends_the_connection() {
        let (mut echoes, _, start) = ends();
        assert_eq!(handle(&mut echoes, 0, start), Err(TooManyEchoes));
        let (mut echoes, _, start) = ends();
        for n in 1..=20 {
            echoes.handle_heartbeats(7 + n, start);
        }
        assert_eq!(handle(&mut echoes, 1, start), Ok(vec![]), "forgotten");
        assert_eq!(handle(&mut echoes, 200, start), Ok(vec![]), "never sent");
        assert_eq!(handle(&mut echoes, 20, start), Ok(vec![Duration::ZERO; PENDING_MAX]));
        assert!((3..20).all(|_| handle(&mut echoes, 0, start) == Ok(vec![])));
        assert_eq!(handle(&mut echoes, 0, start), Err(TooManyEchoes));
    }
}
