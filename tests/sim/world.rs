//! Nodes, connections, one clock, and one queue of events: the same seed is the same run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use raftring::StreamKind;
use raftring::proto::stream::Bug;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::conn::{Conn, ConnId, UP};
use super::fault::Fault;
use super::ledger::Ledger;
use super::node::{Incoming, Node, Outgoing, Peer, PeerConfig, Slot};
use super::plan::{Plan, ms};
use super::tally::Tally;

/// Machines look at their deadlines so often, as the ticker of a core lets them.
const TICK: Duration = ms(50);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Event {
    Dial(Slot, u64),
    DialDeadline(Slot, ConnId),
    Arrive(ConnId, usize),
    Written(Slot, ConnId, usize),
    Fault(ConnId, Fault),
    Send(usize, usize),
    Burst(usize, usize),
    EndStream(Slot),
    Restart(usize),
    Tick,
    /// No fault from here on.
    Calm,
    Judge,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) rng: SmallRng,
    pub(super) bug: Option<Bug>,
    base: Instant,
    pub(super) now: Duration,
    queue: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    order: u64,
    pub(super) tickets: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) conns: Vec<Conn>,
    pub(super) ledger: Ledger,
    pub(super) tally: Tally,
    pub(super) failure: Option<String>,
    pub(super) log: Option<Vec<String>>,
    /// A dial is held back for long after a mismatch of clusters.
    pub(super) is_held_back: bool,
    pub(super) is_healed: bool,
    pub(super) is_judged: bool,
}

