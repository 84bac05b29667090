//! How many at once, and how much memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use raftring::{Cores, CoresConfig, MemberId, SnapshotError, SnapshotStatus};

use crate::common::{Member, wait_until};
use crate::host::{Bits, Saver, Saves, Two, database, member, snapshot};
use crate::receive::{answer, body, chunked, connect, head};
use crate::send::PATIENCE;

/// Member 1 and three that receive.
struct Four {
    one: Member,
    others: Vec<Member>,
    savers: Vec<Arc<Saver>>,
    sender: Arc<Saver>,
}

impl Four {
    fn start() -> Self {
        let cores = Cores::start(&CoresConfig::default()).expect("cores start");
        let sender = Saver::new();
        let one = member(1, &cores, &sender, |_| ());
        let savers: Vec<_> = (0..3).map(|_| Saver::new()).collect();
        let others: Vec<_> =
            (2..).zip(&savers).map(|(id, saver)| member(id, &cores, saver, |_| ())).collect();
        for other in &others {
            one.add(other);
            other.add(&one);
        }
        Self { one, others, savers, sender }
    }
}

impl Drop for Four {
    fn drop(&mut self) {
        for member in self.others.iter().chain([&self.one]) {
            let ended = member.transport().stop().wait(PATIENCE);
            assert!(ended || std::thread::panicking(), "it stops");
        }
    }
}

#[test]
fn two_at_once_and_one_a_peer_and_the_third_is_refused() {
    let four = Four::start();
    let waiting = Bits { waits_at: 0, ..Bits::new(100_000) };
    let send = |to, bits: &Bits| four.one.transport().send_snapshot(snapshot(1, to, to), bits.clone());
    let first = send(2, &waiting);
    let again = send(2, &waiting).wait(PATIENCE).expect("an outcome");
    assert!(matches!(again, Err(SnapshotError::Busy(_))), "{again:?}");
    let second = send(3, &waiting);
    let third = send(4, &waiting).wait(PATIENCE).expect("an outcome");
    assert!(matches!(third, Err(SnapshotError::Busy(_))), "{third:?}");
    let refused = [(MemberId(2), SnapshotStatus::Failure), (MemberId(4), SnapshotStatus::Failure)];
    assert_eq!(four.sender.statuses(), refused);

    waiting.let_go.store(true, Ordering::SeqCst);
    assert_eq!((first.wait(PATIENCE), second.wait(PATIENCE)), (Some(Ok(())), Some(Ok(()))));
    assert_eq!(send(4, &waiting).wait(PATIENCE), Some(Ok(())), "there is room again");
    for (saver, index) in four.savers.iter().zip(2..) {
        assert!(saver.database(index).expect("saved") == waiting.bytes);
    }
    assert_eq!(four.sender.statuses().len(), 5);
}

#[test]
fn a_receiver_takes_two_at_once_and_answers_503_to_the_third() {
    let two = Two::start();
    let address = two.two.transport().local_addr().expect("it listens");
    let from = |id: u64| head("Transfer-Encoding: chunked\r\n").replace("From: 1", &format!("From: {id}"));
    let begin = |id: u64| {
        let mut stream = connect(address);
        std::io::Write::write_all(&mut stream, from(id).as_bytes()).expect("sent");
        let wire = chunked(&body(&snapshot(id, 2, id), &database(50_000)));
        std::io::Write::write_all(&mut stream, &wire[..40_000]).expect("sent");
        (stream, wire)
    };
    let (mut first, wire) = begin(7);
    let (mut second, other_wire) = begin(8);
    wait_until("both are under way", || two.two.transport().receiving_snapshots().len() == 2);
    let (mut third, _) = begin(9);
    assert!(answer(&mut third).starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    for (stream, wire) in [(&mut first, wire), (&mut second, other_wire)] {
        std::io::Write::write_all(stream, &wire[40_000..]).expect("sent");
        assert!(answer(stream).starts_with("HTTP/1.1 204"));
    }
    two.assert_over(2, &[]);
}

/// However slow the disk is: a megabyte or two waits for it, and the rest with its sender.
#[test]
fn a_slow_disk_makes_the_sender_wait_and_not_the_memory_grow() {
    let two = Two::start();
    two.receiver.set(Saves::Slowly);
    let bits = Bits::new(30 << 20);
    let handle = two.send(1, bits.clone());
    let mut out_max = 0;
    while handle.outcome().is_none() {
        let out: usize = (0..two.cores.count())
            .map(|core| two.cores.stats(core).expect("a core").blocks.out_bytes())
            .sum();
        out_max = out_max.max(out);
    }
    assert_eq!(handle.outcome(), Some(Ok(())));
    two.assert_arrived(1, &bits.bytes);
    assert!(out_max < 8 << 20, "{out_max} bytes of blocks");
}
