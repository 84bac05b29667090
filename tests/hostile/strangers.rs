//! Connections that never become a request.

use std::io::Write;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use raftring::Event;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::client::{
    Request, connect, connect_from, exchange, is_open, read_head, read_to_end, time_to_close,
};
use crate::common::wait_until;
use crate::server::{Attacked, nobody};

#[test]
fn what_is_not_http_is_closed_without_a_word() {
    let attacked = Attacked::start();
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for noise in [&tls_hello[..], b"\x00\x00\x00\x00", b"get / http", b"\r\n\r\n", b"\x80\x2e\x01", b"\xff"] {
        assert_eq!(exchange(attacked.address(), noise), "", "{noise:?}");
    }
    wait_until("each was told", || {
        let events = attacked.one.host.events.lock().expect("no panic");
        events.iter().filter(|e| matches!(e, Event::ConnectionDropped { reason: "not HTTP", .. })).count()
            == 6
    });
    attacked.assert_recovers();
}

#[test]
fn http_2_is_refused() {
    let attacked = Attacked::start();
    let answer = exchange(attacked.address(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.ends_with("neither HTTP/1.1 nor HTTP/1.0\n"), "{answer}");
    attacked.assert_recovers();
}

#[test]
fn random_bytes_never_hurt() {
    let attacked = Attacked::start();
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..500 {
        let mut noise = vec![0; random.random_range(0..600)];
        random.fill(&mut noise[..]);
        if random.random_bool(0.5) {
            noise.splice(0..0, *b"GET /raft ");
        }
        let mut stream = connect(attacked.address());
        let _ = stream.write_all(&noise);
    }
    attacked.assert_recovers();
}

#[test]
fn a_bomb_of_a_head_is_refused_before_it_is_held() {
    let attacked = Attacked::start();
    let before = attacked.blocks();
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1_000));
    for (bomb, words) in [(long, "longer than 8192 bytes"), (many, "more than 32 headers")] {
        let answer = exchange(attacked.address(), bomb.as_bytes());
        // The refusal may be cut off by what we still send.
        assert!(answer.is_empty() || answer.contains(words), "{answer}");
    }
    let refused = |words: &'static str| move |event: &Event| matches!(event, Event::RequestRefused { refusal, .. } if refusal.text().contains(words));
    wait_until("both were told", || {
        attacked.one.host.saw(refused("longer than")) && attacked.one.host.saw(refused("more than 32"))
    });
    assert!(attacked.blocks() < before + (1 << 20));
    attacked.assert_recovers();
}

#[test]
fn a_head_that_drips_is_closed_after_five_seconds() {
    let attacked = Attacked::start();
    let mut stream = connect(attacked.address());
    let mut dripping = stream.try_clone().expect("a descriptor");
    let drip = thread::spawn(move || {
        for byte in "GET /raft HTTP/1.1\r\nHost: a\r\n".bytes().cycle() {
            if dripping.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    });
    let took = time_to_close(&mut stream);
    assert!((4_500..6_000).contains(&took.as_millis()), "{took:?}");
    drop(stream);
    drip.join().expect("no panic");
    attacked.assert_recovers();
}

#[test]
fn an_idle_connection_is_closed_after_ten_seconds() {
    let attacked = Attacked::start();
    let took = time_to_close(&mut connect(attacked.address()));
    assert!((9_500..10_500).contains(&took.as_millis()), "{took:?}");
    attacked.assert_recovers();
}

#[test]
fn of_many_idle_connections_from_one_address_the_oldest_goes() {
    let attacked = Attacked::start();
    let address = Ipv4Addr::new(127, 2, 0, 1);
    let mut idle: Vec<_> = (0..32).map(|_| connect_from(address, attacked.address())).collect();
    let other = connect(attacked.address());
    thread::sleep(Duration::from_millis(300));
    assert!(idle.iter().all(is_open), "32 of one address may wait");
    idle.push(connect_from(address, attacked.address()));
    let took = time_to_close(&mut idle[0]);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(idle[1..].iter().all(is_open) && is_open(&other), "nobody else is closed");
    drop(idle);
    attacked.assert_recovers();
}

#[test]
fn a_member_gets_through_while_strangers_fill_the_room() {
    let attacked = Attacked::start_with(|config| config.handshakes_max = 8);
    let (url, _closed) = nobody();
    attacked.add_attacker(&url);
    let strangers: Vec<_> = (0..100).map(|_| connect(attacked.address())).collect();
    let mut member = connect(attacked.address());
    let began = Instant::now();
    member.write_all(Request::stream("/raft/stream/message/2").text().as_bytes()).expect("sent");
    assert!(read_head(&mut member).starts_with("HTTP/1.1 200 OK"));
    assert!(began.elapsed() < Duration::from_secs(1));
    drop(strangers);
    attacked.assert_recovers();
    read_to_end(&mut member);
}

#[test]
fn an_address_that_fails_too_often_is_not_even_read_and_others_are() {
    let attacked = Attacked::start();
    let address = Ipv4Addr::new(127, 3, 0, 1);
    let mut answered = 0;
    for _ in 0..60 {
        let mut stream = connect_from(address, attacked.address());
        let _ = stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
        answered += usize::from(!read_to_end(&mut stream).is_empty());
    }
    assert!((20..60).contains(&answered), "{answered}");
    let answer = exchange(attacked.address(), b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    attacked.assert_recovers();
}
