//! Ends that come from outside: the receiver dies or refuses, the peer is removed, the transport stops.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use raftring::{Event, MemberId, SnapshotError, SnapshotHandle, SnapshotStatus};

use crate::common::wait_until;
use crate::host::{Bits, Saves, Two, snapshot};
use crate::send::PATIENCE;

/// A receiver that is none of ours, at peer 5 of member 1: `serve` gets each connection that posts a
/// snapshot, its request read for `bytes`.
struct Fake {
    two: Two,
}

impl Fake {
    fn start(bytes: usize, serve: impl Fn(&mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut got = Vec::new();
                let mut piece = [0; 4096];
                while got.len() < 4 || (got.starts_with(b"POST /raft/sn") && got.len() < bytes) {
                    match stream.read(&mut piece) {
                        Ok(count) if count > 0 => got.extend_from_slice(&piece[..count]),
                        _ => break,
                    }
                }
                if got.starts_with(b"POST /raft/sn") {
                    serve(&mut stream);
                }
            }
        });
        let two = Two::start();
        two.one.transport().add_peer(5, [url]).expect("a good peer");
        Self { two }
    }

    fn send(&self, bits: Bits) -> SnapshotHandle {
        self.two.one.transport().send_snapshot(snapshot(1, 5, 1), bits)
    }

    fn error(&self, bits: Bits) -> SnapshotError {
        let error = self.send(bits).wait(PATIENCE).expect("an outcome").expect_err("it fails");
        assert_eq!(self.two.sender.statuses(), [(MemberId(5), SnapshotStatus::Failure)]);
        assert_eq!(self.two.sender.inner.unreachable.lock().expect("no panic")[..], [MemberId(5)]);
        error
    }
}

/// Larger than what sockets hold between the two ends.
const LARGE: usize = 40 << 20;

#[test]
fn a_receiver_that_dies_at_any_point_fails_the_snapshot_once() {
    for bytes in [1, 100, 1_000, 100_000, 2_000_000] {
        let fake = Fake::start(bytes, |_| ());
        let error = fake.error(Bits::new(LARGE));
        assert!(matches!(error, SnapshotError::Connection(_)), "{bytes}: {error:?}");
    }
}

#[test]
fn a_receiver_that_refuses_early_is_heard() {
    let fake = Fake::start(100_000, |stream| {
        let text = "HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 5\r\n\r\nfull\n";
        let _ = stream.write_all(text.as_bytes());
        // Long enough that the sender finds the answer and not a reset.
        std::thread::sleep(Duration::from_millis(300));
    });
    let error = fake.error(Bits::new(LARGE));
    assert_eq!(error, SnapshotError::Refused("unexpected http status 507: full".to_owned()));
}

/// The sender's write is pending by then, and would be for as long as a stall may last.
#[test]
fn a_receiver_that_refuses_and_reads_no_more_is_heard_at_once() {
    let fake = Fake::start(100_000, |stream| {
        std::thread::sleep(Duration::from_millis(500));
        let _ = stream.write_all(b"HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 5\r\n\r\nfull\n");
        std::thread::sleep(Duration::from_secs(15));
    });
    let since = Instant::now();
    let error = fake.error(Bits::new(LARGE));
    assert_eq!(error, SnapshotError::Refused("unexpected http status 507: full".to_owned()));
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
}

#[test]
fn a_204_before_the_end_is_no_success() {
    let fake = Fake::start(100_000, |stream| {
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        std::thread::sleep(Duration::from_millis(300));
    });
    assert!(fake.error(Bits::new(LARGE)).to_string().contains("before the whole"));
}

/// As `TestPipelinePostErrorc`: what etcd would send down its error channel.
#[test]
fn a_403_tells_that_we_were_removed() {
    let fake = Fake::start(100, |stream| {
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        std::thread::sleep(Duration::from_millis(100));
    });
    assert_eq!(fake.error(Bits::new(10)), SnapshotError::MemberRemoved);
    assert!(fake.two.sender.count(|event| matches!(event, Event::MemberRemoved { by: MemberId(5) })) == 1);
}

#[test]
fn a_receiver_that_reads_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let two = Two::start_with(&raftring::CoresConfig::default(), |config| {
        config.snapshot_stall_timeout = Duration::from_millis(1_000);
    });
    two.one.transport().add_peer(5, [url]).expect("a good peer");
    let handle = two.one.transport().send_snapshot(snapshot(1, 5, 1), Bits::new(LARGE));
    let error = handle.wait(PATIENCE).expect("an outcome").expect_err("it stalls");
    // The kernel's own user timeout may find it first.
    assert!(matches!(error, SnapshotError::Stalled | SnapshotError::Connection(_)), "{error:?}");
    assert_eq!(two.sender.statuses(), [(MemberId(5), SnapshotStatus::Failure)]);
}

