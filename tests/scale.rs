//! A thousand peers in one process, on rings that have far fewer entries than they have operations
//! in flight: they connect, talk, rest, and leave nothing behind.
//!
//! A binary of its own with one test, for descriptors and memory are counted for the process.
#![cfg(feature = "io")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use common::{CLUSTER, CORE_OPERATIONS, app, descriptors, resident_bytes, wait_within};
use raftring::raftpb::{Message, MessageType};
use raftring::{
    Config, CoreStats, Cores, CoresConfig, Direction, Event, Listen, MemberId, Origin, Placement, Raft,
    SnapshotStatus, Transport, Via,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Pairs of members, each of which is the other's only peer.
const PAIRS: usize = 500;

/// Two listeners of three descriptors, and four streams of two at either end at most; and one more
/// for each stream while it is being dialled. Two probers at either end, of which one keeps its
/// connection: one descriptor at either end, and one more while it is made.
const DESCRIPTORS_A_PAIR: usize = 2 * 3 + 4 * (2 + 2) + 4 + 4 * (1 + 1) + 4;

/// What the test and the cores have open beside them.
const DESCRIPTORS_BESIDE: usize = 64;

/// The smallest ring there is. Each stream keeps one operation in flight at either end and each
/// listener one: ten times as many as entries.
const RING_ENTRIES: u32 = 256;

/// A stream that rests for longer than the read timeout lives by its heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(1);
const READ_TIMEOUT: Duration = Duration::from_secs(4);
///
/// Within twice the interval of probes everyone was probed, and keeps the connection for that.
const REST: Duration = Duration::from_secs(9);

/// Time enough for a thousand messages to arrive at their sockets.
const HELD_UP: Duration = Duration::from_millis(300);

/// What an idle peer may take: two readers with a small block each, two writers, and its share of
/// a transport of its own.
const BYTES_A_PEER_MAX: usize = 64 << 10;

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host that counts what it is given, by stream, and the streams that it loses.
#[derive(Default)]
struct Host {
    msgapp: AtomicUsize,
    message: AtomicUsize,
    lost: AtomicUsize,
    /// Writers that are up now.
    writers: AtomicIsize,
}

impl Host {
    fn observe(&self, event: &Event) {
        if matches!(event, Event::ReaderDown { .. } | Event::WriterDown { .. }) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        match event {
            Event::StreamUp { direction: Direction::Writer, .. } => {
                self.writers.fetch_add(1, Ordering::SeqCst);
            }
            Event::WriterDown { .. } => {
                self.writers.fetch_sub(1, Ordering::SeqCst);
            }
            _ => {}
        }
    }

    /// True if so many messages have come on either stream.
    fn has(&self, messages: usize) -> bool {
        [&self.msgapp, &self.message].iter().all(|count| count.load(Ordering::Relaxed) == messages)
    }
}

impl Raft for Host {
    fn process(&self, origin: Origin, messages: &mut Vec<Message>) {
        let count = if origin.via == Via::Msgapp { &self.msgapp } else { &self.message };
        count.fetch_add(messages.drain(..).count(), Ordering::Relaxed);
    }

    fn is_id_removed(&self, _: MemberId) -> bool {
        false
    }

    fn report_unreachable(&self, _: MemberId) {}

    fn report_snapshot(&self, _: MemberId, _: SnapshotStatus) {}
}

/// One of a pair.
struct Member {
    id: u64,
    host: Arc<Host>,
    transport: Transport,
}

impl Member {
    fn start(id: u64, cores: &Cores) -> Self {
        let host = Arc::new(Host::default());
        let mut config = Config::new(id, CLUSTER);
        config.listen = Listen::Address("127.0.0.1:0".parse().expect("an address"));
        config.placement = Placement::Core(id as usize % cores.count());
        (config.heartbeat_interval, config.read_timeout) = (HEARTBEAT, READ_TIMEOUT);
        let of_observer = Arc::clone(&host);
        config.observer = Arc::new(move |event: &Event| of_observer.observe(event));
        let transport =
            Transport::start(config, cores, Arc::clone(&host) as Arc<dyn Raft>).expect("it starts");
        Self { id, host, transport }
    }

    fn add(&self, other: &Self) {
        let url = format!("http://{}", other.transport.local_addr().expect("it listens"));
        self.transport.add_peer(other.id, [url]).expect("a good peer");
    }

    /// A message on either stream, as soon as both are up: what is sent before is posted.
    fn greet(&self, other: &Self) {
        wait_within(PATIENCE, "the streams are up", || self.host.writers.load(Ordering::SeqCst) >= 2);
        for kind in [MessageType::MsgApp, MessageType::MsgHeartbeat] {
            let (to, from) = (Some(other.id), Some(self.id));
            let message = Message { r#type: Some(kind as i32), to, from, ..app(1, 1) };
            assert_eq!(self.transport.send_ref([&message]).accepted, 1);
        }
    }
}

/// As many pairs as the limit on descriptors allows, once it is raised as far as that may be.
fn pairs_that_fit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).expect("up to its maximum a limit may be raised");
    let descriptors = limit.maximum.map_or(usize::MAX, |maximum| maximum as usize);
    let fit = descriptors.saturating_sub(DESCRIPTORS_BESIDE) / DESCRIPTORS_A_PAIR;
    if fit < PAIRS {
        println!("SCALED DOWN to {fit} pairs: only {descriptors} descriptors (ulimit -Hn)");
    }
    fit.min(PAIRS)
}

