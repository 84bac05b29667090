//! From one transport to another: `TestSnapshotSend` and what else a host may do.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use raftring::snapshot::{FileSource, SnapshotSource};
use raftring::{Event, MemberId, SnapshotError, SnapshotStatus};

use crate::common::{normalised, wait_until};
use crate::host::{Bits, Saves, Two, snapshot};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_snapshot_arrives_whole_and_both_sides_are_told() {
    let two = Two::start();
    let bits = Bits::new(5_000_000);
    let handle = two.send(0x10, bits.clone());
    assert_eq!(handle.wait(PATIENCE), Some(Ok(())));
    two.assert_arrived(0x10, &bits.bytes);
    assert_eq!((handle.sent(), handle.size(), handle.index()), (5_000_000, 5_000_000, 0x10));
    two.assert_over(1, &[SnapshotStatus::Finish]);

    let began = |event: &Event| matches!(event, Event::SnapshotSendBegan { bytes: 5_000_000, offset: 0, .. });
    let ended = |event: &Event| {
        matches!(event, Event::SnapshotSendEnded { bytes: 5_000_000, error: None, index: 0x10, .. })
    };
    assert_eq!((two.sender.count(began), two.sender.count(ended)), (1, 1));
    wait_until("the receiver tells it, too", || {
        two.receiver.count(|event| {
            matches!(
                event,
                Event::SnapshotReceiveEnded { peer: MemberId(1), bytes: 5_000_000, refusal: None, .. }
            )
        }) == 1
    });
    assert_eq!(two.receiver.count(|event| matches!(event, Event::SnapshotReceiveBegan { .. })), 1);
    assert_eq!(two.sender.inner.unreachable.lock().expect("no panic").len(), 0);
}

#[test]
fn the_message_arrives_as_it_was_sent() {
    let two = Two::start();
    assert_eq!(two.send(7, Bits::new(3)).wait(PATIENCE), Some(Ok(())));
    let got = two.receiver.inner.next(PATIENCE).expect("the message").message;
    assert_eq!(normalised(snapshot(1, 2, 7)).snapshot_index(), got.snapshot_index());
    assert_eq!((got.from(), got.to(), got.term(), got.snapshot_term()), (1, 2, 3, 3));
    assert_eq!(got.snapshot.and_then(|snapshot| snapshot.data).as_deref(), Some(&b"members"[..]));
}

#[test]
fn databases_of_every_size_arrive() {
    let two = Two::start();
    for (index, len) in
        [0, 1, 4096, 65_535, 65_536, 262_143, 262_144, 262_145, 1_048_576].into_iter().enumerate()
    {
        let bits = Bits::new(len);
        assert_eq!(two.send(index as u64, bits.clone()).wait(PATIENCE), Some(Ok(())), "{len}");
        two.assert_arrived(index as u64, &bits.bytes);
    }
    two.assert_over(9, &[SnapshotStatus::Finish; 9]);
}

#[test]
fn a_file_arrives_from_a_file_and_one_that_is_there_is_success() {
    let two = Two::start();
    assert_eq!(two.send(1, Bits::new(1_000_000)).wait(PATIENCE), Some(Ok(())));
    let file = || FileSource::open(two.receiver.folder.file(1)).expect("a file");
    for _ in 0..2 {
        let handle = two.one.transport().send_snapshot(snapshot(1, 2, 2), file());
        assert_eq!(handle.wait(PATIENCE), Some(Ok(())));
    }
    assert!(two.receiver.database(1) == two.receiver.database(2));
    two.assert_over(2, &[SnapshotStatus::Finish; 3]);
}

