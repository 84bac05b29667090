//! `POST /raft`: every row of protocol section 10.2, and requests that hide others.

use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

use prost::Message as _;
use raftring::raftpb::{Message, MessageType};
use raftring::{MemberId, Via};

use crate::client::{
    Request, answer, connect, connect_from, exchange, is_open, read_head, read_to_end, without_date,
};
use crate::common::wait_until;
use crate::server::{Attacked, nobody};

/// A vote that member 2 asks of member 1.
fn vote(term: u64) -> Message {
    let r#type = Some(MessageType::MsgVote as i32);
    Message { r#type, to: Some(1), from: Some(2), term: Some(term), ..Message::default() }
}

const TAKEN: &str = "HTTP/1.1 204 No Content\r\nX-Etcd-Cluster-Id: 1a2b\r\n\r\n";

fn refusal(status: &str, text: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
         X-Etcd-Cluster-Id: 1a2b\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}\n",
        text.len() + 1
    )
}

#[test]
fn messages_are_taken_one_after_another_on_one_connection() {
    let attacked = Attacked::start();
    let mut stream = connect(attacked.address());
    for term in 1..=3 {
        stream.write_all(&Request::post().body(&vote(term).encode_to_vec())).expect("sent");
        assert_eq!(without_date(&read_head(&mut stream)), TAKEN);
        let got = attacked.one.host.next(Duration::from_secs(5)).expect("it arrives");
        assert_eq!((got.message.term(), got.origin.via), (term, Via::Pipeline));
        assert_eq!(got.origin.peer, MemberId(2));
    }
    // Two in one write: the second is the next request and not the end of the first.
    let two = [4, 5].map(|term| Request::post().body(&vote(term).encode_to_vec())).concat();
    stream.write_all(&two).expect("sent");
    for term in [4, 5] {
        assert_eq!(without_date(&read_head(&mut stream)), TAKEN);
        assert_eq!(attacked.one.host.next(Duration::from_secs(5)).expect("it arrives").message.term(), term);
    }
    drop(stream);
    attacked.assert_recovers();
}

