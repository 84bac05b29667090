//! Who sends: for each member a thread of its host, and a task on its core that the thread wakes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use raftring::raftpb::{Entry, Message, MessageType};
use raftring::{Cores, Signal, Transport, Via};

use crate::member::{MEMBERS, Member};
use crate::stamp::Stamp;

/// Who sends, and over which stream: each numbers its messages to each member.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Class {
    ThreadAppend,
    ThreadBeat,
    TaskAppend,
    TaskBeat,
}

impl Class {
    pub(crate) const ALL: [Self; 4] =
        [Self::ThreadAppend, Self::ThreadBeat, Self::TaskAppend, Self::TaskBeat];

    pub(crate) fn of_number(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }

    /// The stream for its messages.
    pub(crate) const fn via(self) -> Via {
        match self {
            Self::ThreadAppend | Self::TaskAppend => Via::Msgapp,
            Self::ThreadBeat | Self::TaskBeat => Via::Message,
        }
    }
}

/// The number of the way from one member to another.
pub(crate) const fn link(from: u64, to: u64) -> u32 {
    (from << 8 | to) as u32
}

/// Messages of a class to each member in one go.
const BATCH: usize = 2;

/// Between two rounds of a thread.
const PAUSE: Duration = Duration::from_millis(1);

/// Above that a sender waits for its member, as a raft host does that looks at what is queued.
const QUEUED_MAX: usize = 200;

/// Numbers messages and sends them.
struct Sender {
    from: u64,
    append: Class,
    beat: Class,
    next: [u64; MEMBERS as usize + 1],
    accepted: Arc<AtomicU64>,
}

impl Sender {
    fn new(member: &Member, append: Class, beat: Class) -> Self {
        let next = [1; MEMBERS as usize + 1];
        Self { from: member.id, append, beat, next, accepted: Arc::clone(&member.accepted) }
    }

    /// A few messages of both classes to every other member.
    fn round(&mut self, transport: &Transport) {
        let own = self.from;
        for to in (1..=MEMBERS).filter(|to| *to != own) {
            if transport.queued(to).0 < QUEUED_MAX {
                let batch: Vec<_> = (0..BATCH).flat_map(|_| self.both(to)).collect();
                self.accepted.fetch_add(transport.send(batch).accepted as u64, Ordering::Relaxed);
            }
        }
    }

    fn both(&mut self, to: u64) -> [Message; 2] {
        let seq = self.next[to as usize];
        self.next[to as usize] += 1;
        let stamp = |class| Stamp { epoch: link(self.from, to), class: class as u32, seq };
        [append(self.from, to, stamp(self.append)), beat(self.from, to, stamp(self.beat))]
    }
}

/// Most payloads are small; some do not fit a socket's buffer at once.
fn payload_bytes(seq: u64) -> usize {
    match seq % 128 {
        0 => 300 << 10,
        1..16 => 6 << 10,
        other => other as usize,
    }
}

fn append(from: u64, to: u64, stamp: Stamp) -> Message {
    let data = Some(stamp.payload(0, payload_bytes(stamp.seq)));
    Message {
        r#type: Some(MessageType::MsgApp as i32),
        to: Some(to),
        from: Some(from),
        term: Some(1),
        log_term: Some(1),
        index: Some(stamp.seq - 1),
        commit: Some(stamp.seq),
        entries: vec![Entry { r#type: Some(0), term: Some(1), index: Some(stamp.seq), data }],
        ..Message::default()
    }
}

fn beat(from: u64, to: u64, stamp: Stamp) -> Message {
    Message {
        r#type: Some(MessageType::MsgHeartbeat as i32),
        to: Some(to),
        from: Some(from),
        term: Some(1),
        context: Some(stamp.payload(0, payload_bytes(stamp.seq) / 8)),
        ..Message::default()
    }
}

/// The load on all members, until it is ended.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(cores: &Cores, members: &[Arc<Member>]) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let threads = members
            .iter()
            .map(|member| {
                let round = Signal::new();
                spawn_task(cores, Arc::clone(member), round.clone(), Arc::clone(&over));
                let (member, over) = (Arc::clone(member), Arc::clone(&over));
                std::thread::spawn(move || run_thread(&member, &round, &over))
            })
            .collect();
        Self { over, threads }
    }

    pub(crate) fn end(self) {
        self.over.store(true, Ordering::Release);
        for thread in self.threads {
            thread.join().expect("a sender does not panic");
        }
    }
}

fn run_thread(member: &Member, round: &Signal, over: &AtomicBool) {
    let mut sender = Sender::new(member, Class::ThreadAppend, Class::ThreadBeat);
    while !over.load(Ordering::Acquire) {
        sender.round(&member.transport());
        round.raise();
        std::thread::sleep(PAUSE);
    }
    round.raise();
}

/// It outlives the member's transports: each round it takes the one that is there.
fn spawn_task(cores: &Cores, member: Arc<Member>, round: Signal, over: Arc<AtomicBool>) {
    let core = member.core;
    let task = move || async move {
        let mut sender = Sender::new(&member, Class::TaskAppend, Class::TaskBeat);
        while !over.load(Ordering::Acquire) {
            round.raised().await;
            sender.round(&member.transport());
        }
    };
    cores.spawn(core, task).expect("a core");
}