/// `TestSnapshotSend`: reader error, reader shorter than declared, reader longer than declared.
#[test]
fn a_source_that_fails_or_lies_leaves_no_file() {
    let two = Two::start();
    let bits = || Bits::new(1_000_000);
    let sources = [
        (Bits { fails_at: 0, ..bits() }, "planted"),
        (Bits { fails_at: 700_000, ..bits() }, "planted"),
        (Bits { declared: 1_000_001, ..bits() }, "after 1000000 of 1000001"),
        (Bits { declared: 5_000_000, ..bits() }, "after 1000000 of 5000000"),
        (Bits { declared: 999_999, ..bits() }, "more than the 999999"),
        (Bits { declared: 0, ..bits() }, "more than the 0"),
    ];
    let count = sources.len();
    let ended = |event: &Event| matches!(event, Event::SnapshotReceiveEnded { refusal: Some(_), .. });
    for (at, (source, words)) in sources.into_iter().enumerate() {
        let outcome = two.send(9, source).wait(PATIENCE).expect("an outcome");
        let error = outcome.expect_err("it fails");
        assert!(matches!(error, SnapshotError::Source(_) | SnapshotError::Size(_)), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        // Until then it would refuse another one.
        wait_until("the receiver has noticed", || two.receiver.count(ended) == at + 1);
    }
    two.assert_over(0, &vec![SnapshotStatus::Failure; count]);
    assert!(two.receiver.inner.next(Duration::from_millis(50)).is_none(), "raft hears of none");
    assert_eq!(two.sender.inner.unreachable.lock().expect("no panic").len(), count);
    // The peer is not to blame.
    assert_eq!(two.sender.count(|event| matches!(event, Event::PeerInactive { .. })), 0);
}

/// rafthttp counts the size of the message and of the database, and nothing of the framing.
#[test]
fn everything_is_counted_as_etcd_counts_it() {
    let two = Two::start();
    assert_eq!(two.send(1, Bits::new(1_000)).wait(PATIENCE), Some(Ok(())));
    let failing = Bits { fails_at: 0, ..Bits::new(1_000) };
    assert!(two.send(2, failing).wait(PATIENCE).expect("an outcome").is_err());
    wait_until("the failure is seen", || {
        two.receiver.count(|event| matches!(event, Event::SnapshotReceiveEnded { refusal: Some(_), .. })) == 1
    });
    let to = two.one.transport().metrics().of(MemberId(2));
    let from = two.two.transport().metrics().of(MemberId(1));
    let counts = (to.snapshot_send_success.get(), to.snapshot_send_failures.get(), to.sent_failures.get());
    assert_eq!(counts, (1, 1, 1));
    assert_eq!((from.snapshot_receive_success.get(), from.snapshot_receive_failures.get()), (1, 1));
    assert_eq!(to.snapshot_send_inflights.get(), Some(0));
    assert_eq!(from.snapshot_receive_inflights.get(), Some(0));
    assert_eq!((to.snapshot_send_seconds.count(), from.snapshot_receive_seconds.count()), (1, 1));
    let message = to.sent_bytes.get() - 1_000;
    assert!((20..200).contains(&message), "the message, beside the database: {message}");
}

#[test]
fn what_cannot_be_sent_is_told_once_and_at_once() {
    let two = Two::start();
    let transport = two.one.transport();
    let outcome = |message| transport.send_snapshot(message, Bits::new(10)).wait(PATIENCE);
    assert_eq!(outcome(snapshot(1, 9, 1)), Some(Err(SnapshotError::UnknownPeer)));
    assert_eq!(two.sender.statuses(), [(MemberId(9), SnapshotStatus::Failure)]);
    assert_eq!(outcome(raftring::raftpb::Message::link_heartbeat()), Some(Err(SnapshotError::NotASnapshot)));
    assert_eq!(two.sender.statuses().len(), 1, "raft waits for no such thing");
    transport.cut_peer(2);
    assert_eq!(outcome(snapshot(1, 2, 1)), Some(Err(SnapshotError::Paused)));
    transport.mend_peer(2);
    assert_eq!(outcome(snapshot(1, 2, 1)), Some(Ok(())));
    let huge = || {
        let mut message = snapshot(1, 2, 1);
        message.snapshot.as_mut().expect("one").data = Some(vec![0; 65 << 20].into());
        message
    };
    assert!(matches!(outcome(huge()), Some(Err(SnapshotError::MessageTooLarge { .. }))));
    assert!(transport.remove_peer(2).wait(PATIENCE));
    assert_eq!(outcome(snapshot(1, 2, 1)), Some(Err(SnapshotError::UnknownPeer)));
    assert_eq!(two.sender.statuses().len(), 5);
}

/// Nobody else would ever tell raft, which sends that member nothing until it hears of it.
#[test]
fn a_bare_snapshot_to_nobody_is_told() {
    let two = Two::start();
    assert_eq!(two.one.transport().send([snapshot(1, 9, 1), snapshot(1, 9, 2)]).dropped, 2);
    let failures = [(MemberId(9), SnapshotStatus::Failure); 2];
    wait_until("both are told", || two.sender.statuses() == failures);
    two.one.transport().cut_peer(2);
    assert_eq!(two.one.transport().send([snapshot(1, 2, 3)]).dropped, 1);
    wait_until("as one to a peer", || two.sender.statuses().len() == 3);
}

/// A source may look at a whole file for its tag, which no core has time for.
#[test]
fn a_source_is_asked_for_its_tag_by_who_sends_it() {
    struct Asked(Bits, Sender<ThreadId>);
    impl SnapshotSource for Asked {
        fn size(&self) -> u64 {
            self.0.size()
        }
        fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read_at(offset, buffer)
        }
        fn tag(&self) -> Option<Vec<u8>> {
            let _ = self.1.send(thread::current().id());
            self.0.tag()
        }
    }
    let two = Two::start();
    let (sender, asked) = channel();
    let handle = two.one.transport().send_snapshot(snapshot(1, 2, 1), Asked(Bits::tagged(10), sender));
    assert_eq!(handle.wait(PATIENCE), Some(Ok(())));
    assert_eq!(asked.iter().collect::<Vec<_>>(), [thread::current().id()]);
}

