//! What a receiver answers to a client that is no raftring: the rows of protocol section 11.3.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use prost::Message as _;
use raftring::raftpb::{Message, MessageClass};
use raftring::{CoresConfig, Event, MemberId};

use crate::common::{CLUSTER, wait_until};
use crate::host::{Saves, Two, database, snapshot};
use crate::send::PATIENCE;

/// A request of member 1, up to its body.
pub(crate) fn head(more: &str) -> String {
    format!(
        "POST /raft/snapshot HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n\
         X-Etcd-Cluster-Id: {CLUSTER:x}\r\nX-Min-Cluster-Version: 3.0.0\r\nX-Server-From: 1\r\n\
         X-Server-Version: 3.4.23\r\n{more}\r\n"
    )
}

pub(crate) fn body(message: &Message, database: &[u8]) -> Vec<u8> {
    let message = message.encode_to_vec();
    [&(message.len() as u64).to_be_bytes(), message.as_slice(), database].concat()
}

pub(crate) fn chunked(body: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for chunk in body.chunks(10_000) {
        wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}

pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// The answer, without its date.
pub(crate) fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A receiver that has seen enough may reset the rest.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).expect("text");
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: ")).collect()
}

fn address(two: &Two) -> SocketAddr {
    two.two.transport().local_addr().expect("it listens")
}

fn post(two: &Two, more: &str, body: &[u8]) -> String {
    let mut stream = connect(address(two));
    let request =
        [head(&format!("Transfer-Encoding: chunked\r\n{more}")).as_bytes(), &chunked(body)].concat();
    let _ = stream.write_all(&request);
    answer(&mut stream)
}

fn refused(status: &str, text: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
         X-Etcd-Cluster-Id: {CLUSTER:x}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}\n",
        text.len() + 1
    )
}

#[test]
fn a_snapshot_in_chunks_or_of_a_declared_length_is_taken() {
    let two = Two::start();
    let database = database(100_000);
    let taken =
        format!("HTTP/1.1 204 No Content\r\nX-Etcd-Cluster-Id: {CLUSTER:x}\r\nConnection: close\r\n\r\n");
    assert_eq!(post(&two, "", &body(&snapshot(1, 2, 1), &database)), taken);
    two.assert_arrived(1, &database);
    let body = body(&snapshot(1, 2, 2), &database);
    let mut stream = connect(address(&two));
    stream.write_all(head(&format!("Content-Length: {}\r\n", body.len())).as_bytes()).expect("sent");
    stream.write_all(&body).expect("sent");
    assert_eq!(answer(&mut stream), taken);
    two.assert_arrived(2, &database);
}

