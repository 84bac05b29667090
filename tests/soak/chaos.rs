//! What is done to the members, drawn from a seed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use raftring::Cores;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::member::{MEMBERS, Member, PATIENCE};

/// Faults that are in force at the same time, at most.
const IN_FORCE_MAX: usize = 3;

/// Between two of them.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Kind {
    /// Stopped, and started again on the same address.
    Restart,
    /// A peer is removed, and added again.
    Remove,
    /// A peer is cut off, and mended.
    Cut,
    /// All peers are, and resumed.
    Pause,
    /// The host panics in `process`.
    Panic,
    /// The host leaves half of a batch.
    Leave,
    /// The host takes nothing for a while.
    Stall,
    /// A peer moves to another core, or to the one where it is.
    Move,
    /// A connection is reset in the middle of what it carries.
    Reset,
    /// What a member says stands still on its way to all others.
    Hold,
    /// A peer is given URLs of nobody or of another member, and its own again.
    Misdirect,
}

const KINDS: [Kind; 11] = [
    Kind::Restart,
    Kind::Remove,
    Kind::Cut,
    Kind::Pause,
    Kind::Panic,
    Kind::Leave,
    Kind::Stall,
    Kind::Move,
    Kind::Reset,
    Kind::Hold,
    Kind::Misdirect,
];

/// Something that is done to a member, or to what it knows of another one, and undone later.
#[derive(Clone, Copy, Debug)]
struct Fault {
    kind: Kind,
    at: usize,
    other: usize,
}

pub(crate) struct Chaos<'a> {
    cores: &'a Cores,
    members: &'a [Arc<Member>],
    rng: StdRng,
    /// How often each fault was begun.
    counts: BTreeMap<Kind, u64>,
}

impl<'a> Chaos<'a> {
    pub(crate) fn new(cores: &'a Cores, members: &'a [Arc<Member>], seed: u64) -> Self {
        Self { cores, members, rng: StdRng::seed_from_u64(seed), counts: BTreeMap::new() }
    }

    /// Begins faults and ends them in turns for this long; none is in force afterwards.
    pub(crate) fn run(&mut self, time: Duration) {
        let (until, mut in_force) = (Instant::now() + time, VecDeque::new());
        while Instant::now() < until {
            let fault = self.draw();
            self.begin(fault);
            in_force.push_back(fault);
            if in_force.len() > IN_FORCE_MAX {
                in_force.pop_front().into_iter().for_each(|oldest| self.end(oldest));
            }
            std::thread::sleep(self.rng.random_range(Duration::ZERO..PAUSE_MAX));
        }
        in_force.into_iter().for_each(|fault| self.end(fault));
    }

    pub(crate) fn report(&self) -> String {
        let each = self.counts.iter().map(|(kind, count)| format!("{count} {kind:?}"));
        each.collect::<Vec<_>>().join(", ")
    }

    fn draw(&mut self) -> Fault {
        let kind = *KINDS.choose(&mut self.rng).expect("there are some");
        let at = self.rng.random_range(0..MEMBERS as usize);
        let other = (at + self.rng.random_range(1..MEMBERS as usize)) % MEMBERS as usize;
        Fault { kind, at, other }
    }

    fn begin(&mut self, Fault { kind, at, other }: Fault) {
        *self.counts.entry(kind).or_default() += 1;
        let (member, peer) = (&self.members[at], &self.members[other]);
        match kind {
            Kind::Restart => member.restart(self.cores, self.members),
            Kind::Remove => {
                let ending = member.transport().remove_peer(peer.id);
                assert!(self.rng.random() || ending.wait(PATIENCE), "the peer is removed");
            }
            Kind::Cut => member.transport().cut_peer(peer.id),
            Kind::Pause => member.transport().pause(),
            Kind::Panic => member.host.panic_next.store(true, Ordering::Relaxed),
            Kind::Leave => member.host.leave_next.store(true, Ordering::Relaxed),
            Kind::Stall => member.host.stalls.store(true, Ordering::Relaxed),
            Kind::Move => {
                let core = self.rng.random_range(0..self.cores.count());
                let ending = member.transport().move_peer(peer.id, core).expect("a core");
                assert!(self.rng.random() || ending.wait(PATIENCE), "the peer moves");
            }
            Kind::Reset => member.proxy.cut(self.rng.random_range(0..100)),
            Kind::Hold => member.proxy.hold(true),
            Kind::Misdirect => {
                let strangers =
                    self.members.iter().filter(|third| third.id != member.id && third.id != peer.id);
                let urls: Vec<_> = strangers.map(|third| third.url()).chain([NOWHERE.to_owned()]).collect();
                let wrong = urls.choose(&mut self.rng).expect("there are some");
                member.transport().update_peer(peer.id, [wrong]).expect("a good URL");
                peer.proxy.cut(self.rng.random_range(0..100));
            }
        }
    }

    fn end(&self, Fault { kind, at, other }: Fault) {
        let (member, peer) = (&self.members[at], &self.members[other]);
        match kind {
            Kind::Restart | Kind::Move | Kind::Reset => {}
            Kind::Stall => member.host.stalls.store(false, Ordering::Relaxed),
            Kind::Hold => member.proxy.hold(false),
            Kind::Remove => member.add(peer),
            Kind::Cut => member.transport().mend_peer(peer.id),
            Kind::Pause => member.transport().resume(),
            Kind::Panic => member.host.panic_next.store(false, Ordering::Relaxed),
            Kind::Leave => member.host.leave_next.store(false, Ordering::Relaxed),
            Kind::Misdirect => {
                member.transport().update_peer(peer.id, [peer.url()]).expect("a good URL");
            }
        }
    }
}
