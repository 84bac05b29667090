//! Models of what crosses threads, in which loom tries every order that the memory model allows.
//!
//! Each model runs twice over: as the code is, and with one thing weakened or left out, whereupon it
//! must fail, or it would show nothing:
//!
//! | weakened or left out | what becomes of it |
//! |---|---|
//! | fence in `Asleep::say` (`Doorbell::arm`, `Flag::wait`) | a core, a task sleeps for ever |
//! | fence in `Asleep::take` (`Doorbell::ring`, `Flag::raise`) | the same |
//! | the second look of who is about to sleep | the same |
//! | letter first, ring afterwards | the same |
//! | message first, `announce` afterwards | it stays behind in its lane |
//! | swap in `Asleep::take` | one sleeper is woken twice |
//! | release of `Flag::raise`, acquire of `Flag::lower` | the task reads what is still being written |
//! | fence in `Claim::claim_or_ask`, the guest's word to the owner | the owner waits for ever for a guest that has left |
//! | release of `Alarm::ring_within`, acquire of `Alarm::heard` | a letter that may wait waits for ever |
//! | read-modify-write in `Release::drop` | a lane is full, or has room, for ever |
//! | read-modify-write in `Backlog::reserve` and `Backlog::give_back` | a process is over its bound; it is full, or has room, for ever |
//! | read-modify-write in `Home::give_back` | a pool counts wrong |
//!
//! loom has no sequentially consistent loads and stores (it takes them for weaker ones) and fences
//! that order a little more than the language's do; it takes locks as they are.

use std::panic::catch_unwind;
// Not loom's, which must not be dropped while a model that sleeps for ever is unwound.
use std::sync::Arc;
use std::time::{Duration, Instant};

use loom::thread::{self, JoinHandle};

use crate::buf::Pool;
use crate::cores::{
    Alarm, Backlog, Claim, Doorbell, Event, Flag, Lane, LaneLimits, Mailbox, SHARED_BYTES_MIN, Waiting,
};
use crate::sync::atomic::Weakness::{NoAcquire, NoFence, NoRelease, Torn};
use crate::sync::atomic::{AtomicBool, Ordering, Weakness, weakened};

/// What a model does otherwise than the code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    /// Nothing.
    None,
    /// An operation of the one who has news is weakened.
    InNews(Weakness),
    /// An operation of the sleeper, or of who takes what was queued, is weakened.
    InSleeper(Weakness),
    /// The sleeper does not look again.
    NoSecondLook,
    /// The guest of a claim does not tell the owner.
    NotTold,
    /// The second step of the one who has news comes first.
    WrongOrder,
}

impl Fault {
    fn in_news<T>(self, f: impl FnOnce() -> T) -> T {
        if let Self::InNews(weakness) = self { weakened(weakness, f) } else { f() }
    }

    fn in_sleeper<T>(self, f: impl FnOnce() -> T) -> T {
        if let Self::InSleeper(weakness) = self { weakened(weakness, f) } else { f() }
    }
}

/// Every order of a model ends well.
fn holds(model: fn(Fault)) {
    explore(move || model(Fault::None));
}

/// Every order with at most three preemptions (that a thread waits is none): each fault below needs
/// fewer, and trying all takes far longer.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// With the fault some order ends badly, in these words.
fn fails(model: fn(Fault), fault: Fault, words: &str) {
    let panic = catch_unwind(|| explore(move || model(fault))).expect_err("the fault is not found");
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).expect("a panic with words");
    assert!(text.contains(words), "{fault:?} fails otherwise: {text}");
}

const FOR_EVER: &str = "deadlock";
const WOKEN_TWICE: &str = "one sleeper is woken once";
const OUT_OF_DATE: &str = "what was written before the flag is seen behind it";
const MISCOUNTED: &str = "everything was given back";

/// What every thread sees of a core, as `CoreShared` of `io`.
struct Shared {
    mailbox: Mailbox<usize>,
    doorbell: Doorbell,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self { mailbox: Mailbox::default(), doorbell: Doorbell::new().expect("a model") })
    }

    fn post(&self, letter: usize, fault: Fault) {
        if fault == Fault::WrongOrder {
            self.doorbell.ring();
            return self.mailbox.push(letter);
        }
        self.mailbox.push(letter);
        fault.in_news(|| self.doorbell.ring());
    }

    /// The turns of `Core::run` of `io`, until `open` has seen enough letters. The park is without
    /// an end: nothing but the doorbell may be needed to find every letter.
    fn live(&self, fault: Fault, mut open: impl FnMut(usize) -> bool) {
        let mut letters = Vec::new();
        loop {
            self.doorbell.disarm();
            self.mailbox.take(&mut letters);
            let worked = !letters.is_empty();
            for letter in letters.drain(..) {
                if open(letter) {
                    return;
                }
            }
            if worked {
                continue;
            }
            fault.in_sleeper(|| self.doorbell.arm());
            if fault != Fault::NoSecondLook && !self.mailbox.is_empty() {
                continue;
            }
            self.doorbell.hear();
        }
    }
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("no panic");
    }
}

