//! Members that dial a stream and then misbehave.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use raftring::raftpb::Message;
use raftring::{Direction, Event};

use crate::client::{Request, connect, is_open, read_head, read_to_end, time_to_close};
use crate::common::{app, wait_until};
use crate::server::{Attacked, nobody};

const PATH: &str = "/raft/stream/msgapp/2";

/// Member 2's side of an outgoing stream of member 1.
fn dial(attacked: &Attacked, path: &str) -> TcpStream {
    let mut stream = connect(attacked.address());
    stream.write_all(Request::stream(path).text().as_bytes()).expect("sent");
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 200 OK"));
    stream
}

fn is_up(event: &Event) -> bool {
    matches!(event, Event::StreamUp { peer, direction: Direction::Writer, .. } if peer.0 == 2)
}

fn writers_down(attacked: &Attacked) -> usize {
    let events = attacked.one.host.events.lock().expect("no panic");
    events.iter().filter(|event| matches!(event, Event::WriterDown { peer, .. } if peer.0 == 2)).count()
}

#[test]
fn a_stop_does_not_wait_for_a_client_that_never_closes() {
    let attacked = Attacked::start();
    let (url, _closed) = nobody();
    attacked.add_attacker(&url);
    let mut streams = [PATH, "/raft/stream/message/2"].map(|path| dial(&attacked, path));
    wait_until("it is up", || attacked.one.host.saw(is_up));
    let began = Instant::now();
    assert!(attacked.one.transport().stop().wait(Duration::from_secs(3)), "it stops");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    for stream in &mut streams {
        // The body is ended as etcd ends it.
        assert!(read_to_end(stream).ends_with(b"0\r\n\r\n"));
    }
}

#[test]
fn a_client_that_closes_is_noticed_without_a_write() {
    let attacked = Attacked::start();
    let (url, _closed) = nobody();
    attacked.add_attacker(&url);
    drop(dial(&attacked, PATH));
    wait_until("it is down", || writers_down(&attacked) == 1);
    attacked.assert_recovers();
}

#[test]
fn a_client_that_talks_on_a_stream_is_closed() {
    let attacked = Attacked::start();
    let (url, _closed) = nobody();
    attacked.add_attacker(&url);
    let mut stream = dial(&attacked, PATH);
    stream.write_all(b"POST /raft HTTP/1.1\r\n").expect("sent");
    assert!(time_to_close(&mut stream) < Duration::from_secs(2));
    wait_until("it is down", || writers_down(&attacked) == 1);
    attacked.assert_recovers();
}

#[test]
fn bytes_behind_a_stream_request_end_it() {
    let attacked = Attacked::start();
    let (url, _closed) = nobody();
    attacked.add_attacker(&url);
    let mut stream = connect(attacked.address());
    stream.write_all((Request::stream(PATH).text() + "more").as_bytes()).expect("sent");
    assert!(time_to_close(&mut stream) < Duration::from_secs(2));
    attacked.assert_recovers();
}

#[test]
fn a_client_that_does_not_read_is_given_up_and_costs_no_more_than_its_lane() {
    let attacked = Attacked::start_with(|config| {
        config.write_timeout = Duration::from_millis(500);
        config.lane_bytes_max = 4 << 20;
    });
    let (url, _closed) = nobody();
    attacked.add_attacker(&url);
    let stream = dial(&attacked, PATH);
    wait_until("it is up", || attacked.one.host.saw(is_up));
    let before = attacked.blocks();
    let payload: bytes::Bytes = vec![7; 64 << 10].into();
    let mut refused = 0;
    for index in 1..=2_000 {
        let mut message = app(index, 1);
        message.entries[0].data = Some(payload.clone());
        refused += attacked.one.transport().send([message]).dropped;
        assert!(attacked.one.transport().queued(2).1 <= 4 << 20);
    }
    assert!(refused > 0, "the lane is bounded");
    assert!(attacked.blocks() < before + (4 << 20), "{} over {before}", attacked.blocks());
    attacked.assert_undisturbed();
    wait_until("it is given up", || writers_down(&attacked) == 1);
    wait_until("raft is told", || {
        attacked.one.host.unreachable.lock().expect("no panic").contains(&2.into())
    });
    drop(stream);
    attacked.assert_recovers();
}