/// A line of the log, made only if somebody will read it.
macro_rules! note {
    ($world:expr, $($text:tt)*) => {
        if let Some(log) = &mut $world.log {
            log.push(format!("{:>10.3?}  {}", $world.now, format_args!($($text)*)));
        }
    };
}
pub(super) use note;

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>, is_logged: bool) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let plan = Plan::draw(&mut rng);
        let mut world = Self {
            nodes: (0..plan.nodes).map(|own| Node::new(own, plan.nodes)).collect(),
            plan,
            rng,
            bug,
            base: Instant::now(),
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            order: 0,
            tickets: 0,
            conns: Vec::new(),
            ledger: Ledger::default(),
            tally: Tally { seeds: 1, ..Tally::default() },
            failure: None,
            log: is_logged.then(Vec::new),
            is_held_back: false,
            is_healed: false,
            is_judged: false,
        };
        note!(world, "{:?}", world.plan);
        for node in 0..world.plan.nodes {
            world.start_node(node);
        }
        world.schedule_plan();
        world
    }

    fn schedule_plan(&mut self) {
        let calm_at = self.plan.calm_at;
        for from in 0..self.plan.nodes {
            for to in (0..self.plan.nodes).filter(|&to| to != from) {
                self.at(ms(0), Event::Send(from, to));
            }
        }
        for _ in 0..self.plan.ends {
            let (node, kind) = (self.rng.random_range(0..self.plan.nodes), self.rng.random_range(0..2));
            let peer = (node + 1) % self.plan.nodes;
            let at = self.rng.random_range(ms(0)..calm_at);
            self.at(at, Event::EndStream(Slot { node, peer, kind: StreamKind::ALL[kind] }));
        }
        for _ in 0..self.plan.bursts {
            let (from, at) =
                (self.rng.random_range(0..self.plan.nodes), self.rng.random_range(ms(0)..calm_at));
            self.at(at, Event::Burst(from, (from + 1) % self.plan.nodes));
        }
        for _ in 0..self.plan.restarts {
            let (node, at) =
                (self.rng.random_range(0..self.plan.nodes), self.rng.random_range(ms(0)..calm_at));
            self.at(at, Event::Restart(node));
        }
        self.at(calm_at, Event::Calm);
        self.at(TICK, Event::Tick);
    }

    /// Makes all peers of a node and lets them dial.
    fn start_node(&mut self, node: usize) {
        for peer in (0..self.plan.nodes).filter(|&peer| peer != node) {
            let late = self.rng.random_bool(0.2);
            let known_at = if late { self.rng.random_range(ms(0)..self.plan.calm_at) } else { ms(0) };
            let epoch = self.nodes[node].epoch;
            let config =
                PeerConfig { node, peer, epoch, dialect: self.plan.dialect, known_at, bug: self.bug };
            let made = Peer::new(config, &self.nodes[node].pool, self.now, self.instant());
            self.nodes[node].peers[peer] = Some(made);
            for kind in StreamKind::ALL {
                self.dial_at(Slot { node, peer, kind }, self.now);
            }
        }
    }

    /// The process is killed and started again: its connections are cut, its machines are new.
    fn restart(&mut self, node: usize) {
        note!(self, "node {node} restarts");
        self.tally.restarts += 1;
        for conn in 0..self.conns.len() {
            if self.conns[conn].dialler == node || self.conns[conn].server == node {
                self.reset(conn, "a node restarted");
            }
        }
        for peer in (0..self.plan.nodes).filter(|&peer| peer != node) {
            for kind in StreamKind::ALL {
                self.writer_failed(Slot { node, peer, kind }, "the node restarts");
            }
        }
        self.nodes[node].epoch += 1;
        self.start_node(node);
    }

    pub(super) fn run(&mut self) {
        while self.failure.is_none() && !self.is_judged {
            let Some(Reverse((at, _, event))) = self.queue.pop() else {
                return self.fail("nothing left to do".to_owned());
            };
            self.now = at;
            self.handle(event);
        }
        self.tally.simulated_ms = self.now.as_millis() as u64;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Dial(slot, ticket) => self.dial(slot, ticket),
            Event::DialDeadline(slot, conn) => self.dial_deadline(slot, conn),
            Event::Arrive(conn, UP) => self.request_arrives(conn),
            Event::Arrive(conn, _) => self.answer_arrives(conn),
            Event::Written(slot, conn, count) => self.written(slot, conn, count),
            Event::Fault(conn, fault) => self.inject(conn, fault),
            Event::Send(from, to) => self.send_some(from, to),
            Event::Burst(from, to) => self.send_burst(from, to),
            Event::EndStream(slot) => self.end_stream(slot),
            Event::Restart(node) => self.restart(node),
            Event::Tick => self.tick(),
            Event::Calm => self.calm(),
            Event::Judge => self.judge(),
        }
    }

    fn tick(&mut self) {
        for node in 0..self.plan.nodes {
            for peer in (0..self.plan.nodes).filter(|&peer| peer != node) {
                for kind in StreamKind::ALL {
                    self.tick_reader(Slot { node, peer, kind });
                    self.tick_writer(Slot { node, peer, kind });
                }
            }
        }
        self.tick_heads();
        if self.now >= self.plan.calm_at && !self.is_healed {
            self.look_for_healing();
        }
        self.at(self.now + TICK, Event::Tick);
    }

    pub(super) fn at(&mut self, at: Duration, event: Event) {
        self.order += 1;
        self.queue.push(Reverse((at, self.order, event)));
    }

    pub(super) fn instant(&self) -> Instant {
        self.base + self.now
    }

    pub(super) fn is_calm(&self) -> bool {
        self.now >= self.plan.calm_at
    }

    pub(super) fn fail(&mut self, what: String) {
        note!(self, "FAILED: {what}");
        self.failure.get_or_insert(what);
    }

    pub(super) fn peer(&mut self, node: usize, peer: usize) -> &mut Peer {
        self.nodes[node].peers[peer].as_mut().expect("not itself")
    }

    pub(super) fn incoming(&mut self, slot: Slot) -> &mut Incoming {
        &mut self.peer(slot.node, slot.peer).incoming[slot.kind as usize]
    }

    pub(super) fn outgoing(&mut self, slot: Slot) -> &mut Outgoing {
        &mut self.peer(slot.node, slot.peer).outgoing[slot.kind as usize]
    }
}
