use proptest::prelude::*;

use super::*;
use crate::raftpb::{ClassCounts, Entry, MessageType};

const MS: Duration = Duration::from_millis(1);

const KINDS: [MessageType; 4] =
    [MessageType::MsgApp, MessageType::MsgProp, MessageType::MsgAppResp, MessageType::MsgVote];

/// A message of the type at `kind`, known by its number.
fn message(kind: usize, number: usize) -> Message {
    Message { r#type: Some(KINDS[kind] as i32), index: Some(number as u64), ..Message::default() }
}

fn append(number: usize) -> Message {
    message(0, number)
}

/// A queue with these faults, and the number of messages each happened to.
fn queue(injections: impl IntoIterator<Item = Injection>) -> (FaultQueue, Vec<Arc<AtomicU64>>) {
    let (mut queue, mut counts) = (FaultQueue::default(), Vec::new());
    for (id, injection) in (0..).zip(injections) {
        let count = Arc::new(AtomicU64::new(0));
        queue.add(Rule::new(InjectionId(id), Arc::new(injection), Arc::clone(&count), 5));
        counts.push(count);
    }
    (queue, counts)
}

fn classes(messages: &[Message]) -> ClassCounts {
    messages.iter().collect()
}

fn numbers(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(Message::index).collect()
}

/// Everything that comes out from `now` on, with when.
fn run_out(queue: &mut FaultQueue, mut now: Instant) -> Vec<(Instant, Message)> {
    let mut all = Vec::new();
    loop {
        all.extend(queue.poll(now).into_iter().map(|message| (now, message)));
        match queue.poll_timeout() {
            Some(next) => now = now.max(next),
            None => return all,
        }
    }
}

#[test]
fn without_rules_everything_leaves_at_once() {
    let now = Instant::now();
    let (mut queue, _) = queue([]);
    (0..10).for_each(|number| queue.push(now, message(number % 4, number)));
    assert_eq!(numbers(&queue.poll(now)), Vec::from_iter(0..10));
    assert!(queue.is_idle());
}

#[test]
fn what_is_cut_is_told_and_of_the_chosen_classes_alone_and_up_to_the_limit() {
    let now = Instant::now();
    let cut = Injection::new(Fault::Cut).classes([MessageClass::Append]).limit(2);
    let (mut queue, counts) = queue([cut]);
    (0..8).for_each(|number| queue.push(now, message(number % 2, number)));
    assert_eq!(numbers(&queue.poll(now)), [1, 3, 4, 5, 6, 7]);
    assert_eq!(classes(&queue.take_dropped()), ClassCounts::of(MessageClass::Append, 2));
    assert!(queue.take_dropped().is_empty());
    assert_eq!(counts[0].load(Ordering::Relaxed), 2);
}

#[test]
fn late_messages_keep_their_order_in_a_class_and_hold_up_no_other() {
    let now = Instant::now();
    let late = Fault::Delay { min: 5 * MS, max: 50 * MS };
    let (mut queue, _) = queue([Injection::new(late).classes([MessageClass::Append]).seed(3)]);
    for number in 0..100 {
        queue.push(now, append(number));
        queue.push(now, message(3, number));
    }
    assert!(queue.poll(now).iter().all(|message| message.class() == MessageClass::Vote));
    assert!(queue.poll(now + 4 * MS).is_empty());
    let all = run_out(&mut queue, now);
    assert!(all.iter().all(|(at, _)| *at >= now + 5 * MS && *at <= now + 50 * MS));
    assert!(all.iter().map(|(_, message)| message.index()).eq(0..100));
    // And what comes when the delay is mended does not overtake what is late still.
    queue.push(now, append(100));
    queue.remove(now, InjectionId(0));
    queue.push(now, append(101));
    assert!(queue.poll(now).is_empty());
    assert!(run_out(&mut queue, now).iter().map(|(_, message)| message.index()).eq([100, 101]));
    assert!(queue.is_idle());
}

#[test]
fn a_pause_holds_what_comes_and_what_is_late_and_lets_all_go_in_order() {
    let now = Instant::now();
    let late = Injection::new(Fault::Delay { min: 5 * MS, max: 5 * MS });
    let (mut queue, counts) = queue([late, Injection::new(Fault::Pause)]);
    queue.push(now, append(0));
    queue.push(now + MS, append(1));
    assert!(queue.poll(now + 100 * MS).is_empty());
    assert_eq!(queue.poll_timeout(), None, "time does not help");
    queue.push(now + 100 * MS, append(2));
    assert_eq!(queue.held().0, 3);
    queue.remove(now + 101 * MS, InjectionId(1));
    queue.push(now + 101 * MS, append(3));
    assert_eq!(numbers(&queue.poll(now + 101 * MS)), [0, 1]);
    assert_eq!(numbers(&queue.poll(now + 200 * MS)), [2, 3]);
    assert_eq!(counts[1].load(Ordering::Relaxed), 3);
}

#[test]
fn what_waits_to_be_overtaken_does_not_wait_for_ever() {
    let now = Instant::now();
    let (mut queue, _) = queue([Injection::new(Fault::Reorder { window: 8 })]);
    (0..3).for_each(|number| queue.push(now, append(number)));
    assert!(queue.poll(now).is_empty());
    assert_eq!(queue.poll_timeout(), Some(now + REORDER_WAIT));
    let mut flushed = numbers(&queue.poll(now + REORDER_WAIT));
    flushed.sort_unstable();
    assert_eq!(flushed, [0, 1, 2]);
    let later = now + 2 * REORDER_WAIT;
    queue.push(later, append(3));
    queue.remove(later, InjectionId(0));
    assert_eq!(numbers(&queue.poll(later)), [3], "nor for a rule that is gone");
}

#[test]
fn a_snapshot_is_never_copied() {
    let now = Instant::now();
    let (mut queue, _) = queue([Injection::new(Fault::Duplicate { probability: 1.0 })]);
    queue.push(now, Message { r#type: Some(MessageType::MsgSnap as i32), ..append(0) });
    queue.push(now, append(1));
    assert_eq!(numbers(&queue.poll(now)), [0, 1, 1]);
}

#[test]
fn what_waits_is_bounded_in_messages_and_in_bytes_and_the_excess_is_told() {
    let now = Instant::now();
    let (mut queue, _) = queue([Injection::new(Fault::Pause)]);
    for number in 0..HELD_MESSAGES_MAX + 7 {
        queue.push(now, append(number));
        assert!(queue.poll(now).is_empty(), "as each sender asks: this must not look at all that wait");
    }
    assert_eq!((queue.held().0, queue.take_dropped().len()), (HELD_MESSAGES_MAX, 7));
    assert_eq!(queue.drain().len(), HELD_MESSAGES_MAX, "nobody will ask any more");
    assert_eq!(queue.held(), (0, 0));
    let data: bytes::Bytes = vec![0; HELD_BYTES_MAX / 2].into();
    let large = Message { entries: vec![Entry { data: Some(data), ..Entry::default() }], ..append(0) };
    (0..3).for_each(|_| queue.push(now, large.clone()));
    assert_eq!((queue.held(), queue.take_dropped().len()), ((2, HELD_BYTES_MAX), 1));
}

fn fault() -> impl Strategy<Value = Fault> {
    let ms = |ms: u64| Duration::from_millis(ms);
    prop_oneof![
        (0..=10_u8).prop_map(|tenths| Fault::Drop { probability: f64::from(tenths) / 10.0 }),
        (0..=10_u8).prop_map(|tenths| Fault::Duplicate { probability: f64::from(tenths) / 10.0 }),
        (0..20_u64, 0..20_u64)
            .prop_map(move |(min, more)| Fault::Delay { min: ms(min), max: ms(min + more) }),
        (1..10_usize).prop_map(|window| Fault::Reorder { window }),
        Just(Fault::Pause),
    ]
}

fn injection() -> impl Strategy<Value = Injection> {
    let class = prop::sample::subsequence(&MessageClass::ALL[..], 0..=MessageClass::ALL.len());
    (fault(), prop::option::of(class), prop::option::of(0..50_u64), any::<u64>()).prop_map(
        |(fault, classes, limit, seed)| {
            let injection = Injection { limit, ..Injection::new(fault).seed(seed) };
            if let Some(classes) = classes { injection.classes(classes) } else { injection }
        },
    )
}

/// Messages by type, each so many milliseconds behind the one before.
fn arrivals() -> impl Strategy<Value = Vec<(usize, u64)>> {
    prop::collection::vec((0..KINDS.len(), 0..4_u64), 0..200)
}

/// What came out, in order, and what was dropped.
type Outcome = (Vec<Message>, ClassCounts);

/// Pushes everything, asking in between whenever there is something to ask, and mends all at the end.
fn run(injections: &[Injection], arrivals: &[(usize, u64)]) -> (Outcome, Vec<u64>) {
    let (mut queue, counts) = queue(injections.iter().cloned());
    let (mut now, mut out) = (Instant::now(), Vec::new());
    for (number, &(kind, after)) in arrivals.iter().enumerate() {
        now += Duration::from_millis(after);
        queue.push(now, message(kind, number));
        out.extend(queue.poll(now));
    }
    (0..injections.len() as u64).for_each(|id| queue.remove(now, InjectionId(id)));
    out.extend(run_out(&mut queue, now).into_iter().map(|(_, message)| message));
    assert!(queue.is_idle(), "nothing is kept");
    let counts = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    ((out, classes(&queue.take_dropped())), counts)
}

fn sum(injections: &[Injection], counts: &[u64], is_one: fn(Fault) -> bool) -> usize {
    let of = injections.iter().zip(counts).filter(|(injection, _)| is_one(injection.fault));
    of.map(|(_, count)| *count as usize).sum()
}

proptest! {
    #[test]
    fn the_same_seeds_and_messages_have_the_same_fate(
        injections in prop::collection::vec(injection(), 0..6),
        arrivals in arrivals(),
    ) {
        prop_assert_eq!(run(&injections, &arrivals), run(&injections, &arrivals));
    }

    #[test]
    fn each_message_comes_out_or_is_told_and_copies_are_counted(
        injections in prop::collection::vec(injection(), 0..6),
        arrivals in arrivals(),
    ) {
        let ((out, dropped), counts) = run(&injections, &arrivals);
        let copies = sum(&injections, &counts, |fault| matches!(fault, Fault::Duplicate { .. }));
        let lost = sum(&injections, &counts, |fault| matches!(fault, Fault::Drop { .. }));
        prop_assert!(dropped.total() == lost);
        // A message that is lost behind a rule that has copied it takes its copies along.
        prop_assert!(out.len() <= arrivals.len() - lost + copies);
        prop_assert!(out.len() >= arrivals.len() - lost);
        for (injection, count) in injections.iter().zip(&counts) {
            if injection.fault != Fault::Pause {
                prop_assert!(injection.limit.is_none_or(|limit| *count <= limit));
            }
        }
    }

    #[test]
    fn without_losses_and_copies_each_message_comes_out_once(
        injections in prop::collection::vec(injection(), 0..6),
        arrivals in arrivals(),
    ) {
        let keeps = |fault| !matches!(fault, Fault::Drop { .. } | Fault::Duplicate { .. });
        let injections: Vec<_> = injections.into_iter().filter(|i| keeps(i.fault)).collect();
        let ((out, dropped), _) = run(&injections, &arrivals);
        prop_assert_eq!(dropped.total(), 0);
        let mut numbers = numbers(&out);
        numbers.sort_unstable();
        prop_assert!(numbers.into_iter().eq(0..arrivals.len() as u64));
    }

    #[test]
    fn without_reordering_each_class_keeps_its_order(
        injections in prop::collection::vec(injection(), 0..6),
        arrivals in arrivals(),
    ) {
        let keeps = |fault| !matches!(fault, Fault::Reorder { .. });
        let injections: Vec<_> = injections.into_iter().filter(|i| keeps(i.fault)).collect();
        let ((out, _), _) = run(&injections, &arrivals);
        for class in MessageClass::ALL {
            let of_class = out.iter().filter(|message| message.class() == class);
            prop_assert!(of_class.map(Message::index).is_sorted());
        }
    }

    #[test]
    fn no_message_is_overtaken_by_more_than_the_window(
        window in 1..10_usize,
        seed in any::<u64>(),
        count in 0..300_usize,
    ) {
        let reorder = Injection::new(Fault::Reorder { window }).seed(seed);
        let ((out, _), _) = run(&[reorder], &vec![(0, 0); count]);
        for (place, message) in out.iter().enumerate() {
            let overtaken = out[..place].iter().filter(|other| other.index() > message.index()).count();
            prop_assert!(overtaken <= window, "{} by {overtaken}", message.index());
        }
        prop_assert_eq!(out.len(), count);
    }

    #[test]
    fn a_delay_is_as_long_as_it_is_said_to_be(
        arrivals in arrivals(),
        (min, more) in (0..20_u64, 0..20_u64),
        seed in any::<u64>(),
    ) {
        let (min, max) = (Duration::from_millis(min), Duration::from_millis(min + more));
        let (mut queue, _) = queue([Injection::new(Fault::Delay { min, max }).seed(seed)]);
        let (mut now, mut came) = (Instant::now(), Vec::new());
        for (number, &(kind, after)) in arrivals.iter().enumerate() {
            now += Duration::from_millis(after);
            queue.push(now, message(kind, number));
            came.push(now);
        }
        let first = came.first().copied().unwrap_or(now);
        let out = run_out(&mut queue, first);
        prop_assert_eq!(out.len(), arrivals.len());
        for (at, message) in out {
            let late = at - came[message.index() as usize];
            // Behind one of its class that has drawn more it waits for that, which came before it.
            prop_assert!(late >= min && late <= max, "{late:?}");
        }
    }
}
