//! Input on which etcd panics, or takes what it says for granted (protocol section 17): here each is an
//! error that is told, and costs its connection at most.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use prost::Message as _;
use raftring::proto::codec::Implausible;
use raftring::proto::handshake::{DialRefusal, Refusal};
use raftring::raftpb::{Entry, Message, MessageType};
use raftring::{Event, RejectReason};

use crate::client::{Request, connect, exchange, read_head};
use crate::common::{app, wait_until};
use crate::dialled::{attack, broken_frame, frame, only, refused};
use crate::server::{Attacked, nobody};

use raftring::StreamKind::{Message as MessageStream, Msgapp};

/// A frame of the `message` stream.
fn message_frame(payload: &[u8]) -> Vec<u8> {
    [frame(&[payload.len() as u64]), payload.to_vec()].concat()
}

fn implausible(event: &Event, why: Implausible) -> bool {
    matches!(event, Event::Rejected { peer, reason: RejectReason::Implausible(reason), .. } if peer.0 == 2 && *reason == why)
}

/// Row 3.
#[test]
fn an_entry_that_is_no_protobuf_is_refused() {
    // AppEntries: one entry, of four bytes that are none.
    let entries =
        [vec![1], 1_u64.to_be_bytes().to_vec(), 4_u64.to_be_bytes().to_vec(), vec![0xff; 4]].concat();
    attack(only(Msgapp, [entries, 0_u64.to_be_bytes().to_vec()].concat()), broken_frame);
}

/// Row 7.
#[test]
fn a_version_that_is_none_is_refused_with_any_status() {
    for status in ["200 OK", "404 Not Found", "410 Gone", "412 Precondition Failed", "500 Oops"] {
        for version in ["3.4", "v3.4.0", "x", "3.4.0.1", "18446744073709551616.0.0"] {
            attack(
                move |stream, _| {
                    let head = format!(
                        "HTTP/1.1 {status}\r\nX-Etcd-Cluster-Id: 1a2b\r\nX-Server-Version: {version}\r\n\
                         Content-Length: 0\r\n\r\n"
                    );
                    let _ = stream.write_all(head.as_bytes());
                },
                |event| refused(event) == Some(&DialRefusal::BadVersionHeader),
            );
        }
    }
}

/// Row 8.
#[test]
fn a_request_with_a_version_that_is_none_is_answered() {
    let attacked = Attacked::start();
    let (url, _closed) = nobody();
    attacked.add_attacker(&url);
    for version in ["3.4", "v3.4.0", "x", "3.4.0.1", "18446744073709551616.0.0", "-1.0.0", "3..0"] {
        for header in ["X-Server-Version", "X-Min-Cluster-Version"] {
            let dial = Request::stream("/raft/stream/message/2").header(header, version).text();
            let post = Request::post().header(header, version).body(b"");
            for request in [dial.into_bytes(), post] {
                let answer = exchange(attacked.address(), &request);
                assert!(answer.starts_with("HTTP/1.1 400 "), "{header}: {version}: {answer}");
                assert!(answer.ends_with("bad version header\n"), "{header}: {version}: {answer}");
            }
        }
    }
    attacked.assert_recovers();
}

/// Row 9.
#[test]
fn a_field_that_is_longer_than_its_message_is_refused() {
    // Field 12, bytes, of 2^64 - 1 bytes, of 2^63, of one byte more than there is.
    let lengths = [&[0xff; 9][..], &[0x80; 9], &[]];
    for (length, last) in lengths.into_iter().zip([1, 1, 2]) {
        let payload = [&[0x62], length, &[last, 0]].concat();
        attack(only(MessageStream, message_frame(&payload)), broken_frame);
        let in_msgapp = [vec![2], message_frame(&payload)].concat();
        attack(only(Msgapp, in_msgapp), broken_frame);
    }
}

/// Row 10.
#[test]
fn groups_within_groups_cost_no_stack() {
    // Field 100, a group that begins a million times over and never ends.
    let payload = [0xa3, 0x06].repeat(1 << 20);
    attack(only(MessageStream, message_frame(&payload)), broken_frame);
}

/// Row 10, of what is known: responses within responses.
#[test]
fn messages_within_messages_cost_no_stack() {
    let mut payload = Vec::new();
    for _ in 0..5_000 {
        let mut outer = vec![0x72];
        prost::encoding::encode_varint(payload.len() as u64, &mut outer);
        outer.append(&mut payload);
        payload = outer;
    }
    attack(only(MessageStream, message_frame(&payload)), broken_frame);
}