// ---- loom itself -------------------------------------------------------------------------------

/// Nothing comes between a swap and what it read, so who swapped the first store away finds the
/// second where it has to see it. loom lets it find its own swap.
fn a_store_behind_a_swap() {
    use loom::sync::atomic::{AtomicUsize, fence};
    let words = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let storing = Arc::clone(&words);
    let thread = thread::spawn(move || {
        storing[0].store(1, Ordering::Relaxed);
        storing[0].store(2, Ordering::Relaxed);
        storing[1].store(1, Ordering::Release);
    });
    let swapped = words[0].swap(9, Ordering::Relaxed);
    let both_stored = words[1].load(Ordering::Acquire) == 1;
    fence(Ordering::SeqCst);
    if swapped == 1 && both_stored {
        assert_eq!(words[0].load(Ordering::Relaxed), 2, "{OUT_OF_DATE}");
    }
    join([thread]);
}

#[test]
fn loom_still_needs_stores_that_are_swaps() {
    // Once this fails, `AtomicBool::store` of the models can be loom's.
    fails(|_| a_store_behind_a_swap(), Fault::None, OUT_OF_DATE);
}

// ---- mailbox and doorbell ----------------------------------------------------------------------

fn two_hosts_post(fault: Fault) {
    let shared = Shared::new();
    let hosts = [1, 2].map(|letter| {
        let shared = Arc::clone(&shared);
        thread::spawn(move || shared.post(letter, fault))
    });
    let mut sum = 0;
    shared.live(fault, |letter| {
        sum += letter;
        sum == 3
    });
    join(hosts);
}

#[test]
fn a_core_finds_every_letter_that_two_hosts_post() {
    holds(two_hosts_post);
}

fn a_host_posts_twice(fault: Fault) {
    let shared = Shared::new();
    let host = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || (1..=2).for_each(|letter| shared.post(letter, fault)))
    };
    let mut found = Vec::new();
    shared.live(fault, |letter| {
        found.push(letter);
        found.len() == 2
    });
    assert_eq!(found, [1, 2]);
    join([host]);
}

#[test]
fn a_core_finds_the_letters_of_one_host_in_their_order() {
    holds(a_host_posts_twice);
}

#[test]
fn a_letter_is_lost_without_a_fence_or_without_the_second_look() {
    for model in [two_hosts_post, a_host_posts_twice] {
        fails(model, Fault::InNews(NoFence), FOR_EVER);
        fails(model, Fault::InSleeper(NoFence), FOR_EVER);
        fails(model, Fault::NoSecondLook, FOR_EVER);
        fails(model, Fault::WrongOrder, FOR_EVER);
    }
}

fn two_hosts_leave_letters_that_may_wait(fault: Fault) {
    let (mailbox, alarm) = (Arc::new(Mailbox::default()), Arc::new(Alarm::new().expect("a model")));
    let hosts = [1, 2].map(|letter| {
        let (mailbox, alarm) = (Arc::clone(&mailbox), Arc::clone(&alarm));
        thread::spawn(move || {
            mailbox.push(letter);
            fault.in_news(|| alarm.ring_within(Duration::from_micros(100)));
        })
    });
    let (mut sum, mut letters) = (0, Vec::new());
    while sum < 3 {
        alarm.hear();
        fault.in_sleeper(|| alarm.heard());
        mailbox.take(&mut letters);
        sum += letters.drain(..).sum::<usize>();
    }
    join(hosts);
}

#[test]
fn letters_that_may_wait_are_found_when_the_alarm_rings() {
    holds(two_hosts_leave_letters_that_may_wait);
}

#[test]
fn letters_that_may_wait_are_lost_if_the_alarm_orders_nothing() {
    fails(two_hosts_leave_letters_that_may_wait, Fault::InNews(NoRelease), FOR_EVER);
    fails(two_hosts_leave_letters_that_may_wait, Fault::InSleeper(NoAcquire), FOR_EVER);
}

