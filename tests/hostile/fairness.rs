//! One side that never pauses, on a core that spins: everything else still gets its turn.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use prost::Message as _;
use raftring::raftpb::{Message, MessageType};
use raftring::{Config, Cores, CoresConfig, Listen, MemberId, Origin, Raft, SnapshotStatus, Spin, Transport};

use crate::common::{CLUSTER, wait_until};
use crate::dialled::{Fake, flood, head, hold, say};

/// Counts what comes.
#[derive(Default)]
struct Counts {
    messages: AtomicUsize,
    sends_again: OnceLock<Transport>,
}

impl Raft for Counts {
    fn process(&self, _origin: Origin, messages: &mut Vec<Message>) {
        self.messages.fetch_add(messages.len(), Ordering::Relaxed);
        messages.clear();
    }

    fn is_id_removed(&self, _id: MemberId) -> bool {
        false
    }

    /// Tries again at once, which is a letter to the core in every turn.
    fn report_unreachable(&self, _id: MemberId) {
        if let Some(transport) = self.sends_again.get() {
            transport.send([beat(2, 1)]);
        }
    }

    fn report_snapshot(&self, _id: MemberId, _status: SnapshotStatus) {}
}

/// Member 1 on one core that spins, and member 2, which is no raftring.
fn start(fake: &Fake) -> (Cores, Arc<Counts>, Transport) {
    let mut config = CoresConfig::default();
    config.cpus.truncate(1);
    config.spin = Spin::Always(Duration::from_millis(20));
    let cores = Cores::start(&config).expect("cores start");
    let mut config = Config::new(1, CLUSTER);
    config.listen = Listen::Address("127.0.0.1:0".parse().expect("an address"));
    let host = Arc::new(Counts::default());
    let transport = Transport::start(config, &cores, Arc::clone(&host) as Arc<dyn Raft>).expect("it starts");
    transport.add_peer(2, [format!("http://{}", fake.address)]).expect("a good peer");
    (cores, host, transport)
}

fn beat(to: u64, from: u64) -> Message {
    let r#type = Some(MessageType::MsgHeartbeat as i32);
    Message { r#type, to: Some(to), from: Some(from), term: Some(1), ..Message::default() }
}

fn frame(message: &Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    [&(body.len() as u64).to_be_bytes(), &body[..]].concat()
}

fn chunk(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}

/// Accepts both streams; what it says on the message stream is up to `say_on`.
fn member_two(say_on: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Fake {
    Fake::start(move |stream, path| {
        say(stream, head("200 OK", "Transfer-Encoding: chunked\r\n"));
        if path.contains("/message/") { say_on(stream) } else { hold(stream) }
    })
}

#[test]
fn a_stream_that_is_never_empty_does_not_hold_up_its_core() {
    let piece = chunk(&frame(&beat(1, 2)).repeat(5_000));
    let fake = member_two(move |stream| flood(stream, &piece));
    let (cores, host, transport) = start(&fake);
    wait_until("it is flooded", || host.messages.load(Ordering::Relaxed) > 100_000);
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let began = Instant::now();
        let tasks = cores.stats(0).expect("core 0").tasks;
        slowest = slowest.max(began.elapsed());
        assert!(tasks > 0, "no answer for {slowest:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    assert!(transport.stop().wait(Duration::from_secs(5)));
}

#[test]
fn letters_without_pause_do_not_keep_a_spinning_core_from_its_sockets() {
    let piece = chunk(&frame(&beat(1, 2)));
    let fake = member_two(move |stream| {
        while stream.write_all(&piece).is_ok() {
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let (cores, host, transport) = start(&fake);
    wait_until("messages come", || host.messages.load(Ordering::Relaxed) > 10);
    // Nobody took this member's streams: every message is dropped, and that is told.
    assert!(host.sends_again.set(transport.clone()).is_ok());
    transport.send([beat(2, 1)]);
    let before = host.messages.load(Ordering::Relaxed);
    wait_until("they still come", || host.messages.load(Ordering::Relaxed) > before + 100);
    assert!(transport.stop().wait(Duration::from_secs(5)));
    drop(cores);
}