#[test]
fn nobody_there_is_told() {
    let two = Two::start();
    two.one.transport().add_peer(5, ["http://127.0.0.1:1"]).expect("a good peer");
    let handle = two.one.transport().send_snapshot(snapshot(1, 5, 1), Bits::new(10));
    assert!(matches!(handle.wait(PATIENCE), Some(Err(SnapshotError::Connection(_)))));
    assert_eq!(two.sender.statuses(), [(MemberId(5), SnapshotStatus::Failure)]);
}

/// In the midst of it, with a source that hangs, on either side.
#[test]
fn a_stop_ends_snapshots_at_once() {
    for (who, hangs) in [(1, true), (1, false), (2, true), (2, false)] {
        let two = Two::start();
        let waits_at = if hangs { 3_000_000 } else { u64::MAX };
        let bits = Bits { waits_at, ..Bits::new(LARGE) };
        let handle = two.send(1, bits.clone());
        wait_until("it is under way", || bits.read.load(Ordering::SeqCst) >= 2_000_000);
        let since = Instant::now();
        let member = if who == 1 { &two.one } else { &two.two };
        assert!(member.transport().stop().wait(PATIENCE), "{who} {hangs}");
        assert!(since.elapsed() < Duration::from_secs(5));
        bits.let_go.store(true, Ordering::SeqCst);
        let outcome = handle.wait(PATIENCE).unwrap_or_else(|| panic!("no outcome: {who} {hangs} {handle:?}"));
        match outcome {
            // It may have been through already.
            Ok(()) => assert!(!hangs),
            Err(error) if who == 1 => assert_eq!(error, SnapshotError::Stopped),
            Err(error) => {
                assert!(
                    matches!(error, SnapshotError::Connection(_) | SnapshotError::Refused(_)),
                    "{error:?}"
                );
            }
        }
        assert_eq!(two.sender.statuses().len(), 1);
        wait_until("no part is left", || {
            two.receiver.files() == usize::from(handle.outcome() == Some(Ok(())))
        });
    }
}

/// A write that never comes back costs its helper thread, and no stop.
#[test]
fn a_stop_does_not_wait_for_a_disk_that_hangs() {
    let two = Two::start();
    two.receiver.set(Saves::Hang);
    let handle = two.send(1, Bits::new(LARGE));
    wait_until("it is under way", || {
        two.two.transport().receiving_snapshots().first().is_some_and(|coming| coming.bytes > 1_000_000)
    });
    let since = Instant::now();
    assert!(two.two.transport().stop().wait(PATIENCE));
    assert!(since.elapsed() < Duration::from_secs(5));
    assert!(handle.wait(PATIENCE).expect("an outcome").is_err());
    two.receiver.let_go.store(true, Ordering::SeqCst);
    two.assert_over(0, &[SnapshotStatus::Failure]);
}

#[test]
fn a_peer_that_is_removed_takes_its_snapshot_along() {
    let two = Two::start();
    let bits = Bits { waits_at: 3_000_000, ..Bits::new(LARGE) };
    let handle = two.send(1, bits.clone());
    wait_until("it is under way", || handle.sent() >= 1_000_000);
    assert!(two.one.transport().remove_peer(2).wait(PATIENCE));
    assert_eq!(handle.wait(PATIENCE), Some(Err(SnapshotError::Stopped)));
    bits.let_go.store(true, Ordering::SeqCst);
    two.assert_over(0, &[SnapshotStatus::Failure]);
}

#[test]
fn a_snapshot_for_a_transport_that_was_stopped_is_told() {
    let two = Two::start();
    assert!(two.one.transport().stop().wait(PATIENCE));
    assert!(two.send(1, Bits::new(10)).wait(PATIENCE).expect("an outcome").is_err());
    assert_eq!(two.sender.statuses().len(), 1);
    assert!(two.two.transport().stop().wait(PATIENCE));
    two.cores.stop();
    assert!(two.send(2, Bits::new(10)).wait(PATIENCE).expect("an outcome").is_err());
    assert_eq!(two.sender.statuses().len(), 2, "even without a core");
}

/// A disk that hangs holds up its own snapshot, and neither the core nor a stop.
#[test]
fn a_disk_that_hangs_is_no_ones_else_trouble() {
    let two = Two::start_with(&raftring::CoresConfig::default(), |config| {
        config.snapshot_stall_timeout = Duration::from_millis(1_000);
    });
    two.receiver.set(Saves::Hang);
    let receiver = std::sync::Arc::clone(&two.receiver);
    let let_go = std::sync::Arc::clone(&receiver.let_go);
    let error = two.send(1, Bits::new(LARGE)).wait(PATIENCE).expect("an outcome").expect_err("it hangs");
    let ok =
        matches!(error, SnapshotError::Refused(_) | SnapshotError::Connection(_) | SnapshotError::Stalled);
    assert!(ok, "{error:?}");
    let_go.store(true, Ordering::SeqCst);
    two.assert_over(0, &[SnapshotStatus::Failure]);
}
