//! Senders at a link: what they leave there, what they may run there, and how long it takes.
#![allow(missing_docs, reason = "a test")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{CLUSTER, Member, Pair, app, wait_until};
use raftring::raftpb::{Entry, Message, MessageType};
use raftring::{Cores, CoresConfig, Direction, DropReason, Event, Placement};

fn message(kind: MessageType, data: impl Into<Bytes>) -> Message {
    let entries = vec![Entry { data: Some(data.into()), ..Entry::default() }];
    Message { r#type: Some(kind as i32), from: Some(1), to: Some(2), entries, ..Message::default() }
}

/// A member whose peer's message stream is read by the test, or by nobody.
struct Unread {
    cores: Cores,
    one: Member,
    stream: TcpStream,
}

impl Unread {
    fn start() -> Self {
        let cores = Cores::start(&CoresConfig::default()).expect("cores start");
        let one = Member::start(1, &cores, "127.0.0.1:0".parse().expect("an address"), |config| {
            config.placement = Placement::Core(0);
            config.write_timeout = Duration::from_secs(1);
        });
        one.transport().add_peer(2, ["http://127.0.0.1:1"]).expect("a good peer");
        let address = one.transport().local_addr().expect("it listens");
        let mut stream = TcpStream::connect(address).expect("it listens");
        let request = format!(
            "GET /raft/stream/message/2 HTTP/1.1\r\nHost: x\r\nX-Server-From: 2\r\nX-Raft-To: 1\r\n\
             X-Server-Version: 3.4.0\r\nX-Min-Cluster-Version: 3.0.0\r\nX-Etcd-Cluster-ID: {CLUSTER:x}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let up = |event: &Event| matches!(event, Event::StreamUp { direction: Direction::Writer, .. });
        wait_until("the stream is up", || one.host.saw(up));
        Self { cores, one, stream }
    }

    fn is_down(&self) -> bool {
        self.one.host.saw(|event| matches!(event, Event::WriterDown { .. }))
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let ended = self.one.transport().stop().wait(Duration::from_secs(5));
        assert!(ended || std::thread::panicking(), "it stops");
    }
}

/// A payload of the host's that does something when it is dropped.
struct Payload<F: FnMut()>(F);

impl<F: FnMut()> AsRef<[u8]> for Payload<F> {
    fn as_ref(&self) -> &[u8] {
        b"payload"
    }
}

impl<F: FnMut()> Drop for Payload<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_batch_leaves_whole_though_its_last_run_has_nothing_for_one_of_the_streams() {
    let pair = Pair::start();
    let one = pair.one.transport();
    for round in 0..8 {
        // As many as are gathered before a link is visited, and one for the other stream.
        let appends = (1..=64).map(|index| app(64 * round + index, 1));
        let sent = one.send(appends.chain([message(MessageType::MsgHeartbeat, "")]));
        assert_eq!(sent.accepted, 65);
        let stats = one.peer_stats(2).expect("a peer").msgapp;
        assert_eq!((stats.unflushed_bytes, stats.queued_messages), (0, 0), "in round {round}");
    }
    for _ in 0..8 * 65 {
        pair.two.host.next(Duration::from_secs(10)).expect("it arrives");
    }
}

#[test]
fn a_payload_may_send_when_it_is_dropped_also_if_it_was_refused() {
    let pair = Pair::start_with(|config| config.lane_messages_max = 1);
    let (done, is_done) = channel();
    let one = pair.one.transport().clone();
    std::thread::spawn(move || {
        let heartbeat = |data: Bytes| message(MessageType::MsgHeartbeat, data);
        let (inner, innermost) = (one.clone(), one.clone());
        // Dropped by who encodes it, when nobody else gets at the link: one message fits into the lane.
        let payload = Payload(move || {
            let of_refused = innermost.clone();
            let refused = Payload(move || _ = of_refused.send([heartbeat(Bytes::new())]));
            inner.send([heartbeat(Bytes::new()), heartbeat(Bytes::from_owner(refused))]);
        });
        one.send([heartbeat(Bytes::from_owner(payload))]);
        let _ = done.send(());
    });
    is_done.recv_timeout(Duration::from_secs(5)).expect("nobody waits for himself");
    wait_until("what was refused is told", || {
        let full = |event: &Event| matches!(event, Event::Dropped { reason: DropReason::LaneFull(_), .. });
        pair.one.host.saw(full)
    });
    pair.two.host.next(Duration::from_secs(5)).expect("the first arrives");
    pair.two.host.next(Duration::from_secs(5)).expect("and the one that had to wait");
}

#[test]
fn a_batch_that_takes_its_time_does_not_age_its_writes() {
    let unread = Unread::start();
    let slow = std::iter::once_with(|| {
        std::thread::sleep(Duration::from_millis(1_500));
        message(MessageType::MsgProp, vec![0; 16 << 20])
    });
    unread.one.transport().send(slow);
    let since = Instant::now();
    wait_until("nobody reads", || unread.is_down());
    assert!(since.elapsed() >= Duration::from_millis(800), "down after {:?}", since.elapsed());
}

#[test]
fn a_writer_that_panics_takes_its_connection_with_it() {
    let mut unread = Unread::start();
    let one = unread.one.transport();
    // In flight; encoded behind it; and what has no room there is encoded by the writer's task.
    for bytes in [16 << 20, 2 << 20] {
        one.send([message(MessageType::MsgProp, vec![0; bytes])]);
    }
    let armed = Payload(|| panic!("planted: a payload panics"));
    one.send([message(MessageType::MsgProp, Bytes::from_owner(armed))]);
    assert_eq!(one.queued(2).0, 1);
    unread.stream.set_read_timeout(Some(Duration::from_secs(4))).expect("a timeout");
    unread.stream.read_to_end(&mut Vec::new()).expect("the end comes");
    wait_until("it is told", || unread.is_down());
    assert_eq!(one.queued(2), (0, 0));
    assert!((0..unread.cores.count()).any(|core| unread.cores.stats(core).expect("a core").panics > 0));
}

#[test]
fn what_is_lost_when_a_peer_moves_is_told_to_raft() {
    let unread = Unread::start();
    let one = unread.one.transport();
    if unread.cores.count() == 1 {
        return;
    }
    for _ in 0..3 {
        one.send([message(MessageType::MsgProp, vec![0; 16 << 20])]);
    }
    assert!(unread.one.host.unreachable.lock().expect("no panic").is_empty());
    assert!(one.move_peer(2, 1).expect("a core").wait(Duration::from_secs(5)));
    wait_until("raft is told", || !unread.one.host.unreachable.lock().expect("no panic").is_empty());
}
