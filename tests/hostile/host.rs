//! Hosts that misbehave: a panic in a callback costs one connection and never a core.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prost::Message as _;
use raftring::raftpb::{Message, MessageType};
use raftring::{
    Config, Cores, CoresConfig, Event, Listen, MemberId, Origin, Raft, SnapshotStatus, Transport,
};

use crate::client::{Request, connect, exchange, read_head};
use crate::common::{CLUSTER, Host, Member, wait_until};

/// Panics where it is told to, else a good host.
struct Panics {
    inner: Arc<Host>,
    process: AtomicBool,
    unreachable: AtomicBool,
    removed: AtomicBool,
}

impl Panics {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Host::new(),
            process: AtomicBool::new(false),
            unreachable: AtomicBool::new(false),
            removed: AtomicBool::new(false),
        })
    }
}

fn panic_once(flag: &AtomicBool) {
    assert!(!flag.swap(false, Ordering::SeqCst), "planted: the host panics");
}

impl Raft for Panics {
    fn process(&self, origin: Origin, messages: &mut Vec<Message>) {
        panic_once(&self.process);
        self.inner.process(origin, messages);
    }

    fn is_id_removed(&self, _id: MemberId) -> bool {
        panic_once(&self.removed);
        false
    }

    fn report_unreachable(&self, id: MemberId) {
        panic_once(&self.unreachable);
        self.inner.report_unreachable(id);
    }

    fn report_snapshot(&self, id: MemberId, status: SnapshotStatus) {
        self.inner.report_snapshot(id, status);
    }
}

/// Member 1, whose host can be told to panic, and member 2, both up.
struct Shaken {
    cores: Cores,
    host: Arc<Panics>,
    one: Transport,
    two: Member,
}

impl Shaken {
    fn start() -> Self {
        let cores = Cores::start(&CoresConfig::default()).expect("cores start");
        let host = Panics::new();
        let mut config = Config::new(1, CLUSTER);
        config.listen = Listen::Address("127.0.0.1:0".parse().expect("an address"));
        let events = Arc::clone(&host.inner);
        config.observer =
            Arc::new(move |event: &Event| events.events.lock().expect("no panic").push(event.clone()));
        let one = Transport::start(config, &cores, Arc::clone(&host) as Arc<dyn Raft>).expect("it starts");
        let two = Member::start(2, &cores, "127.0.0.1:0".parse().expect("an address"), |_| ());
        one.add_peer(2, [two.url()]).expect("a good peer");
        let url = format!("http://{}", one.local_addr().expect("it listens"));
        two.transport().add_peer(1, [url]).expect("a good peer");
        let shaken = Self { cores, host, one, two };
        // Without them messages arrive by posts, and the dials would meet what is planted.
        wait_until("all four streams are up", || {
            let events = shaken.host.inner.events.lock().expect("no panic");
            events.iter().filter(|event| matches!(event, Event::StreamUp { .. })).count() >= 4
        });
        shaken.wait_for_arrival();
        shaken
    }

    /// Member 2's heartbeats arrive at member 1.
    fn wait_for_arrival(&self) {
        wait_until("messages arrive", || {
            self.two.transport().send([heartbeat()]);
            self.host.inner.next(Duration::from_millis(20)).is_some()
        });
    }

    fn panics(&self) -> u64 {
        (0..self.cores.count()).map(|core| self.cores.stats(core).expect("a core").panics).sum()
    }
}

impl Drop for Shaken {
    fn drop(&mut self) {
        for transport in [&self.one, self.two.transport()] {
            let ended = transport.stop().wait(Duration::from_secs(5));
            assert!(ended || std::thread::panicking(), "it stops");
        }
    }
}

fn heartbeat() -> Message {
    let r#type = Some(MessageType::MsgHeartbeat as i32);
    Message { r#type, to: Some(1), from: Some(2), term: Some(1), ..Message::default() }
}

fn told(event: &Event) -> bool {
    matches!(event, Event::Panicked { .. })
}

#[test]
fn a_panic_in_process_costs_the_stream_which_comes_back() {
    let shaken = Shaken::start();
    shaken.host.process.store(true, Ordering::SeqCst);
    shaken.two.transport().send([heartbeat()]);
    wait_until("it is told", || shaken.host.inner.saw(told));
    assert_eq!(shaken.panics(), 1);
    shaken.wait_for_arrival();
}

#[test]
fn a_panic_in_process_of_a_posted_message_costs_that_connection() {
    let shaken = Shaken::start();
    let address = shaken.one.local_addr().expect("it listens");
    shaken.host.process.store(true, Ordering::SeqCst);
    assert_eq!(exchange(address, &Request::post().body(&heartbeat().encode_to_vec())), "");
    wait_until("it is told", || shaken.host.inner.saw(told));
    let mut stream = connect(address);
    stream.write_all(&Request::post().body(&heartbeat().encode_to_vec())).expect("sent");
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 204"));
    shaken.wait_for_arrival();
}

#[test]
fn a_panic_in_a_question_costs_that_connection() {
    let shaken = Shaken::start();
    let address = shaken.one.local_addr().expect("it listens");
    shaken.host.removed.store(true, Ordering::SeqCst);
    assert_eq!(exchange(address, Request::stream("/raft/stream/message/9").text().as_bytes()), "");
    wait_until("it is told", || shaken.host.inner.saw(told));
    shaken.wait_for_arrival();
}

#[test]
fn a_panic_in_a_report_leaves_everything_running() {
    let shaken = Shaken::start();
    shaken.one.add_peer(5, ["http://127.0.0.1:1"]).expect("a good peer");
    shaken.host.unreachable.store(true, Ordering::SeqCst);
    shaken.one.send([Message { to: Some(5), from: Some(1), ..heartbeat() }]);
    wait_until("it is told", || shaken.host.inner.saw(told));
    assert_eq!(shaken.panics(), 1);
    shaken.wait_for_arrival();
    assert!(shaken.one.remove_peer(5).wait(Duration::from_secs(5)));
}

#[test]
fn an_observer_that_always_panics_is_not_missed() {
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    let address = "127.0.0.1:0".parse().expect("an address");
    let observer = |config: &mut Config| config.observer = Arc::new(|_: &Event| panic!("planted"));
    let one = Member::start(1, &cores, address, observer);
    let two = Member::start(2, &cores, address, observer);
    one.add(&two);
    two.add(&one);
    exchange(one.transport().local_addr().expect("it listens"), b"\x16noise");
    wait_until("messages arrive all the same", || {
        two.transport().send([heartbeat()]);
        one.host.next(Duration::from_millis(20)).is_some()
    });
    for member in [&one, &two] {
        assert!(member.transport().stop().wait(Duration::from_secs(5)));
    }
}

#[test]
fn a_host_that_sends_without_pause_does_not_hold_up_the_core() {
    let shaken = Shaken::start();
    let address = shaken.one.local_addr().expect("it listens");
    let floods = AtomicBool::new(true);
    let beat = || Message { to: Some(2), from: Some(1), ..heartbeat() };
    wait_until("it can send", || shaken.one.send([beat()]).accepted == 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while floods.load(Ordering::Relaxed) {
                shaken.one.send((0..4).map(|_| beat()));
            }
        });
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            let began = std::time::Instant::now();
            let answer = exchange(address, &Request::post().header("X-Server-From", "").body(b""));
            assert!(answer.contains("error processing raft message"), "{answer}");
            slowest = slowest.max(began.elapsed());
            std::thread::sleep(Duration::from_millis(5));
        }
        floods.store(false, Ordering::Relaxed);
        assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    });
}
