//! What one member has been given, held against what was sent.

use std::collections::HashMap;

use raftring::raftpb::Message;
use raftring::{MemberId, Origin, Via};

use crate::load::{Class, link};
use crate::stamp::Stamp;

/// Numbers of one sender's class that are remembered one by one: far more than can be under way.
const REMEMBERED: u64 = 1 << 16;

/// Which of them have come.
struct Window {
    highest: u64,
    came: Box<[u64; REMEMBERED as usize / 64]>,
}

impl Default for Window {
    fn default() -> Self {
        Self { highest: 0, came: Box::new([0; REMEMBERED as usize / 64]) }
    }
}

impl Window {
    /// True if this is the first time for `seq`.
    fn note(&mut self, seq: u64) -> bool {
        for forgotten in (self.highest + 1).max((seq + 1).saturating_sub(REMEMBERED))..=seq {
            *self.word(forgotten) &= !Self::bit(forgotten);
        }
        self.highest = self.highest.max(seq);
        let (is_remembered, bit) = (seq + REMEMBERED > self.highest, Self::bit(seq));
        let word = self.word(seq);
        let is_new = is_remembered && *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn word(&mut self, seq: u64) -> &mut u64 {
        &mut self.came[(seq % REMEMBERED / 64) as usize]
    }

    const fn bit(seq: u64) -> u64 {
        1 << (seq % 64)
    }
}

/// What came from one sender in one class.
#[derive(Default)]
struct Arrivals {
    /// How many, by the stream that they came on: an append may have to take the other one.
    counts: HashMap<Via, u64>,
    window: Window,
    /// The last number on the connection that each of the two streams has now.
    last: HashMap<Via, u64>,
}

/// The oracle of one member. It judges while messages come and keeps what was wrong.
pub(crate) struct Ledger {
    id: u64,
    arrivals: HashMap<(u64, Class), Arrivals>,
    pub(crate) faults: Vec<String>,
}

impl Ledger {
    pub(crate) fn of(id: u64) -> Self {
        Self { id, arrivals: HashMap::new(), faults: Vec::new() }
    }

    /// How many messages came from a sender in a class, on the stream that is for them.
    pub(crate) fn count(&self, from: u64, class: Class) -> u64 {
        let arrivals = self.arrivals.get(&(from, class));
        arrivals.and_then(|arrivals| arrivals.counts.get(&class.via())).copied().unwrap_or(0)
    }

    pub(crate) fn total(&self) -> u64 {
        self.arrivals.values().flat_map(|arrivals| arrivals.counts.values()).sum()
    }

    /// Order holds on a connection: a new one begins anew.
    pub(crate) fn connected(&mut self, peer: MemberId, via: Via) {
        for ((from, _), arrivals) in &mut self.arrivals {
            if *from == peer.0 {
                arrivals.last.remove(&via);
            }
        }
    }

    pub(crate) fn take(&mut self, origin: Origin, message: &Message) {
        if let Err(fault) = self.judge(origin, message) {
            self.faults.push(format!("to {} from {}: {fault}", self.id, origin.peer));
        }
    }

    fn judge(&mut self, origin: Origin, message: &Message) -> Result<(), String> {
        let stamp = Stamp::of(message)?.ok_or("a message without a stamp")?;
        let from = message.from();
        if stamp.epoch != link(from, self.id) || from != origin.peer.0 || message.to() != self.id {
            return Err(format!("{stamp:?} belongs to another link"));
        }
        let class = Class::of_number(stamp.class).ok_or("nobody sends this class")?;
        let arrivals = self.arrivals.entry((from, class)).or_default();
        *arrivals.counts.entry(origin.via).or_default() += 1;
        if !arrivals.window.note(stamp.seq) {
            return Err(format!("{stamp:?} came a second time"));
        }
        if origin.via == Via::Pipeline {
            return Ok(()); // four at a time, in no order
        }
        match arrivals.last.insert(origin.via, stamp.seq) {
            Some(last) if last >= stamp.seq => {
                Err(format!("{stamp:?} came after number {last} of the same connection"))
            }
            _ => Ok(()),
        }
    }
}

#[test]
fn a_number_is_new_once() {
    let mut window = Window::default();
    for seq in [1, 2, 5, 3, REMEMBERED + 4, 6, 10 * REMEMBERED] {
        assert!(window.note(seq), "{seq} is new");
        assert!(!window.note(seq), "{seq} is not");
    }
    assert!(!window.note(5), "too old to tell is not new");
    assert!(window.note(10 * REMEMBERED - 1));
}
