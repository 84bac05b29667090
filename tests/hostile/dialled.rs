//! Members that are dialled and answer with lies, floods or silence.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use prost::Message as _;
use raftring::proto::handshake::DialRefusal;
use raftring::proto::stream::ReadError;
use raftring::raftpb::{Message, MessageType};
use raftring::{DialError, Event, StreamKind};

use crate::client::read_head;
use crate::common::wait_until;
use crate::server::Attacked;

/// Member 2 of a test: whoever dials it gets what the script does.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// Each connection runs the script with the path that was asked for.
    pub(crate) fn start(script: impl Fn(&mut TcpStream, &str) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stopped, script) = (Arc::new(AtomicBool::new(false)), Arc::new(script));
        let stop = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (mut stream, script) = (stream.expect("a connection"), Arc::clone(&script));
                thread::spawn(move || {
                    let head = read_head(&mut stream);
                    script(&mut stream, head.split(' ').nth(1).expect("a path"));
                });
            }
        });
        Self { address, stopped, thread: Some(thread) }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Blocks that one liar may make us hold, beside what the neighbour needs.
const HELD_MAX: usize = 2 << 20;

/// Member 1 dials the fake until it says what is expected of it, three times over; the neighbour
/// notices nothing and memory stays bounded.
pub(crate) fn attack(
    script: impl Fn(&mut TcpStream, &str) + Send + Sync + 'static,
    expected: impl Fn(&Event) -> bool,
) {
    let attacked = Attacked::start_with(|config| {
        config.heartbeat_interval = MS(200);
        config.read_timeout = MS(400);
        config.dial_timeout = MS(400);
    });
    let before = attacked.blocks();
    let fake = Fake::start(script);
    attacked.add_attacker(&format!("http://{}", fake.address));
    let events = || attacked.one.host.events.lock().expect("no panic");
    let deadline = Instant::now() + Duration::from_secs(10);
    while events().iter().filter(|event| expected(event)).count() < 3 {
        let about_two: Vec<_> = events().iter().map(|event| format!("{event:?}")).collect();
        assert!(Instant::now() < deadline, "not as expected: {about_two:?}");
        assert!(attacked.blocks() < before + HELD_MAX, "{} over {before}", attacked.blocks());
        attacked.assert_undisturbed();
        thread::sleep(MS(5));
    }
    attacked.assert_recovers();
}

pub(crate) fn refused(event: &Event) -> Option<&DialRefusal> {
    match event {
        Event::DialFailed { peer, error: DialError::Refused(refusal), .. } if peer.0 == 2 => Some(refusal),
        _ => None,
    }
}

fn dial_error(event: &Event) -> Option<&DialError> {
    match event {
        Event::DialFailed { peer, error, .. } if peer.0 == 2 => Some(error),
        _ => None,
    }
}

fn read_error(event: &Event) -> Option<&ReadError> {
    match event {
        Event::ReaderDown { peer, reason, .. } if peer.0 == 2 => Some(reason),
        _ => None,
    }
}

/// The head of an answer, with these lines in place of the usual ones.
pub(crate) fn head(status: &str, more: &str) -> String {
    format!("HTTP/1.1 {status}\r\nX-Etcd-Cluster-Id: 1a2b\r\nX-Server-Version: 3.5.0\r\n{more}\r\n")
}

/// Writes until the other end has had enough.
pub(crate) fn flood(stream: &mut TcpStream, piece: &[u8]) {
    while stream.write_all(piece).is_ok() {}
}

pub(crate) fn say(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    let _ = stream.write_all(bytes.as_ref());
}

/// Keeps the connection open until the other end closes it.
pub(crate) fn hold(stream: &mut TcpStream) {
    let _ = std::io::copy(stream, &mut std::io::sink());
}

