//! What was sent when, what arrived when, and what it cost.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use raftring::raftpb::Message;

use crate::clock::{Clock, cpu_ns};
use crate::credit::Credits;
use crate::message::Messages;
use crate::plan::{Mode, Plan};

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

/// Latencies above this are recorded as this: a minute is longer than any run should wait.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// A histogram of nanoseconds, to three significant digits.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are constants that fit")
}

/// What was sent when, what arrived when, and what it cost: one for a run, shared by its members.
pub struct Meter {
    /// The clock of the run.
    pub clock: Clock,
    /// Makes the messages of the run and reads their numbers.
    pub messages: Messages,
    /// How far each follower is.
    pub credits: Credits,
    mode: Mode,
    batch: u64,
    phase: AtomicU8,
    followers: Vec<FollowerMeter>,
    unreachable: AtomicU64,
    hole_queued_max: AtomicUsize,
    lateness: Mutex<Histogram<u64>>,
    window: Mutex<Window>,
}

/// One follower's share, away from its neighbours' cache lines.
#[repr(align(128))]
struct FollowerMeter {
    /// When batch `b` was handed over, at `b` modulo the length. The ring is longer than the
    /// batches that can be in flight, so a stamp is read before it is written again.
    stamps: Box<[AtomicU64]>,
    sent: AtomicU64,
    hellos: AtomicU64,
    arrivals: Mutex<Arrivals>,
}

struct Arrivals {
    /// Messages that made their way, warm-up included.
    total: u64,
    /// Of these, within the measured window.
    measured: u64,
    latencies: Histogram<u64>,
}

/// The two edges of what is measured.
#[derive(Clone, Copy, Default)]
struct Window {
    opened: (u64, u64),
    closed: (u64, u64),
}

/// The figures of one run.
pub struct Outcome {
    /// The length of the measured window.
    pub elapsed: Duration,
    /// Messages that reached the followers' `process` in that window.
    pub messages: u64,
    /// User and system time of the process in that window, in nanoseconds.
    pub cpu_ns: u64,
    /// Nanoseconds from send to process, or of a full circle.
    pub latencies: Histogram<u64>,
    /// Nanoseconds from the time a burst was due to its send; empty without a schedule.
    pub lateness: Histogram<u64>,
    /// Messages that never arrived, or reports of such, whichever is more; over the whole run.
    pub dropped: u64,
    /// The most payload bytes that waited for a black hole, if there was one.
    pub hole_queued_max: usize,
}