fn stats(cores: &Cores) -> Vec<CoreStats> {
    (0..cores.count()).map(|core| cores.stats(core).expect("a core")).collect()
}

fn connect(pairs: &[[Member; 2]]) {
    for [one, two] in pairs {
        one.add(two);
        two.add(one);
    }
    greet(pairs);
    wait_for(pairs, 1);
}

/// Everyone greets its peer on both streams.
fn greet(pairs: &[[Member; 2]]) {
    for [one, two] in pairs {
        one.greet(two);
        two.greet(one);
    }
}

fn wait_for(pairs: &[[Member; 2]], messages: usize) {
    let all = || pairs.iter().flatten().all(|member| member.host.has(messages));
    wait_within(PATIENCE, "every message arrives", all);
}

/// Everyone writes to the members of a core that is held up meanwhile: it then finds more
/// operations completed than its ring has room for.
fn greet_while_a_core_is_held_up(pairs: &[[Member; 2]], cores: &Cores) {
    let (held, is_held) = channel();
    let hold = move || async move {
        let _ = held.send(());
        std::thread::sleep(HELD_UP);
    };
    cores.spawn(cores.count() - 1, hold).expect("a core");
    is_held.recv().expect("it holds the core");
    greet(pairs);
    wait_for(pairs, 2);
}

fn streams_lost(pairs: &[[Member; 2]]) -> usize {
    pairs.iter().flatten().map(|member| member.host.lost.load(Ordering::Relaxed)).sum()
}

fn stop(pairs: &[[Member; 2]]) {
    let endings: Vec<_> = pairs.iter().flatten().map(|member| member.transport.stop()).collect();
    assert!(endings.iter().all(|ending| ending.wait(PATIENCE)), "every transport stops");
}

#[test]
fn a_thousand_peers_connect_talk_rest_and_leave_nothing_behind() {
    let count = pairs_that_fit();
    let mut config = CoresConfig::default();
    config.ring_entries = RING_ENTRIES;
    let cores = Cores::start(&config).expect("cores start");
    let (descriptors_before, bytes_before) = (descriptors(), resident_bytes());

    let began = Instant::now();
    let pairs: Vec<_> = (0..count).map(|_| [Member::start(1, &cores), Member::start(2, &cores)]).collect();
    connect(&pairs);
    let took = began.elapsed();

    let lost = streams_lost(&pairs);
    std::thread::sleep(REST);
    assert_eq!(streams_lost(&pairs), lost, "heartbeats keep idle streams up");
    let bytes = resident_bytes().saturating_sub(bytes_before) / (2 * count);
    println!("{} peers connected and talked within {:.2} s", 2 * count, took.as_secs_f64());
    println!("{} KiB for each when idle; {} descriptors", bytes >> 10, descriptors());
    for CoreStats { operations, tasks, blocks, .. } in stats(&cores) {
        println!(
            "{operations} operations in a ring of {RING_ENTRIES}, {tasks} tasks, blocks out {:?}",
            blocks.out
        );
    }
    assert!(bytes <= BYTES_A_PEER_MAX, "{bytes} bytes for each idle peer");

    greet_while_a_core_is_held_up(&pairs, &cores);
    assert_eq!(streams_lost(&pairs), lost, "a full ring loses nothing");

    stop(&pairs);
    wait_within(PATIENCE, "descriptors are closed", || descriptors() == descriptors_before);
    for CoreStats { operations, tasks, blocks, .. } in stats(&cores) {
        assert_eq!((tasks, blocks.out_bytes()), (0, 0));
        assert_eq!(operations, CORE_OPERATIONS);
    }
}
