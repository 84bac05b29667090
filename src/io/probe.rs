//! The two probers of a peer: looked after by the peer's tick, a task only while a probe is under way.
//! Protocol sections 12.2 and 12.3.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::answer::{Answer, NoAnswer};
use super::conn::{Conn, Shut};
use super::connect::{ConnectError, Stop, connect};
use super::faults::INJECTED;
use super::peer::Peer;
use super::serve::wall_time;
use crate::event::Event;
use crate::proto::fault::Side;
use crate::proto::handshake::write_probing_request;
use crate::proto::peer_url::PeerUrl;
use crate::proto::probe::{
    ANSWER_BYTES_MAX, HealthEdge, Look, Prober, RoundTripper, WallTime, parse_probe_answer,
};

/// Between the probes of peers that were added at once: 500 of a core take turns within 4 s, where all
/// together would need 20 MB for a moment.
const SPREAD: Duration = Duration::from_millis(8);

/// The probers of a peer, by the number of their [`RoundTripper`]; none if probing is switched off.
pub(super) struct Probes {
    interval: Option<Duration>,
    /// How much later than the first peer of this core it is probed.
    phase: Duration,
    slots: RefCell<Option<[Slot; 2]>>,
}

/// One prober, and the connections it has.
struct Slot {
    prober: Prober,
    /// Of the probe under way.
    shut: Option<Rc<Shut>>,
    /// Waits for the next probe of the same URL.
    kept: Option<Box<(Conn, PeerUrl)>>,
    /// A probe that began before the last change of URLs tells nothing any more.
    generation: u64,
}

impl Probes {
    /// For the peer in this slot of its core.
    pub(super) fn new(interval: Option<Duration>, slot: usize, now: Instant) -> Self {
        let places = interval.map_or(1, |interval| (interval.as_nanos() / SPREAD.as_nanos()).max(1));
        let phase = SPREAD * (slot as u128 % places) as u32;
        let probes = Self { interval, phase, slots: RefCell::default() };
        probes.restart(now);
        probes
    }

    /// The peer has new URLs: its probes are removed and added anew.
    pub(super) fn restart(&self, now: Instant) {
        self.shutdown();
        let Some(interval) = self.interval else { return };
        let generation = self.slots.borrow().as_ref().map_or(0, |slots| slots[0].generation + 1);
        let start = now + self.phase;
        let slot = || Slot { prober: Prober::new(interval, start), shut: None, kept: None, generation };
        *self.slots.borrow_mut() = Some([slot(), slot()]);
    }

    /// Ends what is under way.
    pub(super) fn shutdown(&self) {
        for slot in self.slots.borrow_mut().iter_mut().flatten() {
            slot.kept = None;
            if let Some(shut) = slot.shut.take() {
                shut.shutdown();
            }
        }
    }

    fn with<T>(&self, which: RoundTripper, f: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.slots.borrow_mut().as_mut().map(|slots| f(&mut slots[which.index()]))
    }

    /// The same, unless the URLs have changed since.
    fn with_current<T>(
        &self,
        which: RoundTripper,
        generation: u64,
        f: impl FnOnce(&mut Slot) -> T,
    ) -> Option<T> {
        self.with(which, |slot| (slot.generation == generation).then(|| f(slot))).flatten()
    }
}

/// Every 100 ms: the monitor looks, and a probe begins, if it is time.
pub(super) fn tick(peer: &Rc<Peer>, now: Instant) {
    for which in RoundTripper::ALL {
        let look = peer.probes.with(which, |slot| slot.prober.look(now)).flatten();
        if let Some(look) = look {
            tell(peer, which, look);
        }
        if !peer.is_stopping() && peer.probes.with(which, |slot| slot.prober.is_due(now)) == Some(true) {
            begin(peer, which);
        }
    }
}

fn tell(peer: &Peer, prober: RoundTripper, look: Look) {
    peer.shared.metrics.round_trip_seconds.observe(look.round_trip);
    if let Some(warning) = look.warning {
        peer.endpoint.emit(&Event::ProbeWarning { peer: peer.shared.id, prober, warning });
    }
}

fn begin(peer: &Rc<Peer>, which: RoundTripper) {
    let urls = peer.urls();
    let now = Instant::now();
    let begun = peer.probes.with(which, |slot| {
        let url = urls.as_slice()[slot.prober.begin(urls.as_slice().len(), now)].clone();
        (url, slot.prober.deadline(now), slot.generation)
    });
    let Some((url, deadline, generation)) = begun else { return };
    let probe = Probe { peer: Rc::clone(peer), which, url, deadline, generation };
    peer.endpoint.spawn_for(peer, "probe", async move { probe.run().await });
}