#[test]
fn a_refusal_without_end_is_not_read_to_its_end() {
    attack(
        |stream, _| {
            say(stream, head("404 Not Found", "Transfer-Encoding: chunked\r\n"));
            flood(stream, format!("8000\r\n{}\r\n", "x".repeat(0x8000)).as_bytes());
        },
        |event| refused(event) == Some(&DialRefusal::PeerDoesNotKnowUs),
    );
}

#[test]
fn of_a_long_reason_a_short_part_is_told() {
    attack(
        |stream, _| {
            say(stream, head("412 Precondition Failed", "Transfer-Encoding: chunked\r\n"));
            flood(stream, format!("8000\r\n{}\r\n", "\n".repeat(0x8000)).as_bytes());
        },
        |event| match refused(event) {
            Some(DialRefusal::PreconditionFailed(text)) => text.len() <= 1_000 && !text.contains('\n'),
            _ => false,
        },
    );
}

#[test]
fn a_reason_that_never_comes_is_not_waited_for() {
    attack(
        |stream, _| {
            say(stream, head("412 Precondition Failed", "Content-Length: 20\r\n"));
            hold(stream);
        },
        |event| matches!(refused(event), Some(DialRefusal::PreconditionFailed(_))),
    );
}

#[test]
fn garbage_is_no_answer() {
    attack(
        |stream, _| flood(stream, &[0x2e; 4096]),
        |event| matches!(dial_error(event), Some(DialError::Malformed(text)) if text == "not HTTP"),
    );
}

#[test]
fn a_head_without_end_is_cut_at_its_limit() {
    attack(
        |stream, _| {
            say(stream, "HTTP/1.1 200 OK\r\n");
            flood(stream, b"X-Header: and so on\r\n");
        },
        |event| matches!(dial_error(event), Some(DialError::Malformed(text)) if text.contains("8192")),
    );
}

#[test]
fn a_version_that_is_none_is_refused() {
    attack(
        |stream, _| say(stream, "HTTP/1.1 200 OK\r\nX-Server-Version: 3.4\r\nContent-Length: 0\r\n\r\n"),
        |event| refused(event) == Some(&DialRefusal::BadVersionHeader),
    );
}

#[test]
fn a_member_that_says_we_were_removed_is_told_to_the_host() {
    attack(
        |stream, _| say(stream, head("410 Gone", "Content-Length: 0\r\n")),
        |event| matches!(event, Event::MemberRemoved { by } if by.0 == 2),
    );
}

#[test]
fn a_member_of_another_cluster_cannot_say_that_we_were_removed() {
    let removed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&removed);
    let attacked = Attacked::start();
    let fake = Fake::start(|stream, _| {
        say(stream, "HTTP/1.1 410 Gone\r\nX-Etcd-Cluster-Id: bad\r\nX-Server-Version: 3.5.0\r\n");
        say(stream, "Content-Length: 0\r\n\r\n");
    });
    attacked.add_attacker(&format!("http://{}", fake.address));
    wait_until("it is told", || {
        attacked.one.host.saw(|event| {
            seen.fetch_or(matches!(event, Event::MemberRemoved { .. }), Ordering::SeqCst);
            matches!(refused(event), Some(DialRefusal::ClusterIdMismatchInReply { theirs }) if theirs == "bad")
        })
    });
    assert!(!removed.load(Ordering::SeqCst));
    // It is dialled again only after some seconds; a removal does not wait for that.
    let began = Instant::now();
    attacked.assert_recovers();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn an_answer_that_never_comes_is_given_up_in_time() {
    attack(|stream, _| hold(stream), |event| matches!(dial_error(event), Some(DialError::Timeout)));
}

#[test]
fn an_answer_that_drips_is_given_up_in_time() {
    attack(
        |stream, _| {
            for byte in head("200 OK", "").bytes().cycle() {
                thread::sleep(MS(20));
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
            }
        },
        |event| matches!(dial_error(event), Some(DialError::Timeout)),
    );
}

#[test]
fn a_member_that_accepts_and_closes_is_no_member() {
    attack(|_, _| (), |event| matches!(dial_error(event), Some(DialError::Connect(_))));
}

