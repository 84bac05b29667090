//! What the reader of a stream does while its host does not take what it brought.
//!
//! ```text
//!            something is left               for too long
//!   Flowing ------------------> Holding ---------------------> Flooding
//!    read                      wait until <-----------------  read on, drop
//!                                          the sender's writes moved,
//!                                          and the host takes again
//! ```
//!
//! and from both back to the first as soon as nothing is left.
//!
//! What is not read fills TCP's window, and behind it the lane of the sender, which is bounded and
//! tells its own host. But the heartbeats of the link wait in the same window, and a sender whose
//! write moves nothing cuts the stream: so holding has a budget, whatever the host does, and only
//! reading renews it.

use std::time::{Duration, Instant};

use crate::proto::codec::StreamKind;

/// A stream is left unread for no longer than this until its sender's writes have moved: etcd cuts one
/// whose write has moved nothing for 5 s, and what has piled up by then takes time to be read.
pub const HOLD_MAX: Duration = Duration::from_secs(3);

/// The same as a part of our own write timeout, where that is shorter than etcd's: the members of a
/// cluster are set alike.
const HOLD_PARTS_OF_WRITE_TIMEOUT: (u32, u32) = (3, 5);

/// A sender's writes have moved for sure once so much was read, or all that had come: Linux opens a
/// window that was closed when a sixteenth of the receive buffer is free (2 MiB of the largest usual
/// one, 32 MiB), and goes on to write when a third of the send buffer is (4 MiB).
pub const CATCH_UP_BYTES: usize = 4 << 20;

/// From a call in which the host took something to the next: as soon as a host that works through
/// its queue may have room again.
pub const OFFER_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// Each call in which it took nothing doubles that, up to half a tick of a core: a host that comes
/// back waits no longer for its messages.
pub const OFFER_INTERVAL_MAX: Duration = Duration::from_millis(50);

/// What the reader of a stream does next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// Read on; everything that was read is taken, or may wait.
    Read,
    /// Do not read. Then offer again what was left, and ask again.
    WaitUntil(Instant),
    /// Read on, and drop what exceeds the bounds of what may wait.
    Drop,
}

/// How the host of one stream keeps up. It outlives connections, as what was left does.
#[derive(Clone, Debug)]
pub struct Backpressure {
    hold_max: Duration,
    state: State,
    /// For how long the stream was left unread since its sender's writes are known to have moved.
    held: Duration,
    /// What was read since then.
    read_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing is left.
    Flowing,
    /// Something is left, and the stream is not read.
    Holding { since: Instant, offer_at: Instant, interval: Duration },
    /// Something is left, and the stream is read all the same. `taking` if the host took something
    /// since.
    Flooding { taking: bool },
}

impl Backpressure {
    /// For a stream between members who give up a write that moves nothing after `write_timeout`. The
    /// `message` stream is never held: raft's heartbeats come on it.
    #[must_use]
    pub fn new(kind: StreamKind, write_timeout: Duration) -> Self {
        let (part, of) = HOLD_PARTS_OF_WRITE_TIMEOUT;
        let hold_max = match kind {
            StreamKind::Msgapp => HOLD_MAX.min(write_timeout * part / of),
            StreamKind::Message => Duration::ZERO,
        };
        Self { hold_max, state: State::Flowing, held: Duration::ZERO, read_bytes: 0 }
    }

    /// True while nothing is left: there is nothing to decide.
    #[must_use]
    pub const fn is_flowing(&self) -> bool {
        matches!(self.state, State::Flowing)
    }

    /// Messages were offered: the host took so many, and so many are left.
    pub fn handle_offer(&mut self, now: Instant, taken: usize, left: usize) {
        self.state = match self.state {
            State::Holding { since, .. } if left == 0 => {
                self.held += now.saturating_duration_since(since);
                State::Flowing
            }
            _ if left == 0 => State::Flowing,
            State::Flowing => hold(now),
            State::Holding { since, interval, .. } => {
                let longer = (interval * 2).min(OFFER_INTERVAL_MAX);
                let interval = if taken > 0 { OFFER_INTERVAL_MIN } else { longer };
                State::Holding { since, offer_at: now + interval, interval }
            }
            State::Flooding { taking } => State::Flooding { taking: taking || taken > 0 },
        };
    }

    /// A read brought `count` bytes, `all` that had come or a part. A host that takes messages again
    /// may be waited for again once the sender's writes have moved.
    pub fn handle_read(&mut self, now: Instant, count: usize, all: bool) {
        self.read_bytes += count;
        if all || self.read_bytes >= CATCH_UP_BYTES {
            (self.held, self.read_bytes) = (Duration::ZERO, 0);
            if let State::Flooding { taking: true } = self.state {
                self.state = hold(now);
            }
        }
    }

    /// What to do at `now`.
    pub fn decide(&mut self, now: Instant) -> Decision {
        match self.state {
            State::Flowing => return Decision::Read,
            State::Holding { since, offer_at, .. } => {
                let until = since + self.hold_max.saturating_sub(self.held);
                if now < until {
                    return Decision::WaitUntil(offer_at.min(until));
                }
                self.held = self.hold_max;
                self.state = State::Flooding { taking: false };
            }
            State::Flooding { .. } => {}
        }
        Decision::Drop
    }
}