fn two_hosts_ring_a_sleeper(fault: Fault) {
    let shared = Shared::new();
    shared.doorbell.arm();
    let hosts = [1, 2].map(|letter| {
        let shared = Arc::clone(&shared);
        thread::spawn(move || shared.post(letter, fault))
    });
    join(hosts);
    let (rung, suppressed) = shared.doorbell.counters();
    assert!(rung + suppressed == 2 || fault != Fault::None, "every ring is counted");
    assert_eq!(rung, 1, "{WOKEN_TWICE}");
}

#[test]
fn a_core_that_sleeps_is_rung_once() {
    holds(two_hosts_ring_a_sleeper);
}

#[test]
fn a_core_that_sleeps_is_rung_twice_if_the_swap_is_torn() {
    fails(two_hosts_ring_a_sleeper, Fault::InNews(Torn), WOKEN_TWICE);
}

#[test]
fn a_letter_to_a_core_that_ends_is_dropped() {
    explore(|| {
        let (mailbox, letter) = (Arc::new(Mailbox::default()), Arc::new(()));
        let host = {
            let (mailbox, letter) = (Arc::clone(&mailbox), Arc::clone(&letter));
            thread::spawn(move || mailbox.push(letter))
        };
        mailbox.close();
        join([host]);
        assert!(mailbox.is_empty());
        assert_eq!(Arc::strong_count(&letter), 1);
    });
}

// ---- lane --------------------------------------------------------------------------------------

const LIMITS: LaneLimits = LaneLimits { messages_max: 2, bytes_max: 20 };

/// A message of ten bytes.
const MESSAGE: &[u8] = &[0; 10];

fn lane() -> Arc<Lane<&'static [u8]>> {
    Arc::new(Lane::new(LIMITS, Arc::new(Backlog::new(usize::MAX))))
}

/// Everything of a lane, as `Desk::fill` of `io` takes it.
fn fill(lane: &Lane<&'static [u8]>, fault: Fault) -> usize {
    if lane.depth().0 == 0 {
        return 0;
    }
    let mut taken = Waiting::new();
    lane.take(&mut taken);
    let mut release = lane.release();
    let count = std::iter::from_fn(|| taken.pop()).inspect(|message| release.add(message)).count();
    fault.in_sleeper(|| drop(release));
    count
}

fn two_hosts_send(fault: Fault) {
    let (shared, lane) = (Shared::new(), lane());
    let hosts = [1, 2].map(|_| {
        let (shared, lane) = (Arc::clone(&shared), Arc::clone(&lane));
        thread::spawn(move || {
            let early = fault == Fault::WrongOrder && lane.lock().announce();
            lane.lock().push(MESSAGE, Instant::now()).expect("room");
            // In a visit of its own, as at the end of `Transport::send`.
            if early || (fault != Fault::WrongOrder && lane.lock().announce()) {
                shared.post(0, Fault::None);
            }
        })
    });
    let mut messages = 0;
    shared.live(Fault::None, |_| {
        messages += fill(&lane, fault);
        messages == 2
    });
    join(hosts);
    assert_eq!(lane.depth(), (0, 0), "{MISCOUNTED}");
}

#[test]
fn a_lane_leaves_no_message_behind() {
    holds(two_hosts_send);
}

#[test]
fn a_message_that_is_announced_before_it_is_there_stays_behind() {
    fails(two_hosts_send, Fault::WrongOrder, FOR_EVER);
}

fn a_host_fills_what_the_core_empties(fault: Fault) {
    let lane = lane();
    lane.lock().push(MESSAGE, Instant::now()).expect("room");
    let host = {
        let lane = Arc::clone(&lane);
        thread::spawn(move || {
            lane.lock().push(MESSAGE, Instant::now()).expect("room");
            // May be refused, for the host may see the lane fuller than it is.
            let _ = lane.lock().push(MESSAGE, Instant::now());
        })
    };
    for _ in 0..2 {
        assert!(fill(&lane, fault) <= LIMITS.messages_max, "a lane is never fuller than its bounds");
    }
    join([host]);
    fill(&lane, Fault::None);
    assert_eq!(lane.depth(), (0, 0), "{MISCOUNTED}");
}

#[test]
fn a_lane_keeps_to_its_bounds_and_is_empty_at_the_end() {
    holds(a_host_fills_what_the_core_empties);
}

#[test]
fn a_lane_miscounts_if_its_release_is_torn() {
    fails(a_host_fills_what_the_core_empties, Fault::InSleeper(Torn), MISCOUNTED);
}

// ---- flag --------------------------------------------------------------------------------------

/// A flag with what it tells about, and the way of a letter to the task.
struct Signal {
    flag: Flag,
    news: AtomicBool,
    letter: Event,
}