/// Row 21.
#[test]
fn entries_with_a_gap_are_dropped_and_the_stream_stays() {
    let append = Message { to: Some(1), from: Some(2), ..app(7, 1) };
    let gap = Entry { index: Some(9), ..append.entries[0].clone() };
    let broken = Message { entries: vec![append.entries[0].clone(), gap], ..append };
    let lies = [vec![2], message_frame(&broken.encode_to_vec())].concat().repeat(3);
    attack(only(Msgapp, lies), |event| implausible(event, Implausible::Entries));
}

/// Row 23.
#[test]
fn a_message_that_lacks_what_raft_indexes_into_is_dropped_and_the_stream_stays() {
    let bare = |kind: MessageType| Message {
        r#type: Some(kind as i32),
        to: Some(1),
        from: Some(2),
        ..Message::default()
    };
    let lies = message_frame(&bare(MessageType::MsgReadIndex).encode_to_vec()).repeat(3);
    attack(only(MessageStream, lies), |event| implausible(event, Implausible::Lacking));
    let attacked = Attacked::start();
    let post = Request::post().body(&bare(MessageType::MsgReadIndex).encode_to_vec());
    assert!(exchange(attacked.address(), &post).starts_with("HTTP/1.1 500 "));
    attacked.assert_recovers();
}

/// Limits: bodies of `POST /raft` read at once.
#[test]
fn of_too_many_bodies_at_once_the_next_is_refused_and_the_others_go_on() {
    const AT_ONCE: usize = 64;
    let attacked = Attacked::start();
    let message = Message { to: Some(1), from: Some(2), ..app(1, 1) }.encode_to_vec();
    let (whole, last) = (Request::post().body(&message), message.len() - 1);
    let begin = |_| {
        let mut stream = connect(attacked.address());
        stream.write_all(&whole[..whole.len() - last]).expect("sent");
        stream
    };
    let streams: Vec<TcpStream> = (0..AT_ONCE).map(begin).collect();
    // They are taken up in their own time: one more is refused once all of them are.
    wait_until("one is too many", || {
        let answer = exchange(attacked.address(), &whole);
        assert!(answer.starts_with("HTTP/1.1 503 ") || answer.starts_with("HTTP/1.1 204 "), "{answer}");
        answer.starts_with("HTTP/1.1 503 ")
    });
    let busy = |event: &Event| matches!(event, Event::RequestRefused { refusal: Refusal::Busy, .. });
    assert!(attacked.one.host.saw(busy));
    attacked.assert_undisturbed();
    for mut stream in streams {
        stream.write_all(&whole[whole.len() - last..]).expect("sent");
        assert!(read_head(&mut stream).starts_with("HTTP/1.1 204 "));
    }
    attacked.assert_recovers();
}

/// Threats: slow reader.
#[test]
fn a_client_that_reads_a_little_now_and_then_costs_no_more_than_its_lane() {
    let attacked = Attacked::start_with(|config| {
        config.write_timeout = Duration::from_secs(2);
        config.lane_bytes_max = 4 << 20;
    });
    let (url, _closed) = nobody();
    attacked.add_attacker(&url);
    let mut stream = connect(attacked.address());
    let small = socket2::SockRef::from(&stream);
    small.set_recv_buffer_size(1).expect("as small as may be");
    stream.write_all(Request::stream("/raft/stream/msgapp/2").text().as_bytes()).expect("sent");
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 200 "));
    let before = attacked.blocks();
    let payload: bytes::Bytes = vec![7; 64 << 10].into();
    let mut refused = 0;
    for index in 1..=600 {
        let mut message = Message { to: Some(2), ..app(index, 1) };
        message.entries[0].data = Some(payload.clone());
        refused += attacked.one.transport().send([message]).dropped;
        assert!(attacked.one.transport().queued(2).1 <= 4 << 20);
        assert!(attacked.blocks() < before + (4 << 20), "{} over {before}", attacked.blocks());
        if index % 100 == 0 {
            // A kilobyte, whatever the size of the buffers in between.
            std::io::copy(&mut std::io::Read::take(&stream, 1 << 10), &mut std::io::sink())
                .expect("it comes");
            attacked.assert_undisturbed();
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert!(refused > 0, "its lane is bounded");
    drop(stream);
    attacked.assert_recovers();
}