#[test]
fn a_stream_that_says_nothing_is_silent_after_its_timeout() {
    attack(
        |stream, _| {
            say(stream, head("200 OK", "Transfer-Encoding: chunked\r\n"));
            hold(stream);
        },
        |event| read_error(event) == Some(&ReadError::Silent),
    );
}

/// An accepted stream with this body, raw to the end of the connection.
fn body(bytes: Vec<u8>) -> impl Fn(&mut TcpStream, &str) + Send + Sync + 'static {
    move |stream, _| {
        say(stream, head("200 OK", ""));
        say(stream, &bytes);
        hold(stream);
    }
}

pub(crate) fn broken_frame(event: &Event) -> bool {
    matches!(read_error(event), Some(ReadError::Frame(_)))
}

#[test]
fn a_frame_of_any_declared_length_costs_no_memory() {
    // For the message stream a length, for the msgapp stream an unknown type.
    attack(body(u64::MAX.to_be_bytes().to_vec()), broken_frame);
    attack(body((1_u64 << 40).to_be_bytes().to_vec()), broken_frame);
}

/// A script that answers one kind of stream and refuses the other.
pub(crate) fn only(
    kind: StreamKind,
    bytes: Vec<u8>,
) -> impl Fn(&mut TcpStream, &str) + Send + Sync + 'static {
    let accepted = body(bytes);
    move |stream, path| {
        if path.contains(kind.path_element()) {
            accepted(stream, path);
        } else {
            say(stream, head("404 Not Found", "Content-Length: 0\r\n"));
        }
    }
}

/// Fields of a msgappv2 frame.
pub(crate) fn frame(fields: &[u64]) -> Vec<u8> {
    fields.iter().flat_map(|field| field.to_be_bytes()).collect()
}

#[test]
fn counts_that_cannot_be_are_refused_before_memory_is_taken() {
    // AppEntries of 2^60 entries; of one entry of 2^62 bytes; a MsgApp of 2^62 bytes.
    for fields in [&[1, 1 << 60][..], &[1, 1, 1 << 62], &[2, 1 << 62]] {
        attack(only(StreamKind::Msgapp, frame(fields)), broken_frame);
    }
}

#[test]
fn a_legal_length_that_never_fills_costs_what_arrived() {
    let mut bytes = frame(&[256 << 20]);
    bytes.resize(bytes.len() + 1_000, 0);
    let silent = |event: &Event| read_error(event) == Some(&ReadError::Silent);
    attack(only(StreamKind::Message, bytes), silent);
}

#[test]
fn what_is_no_message_is_refused() {
    attack(only(StreamKind::Message, [frame(&[4]), vec![0xff; 4]].concat()), broken_frame);
    attack(only(StreamKind::Msgapp, [frame(&[2, 4]), vec![0xff; 4]].concat()), broken_frame);
    attack(only(StreamKind::Msgapp, frame(&[97])), broken_frame);
}