fn a_flag_is_raised(fault: Fault) {
    let signal = Arc::new(Signal {
        flag: Flag::default(),
        news: AtomicBool::new(false),
        letter: Event::new().expect("a model"),
    });
    let host = {
        let signal = Arc::clone(&signal);
        thread::spawn(move || {
            signal.news.store(true, Ordering::Relaxed);
            if fault.in_news(|| signal.flag.raise()) {
                signal.letter.signal();
            }
        })
    };
    // `Signal::raised` of `io`.
    while !fault.in_sleeper(|| signal.flag.lower()) {
        let raised = fault.in_sleeper(|| signal.flag.wait());
        if raised && fault != Fault::NoSecondLook {
            break;
        }
        signal.letter.wait();
    }
    assert!(signal.news.load(Ordering::Relaxed), "{OUT_OF_DATE}");
    join([host]);
    assert!(!signal.flag.is_raised(), "who finds it raised lowers it");
}

#[test]
fn a_task_finds_the_flag_and_what_was_written_before() {
    holds(a_flag_is_raised);
}

#[test]
fn a_task_sleeps_for_ever_without_a_fence_or_without_the_second_look() {
    fails(a_flag_is_raised, Fault::InNews(NoFence), FOR_EVER);
    fails(a_flag_is_raised, Fault::InSleeper(NoFence), FOR_EVER);
    fails(a_flag_is_raised, Fault::NoSecondLook, FOR_EVER);
}

#[test]
fn a_task_reads_what_was_before_without_release_or_acquire() {
    fails(a_flag_is_raised, Fault::InNews(NoRelease), OUT_OF_DATE);
    fails(a_flag_is_raised, Fault::InSleeper(NoAcquire), OUT_OF_DATE);
}

// ---- backlog -----------------------------------------------------------------------------------

const OVER_ITS_BOUND: &str = "no more waits than may";

/// As large as a payload that is shared, and at another place.
static PAYLOADS: [[u8; SHARED_BYTES_MIN]; 2] = [[1; SHARED_BYTES_MIN], [2; SHARED_BYTES_MIN]];