#[test]
fn a_stop_does_not_wait_for_long_for_a_client_that_does_not_read() {
    let attacked = Attacked::start_with(|config| config.write_timeout = Duration::from_millis(500));
    let (url, _closed) = nobody();
    attacked.add_attacker(&url);
    let _stream = dial(&attacked, PATH);
    wait_until("it is up", || attacked.one.host.saw(is_up));
    for index in 1..=200 {
        let mut message = app(index, 1);
        message.entries[0].data = Some(vec![7; 64 << 10].into());
        attacked.one.transport().send([message]);
    }
    assert!(attacked.one.transport().stop().wait(Duration::from_secs(2)), "it stops");
}

#[test]
fn of_streams_that_replace_each_other_in_haste_only_the_newest_stays() {
    let attacked = Attacked::start();
    let (url, _closed) = nobody();
    attacked.add_attacker(&url);
    let asks = Request::stream(PATH).text();
    let mut streams: Vec<_> = (0..30)
        .map(|_| {
            let mut stream = connect(attacked.address());
            stream.write_all(asks.as_bytes()).expect("sent");
            std::thread::sleep(Duration::from_millis(20));
            stream
        })
        .collect();
    let mut newest = streams.pop().expect("thirty");
    assert!(read_head(&mut newest).starts_with("HTTP/1.1 200 OK"));
    for mut old in streams {
        assert!(time_to_close(&mut old) < Duration::from_secs(2));
    }
    assert!(is_open(&newest));
    attacked.assert_recovers();
}

#[test]
fn a_member_that_flaps_waits_and_what_waits_does_not_pile_up() {
    let attacked = Attacked::start();
    let (url, _closed) = nobody();
    attacked.add_attacker(&url);
    let asks = Request::stream(PATH).text();
    // 61 replacements in a minute are too many; at 100 ms apart they take some seconds.
    let began = Instant::now();
    let mut penalised = Vec::new();
    while began.elapsed() < Duration::from_secs(20) {
        let mut stream = connect(attacked.address());
        stream.write_all(asks.as_bytes()).expect("sent");
        stream.set_read_timeout(Some(Duration::from_millis(400))).expect("a timeout");
        match std::io::Read::read(&mut stream, &mut [0; 1]) {
            Ok(1) => {}
            _ => {
                penalised.push(stream);
                if penalised.len() == 5 {
                    break;
                }
            }
        }
    }
    assert_eq!(penalised.len(), 5, "the penalty began");
    let open = penalised.iter().filter(|stream| is_open(stream)).count();
    assert_eq!(open, 1, "of those that wait the newest stays");
    attacked.assert_undisturbed();
    let began = Instant::now();
    attacked.assert_recovers();
    assert!(began.elapsed() < Duration::from_secs(3), "removing the peer ends the wait");
}

#[test]
fn messages_for_a_member_that_left_are_reported_once() {
    let attacked = Attacked::start();
    let (url, _closed) = nobody();
    attacked.add_attacker(&url);
    let sent = attacked.one.transport().send((1..=100).map(|index| app(index, 1)));
    assert_eq!(sent.accepted + sent.dropped, 100);
    // Posts that fail meanwhile make room for as many.
    assert!((51..=75).contains(&sent.accepted), "no stream is up: {} may be posted", sent.accepted);
    let unknown = attacked.one.transport().send([Message { to: Some(99), ..app(1, 1) }]);
    assert_eq!(unknown.dropped, 1);
    wait_until("all are told", || {
        let events = attacked.one.host.events.lock().expect("no panic");
        let dropped = events.iter().filter_map(|event| match event {
            Event::Dropped { peer, messages, .. } if peer.0 == 2 => Some(*messages),
            _ => None,
        });
        dropped.sum::<usize>() == 100
    });
    attacked.assert_recovers();
}