impl Meter {
    /// For one run of `plan`.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        // Two more than can be in flight: one half processed, one just being stamped.
        let stamps = (plan.in_flight_max() / plan.batch() + 2).next_power_of_two();
        Self {
            clock: Clock::start(),
            messages: Messages::new(plan),
            credits: Credits::new(plan.followers),
            mode: plan.mode,
            batch: plan.batch() as u64,
            phase: AtomicU8::new(WARMING),
            followers: (0..plan.followers).map(|_| FollowerMeter::new(stamps)).collect(),
            unreachable: AtomicU64::new(0),
            hole_queued_max: AtomicUsize::new(0),
            lateness: Mutex::new(histogram()),
            window: Mutex::default(),
        }
    }

    /// The load hands over messages up to `next` of `follower`, of which the last batch is new.
    pub fn sent(&self, follower: usize, next: u64, now: u64) {
        let own = &self.followers[follower];
        own.stamp(next.saturating_sub(1) / self.batch).store(now, Ordering::Relaxed);
        own.sent.store(next, Ordering::Release);
    }

    /// A burst was handed over this long after it was due.
    pub fn late(&self, nanos: u64) {
        if self.is_measuring() {
            lock(&self.lateness).saturating_record(nanos);
        }
    }

    /// The follower's `process` took these messages, in order. The clock is read once.
    pub fn processed(&self, follower: usize, messages: &[Message]) {
        let (now, measuring) = (self.clock.now(), self.is_measuring());
        let own = &self.followers[follower];
        let mut arrivals = lock(&own.arrivals);
        let mut run = Run::default();
        let mut frontier = None;
        for message in messages {
            let Some(number) = self.messages.number_near(message, frontier.unwrap_or(0)) else {
                own.hellos.fetch_add(u64::from(self.messages.is_hello(message)), Ordering::Release);
                continue;
            };
            if !run.numbers.contains(&number) {
                if run.count > 0 {
                    arrivals.take(own, &run, now, self.mode, measuring);
                }
                run = Run::of(number, self.batch);
            }
            run.count += 1;
            frontier = Some(number + 1);
        }
        if run.count > 0 {
            arrivals.take(own, &run, now, self.mode, measuring);
        }
        // The credit is given after the stamps are read: from here on they may be overwritten.
        drop(arrivals);
        if let Some(frontier) = frontier {
            self.credits.advance(follower, frontier);
        }
    }

    /// The leader got the answer of `follower`: a full circle of so many nanoseconds.
    pub fn circled(&self, follower: usize, nanos: u64) {
        let mut arrivals = lock(&self.followers[follower].arrivals);
        arrivals.total += 1;
        if self.is_measuring() {
            arrivals.latencies.saturating_record(nanos);
        }
    }

    /// So many payload bytes wait for the black hole.
    pub fn hole_queued(&self, bytes: usize) {
        self.hole_queued_max.fetch_max(bytes, Ordering::Relaxed);
    }

    /// The transport reported that it lost messages.
    pub fn unreachable(&self) {
        self.unreachable.fetch_add(1, Ordering::Relaxed);
    }

    /// How many hellos arrived at `follower`.
    #[must_use]
    pub fn hellos(&self, follower: usize) -> u64 {
        self.followers[follower].hellos.load(Ordering::Acquire)
    }

    /// True within the measured window.
    #[must_use]
    pub fn is_measuring(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == MEASURING
    }

    /// True once the load must send no more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase.load(Ordering::Acquire) == OVER
    }

    /// The measured window begins.
    pub fn open(&self) {
        lock(&self.window).opened = (self.clock.now(), cpu_ns());
        self.phase.store(MEASURING, Ordering::Release);
    }

    /// The measured window ends, and with it the load.
    pub fn close(&self) {
        self.phase.store(OVER, Ordering::Release);
        lock(&self.window).closed = (self.clock.now(), cpu_ns());
        self.credits.wake();
    }

    /// Messages measured so far.
    #[must_use]
    pub fn measured(&self) -> u64 {
        self.followers.iter().map(|f| lock(&f.arrivals).measured).sum()
    }

    /// Messages that were sent and have not made their way.
    #[must_use]
    pub fn missing(&self) -> u64 {
        let missing =
            |f: &FollowerMeter| f.sent.load(Ordering::Acquire).saturating_sub(lock(&f.arrivals).total);
        self.followers.iter().map(missing).sum()
    }

    /// The figures, once all is still.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let window = *lock(&self.window);
        let mut latencies = histogram();
        for follower in &self.followers {
            latencies += &lock(&follower.arrivals).latencies;
        }
        Outcome {
            elapsed: Duration::from_nanos(window.closed.0 - window.opened.0),
            messages: self.measured(),
            cpu_ns: window.closed.1 - window.opened.1,
            latencies,
            lateness: lock(&self.lateness).clone(),
            dropped: self.missing().max(self.unreachable.load(Ordering::Relaxed)),
            hole_queued_max: self.hole_queued_max.load(Ordering::Relaxed),
        }
    }
}

/// Messages of one batch that were processed together.
#[derive(Default)]
struct Run {
    batch: u64,
    /// All that are in the batch.
    numbers: Range<u64>,
    count: u64,
}

impl Run {
    /// None so far, of the batch that message `number` is in.
    fn of(number: u64, batch_len: u64) -> Self {
        let batch = number / batch_len;
        Self { batch, numbers: batch * batch_len..(batch + 1) * batch_len, count: 0 }
    }
}

impl Arrivals {
    fn take(&mut self, own: &FollowerMeter, run: &Run, now: u64, mode: Mode, measuring: bool) {
        if measuring {
            self.measured += run.count;
        }
        // Under rtt the leader sees the message home and counts it (`circled`).
        if mode == Mode::Rtt {
            return;
        }
        self.total += run.count;
        if measuring {
            let sent = own.stamp(run.batch).load(Ordering::Relaxed);
            self.latencies.saturating_record_n(now.saturating_sub(sent), run.count);
        }
    }
}

impl FollowerMeter {
    fn new(stamps: usize) -> Self {
        Self {
            stamps: (0..stamps).map(|_| AtomicU64::new(0)).collect(),
            sent: AtomicU64::new(0),
            hellos: AtomicU64::new(0),
            arrivals: Mutex::new(Arrivals { total: 0, measured: 0, latencies: histogram() }),
        }
    }

    fn stamp(&self, batch: u64) -> &AtomicU64 {
        &self.stamps[batch as usize & (self.stamps.len() - 1)]
    }
}

/// A panic elsewhere has failed the run already; the figures behind the lock are still sums.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