/// Rows 1 and 2. What is not a POST learns nothing of the cluster.
#[test]
fn the_checks_before_the_body_are_those_of_every_post() {
    let two = Two::start();
    let mut stream = connect(address(&two));
    stream.write_all(b"GET /raft/snapshot HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let got = answer(&mut stream);
    assert!(got.starts_with("HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\n"), "{got}");
    assert!(got.ends_with("\r\n\r\nMethod Not Allowed\n") && !got.contains("X-Etcd"));
    let with = |from: &str, to: &str| {
        let mut stream = connect(address(&two));
        let request = head("Content-Length: 0\r\n").replace(from, to);
        stream.write_all(request.as_bytes()).expect("sent");
        answer(&mut stream)
    };
    let cluster = format!("X-Etcd-Cluster-Id: {CLUSTER:x}");
    let mismatch = refused("412 Precondition Failed", "cluster ID mismatch");
    assert_eq!(with(&cluster, "X-Etcd-Cluster-Id: 77"), mismatch);
    assert_eq!(with("3.4.23", "2.3.0"), refused("412 Precondition Failed", "incompatible version"));
    let unknown = two.two.transport().metrics().unknown_sender().snapshot_receive_failures.get();
    assert_eq!(unknown, 3);
}

/// Rows 4 and 6.
#[test]
fn a_message_that_is_none_is_refused_in_etcds_words() {
    let two = Two::start();
    let bad = |why: &str| refused("400 Bad Request", &format!("failed to decode raft message ({why})"));
    assert_eq!(post(&two, "", b""), bad("EOF"));
    assert_eq!(post(&two, "", &[0, 0, 0]), bad("unexpected EOF"));
    assert_eq!(post(&two, "", &[0, 0, 0, 0, 0, 0, 0, 9, 8, 7]), bad("unexpected EOF"));
    assert_eq!(post(&two, "", &[0xff; 9]), bad("rafthttp: error limit exceeded"));
    let garbage = post(&two, "", &[0, 0, 0, 0, 0, 0, 0, 1, 0xff]);
    assert!(garbage.starts_with("HTTP/1.1 400") && garbage.contains("failed to decode raft message ("));
    let heartbeat = Message::link_heartbeat();
    assert_eq!(post(&two, "", &body(&heartbeat, b"")), refused("400 Bad Request", "wrong raft message type"));
    assert_eq!(two.receiver.files(), 0);
    let failures = two.two.transport().metrics().of(MemberId(0)).snapshot_receive_failures.get();
    assert_eq!(failures, 6);
    assert_eq!(two.two.transport().metrics().address().received_failures.get(), 5);
    // Row 5 comes before row 6.
    let received = two.two.transport().metrics().of(MemberId(0)).received_bytes.get();
    assert_eq!(received, heartbeat.encoded_len() as u64);
}

/// Row 8, and a disk that is full: before, and in the midst.
#[test]
fn a_file_that_cannot_be_saved_is_told_and_gone() {
    let two = Two::start();
    let body = body(&snapshot(1, 2, 1), &database(2_000_000));
    let space = refused("507 Insufficient Storage", "not enough disk space for the snapshot");
    for full_at in [0, 1_000_000] {
        two.receiver.set(Saves::FullAt(full_at));
        assert_eq!(post(&two, "", &body), space);
    }
    two.receiver.set(Saves::NotCommitted);
    let failed = refused("500 Internal Server Error", "failed to save KV snapshot (planted)");
    assert_eq!(post(&two, "", &body), failed);
    two.receiver.set(Saves::PanicAt(1_000_000));
    assert!(post(&two, "", &body).contains("the sink panicked"));
    two.assert_over(0, &[]);
    two.receiver.set(Saves::File);
    assert!(post(&two, "", &body).starts_with("HTTP/1.1 204"), "and nothing else was lost");
}

/// Row 11: a plain 500 with the reason, no abort, and never a 403.
#[test]
fn a_host_that_leaves_the_message_and_a_message_for_another_are_told() {
    let two = Two::start();
    two.receiver.leaves.store(true, Ordering::SeqCst);
    let words = "failed to process raft message (the host did not take it)";
    let failed = refused("500 Internal Server Error", words);
    assert_eq!(post(&two, "", &body(&snapshot(1, 2, 1), b"DB")), failed);
    two.receiver.leaves.store(false, Ordering::SeqCst);
    let other = post(&two, "", &body(&snapshot(1, 3, 2), b"DB"));
    assert!(
        other.starts_with("HTTP/1.1 500") && other.contains("failed to process raft message ("),
        "{other}"
    );
    assert!(two.receiver.database(2).is_none(), "its database is not even written");
    assert!(two.receiver.inner.next(Duration::from_millis(50)).is_none());
    let rejected = |event: &Event| matches!(event, Event::Rejected { class: MessageClass::Snapshot, .. });
    assert_eq!(two.receiver.count(rejected), 1);
    let counted: Vec<_> = two.two.transport().metrics().of(MemberId(1)).rejected.each().collect();
    assert!(matches!(counted[..], [(_, MessageClass::Snapshot, 1)]), "{counted:?}");
}

#[test]
fn a_host_that_panics_over_the_message_is_told_of_the_end() {
    let two = Two::start();
    two.receiver.panics.store(true, Ordering::SeqCst);
    assert_eq!(post(&two, "", &body(&snapshot(1, 2, 1), b"DB")), "", "the connection is cut");
    let ended = |event: &Event| matches!(event, Event::SnapshotReceiveEnded { refusal: Some(_), .. });
    wait_until("the end is told", || two.receiver.count(ended) == 1);
    let from = two.two.transport().metrics().of(MemberId(1));
    assert_eq!((from.snapshot_receive_failures.get(), from.snapshot_receive_success.get()), (1, 0));
    two.assert_over(1, &[]);
    two.receiver.panics.store(false, Ordering::SeqCst);
    assert!(post(&two, "", &body(&snapshot(1, 2, 1), b"DB")).starts_with("HTTP/1.1 204"));
}

/// Each request that fails is counted once, whoever sent it.
#[test]
fn what_is_refused_before_its_message_is_read_is_counted_too() {
    let two = Two::start();
    let identity = format!("X-Raftring-Snapshot: 10-{}\r\n", "ab".repeat(20));
    let more = format!("{identity}X-Raftring-Snapshot-Offset: 17\r\n");
    assert!(post(&two, &more, &body(&snapshot(1, 2, 1), b"")).starts_with("HTTP/1.1 409"));
    let unknown = two.two.transport().metrics().unknown_sender().snapshot_receive_failures.get();
    assert_eq!(unknown, 1);
}

/// Sharp edge 11: no crash, and not even an error. Raft ignores what is older than its log.
#[test]
fn a_snapshot_without_metadata_is_a_snapshot_at_0() {
    let two = Two::start();
    let bare = Message { snapshot: None, ..snapshot(1, 2, 1) };
    assert!(post(&two, "", &body(&bare, b"DB")).starts_with("HTTP/1.1 204"));
    two.assert_arrived(0, b"DB");
}

#[test]
fn a_snapshot_that_is_cut_at_any_point_leaves_nothing() {
    let two = Two::start();
    let database = database(300_000);
    let request =
        [head("Transfer-Encoding: chunked\r\n").as_bytes(), &chunked(&body(&snapshot(1, 2, 1), &database))]
            .concat();
    let ends = [10, 200, 300, 310, 340, 400, 10_000, 70_000, 200_000, request.len() - 5, request.len() - 1];
    for end in ends {
        let mut stream = connect(address(&two));
        stream.write_all(&request[..end]).expect("sent");
        stream.shutdown(Shutdown::Write).expect("shut");
        let got = answer(&mut stream);
        assert!(!got.contains("204"), "{end}: {got}");
        if end > 1_000 {
            assert_eq!(
                got,
                refused("500 Internal Server Error", "failed to save KV snapshot (unexpected EOF)")
            );
        }
    }
    two.assert_over(0, &[]);
    assert!(two.receiver.inner.next(Duration::from_millis(50)).is_none());
}

#[test]
fn a_sender_that_stalls_or_drips_is_given_up() {
    let two = Two::start_with(&CoresConfig::default(), |config| {
        config.snapshot_stall_timeout = Duration::from_millis(500);
    });
    let body = body(&snapshot(1, 2, 1), &database(100_000));
    let request = [head("Transfer-Encoding: chunked\r\n").as_bytes(), &chunked(&body)].concat();
    let mut stream = connect(address(&two));
    stream.write_all(&request[..50_000]).expect("sent");
    let stalled = |event: &Event| matches!(event, Event::SnapshotReceiveEnded { refusal: Some(_), .. });
    wait_until("it is given up", || two.receiver.count(stalled) == 1);
    two.assert_over(0, &[]);

    let mut stream = connect(address(&two));
    stream.write_all(&request[..50_000]).expect("sent");
    for byte in &request[50_000..] {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        if two.receiver.count(stalled) == 2 {
            break;
        }
    }
    assert_eq!(two.receiver.count(stalled), 2, "a byte now and then does not count");
    two.assert_over(0, &[]);
}

#[test]
fn a_database_beyond_the_limit_is_refused() {
    let two = Two::start_with(&CoresConfig::default(), |config| config.snapshot_bytes_max = 100_000);
    assert!(post(&two, "", &body(&snapshot(1, 2, 1), &database(100_000))).starts_with("HTTP/1.1 204"));
    let too_large = refused("413 Request Entity Too Large", "the snapshot is too large");
    assert_eq!(post(&two, "", &body(&snapshot(1, 2, 2), &database(100_001))), too_large);
    two.assert_over(1, &[]);
}

/// etcd's own receivers are asked nothing that they would not answer: the path is one that they do
/// not have, and a 404 means nothing is there.
#[test]
fn who_asks_for_a_part_that_is_not_there_has_none() {
    let two = Two::start();
    let ask = |more: &str| {
        let request = head(more).replace("POST /raft/snapshot", "GET /raft/snapshot/partial");
        let mut stream = connect(address(&two));
        stream.write_all(request.as_bytes()).expect("sent");
        answer(&mut stream)
    };
    let identity = format!("X-Raftring-Snapshot: 10-{}\r\n", "ab".repeat(20));
    let nothing = ask(&identity);
    assert!(nothing.starts_with("HTTP/1.1 204") && nothing.contains("X-Raftring-Snapshot-Offset: 0\r\n"));
    assert!(ask("").starts_with("HTTP/1.1 404"));
    assert!(ask("X-Raftring-Snapshot: x\r\n").starts_with("HTTP/1.1 404"));
    for offset in ["5", "x", "17", "-1"] {
        let more = format!("{identity}X-Raftring-Snapshot-Offset: {offset}\r\n");
        let got = post(&two, &more, &body(&snapshot(1, 2, 1), b"0123456789"));
        assert_eq!(got, refused("409 Conflict", "no such part of the snapshot is here"), "{offset}");
    }
    let more = format!("{identity}X-Raftring-Snapshot-Offset: 0\r\n");
    let short = post(&two, &more, &body(&snapshot(1, 2, 1), b"0123456789"));
    assert!(short.contains("10 bytes came of 16"), "{short}");
    two.assert_over(0, &[]);
}