#[test]
fn a_chunked_message_is_taken() {
    let attacked = Attacked::start();
    let body = vote(1).encode_to_vec();
    let mut request =
        Request::post().header("Transfer-Encoding", "chunked").and("Connection", "close").text().into_bytes();
    for byte in body {
        request.extend_from_slice(&[b'1', b'\r', b'\n', byte, b'\r', b'\n']);
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let answer = without_date(&exchange(attacked.address(), &request));
    assert_eq!(answer, TAKEN.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    attacked.assert_recovers();
}

#[test]
fn a_message_that_is_not_taken_is_answered_as_etcd_answers_it() {
    let attacked = Attacked::start_with(|config| config.frames.frame_bytes_max = 64 << 10);
    let to = attacked.address();
    let post = |body: &[u8]| without_date(&exchange(to, &Request::post().body(body)));
    let wrong_cluster = Request::post().header("X-Etcd-Cluster-Id", "1");
    assert_eq!(
        without_date(&exchange(to, &wrong_cluster.body(b""))),
        refusal("412 Precondition Failed", "cluster ID mismatch")
    );
    let old = Request::post().header("X-Server-Version", "");
    assert_eq!(
        without_date(&exchange(to, &old.body(b""))),
        refusal("412 Precondition Failed", "incompatible version")
    );
    assert_eq!(post(b"\xff\xff"), refusal("400 Bad Request", "error unmarshalling raft message"));
    assert_eq!(
        post(&Message { to: Some(9), ..vote(1) }.encode_to_vec()),
        refusal("500 Internal Server Error", "error processing raft message")
    );
    let large = vec![0; (64 << 10) + 1];
    assert!(post(&large).starts_with("HTTP/1.1 413 "));
    let broken = Request::post().header("Transfer-Encoding", "chunked").text() + "zz\r\n";
    assert_eq!(answer(to, &broken), refusal("400 Bad Request", "error reading raft message"));
    assert_eq!(
        answer(to, &Request::post().method("GET").text()),
        "HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\nContent-Type: text/plain; charset=utf-8\r\n\
         X-Content-Type-Options: nosniff\r\nContent-Length: 19\r\nConnection: close\r\n\r\nMethod Not Allowed\n"
    );
    attacked.assert_recovers();
}

#[test]
fn a_body_that_ends_early_is_refused() {
    let attacked = Attacked::start();
    let mut stream = connect(attacked.address());
    let request = Request::post().header("Content-Length", "100").text() + "short";
    stream.write_all(request.as_bytes()).expect("sent");
    stream.shutdown(Shutdown::Write).expect("half closed");
    let answer = String::from_utf8(read_to_end(&mut stream)).expect("text");
    assert_eq!(without_date(&answer), refusal("400 Bad Request", "error reading raft message"));
    attacked.assert_recovers();
}

#[test]
fn a_chunked_body_without_end_is_cut_at_the_limit() {
    let attacked = Attacked::start_with(|config| config.frames.frame_bytes_max = 64 << 10);
    let before = attacked.blocks();
    let mut stream = connect(attacked.address());
    stream.write_all(Request::post().header("Transfer-Encoding", "chunked").text().as_bytes()).expect("sent");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(1 << 16));
    for _ in 0..1_000 {
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
        assert!(attacked.blocks() < before + (2 << 20), "memory is bounded");
    }
    // The answer may be cut off by what we still send; the refusal was told.
    read_to_end(&mut stream);
    let too_large = |event: &raftring::Event| matches!(event, raftring::Event::RequestRefused { refusal, .. } if refusal.status() == 413);
    assert!(attacked.one.host.saw(too_large));
    attacked.assert_recovers();
}

/// Each hides a second request behind the first, from one parser or another.
#[test]
fn what_smuggles_is_refused_and_what_hides_behind_it_is_never_read() {
    let attacked = Attacked::start();
    let hidden = String::from_utf8_lossy(&Request::post().body(&vote(666).encode_to_vec())).into_owned();
    let rows: [(&str, &[(&str, &str)]); 12] = [
        ("length and chunks", &[("Content-Length", "4"), ("Transfer-Encoding", "chunked")]),
        ("two lengths", &[("Content-Length", "0"), ("Content-Length", "4")]),
        ("two equal lengths", &[("Content-Length", "0"), ("Content-Length", "0")]),
        ("a list of lengths", &[("Content-Length", "0, 4")]),
        ("a signed length", &[("Content-Length", "+0")]),
        ("two codings", &[("Transfer-Encoding", "gzip, chunked")]),
        ("an unknown coding", &[("Transfer-Encoding", "xchunked")]),
        ("a hidden coding", &[("Transfer-Encoding", "\u{b}chunked")]),
        ("a space before the colon", &[("Transfer-Encoding ", "chunked")]),
        ("an expectation", &[("Expect", "100-continue"), ("Content-Length", "0")]),
        ("an upgrade", &[("Upgrade", "h2c"), ("Connection", "Upgrade")]),
        ("a folded line", &[("X-A", "b\r\n Content-Length: 4"), ("Content-Length", "0")]),
    ];
    for (what, headers) in rows {
        let mut request = Request::post();
        for (name, value) in headers {
            // The names of this table live as long as the program.
            request = request.and(Box::leak((*name).to_owned().into_boxed_str()), value);
        }
        let answer = exchange(attacked.address(), (request.text() + "0\r\n\r\n" + &hidden).as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{what}: {answer}");
        assert!(answer.contains("Connection: close\r\n"), "{what}: {answer}");
    }
    assert!(attacked.one.host.next(Duration::from_millis(200)).is_none(), "nothing came through");
    attacked.assert_recovers();
}

#[test]
fn behind_a_refusal_nothing_is_read() {
    let attacked = Attacked::start();
    let hidden = Request::post().body(&vote(666).encode_to_vec());
    let refused = Request::post().header("X-Etcd-Cluster-Id", "1").body(b"");
    let answer = exchange(attacked.address(), &[refused, hidden].concat());
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert!(attacked.one.host.next(Duration::from_millis(200)).is_none(), "nothing came through");
    attacked.assert_recovers();
}

#[test]
fn of_the_bodies_of_one_member_eight_are_read_at_once_and_others_have_theirs() {
    const AT_ONCE: usize = 8;
    let attacked = Attacked::start();
    let (url, _closed) = nobody();
    attacked.add_attacker(&url);
    let whole = Request::post().body(&vote(1).encode_to_vec());
    let (begun, last) = whole.split_at(whole.len() - 1);
    let begin = |_| {
        let mut stream = connect(attacked.address());
        stream.write_all(begun).expect("sent");
        stream
    };
    let streams: Vec<TcpStream> = (0..AT_ONCE).map(begin).collect();
    // They are taken up in their own time: one more is refused once all of them are.
    wait_until("one is too many", || exchange(attacked.address(), &whole).starts_with("HTTP/1.1 503 "));
    let of_three = Message { from: Some(3), ..vote(2) };
    let mut stream = connect(attacked.address());
    let request = Request::post().header("X-Server-From", "3").body(&of_three.encode_to_vec());
    stream.write_all(&request).expect("sent");
    assert_eq!(without_date(&read_head(&mut stream)), TAKEN, "another member");
    let mut stream = connect(attacked.address());
    let of_stranger = Request::post().header("X-Server-From", "99").body(&of_three.encode_to_vec());
    stream.write_all(&of_stranger).expect("sent");
    assert_eq!(without_date(&read_head(&mut stream)), TAKEN, "somebody unknown, from an address of his own");
    for mut stream in streams {
        stream.write_all(last).expect("sent");
        assert_eq!(without_date(&read_head(&mut stream)), TAKEN);
    }
    while attacked.one.host.next(Duration::from_millis(200)).is_some() {}
    attacked.assert_recovers();
}

#[test]
fn of_connections_that_are_kept_between_posts_the_one_unused_for_longest_goes() {
    const KEPT: usize = 256;
    let attacked = Attacked::start();
    let request = Request::post().body(&vote(1).encode_to_vec());
    let post = |stream: &mut TcpStream| {
        stream.write_all(&request).expect("sent");
        assert_eq!(without_date(&read_head(stream)), TAKEN);
    };
    let mut first = connect_from(Ipv4Addr::new(127, 1, 255, 1), attacked.address());
    let mut second = connect_from(Ipv4Addr::new(127, 1, 255, 1), attacked.address());
    post(&mut first);
    post(&mut second);
    let mut others = Vec::new();
    for _ in 0..KEPT - 1 {
        post(&mut first);
        let mut stream = connect_from(Ipv4Addr::new(127, 1, 255, 1), attacked.address());
        post(&mut stream);
        others.push(stream);
    }
    wait_until("the one that was used once alone is closed", || !is_open(&second));
    post(&mut first);
    assert!(others.iter().all(is_open));
    while attacked.one.host.next(Duration::from_millis(200)).is_some() {}
    attacked.assert_recovers();
}

/// `TestServeRaftPrefix`, with what the rows above have: other methods, and a host that does not take it.
#[test]
fn only_posts_are_taken() {
    let attacked = Attacked::start();
    for method in ["GET", "PUT", "DELETE", "HEAD", "PATCH"] {
        let answer = answer(attacked.address(), &Request::post().method(method).text());
        assert!(
            answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\n"),
            "{method}: {answer}"
        );
    }
    attacked.assert_recovers();
}
