//! What other threads see of a core, and what they may ask of it.

use std::rc::Rc;
use std::sync::Arc;

use super::congestion::Congestion;
use super::core::Core;
use super::insight::{CoreCounters, CoreStats};
use crate::buf::Pool;
use crate::cores::{Alarm, Backlog, Doorbell, Load, Mailbox};
use crate::metrics::Stages;

/// Something to do on a core.
type Errand = Box<dyn FnOnce(&Rc<Core>) + Send>;

/// What other threads may ask of a core.
pub(crate) enum Letter {
    /// Run this on the core.
    Run(Errand),
    /// A lane of the peer in this slot has messages.
    Dirty(LaneKey),
    /// Wake the task that waits for a signal.
    Wake(usize),
}

/// Which lane of which peer of a core.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct LaneKey {
    /// The peer's slot.
    pub(crate) slot: usize,
    /// 0 msgapp, 1 message.
    pub(crate) lane: usize,
}

/// The part of a core that every thread sees.
pub(crate) struct CoreShared {
    pub(crate) index: usize,
    pub(crate) load: Load,
    /// Memory of the core, which comes home from whatever thread.
    pub(crate) pool: Pool,
    /// What waits in lanes, counted for all cores together.
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) congestion: Congestion,
    pub(crate) mailbox: Mailbox<Letter>,
    pub(crate) doorbell: Doorbell,
    pub(crate) alarm: Alarm,
    pub(crate) counters: CoreCounters,
    /// How long messages stay in each stage: those of the peers here.
    pub(crate) stages: Arc<Stages>,
}

impl CoreShared {
    /// What it holds and did, at any moment and from any thread: nobody waits for anybody.
    pub(crate) fn stats(&self) -> CoreStats {
        let (rung, suppressed) = self.doorbell.counters();
        let mut stats = CoreStats {
            blocks: self.pool.stats(),
            peers: self.load.peers(),
            busy: self.load.busy(),
            rung,
            suppressed,
            ..CoreStats::default()
        };
        self.counters.write_to(&mut stats);
        stats
    }

    /// Posts a letter and wakes the core if it sleeps.
    pub(crate) fn post(&self, letter: Letter) {
        self.mailbox.push(letter);
        self.doorbell.ring();
    }

    /// Runs `f` on the core, later.
    pub(crate) fn run(&self, f: impl FnOnce(&Rc<Core>) + Send + 'static) {
        self.post(Letter::Run(Box::new(f)));
    }
}