/// Each of two lanes has a message; true for those that found room for it at first.
fn two_lanes_wait(bytes_max: usize, messages: [&'static [u8]; 2], fault: Fault) -> [bool; 2] {
    let backlog = Arc::new(Backlog::new(bytes_max));
    let waiting = messages.map(|message| {
        let backlog = Arc::clone(&backlog);
        thread::spawn(move || {
            let fits = fault.in_news(|| backlog.enter(&message, false));
            assert!(backlog.bytes() <= bytes_max, "{OVER_ITS_BOUND}");
            // An empty lane admits any message.
            if fits || backlog.enter(&message, true) {
                fault.in_sleeper(|| backlog.give_back(backlog.leave(&message)));
            }
            fits
        })
    });
    let fits = waiting.map(|thread| thread.join().expect("no panic"));
    assert_eq!(backlog.bytes(), 0, "{MISCOUNTED}");
    fits
}

fn two_lanes_share_a_payload(fault: Fault) {
    let fits = two_lanes_wait(SHARED_BYTES_MIN, [&PAYLOADS[0]; 2], fault);
    assert_eq!(fits, [true; 2], "a payload needs its room once");
}

#[test]
fn a_payload_that_two_lanes_share_is_counted_once() {
    holds(two_lanes_share_a_payload);
}

fn two_lanes_want_the_same_room(fault: Fault) {
    let backlog = Arc::new(Backlog::new(SHARED_BYTES_MIN));
    let waiting = [0, 1].map(|number| {
        let backlog = Arc::clone(&backlog);
        thread::spawn(move || fault.in_news(|| backlog.enter(&&PAYLOADS[number][..], false)))
    });
    let fits = waiting.map(|thread| thread.join().expect("no panic"));
    assert!(fits[0] != fits[1], "{OVER_ITS_BOUND}");
    assert_eq!(backlog.bytes(), SHARED_BYTES_MIN);
}

#[test]
fn of_two_lanes_that_want_the_same_room_one_gets_it() {
    holds(two_lanes_want_the_same_room);
}

#[test]
fn two_lanes_get_the_same_room_if_what_they_count_with_is_torn() {
    fails(two_lanes_want_the_same_room, Fault::InNews(Torn), OVER_ITS_BOUND);
}

fn two_lanes_come_and_go(fault: Fault) {
    two_lanes_wait(usize::MAX, [&PAYLOADS[0], MESSAGE], fault);
}

#[test]
fn nothing_is_counted_when_nothing_waits() {
    holds(two_lanes_come_and_go);
}

#[test]
fn something_is_counted_for_ever_if_what_it_is_counted_with_is_torn() {
    fails(two_lanes_come_and_go, Fault::InNews(Torn), MISCOUNTED);
    fails(two_lanes_come_and_go, Fault::InSleeper(Torn), MISCOUNTED);
}

// ---- pool --------------------------------------------------------------------------------------

fn a_block_comes_home_while_the_core_takes_another(fault: Fault) {
    let pool = Pool::new();
    let mut block = pool.take(1);
    block.fill(1);
    let host = thread::spawn(move || {
        assert!(block.iter().all(|&byte| byte == 1), "a block is nobody else's");
        fault.in_news(|| drop(block));
    });
    let mut other = pool.take(1);
    other.fill(2);
    drop(other);
    join([host]);
    let stats = pool.stats();
    assert_eq!(stats.out, [0; 3], "{MISCOUNTED}");
    assert!(matches!(stats.idle, [1 | 2, 0, 0]), "as many as were out at one moment");
}

#[test]
fn a_block_comes_home_from_another_thread() {
    holds(a_block_comes_home_while_the_core_takes_another);
}

#[test]
fn a_pool_miscounts_if_what_it_counts_with_is_torn() {
    fails(a_block_comes_home_while_the_core_takes_another, Fault::InNews(Torn), MISCOUNTED);
}

#[test]
fn a_sealed_block_comes_home_once_whoever_drops_the_last_slice() {
    explore(|| {
        let pool = Pool::new();
        let sealed = pool.take(1).seal();
        let hosts = [sealed.slice(..9), sealed.slice(9..)].map(|slice| thread::spawn(move || drop(slice)));
        drop(sealed);
        join(hosts);
        assert_eq!((pool.stats().out, pool.stats().idle), ([0; 3], [1, 0, 0]));
    });
}

#[test]
fn a_pool_outlives_its_core_until_the_last_block_is_home() {
    // loom complains of what is never freed.
    explore(|| {
        let pool = Pool::new();
        let hosts = [pool.take(1), pool.take(1)].map(|block| thread::spawn(move || drop(block)));
        drop(pool);
        join(hosts);
    });
}

// ---- claim -------------------------------------------------------------------------------------

/// A link of `io`: a guest works if it can, else it leaves the work to the owner, who is told.
fn a_guest_and_the_owner_work(fault: Fault) {
    let (shared, done) = (Shared::new(), Arc::new(Claim::new(0)));
    // loom changes threads only where they meet, and letting go of a lock is no such place.
    let meeting = Arc::new(AtomicBool::new(false));
    let guest = {
        let (shared, done, meeting) = (Arc::clone(&shared), Arc::clone(&done), Arc::clone(&meeting));
        thread::spawn(move || {
            let Some(mut claimed) = done.try_claim() else { return };
            *claimed += 1;
            meeting.swap(true, Ordering::Relaxed);
            if fault.in_news(|| claimed.leave()) && fault != Fault::NotTold {
                shared.post(0, Fault::None);
            }
        })
    };
    // The owner has work from the start, and comes again only if it is told.
    let finish = || fault.in_sleeper(|| done.claim_or_ask()).map(|mut claimed| *claimed += 1).is_some();
    meeting.swap(true, Ordering::Relaxed);
    if !finish() {
        shared.live(Fault::None, |_| finish());
    }
    join([guest]);
}

#[test]
fn an_owner_who_finds_a_guest_is_told_when_it_has_left() {
    holds(a_guest_and_the_owner_work);
}

#[test]
fn an_owner_waits_for_ever_if_no_guest_tells_it() {
    fails(a_guest_and_the_owner_work, Fault::InSleeper(NoFence), FOR_EVER);
    // That the guest needs its fence is beyond loom, whose locks order as much as fences do.
    fails(a_guest_and_the_owner_work, Fault::NotTold, FOR_EVER);
}

fn two_guests_and_the_owner_work(_: Fault) {
    let done = Arc::new(Claim::new(0));
    let guests = [1, 2].map(|_| {
        let done = Arc::clone(&done);
        thread::spawn(move || {
            let claimed = done.try_claim();
            claimed.is_some_and(|mut claimed| {
                *claimed += 1;
                thread::yield_now();
                claimed.leave()
            })
        })
    });
    let told = done.claim_or_ask().is_none();
    let left = guests.map(|guest| guest.join().expect("no panic"));
    if told {
        assert!(left.contains(&true), "one of those who were there tells the owner");
        assert!(done.try_claim().is_none(), "the owner comes first");
    }
    assert!(done.claim_or_ask().is_some(), "everybody has left");
}

#[test]
fn one_of_several_guests_tells_the_owner() {
    holds(two_guests_and_the_owner_work);
}
