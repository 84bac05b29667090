//! One core: a pinned thread, its ring, and the turn that looks at everything that is not I/O.
//!
//! ```text
//!   turn:  disarm -> mailbox -> timers -> tick every 100 ms -> spin? -> arm -> mailbox again -> park
//!     ^                                                                                        |
//!     '------------- a completion, the doorbell, or the timer that bounds every park ----------'
//! ```

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::insight::IdleTime;
use super::letter::{CoreShared, LaneKey, Letter};
use super::link::Moment;
use super::operation::OperationGuard;
use super::spin::{Partner, Pollers};
use super::timers::{Sleep, Timers};
use crate::buf::Pool;
use crate::cores::{Spin, Wager};

/// Every park ends within this time, whatever became of the doorbell; deadlines that no task
/// sleeps for (heartbeats, stalls, silence) are looked at as often.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Turns with letters in a row before everything else gets to run: a host that posts without pause
/// must not hold up the core's tasks.
const TURNS_IN_A_ROW_MAX: usize = 32;

/// Gets the lanes' letters and the ticks: the peers of a core.
pub(super) trait Resident {
    /// A lane has messages.
    fn lane_dirty(self: Rc<Self>, lane: usize);

    /// 100 ms went by.
    fn tick(self: Rc<Self>, now: Instant);

    /// A callback of the host panicked in one of the above.
    fn panicked(self: Rc<Self>, task: &'static str);

    /// Itself, for those who know what it is.
    fn as_any(self: Rc<Self>) -> Rc<dyn Any>;
}

/// One slot for a task that is woken by letter.
enum Waiter {
    Free,
    Idle,
    Waits(Waker),
}

/// The part of a core that never leaves its thread.
pub(crate) struct Core {
    pub(crate) shared: Arc<CoreShared>,
    pub(super) pool: Pool,
    wager: RefCell<Wager>,
    timers: Rc<Timers>,
    residents: RefCell<Vec<Option<Rc<dyn Resident>>>>,
    turn_waker: RefCell<Option<Waker>>,
    waiters: RefCell<Vec<Waiter>>,
    armed: Cell<bool>,
    last_work: Cell<Instant>,
    clock: Cell<Instant>,
    step: Cell<u64>,
    idle: IdleTime,
    pollers: Pollers,
    next_tick: Cell<Instant>,
    stopping: Cell<bool>,
}

thread_local! {
    static CURRENT: RefCell<Weak<Core>> = const { RefCell::new(Weak::new()) };
}

impl Core {
    pub(super) fn new(shared: Arc<CoreShared>, spin: Spin) -> Rc<Self> {
        let now = Instant::now();
        Rc::new(Self {
            pool: shared.pool.clone(),
            shared,
            wager: RefCell::new(Wager::new(spin)),
            timers: Rc::default(),
            residents: RefCell::default(),
            turn_waker: RefCell::default(),
            waiters: RefCell::default(),
            armed: Cell::new(false),
            last_work: Cell::new(now),
            clock: Cell::new(now),
            step: Cell::new(0),
            idle: IdleTime::new(now),
            pollers: Pollers::default(),
            next_tick: Cell::new(now + TICK),
            stopping: Cell::new(false),
        })
    }

    /// The core of the current thread, if it is one.
    pub(crate) fn current() -> Option<Rc<Self>> {
        CURRENT.with_borrow(Weak::upgrade)
    }

    pub(super) fn enter(self: &Rc<Self>) {
        CURRENT.set(Rc::downgrade(self));
    }

