//! A host that keeps a ledger, and can be told to misbehave, once or for a while.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use raftring::raftpb::Message;
use raftring::{Direction, Event, MemberId, Origin, Raft, SnapshotStatus, StreamKind, Via};

use crate::ledger::Ledger;

pub(crate) struct Host {
    ledger: Mutex<Ledger>,
    /// The next batch makes it panic.
    pub(crate) panic_next: AtomicBool,
    /// Of the next batch it leaves half.
    pub(crate) leave_next: AtomicBool,
    /// It takes nothing at all.
    pub(crate) stalls: AtomicBool,
    /// How often it has panicked.
    pub(crate) panics: AtomicU64,
    /// How often it has left something.
    pub(crate) left: AtomicU64,
}

impl Host {
    pub(crate) fn new(id: u64) -> Arc<Self> {
        Arc::new(Self {
            ledger: Mutex::new(Ledger::of(id)),
            panic_next: AtomicBool::new(false),
            leave_next: AtomicBool::new(false),
            stalls: AtomicBool::new(false),
            panics: AtomicU64::new(0),
            left: AtomicU64::new(0),
        })
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("it panics without the lock")
    }

    /// The observer: a stream that comes up is a new connection.
    pub(crate) fn observe(&self, event: &Event) {
        if let Event::StreamUp { peer, kind, direction: Direction::Reader } = event {
            let via = match kind {
                StreamKind::Msgapp => Via::Msgapp,
                StreamKind::Message => Via::Message,
            };
            self.ledger().connected(*peer, via);
        }
    }
}

impl Raft for Host {
    fn process(&self, origin: Origin, messages: &mut Vec<Message>) {
        if self.panic_next.swap(false, Ordering::Relaxed) {
            self.panics.fetch_add(1, Ordering::Relaxed);
            // Past the hook, which would print it.
            std::panic::resume_unwind(Box::new("planted"));
        }
        if self.stalls.load(Ordering::Relaxed) {
            self.left.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut taken = messages.len();
        if taken > 1 && self.leave_next.swap(false, Ordering::Relaxed) {
            self.left.fetch_add(1, Ordering::Relaxed);
            taken /= 2;
        }
        let mut ledger = self.ledger();
        for message in messages.drain(..taken) {
            ledger.take(origin, &message);
        }
    }

    fn is_id_removed(&self, _: MemberId) -> bool {
        false
    }

    fn report_unreachable(&self, _: MemberId) {}

    fn report_snapshot(&self, _: MemberId, _: SnapshotStatus) {}
}