fn hold(now: Instant) -> State {
    State::Holding { since: now, offer_at: now + OFFER_INTERVAL_MIN, interval: OFFER_INTERVAL_MIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

    fn msgapp(write_timeout: Duration) -> Backpressure {
        Backpressure::new(StreamKind::Msgapp, write_timeout)
    }

    /// Offers to a host that takes so many of so many whenever it is time, until the answer is not to
    /// wait; how long that took and how many offers.
    fn wait(pressure: &mut Backpressure, mut now: Instant, taken: usize, left: usize) -> (Duration, usize) {
        let (began, mut offers) = (now, 0);
        while let Decision::WaitUntil(at) = pressure.decide(now) {
            assert!(at > now && at <= now + OFFER_INTERVAL_MAX, "{:?}", at - now);
            now = at;
            pressure.handle_offer(now, taken, left);
            offers += 1;
        }
        (now - began, offers)
    }

    #[test]
    fn while_the_host_takes_everything_the_stream_is_read() {
        let now = Instant::now();
        let mut pressure = msgapp(WRITE_TIMEOUT);
        pressure.handle_offer(now, 7, 0);
        assert_eq!(pressure.decide(now), Decision::Read);
        assert!(pressure.is_flowing());
    }

    #[test]
    fn what_is_left_is_offered_soon_and_then_less_often_until_it_is_taken() {
        let mut now = Instant::now();
        let mut pressure = msgapp(WRITE_TIMEOUT);
        pressure.handle_offer(now, 3, 4);
        for interval in [1, 2, 4, 8, 16, 32, 50, 50] {
            assert_eq!(pressure.decide(now), Decision::WaitUntil(now + interval * MS));
            now += interval * MS;
            pressure.handle_offer(now, 0, 4);
        }
        pressure.handle_offer(now, 1, 3);
        assert_eq!(pressure.decide(now), Decision::WaitUntil(now + MS), "it is taking again");
        pressure.handle_offer(now, 3, 0);
        assert_eq!(pressure.decide(now), Decision::Read);
    }

    #[test]
    fn a_host_that_takes_nothing_is_waited_for_once_and_then_not_until_it_takes() {
        let now = Instant::now();
        let mut pressure = msgapp(WRITE_TIMEOUT);
        pressure.handle_offer(now, 0, 4);
        let (time, offers) = wait(&mut pressure, now, 0, 4);
        assert_eq!(time, HOLD_MAX);
        assert!(offers < 80, "{offers} offers");
        pressure.handle_read(now + time, 1, true);
        assert_eq!(pressure.decide(now + time), Decision::Drop, "it has taken nothing");
        pressure.handle_offer(now + time, 1, 3);
        assert_eq!(pressure.decide(now + time), Decision::Drop, "its sender still waits");
        pressure.handle_read(now + time, 1, true);
        assert!(matches!(pressure.decide(now + time), Decision::WaitUntil(_)));
        pressure.handle_offer(now + time, 3, 0);
        assert!(pressure.is_flowing());
    }

    #[test]
    fn a_host_that_takes_too_slowly_does_not_keep_the_stream_unread() {
        let now = Instant::now();
        let mut pressure = msgapp(WRITE_TIMEOUT);
        pressure.handle_offer(now, 1, 9_999);
        assert_eq!(wait(&mut pressure, now, 1, 9_999).0, HOLD_MAX);
    }

    #[test]
    fn waits_add_up_until_the_senders_writes_have_moved() {
        let mut now = Instant::now();
        let mut pressure = msgapp(WRITE_TIMEOUT);
        // A block of the largest size is read, and the host is slow with each piece of it.
        let mut hold = |pressure: &mut Backpressure, time| {
            pressure.handle_offer(now, 0, 1);
            assert!(matches!(pressure.decide(now), Decision::WaitUntil(_)));
            now += time;
            let decision = pressure.decide(now);
            pressure.handle_offer(now, 1, 0);
            pressure.handle_read(now, CATCH_UP_BYTES / 3, false);
            decision
        };
        let third = HOLD_MAX / 3;
        assert!(matches!(hold(&mut pressure, third), Decision::WaitUntil(_)));
        assert!(matches!(hold(&mut pressure, third), Decision::WaitUntil(_)));
        assert_eq!(hold(&mut pressure, third), Decision::Drop);
        pressure.handle_offer(now, 0, 1);
        assert_eq!(pressure.decide(now), Decision::Drop, "nothing is left of the budget");
        pressure.handle_offer(now, 1, 0);
        pressure.handle_read(now, CATCH_UP_BYTES / 3, false);
        pressure.handle_offer(now, 0, 1);
        assert!(matches!(pressure.decide(now), Decision::WaitUntil(_)), "enough was read");
    }

    #[test]
    fn the_stream_of_heartbeats_is_read_whatever_is_left() {
        let now = Instant::now();
        let mut pressure = Backpressure::new(StreamKind::Message, WRITE_TIMEOUT);
        for taken in [0, 1, 0] {
            pressure.handle_offer(now, taken, 9);
            assert_eq!(pressure.decide(now), Decision::Drop);
            pressure.handle_read(now, 1, true);
            assert_eq!(pressure.decide(now), Decision::Drop);
        }
        pressure.handle_offer(now, 9, 0);
        assert_eq!(pressure.decide(now), Decision::Read);
    }

    #[test]
    fn members_that_give_up_sooner_are_kept_waiting_for_less() {
        let now = Instant::now();
        let mut pressure = msgapp(500 * MS);
        pressure.handle_offer(now, 0, 1);
        assert_eq!(wait(&mut pressure, now, 0, 1).0, 300 * MS);
        let mut patient = msgapp(Duration::from_secs(60));
        patient.handle_offer(now, 0, 1);
        assert_eq!(wait(&mut patient, now, 0, 1).0, HOLD_MAX, "etcd is never set otherwise");
    }
}
