//! Hosts for tests: they keep what they are given.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses a part of it")]

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use raftring::raftpb::{Entry, Message, MessageType};
use raftring::{
    Config, Cores, CoresConfig, Event, Listen, MemberId, Origin, Placement, Raft, SnapshotStatus, Transport,
};

pub mod scripted;

pub const CLUSTER: u64 = 0x1a2b;

/// What a core keeps in its ring for as long as it lives: the reads of its doorbell and its alarm.
pub const CORE_OPERATIONS: usize = 2;

/// A message and where it came from.
#[derive(Debug)]
pub struct Got {
    pub origin: Origin,
    pub message: Message,
}

/// A host that hands every message to the test.
pub struct Host {
    sender: Mutex<Sender<Got>>,
    receiver: Mutex<Receiver<Got>>,
    pub events: Mutex<Vec<Event>>,
    pub unreachable: Mutex<Vec<MemberId>>,
    pub snapshots: Mutex<Vec<(MemberId, SnapshotStatus)>>,
    pub removed: Mutex<Vec<MemberId>>,
}

impl Host {
    pub fn new() -> Arc<Self> {
        let (sender, receiver) = channel();
        Arc::new(Self {
            sender: Mutex::new(sender),
            receiver: Mutex::new(receiver),
            events: Mutex::default(),
            unreachable: Mutex::default(),
            snapshots: Mutex::default(),
            removed: Mutex::default(),
        })
    }

    /// The next message, if one comes in time.
    pub fn next(&self, timeout: Duration) -> Option<Got> {
        self.receiver.lock().expect("no panic").recv_timeout(timeout).ok()
    }

    pub fn saw(&self, what: impl Fn(&Event) -> bool) -> bool {
        self.events.lock().expect("no panic").iter().any(what)
    }
}

impl Raft for Host {
    fn process(&self, origin: Origin, messages: &mut Vec<Message>) {
        let sender = self.sender.lock().expect("no panic");
        for message in messages.drain(..) {
            let _ = sender.send(Got { origin, message });
        }
    }

    fn is_id_removed(&self, id: MemberId) -> bool {
        self.removed.lock().expect("no panic").contains(&id)
    }

    fn report_unreachable(&self, id: MemberId) {
        self.unreachable.lock().expect("no panic").push(id);
    }

    fn report_snapshot(&self, id: MemberId, status: SnapshotStatus) {
        self.snapshots.lock().expect("no panic").push((id, status));
    }
}

/// A host with its transport.
pub struct Member {
    pub id: u64,
    pub host: Arc<Host>,
    transport: Option<Transport>,
}

impl Member {
    pub fn start(id: u64, cores: &Cores, address: SocketAddr, adjust: impl FnOnce(&mut Config)) -> Self {
        let host = Host::new();
        Self::start_as(id, cores, address, Arc::clone(&host) as Arc<dyn Raft>, host, adjust)
    }

    /// With `raft` in front of the host.
    pub fn start_as(
        id: u64,
        cores: &Cores,
        address: SocketAddr,
        raft: Arc<dyn Raft>,
        host: Arc<Host>,
        adjust: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::new(id, CLUSTER);
        config.listen = Listen::Address(address);
        config.placement = Placement::Core((id as usize - 1) % cores.count());
        let events = Arc::clone(&host);
        config.observer =
            Arc::new(move |event: &Event| events.events.lock().expect("no panic").push(event.clone()));
        adjust(&mut config);
        let transport = Transport::start(config, cores, raft).expect("it starts");
        Self { id, host, transport: Some(transport) }
    }

    pub fn transport(&self) -> &Transport {
        self.transport.as_ref().expect("running")
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.transport().local_addr().expect("it listens"))
    }

    pub fn add(&self, other: &Self) {
        self.transport().add_peer(other.id, [other.url()]).expect("a good peer");
    }

    /// Starts anew on the same address, after a stop.
    pub fn restart(&mut self, cores: &Cores, address: SocketAddr, peers: &[&Self]) {
        *self = Self::start(self.id, cores, address, |_| ());
        for peer in peers {
            self.add(peer);
        }
    }
}

/// Two members whose four streams are up.
pub struct Pair {
    pub cores: Cores,
    pub one: Member,
    pub two: Member,
}

impl Pair {
    pub fn start() -> Self {
        Self::start_with(|_| ())
    }

    pub fn start_with(adjust: impl Fn(&mut Config)) -> Self {
        Self::start_on(&CoresConfig::default(), adjust)
    }

    pub fn start_on(cores: &CoresConfig, adjust: impl Fn(&mut Config)) -> Self {
        let cores = Cores::start(cores).expect("cores start");
        let address = "127.0.0.1:0".parse().expect("an address");
        let one = Member::start(1, &cores, address, &adjust);
        let two = Member::start(2, &cores, address, &adjust);
        one.add(&two);
        two.add(&one);
        let pair = Self { cores, one, two };
        pair.wait_for_streams();
        pair
    }

    pub fn wait_for_streams(&self) {
        for member in [&self.one, &self.two] {
            wait_until("all four streams are up", || {
                let events = member.host.events.lock().expect("no panic");
                events.iter().filter(|event| matches!(event, Event::StreamUp { .. })).count() >= 4
            });
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for member in [&self.one, &self.two] {
            let _ = member.transport().stop().wait(Duration::from_secs(5));
        }
    }
}

/// A MsgApp from 1 to 2 that continues a log of one-entry appends at `index`.
pub fn app(index: u64, term: u64) -> Message {
    Message {
        r#type: Some(MessageType::MsgApp as i32),
        to: Some(2),
        from: Some(1),
        term: Some(term),
        log_term: Some(term),
        index: Some(index - 1),
        commit: Some(index - 1),
        entries: vec![Entry {
            r#type: Some(0),
            term: Some(term),
            index: Some(index),
            data: Some("x".into()),
        }],
        ..Message::default()
    }
}

/// Unset scalars are zero on the wire.
pub fn normalised(message: Message) -> Message {
    let or_zero = |value: Option<u64>| Some(value.unwrap_or(0));
    Message {
        to: or_zero(message.to),
        from: or_zero(message.from),
        term: or_zero(message.term),
        log_term: or_zero(message.log_term),
        index: or_zero(message.index),
        commit: or_zero(message.commit),
        reject: Some(message.reject()),
        reject_hint: or_zero(message.reject_hint),
        ..message
    }
}

pub fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    wait_within(Duration::from_secs(10), what, is_so);
}

pub fn wait_within(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Descriptors that the process has open.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("a list").count()
}

/// Memory of the process that is resident, in bytes.
pub fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}