#[test]
fn a_host_that_takes_no_snapshots_says_so() {
    let two = Two::start();
    two.receiver.set(Saves::Nothing);
    let error = two.send(1, Bits::new(10)).wait(PATIENCE).expect("an outcome").expect_err("refused");
    assert!(error.to_string().contains("500") && error.to_string().contains("takes no snapshots"), "{error}");
    two.assert_over(0, &[SnapshotStatus::Failure]);
}

#[test]
fn a_snapshot_is_cancelled_wherever_it_is() {
    let two = Two::start();
    for waits_at in [0, 3_000_000] {
        let bits = Bits { waits_at, ..Bits::new(5_000_000) };
        let handle = two.send(1, bits.clone());
        let began = |event: &Event| matches!(event, Event::SnapshotReceiveBegan { .. });
        wait_until("it is under way", || {
            two.receiver.count(began) == usize::from(waits_at > 0) + 1
                && bits.read.load(Ordering::SeqCst) >= waits_at.saturating_sub(1 << 20)
        });
        assert_eq!(handle.outcome(), None);
        let since = Instant::now();
        handle.cancel();
        assert_eq!(handle.wait(PATIENCE), Some(Err(SnapshotError::Cancelled)));
        assert!(since.elapsed() < Duration::from_secs(5), "it does not wait for the source");
        bits.let_go.store(true, Ordering::SeqCst);
        handle.cancel();
        let ended = |event: &Event| matches!(event, Event::SnapshotReceiveEnded { .. });
        wait_until("the receiver has noticed", || two.receiver.count(ended) == usize::from(waits_at > 0) + 1);
    }
    two.assert_over(0, &[SnapshotStatus::Failure; 2]);
}

#[test]
fn a_snapshot_is_cancelled_before_it_has_begun() {
    let two = Two::start();
    for _ in 0..20 {
        let handle = two.send(1, Bits { waits_at: 0, ..Bits::new(10) });
        handle.cancel();
        let error = handle.wait(PATIENCE).expect("an outcome").expect_err("it fails");
        let busy = matches!(error, SnapshotError::Refused(_) | SnapshotError::Busy(_));
        assert!(error == SnapshotError::Cancelled || busy, "{error:?}");
    }
    assert_eq!(two.sender.statuses().len(), 20);
}

/// While as much is under way as sockets hold.
#[test]
fn a_disk_that_fills_up_in_the_midst_is_heard_of() {
    let two = Two::start();
    for full_at in [1_000_000, 3_000_000, 7_000_000, 15_000_000] {
        two.receiver.set(Saves::FullAt(full_at));
        let error = two.send(1, Bits::new(40 << 20)).wait(PATIENCE).expect("an outcome").expect_err("full");
        let words = "unexpected http status 507: not enough disk space for the snapshot";
        assert_eq!(error, SnapshotError::Refused(words.to_owned()));
    }
    two.assert_over(0, &[SnapshotStatus::Failure; 4]);
}

#[test]
fn progress_is_seen_on_both_sides() {
    let two = Two::start();
    let bits = Bits { waits_at: 2_000_000, ..Bits::tagged(3_000_000) };
    let handle = two.send(5, bits.clone());
    wait_until("some of it has come", || {
        let coming = two.two.transport().receiving_snapshots();
        coming.first().is_some_and(|progress| {
            assert_eq!((progress.peer, progress.index, progress.size), (MemberId(1), 5, Some(3_000_000)));
            progress.bytes > 1_000_000
        })
    });
    assert!(handle.sent() > 1_000_000 && handle.sent() < 3_000_000);
    bits.let_go.store(true, Ordering::SeqCst);
    assert_eq!(handle.wait(PATIENCE), Some(Ok(())));
    two.assert_arrived(5, &bits.bytes);
}

/// A limit that all share; the exact rate is measured by `raftring-perf snapshot`.
#[test]
fn a_rate_limit_holds() {
    let mut cores = raftring::CoresConfig::default();
    cores.snapshot_bytes_per_second_max = Some(4_000_000);
    let two = Two::start_with(&cores, |_| ());
    let since = Instant::now();
    assert_eq!(two.send(1, Bits::new(4_000_000)).wait(PATIENCE), Some(Ok(())));
    assert!(since.elapsed() >= Duration::from_millis(900), "{:?}", since.elapsed());
}

/// Sources and sinks are dropped: nobody keeps them.
#[test]
fn a_source_is_dropped_when_it_was_sent() {
    let two = Two::start();
    let read = Arc::new(AtomicU64::new(0));
    for fails_at in [u64::MAX, 0] {
        let bits = Bits { read: Arc::clone(&read), fails_at, ..Bits::new(100_000) };
        let _ = two.send(1, bits).wait(PATIENCE);
        wait_until("it is dropped", || Arc::strong_count(&read) == 1);
    }
}