/// One probe.
struct Probe {
    peer: Rc<Peer>,
    which: RoundTripper,
    url: PeerUrl,
    deadline: Instant,
    generation: u64,
}

/// Why a probe did not succeed.
enum Failed {
    /// The connection that was kept had been closed meanwhile: that says nothing of the member.
    KeptIsGone,
    /// In words.
    Said(String),
}

impl Probe {
    async fn run(self) {
        let mut outcome = match self.take_kept() {
            Some(conn) => self.ask(conn, true).await,
            None => Err(Failed::KeptIsGone),
        };
        if let Err(Failed::KeptIsGone) = outcome {
            outcome = match self.connect().await {
                Ok(conn) => self.ask(conn, false).await,
                Err(error) => Err(Failed::Said(error.to_string())),
            };
        }
        if !self.peer.is_stopping() {
            self.conclude(outcome);
        }
    }

    fn take_kept(&self) -> Option<Conn> {
        let kept = self.with(|slot| slot.kept.take())??;
        let (conn, url) = *kept;
        // What has come unasked is no answer.
        (url == self.url && !self.is_apart() && conn.is_open_and_silent()).then_some(conn)
    }

    /// True while connections are to fail, for a test of the host.
    fn is_apart(&self) -> bool {
        self.peer.shared.faults.is_apart(Side::Sending)
    }

    async fn connect(&self) -> Result<Conn, ConnectError> {
        if self.is_apart() {
            return Err(ConnectError::Connect(INJECTED.to_owned()));
        }
        let stop = Stop {
            waits: &self.peer.waits,
            is_stopping: &|| self.peer.is_stopping(),
            keep: &|shut| self.keep_shut(Some(shut)),
        };
        let left = self.deadline.saturating_duration_since(Instant::now());
        Ok(connect(&self.peer.endpoint, &stop, &self.url, left).await?.0)
    }

    async fn ask(&self, mut conn: Conn, was_kept: bool) -> Result<WallTime, Failed> {
        let endpoint = &self.peer.endpoint;
        self.keep_shut(Some(conn.shut()));
        let guard = endpoint.watch(conn.shut(), self.deadline);
        let broke = |error: NoAnswer| match error {
            NoAnswer::Closed | NoAnswer::Broken(_) if was_kept => Failed::KeptIsGone,
            error => Failed::Said(error.to_string()),
        };
        let mut request = Vec::with_capacity(256);
        write_probing_request(&mut request, &self.url);
        let written = conn.write_all(request).await;
        written.map_err(|error| broke(NoAnswer::of_write(&conn, error)))?;
        let answer = Answer::read(&mut conn, &endpoint.core.pool).await.map_err(broke)?;
        let head = answer.head().map_err(broke)?;
        if head.status != 200 {
            return Err(Failed::Said(format!("unexpected http status {}", head.status)));
        }
        let body = answer.body(&mut conn, head.framing, ANSWER_BYTES_MAX, &guard, self.deadline).await;
        let theirs = parse_probe_answer(&body.text).map_err(|error| Failed::Said(error.to_string()))?;
        if self.which == RoundTripper::Snapshot && head.keep_alive && body.is_whole {
            drop(guard);
            self.keep(conn);
        }
        Ok(theirs)
    }

    fn keep(&self, conn: Conn) {
        if conn.shut().is_done() || self.peer.is_stopping() {
            return;
        }
        self.with(|slot| slot.kept = Some(Box::new((conn, self.url.clone()))));
    }

    fn conclude(&self, outcome: Result<WallTime, Failed>) {
        let (now, wall) = (Instant::now(), wall_time());
        let concluded = self.with(|slot| {
            slot.shut = None;
            let edge = match outcome {
                Ok(theirs) => slot.prober.handle_success(theirs, now, wall),
                Err(Failed::Said(error)) => slot.prober.handle_failure(&error, now),
                Err(Failed::KeptIsGone) => slot.prober.handle_failure("the connection was closed", now),
            };
            (edge, slot.prober.stats().clone())
        });
        let Some((edge, stats)) = concluded else { return };
        self.peer.shared.set_probe(self.which, stats);
        if let Some(edge) = edge {
            let (peer, prober, healthy) = (self.peer.shared.id, self.which, edge == HealthEdge::Healthy);
            self.peer.endpoint.emit(&Event::ProbeHealth { peer, prober, healthy });
        }
    }

    fn keep_shut(&self, shut: Option<Rc<Shut>>) {
        self.with(|slot| slot.shut = shut);
    }

    fn with<T>(&self, f: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.peer.probes.with_current(self.which, self.generation, f)
    }
}
