//! A leader on one core, and many followers on another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use raftring::cores::available_cpus;
use raftring::raftpb::{Entry, Message, MessageType};
use raftring::{
    Config, Cores, CoresConfig, Listen, MemberId, Origin, Raft, Signal, SnapshotStatus, Transport,
};

use crate::counting::{Role, enter};

pub(crate) const FOLLOWERS: usize = 128;

const LEADER: u64 = 1;

/// The shortest there is, so that all of them are sent a few times.
const HEARTBEAT: Duration = Duration::from_millis(200);

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A leader whose streams to all its followers are up.
pub(crate) struct Cluster {
    pub(crate) leader: Transport,
    pub(crate) arrived: Arrived,
    pub(crate) leader_cores: Cores,
    followers: Vec<Transport>,
    /// Cores of their own, so that they have a thread of their own where there is one CPU.
    _follower_cores: Cores,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let cpus = available_cpus();
        let cores = |cpu: usize, role| {
            let cores = Cores::start(&CoresConfig::on([cpu])).expect("a core starts");
            cores.spawn(0, move || async move { enter(role) }).expect("core 0");
            cores
        };
        let leader_cores = cores(cpus[0], Role::Sending);
        let follower_cores = cores(cpus[cpus.len() - 1], Role::Receiving);
        let arrived = Arrived::default();
        let leader = start(LEADER, &leader_cores, &arrived);
        let followers: Vec<_> = follower_ids().map(|id| start(id, &follower_cores, &arrived)).collect();
        for (id, follower) in follower_ids().zip(&followers) {
            leader.add_peer(id, [url(follower)]).expect("a good peer");
            follower.add_peer(LEADER, [url(&leader)]).expect("a good peer");
        }
        let cluster = Self { leader, arrived, leader_cores, followers, _follower_cores: follower_cores };
        cluster.wait_for_streams();
        // The first heartbeat of a stream makes its reader's buffers; nothing tells of it.
        std::thread::sleep(3 * HEARTBEAT);
        cluster
    }

    /// Until a message to each follower is accepted and arrives: one that has no stream is dropped.
    fn wait_for_streams(&self) {
        for (n, message) in Rounds::new().next(1).iter().enumerate() {
            wait_until("a stream is up", || self.leader.send_ref([message]).accepted == 1);
            wait_until("it arrives", || self.arrived.messages() == n as u64 + 1);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for transport in self.followers.iter().chain([&self.leader]) {
            let ended = transport.stop().wait(PATIENCE);
            assert!(ended || std::thread::panicking(), "it stops");
        }
    }
}

fn follower_ids() -> impl Iterator<Item = u64> {
    (LEADER + 1..).take(FOLLOWERS)
}

fn start(id: u64, cores: &Cores, arrived: &Arrived) -> Transport {
    let mut config = Config::new(id, 0x1a2b);
    config.listen = Listen::Address("127.0.0.1:0".parse().expect("an address"));
    config.heartbeat_interval = HEARTBEAT;
    // Messages are counted here; each of the 64 probes a second makes a request.
    config.probe_interval = None;
    // All followers dial at once, and all from one address.
    config.handshakes_max = 4 * FOLLOWERS;
    config.handshakes_per_address_max = 4 * FOLLOWERS;
    Transport::start(config, cores, Arc::new(arrived.clone())).expect("it starts")
}

fn url(transport: &Transport) -> String {
    format!("http://{}", transport.local_addr().expect("it listens"))
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// The host of every member: it counts what arrives, and drops it.
#[derive(Clone, Default)]
pub(crate) struct Arrived {
    messages: Arc<AtomicU64>,
    signal: Signal,
}

impl Arrived {
    fn messages(&self) -> u64 {
        self.messages.load(Ordering::Acquire)
    }

    /// Rounds that arrived at all followers: the index of the last entry that all have.
    pub(crate) fn last_index(&self) -> u64 {
        self.messages() / FOLLOWERS as u64
    }

    /// Until all followers have the entry.
    pub(crate) fn wait_for(&self, index: u64) {
        wait_until("a round arrives", || self.last_index() >= index);
    }

    /// The same, on a core.
    pub(crate) async fn until(&self, index: u64) {
        while self.last_index() < index {
            self.signal.raised().await;
        }
    }
}

impl Raft for Arrived {
    fn process(&self, _: Origin, messages: &mut Vec<Message>) {
        self.messages.fetch_add(messages.len() as u64, Ordering::AcqRel);
        messages.clear();
        self.signal.raise();
    }

    fn is_id_removed(&self, _: MemberId) -> bool {
        false
    }

    fn report_unreachable(&self, _: MemberId) {}

    fn report_snapshot(&self, _: MemberId, _: SnapshotStatus) {}
}

/// A MsgApp with one entry of 64 bytes to each follower, made once and used round after round.
pub(crate) struct Rounds(Vec<Message>);

impl Rounds {
    pub(crate) fn new() -> Self {
        let entry = Entry { r#type: Some(0), term: Some(1), index: None, data: Some(vec![7; 64].into()) };
        let to = |id| Message {
            r#type: Some(MessageType::MsgApp as i32),
            to: Some(id),
            from: Some(LEADER),
            term: Some(1),
            log_term: Some(1),
            entries: vec![entry.clone()],
            ..Message::default()
        };
        Self(follower_ids().map(to).collect())
    }

    /// The same messages, with the entry at this index of the log.
    pub(crate) fn next(&mut self, index: u64) -> &[Message] {
        for message in &mut self.0 {
            message.index = Some(index - 1);
            message.commit = Some(index - 1);
            message.entries[0].index = Some(index);
        }
        &self.0
    }
}