fn heartbeat(to: u64, from: u64) -> Vec<u8> {
    let r#type = Some(MessageType::MsgHeartbeat as i32);
    let message = Message { r#type, to: Some(to), from: Some(from), term: Some(1), ..Message::default() };
    let bytes = message.encode_to_vec();
    [frame(&[bytes.len() as u64]), bytes].concat()
}

#[test]
fn messages_for_or_from_another_are_dropped_and_the_stream_stays() {
    let rejected = |event: &Event| matches!(event, Event::Rejected { peer, .. } if peer.0 == 2);
    let lies = [heartbeat(9, 2), heartbeat(1, 3), heartbeat(0, 2)].concat();
    attack(only(StreamKind::Message, lies), rejected);
}

#[test]
fn chunks_of_one_byte_carry_whole_messages() {
    let attacked = Attacked::start();
    let fake = Fake::start(|stream, path| {
        say(stream, head("200 OK", "Transfer-Encoding: chunked\r\n"));
        if path.contains("/message/") {
            for byte in heartbeat(1, 2).repeat(10) {
                say(stream, [b'1', b'\r', b'\n', byte, b'\r', b'\n']);
            }
        }
        hold(stream);
    });
    attacked.add_attacker(&format!("http://{}", fake.address));
    for _ in 0..10 {
        let got = attacked.one.host.next(Duration::from_secs(5)).expect("it arrives");
        assert_eq!((got.origin.peer.0, got.message.kind()), (2, Some(MessageType::MsgHeartbeat)));
    }
    attacked.assert_recovers();
}

fn broken_body(event: &Event) -> bool {
    matches!(read_error(event), Some(ReadError::Body(_)))
}

#[test]
fn chunks_that_are_mostly_framing_are_refused() {
    attack(
        |stream, _| {
            say(stream, head("200 OK", "Transfer-Encoding: chunked\r\n"));
            // 22 bytes a byte, of link heartbeats that msgappv2 finds nothing wrong with.
            flood(stream, &b"0000000000000001\r\n\0\r\n".repeat(100));
        },
        broken_body,
    );
}

#[test]
fn broken_chunks_are_refused() {
    for chunk in
        ["zz\r\n", "10000000000000000\r\n", "4;name=value\r\nabcd\r\n", "-1\r\n", "1\nx\n", "1\r\nxx\r\n"]
    {
        attack(
            move |stream, _| {
                say(stream, head("200 OK", "Transfer-Encoding: chunked\r\n"));
                say(stream, chunk);
                hold(stream);
            },
            broken_body,
        );
    }
}

#[test]
fn a_stream_that_is_cut_inside_a_frame_is_told_apart_from_one_that_ended() {
    attack(
        |stream, _| {
            say(stream, head("200 OK", "Transfer-Encoding: chunked\r\n"));
            say(stream, "4\r\n\0\0\0\0\r\n");
        },
        |event| read_error(event) == Some(&ReadError::UnexpectedEof),
    );
    attack(
        |stream, _| say(stream, head("200 OK", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n"),
        |event| read_error(event) == Some(&ReadError::Eof),
    );
}

#[test]
fn smuggled_answers_are_refused() {
    for lines in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
    ] {
        attack(
            move |stream, _| say(stream, head("200 OK", lines)),
            |event| matches!(dial_error(event), Some(DialError::Malformed(_))),
        );
    }
}

#[test]
fn redirects_and_other_statuses_lead_nowhere() {
    attack(
        |stream, _| {
            say(stream, head("302 Found", "Location: http://127.0.0.1:1/\r\nContent-Length: 0\r\n"));
        },
        |event| refused(event) == Some(&DialRefusal::UnexpectedStatus(302)),
    );
}

#[test]
fn a_connection_that_is_never_made_is_given_up_in_time() {
    // A listener whose queue is full drops what else comes, as a firewall does.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    listener.bind(&any.into()).expect("a free port");
    listener.listen(0).expect("it listens");
    let address = listener.local_addr().expect("bound").as_socket().expect("IPv4");
    let fill = || TcpStream::connect_timeout(&address, MS(200));
    let _queued: Vec<_> = std::iter::repeat_with(fill).take_while(Result::is_ok).collect();
    let attacked = Attacked::start_with(|config| config.dial_timeout = MS(300));
    attacked.add_attacker(&format!("http://{address}"));
    let timed_out = |event: &Event| matches!(dial_error(event), Some(DialError::Timeout));
    wait_until("it is given up", || attacked.one.host.saw(timed_out));
    let began = Instant::now();
    attacked.assert_recovers();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn a_name_without_an_address_is_told() {
    let attacked = Attacked::start();
    // A label of 64 letters cannot be a name, so nobody has to be asked.
    attacked.add_attacker(&format!("http://{}:2380", "x".repeat(64)));
    let unresolved = |event: &Event| matches!(dial_error(event), Some(DialError::Resolve(_)));
    wait_until("it is told", || attacked.one.host.saw(unresolved));
    attacked.assert_recovers();
}
