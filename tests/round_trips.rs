//! Round trips measured on the streams' own connections, between two of ours and beside strangers.
#![cfg(feature = "io")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{Pair, app, wait_until};
use raftring::{Event, RoundTrips};

fn round_trips(pair: &Pair) -> [Option<RoundTrips>; 2] {
    let of =
        |member: &common::Member, id: u64| member.transport().peer_stats(id).expect("a peer").round_trips;
    [of(&pair.one, 2), of(&pair.two, 1)]
}

#[test]
fn two_of_ours_measure_both_directions_without_any_message() {
    let pair = Pair::start_with(|config| config.heartbeat_interval = Duration::from_millis(200));
    wait_until("both have measured", || {
        round_trips(&pair).iter().all(|found| found.as_ref().is_some_and(|found| found.count() >= 6))
    });
    for found in round_trips(&pair).into_iter().flatten() {
        println!("{found:?}");
        assert!(found.quantile(0.5) > Duration::ZERO, "no round trip takes no time");
        assert!(found.quantile(0.5) < Duration::from_millis(500), "{found:?}");
        assert!(found.quantile(0.5) <= found.max());
    }
    // The streams carry messages all the same, and none of them was lost.
    assert_eq!(pair.one.transport().send((1..=100).map(|index| app(index, 1))).accepted, 100);
    for index in 1..=100 {
        let got = pair.two.host.next(Duration::from_secs(10)).expect("it arrives");
        assert_eq!(got.message.index(), index - 1);
    }
    let down = |event: &Event| matches!(event, Event::ReaderDown { .. } | Event::WriterDown { .. });
    assert!(!pair.one.host.saw(down) && !pair.two.host.saw(down));
}

#[test]
fn where_one_end_does_not_measure_neither_does() {
    let pair = Pair::start_with(|config| {
        config.heartbeat_interval = Duration::from_millis(200);
        config.stream_round_trips = config.id.0 == 1;
    });
    let heartbeats = || pair.one.transport().peer_stats(2).expect("a peer").message.writer.heartbeats;
    wait_until("heartbeats were sent", || heartbeats() >= 5);
    assert!(round_trips(&pair).iter().all(Option::is_none));
}

/// A reader of member 1's `message` stream that says what it likes.
fn dial(pair: &Pair, connection: &str) -> (TcpStream, String) {
    let address = pair.one.transport().local_addr().expect("it listens");
    let mut stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    write!(
        stream,
        "GET /raft/stream/message/2 HTTP/1.1\r\nHost: a\r\nX-Etcd-Cluster-Id: 1a2b\r\nX-Raft-To: 1\r\n\
         X-Server-Version: 3.5.0\r\n{connection}\r\n"
    )
    .expect("it takes a request");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    (stream, String::from_utf8(head).expect("ASCII"))
}

#[test]
fn who_does_not_offer_it_is_not_asked_for_echoes_and_may_not_send_any() {
    let pair = Pair::start();
    let (mut stream, head) = dial(&pair, "");
    assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("echo"), "{head}");
    stream.write_all(b"\x01").expect("it is sent");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    let wanted = "the peer closed the connection";
    let told = |event: &Event| matches!(event, Event::WriterDown { reason, .. } if reason == wanted);
    wait_until("the connection is over", || pair.one.host.saw(told));
}

#[test]
fn echoes_that_nobody_asked_for_cost_the_connection_and_measure_nothing() {
    let pair = Pair::start();
    let (mut stream, head) = dial(&pair, "Connection: raftring-echo\r\n");
    assert!(head.contains("\r\nConnection: raftring-echo\r\n"), "{head}");
    stream.write_all(&[7; 1000]).expect("it is sent");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    let wanted = "the peer sent what is no echo";
    let told = |event: &Event| matches!(event, Event::WriterDown { reason, .. } if reason == wanted);
    wait_until("the connection is over", || pair.one.host.saw(told));
}