    /// Something happened here: the turn comes after everything that is runnable now, and until
    /// then nobody need ring.
    pub(super) fn awake(&self) {
        if self.armed.replace(false) {
            self.idle.end(Instant::now());
            self.shared.doorbell.disarm();
            if let Some(waker) = self.turn_waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// Awaits an operation of the ring. It is counted, and must not be dropped before it is done
    /// (rule N1): a debug build stops there.
    pub(super) async fn operation<F: Future>(&self, operation: F) -> F::Output {
        let guard = OperationGuard::new(&self.shared.counters.operations);
        let output = operation.await;
        guard.complete();
        self.awake();
        output
    }

    /// The host is called with so many messages of a stream.
    pub(super) fn note_processed(&self, messages: usize) {
        self.shared.counters.process_calls.add(1);
        self.shared.counters.processed.add(messages);
    }

    /// A stream is not read because its host takes no more.
    pub(super) fn note_host_full_wait(&self) {
        self.shared.counters.host_full_waits.add(1);
    }

    /// Runs something that calls the host; `None` if it panicked, which is counted.
    pub(super) fn guard<T>(&self, f: impl FnOnce() -> T) -> Option<T> {
        let result = catch_unwind(AssertUnwindSafe(f));
        if result.is_err() {
            self.shared.counters.panics.add(1);
        }
        result.ok()
    }

    /// As [`Core::guard`] for each poll of a future.
    ///
    /// No `async fn`: that would keep room for the future beside its box.
    pub(super) fn guarded<T>(&self, future: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
        let mut future = Box::pin(future);
        poll_fn(move |cx| match self.guard(|| future.as_mut().poll(cx)) {
            Some(poll) => poll.map(Some),
            None => Poll::Ready(None),
        })
    }

    /// Starts a task. A panic in it ends it alone (rule N5), is counted, and runs `on_panic`, which
    /// must not panic.
    pub(super) fn spawn(
        self: &Rc<Self>,
        name: &'static str,
        task: impl Future<Output = ()> + 'static,
        on_panic: impl FnOnce(&'static str) + 'static,
    ) {
        self.shared.counters.tasks.up();
        let core = Rc::clone(self);
        // A future that is captured and awaited takes its size twice: it is boxed before.
        let task = Box::pin(task);
        #[expect(clippy::disallowed_methods, reason = "the one place that guards what it spawns")]
        monoio::spawn(async move {
            if core.guarded(task).await.is_none() {
                on_panic(name);
            }
            core.shared.counters.tasks.down();
            core.awake();
        });
    }

    pub(super) fn sleep_until(&self, deadline: Instant) -> Sleep {
        // The turn may sleep for longer than that: let it look again.
        self.awake();
        self.timers.sleep_until(deadline)
    }

    pub(super) fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(Instant::now() + duration)
    }

    /// A slot for [`Core::move_in`]; it is the resident's address for letters.
    pub(super) fn free_slot(&self) -> usize {
        let mut residents = self.residents.borrow_mut();
        residents.iter().position(Option::is_none).unwrap_or_else(|| {
            residents.push(None);
            residents.len() - 1
        })
    }

    pub(super) fn move_in(&self, slot: usize, resident: Rc<dyn Resident>) {
        self.residents.borrow_mut()[slot] = Some(resident);
    }

    pub(super) fn move_out(&self, slot: usize) {
        let _resident = self.residents.borrow_mut()[slot].take();
    }

    pub(super) fn resident(&self, slot: usize) -> Option<Rc<dyn Resident>> {
        self.residents.borrow().get(slot)?.clone()
    }

    /// Ends the core's thread once its tasks are done.
    pub(super) fn stop(&self) {
        self.stopping.set(true);
        self.awake();
    }

    /// A slot in which a task of this core waits to be woken by letter.
    pub(crate) fn add_waiter(&self) -> usize {
        let mut waiters = self.waiters.borrow_mut();
        let free = waiters.iter().position(|waiter| matches!(waiter, Waiter::Free));
        let slot = free.unwrap_or(waiters.len());
        if slot == waiters.len() {
            waiters.push(Waiter::Idle);
        } else {
            waiters[slot] = Waiter::Idle;
        }
        slot
    }

    pub(crate) fn remove_waiter(&self, slot: usize) {
        self.waiters.borrow_mut()[slot] = Waiter::Free;
    }

    pub(crate) fn set_waiter(&self, slot: usize, waker: Waker) {
        self.waiters.borrow_mut()[slot] = Waiter::Waits(waker);
    }

    /// One look at everything that is not I/O; true if there was something to do.
    fn turn(self: &Rc<Self>, letters: &mut Vec<Letter>) -> bool {
        self.armed.set(false);
        self.shared.doorbell.disarm();
        self.shared.counters.turns.add(1);
        self.step.set(self.step.get() + 1);
        self.shared.mailbox.take(letters);
        let worked = !letters.is_empty();
        if worked {
            self.shared.counters.letter_batches.add(1);
            self.shared.counters.letters.add(letters.len());
        }
        for letter in letters.drain(..) {
            self.open(letter);
        }
        let now = Instant::now();
        self.clock.set(now);
        self.timers.fire(now);
        if now >= self.next_tick.get() {
            self.shared.counters.note_late(now.saturating_duration_since(self.next_tick.replace(now + TICK)));
            self.shared.load.set_busy(self.idle.busy_part(now));
            self.tick(now);
        }
        if worked {
            self.note_work_at(now);
        }
        worked
    }

    fn open(self: &Rc<Self>, letter: Letter) {
        match letter {
            Letter::Run(f) => {
                self.guard(|| f(self));
            }
            Letter::Dirty(LaneKey { slot, lane }) => {
                if let Some(resident) = self.resident(slot) {
                    self.visit(resident, "lane", |resident| resident.lane_dirty(lane));
                }
            }
            Letter::Wake(slot) => {
                // A letter to a slot that has a new owner wakes that for nothing, which is harmless.
                let mut waiters = self.waiters.borrow_mut();
                if let Waiter::Waits(_) = waiters[slot]
                    && let Waiter::Waits(waker) = std::mem::replace(&mut waiters[slot], Waiter::Idle)
                {
                    waker.wake();
                }
            }
        }
    }

    fn tick(&self, now: Instant) {
        let count = self.residents.borrow().len();
        for slot in 0..count {
            if let Some(resident) = self.resident(slot) {
                self.visit(resident, "tick", |resident| resident.tick(now));
            }
        }
    }

    /// Rule N5 for what no task does: a callback of the host that panics ends this visit alone.
    fn visit(&self, resident: Rc<dyn Resident>, name: &'static str, f: impl FnOnce(Rc<dyn Resident>)) {
        let of_panic = Rc::clone(&resident);
        if self.guard(|| f(resident)).is_none() {
            of_panic.panicked(name);
        }
    }

    /// Notes that bytes moved: the spinning time starts anew.
    pub(super) fn note_work_at(&self, now: Instant) {
        self.step.set(self.step.get() + 1);
        self.clock.set(now);
        self.idle.end(now);
        let idle_for = now.saturating_duration_since(self.last_work.replace(now));
        self.wager.borrow_mut().worked(idle_for);
    }

    /// The time when the clock was last read, in this turn or at the last read of a socket: good
    /// enough for deadlines of seconds, and a system call's worth of time cheaper.
    pub(super) fn now(&self) -> Instant {
        self.clock.get()
    }

    /// True while the core polls instead of sleeping.
    pub(super) fn should_spin(&self) -> bool {
        let idle_for = self.now().saturating_duration_since(self.last_work.get());
        self.wager.borrow_mut().spins(idle_for)
    }

    /// Which step this is: between two turns or reads, what happens has one cause.
    fn step(&self) -> u64 {
        self.step.get()
    }

    /// When a sender on this core works.
    pub(crate) fn moment(&self) -> Moment {
        Moment { now: self.now(), step: Some(self.step()) }
    }

    /// Waits for the next round of a spinning core; `None` if it does not spin, if this socket has
    /// been silent since before it would have begun to, or if as many sockets are polled already as
    /// a round should look at.
    pub(super) fn next_round(&self, last_read: Instant) -> Option<impl Future<Output = ()> + '_> {
        let silent_for = self.now().saturating_duration_since(last_read);
        if !self.should_spin() || silent_for >= self.wager.borrow().limit() || self.pollers.are_full() {
            return None;
        }
        // The spinner may be asleep still.
        self.awake();
        Some(self.pollers.next_round())
    }

    /// True if no more than one socket was polled in the last round.
    pub(super) fn polls_one_socket(&self) -> bool {
        self.pollers.poll_one_socket()
    }

    /// Lives as long as the core: turns, spins, parks.
    pub(super) async fn run(self: Rc<Self>) {
        let (mut letters, mut in_a_row) = (Vec::new(), 0);
        let partner = Partner::start();
        #[expect(
            clippy::disallowed_methods,
            reason = "it bounds the park, and nothing else needs it to fire"
        )]
        let mut park = pin!(monoio::time::sleep(TICK));
        while !(self.stopping.get() && self.shared.counters.tasks.get() == 0) {
            if self.turn(&mut letters) {
                in_a_row += 1;
                if in_a_row % TURNS_IN_A_ROW_MAX == 0 {
                    self.pollers.wake();
                    partner.pass().await;
                }
                continue;
            }
            in_a_row = 0;
            self.pollers.wake();
            self.idle.begin(self.now());
            if self.should_spin() {
                self.shared.counters.spins.add(1);
                partner.pass().await;
                continue;
            }
            self.armed.set(true);
            self.shared.doorbell.arm();
            if !self.shared.mailbox.is_empty() {
                continue;
            }
            self.shared.counters.parks.add(1);
            self.wait(park.as_mut()).await;
        }
        partner.stop();
        self.shared.mailbox.close();
        // Residents hold the core that holds them.
        drop(self.residents.take());
    }

    /// Until [`Core::awake`], or the next deadline.
    async fn wait(&self, mut park: Pin<&mut monoio::time::Sleep>) {
        let tick = self.next_tick.get();
        let until = self.timers.next().map_or(tick, |next| next.min(tick));
        park.as_mut().reset(until.into());
        poll_fn(|cx| {
            if !self.armed.get() {
                return Poll::Ready(());
            }
            *self.turn_waker.borrow_mut() = Some(cx.waker().clone());
            park.as_mut().poll(cx)
        })
        .await;
    }
}
