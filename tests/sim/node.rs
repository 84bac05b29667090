//! A member: for each other one, a picker, a status, two dialling readers and two served writers.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use raftring::buf::{Block, Chain, Pool};
use raftring::proto::handshake::{Identity, Membership};
use raftring::proto::http::head::HeadSearch;
use raftring::proto::pace::Pace;
use raftring::proto::peer_url::{PeerUrl, PeerUrls};
use raftring::proto::picker::Picker;
use raftring::proto::status::Status;
use raftring::proto::stream::{Bug, StreamReader, StreamWriter, StreamWriterConfig};
use raftring::proto::version::Versions;
use raftring::{ClusterId, Dialect, MemberId, StreamKind};

use super::conn::ConnId;
use super::load::Host;

pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(1_667);
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// One direction of one stream, from the point of view of one of its ends.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Slot {
    pub(super) node: usize,
    pub(super) peer: usize,
    pub(super) kind: StreamKind,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) identity: Identity,
    pub(super) pool: Pool,
    /// By node; `None` at its own place.
    pub(super) peers: Vec<Option<Peer>>,
    pub(super) epoch: u32,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) status: Status,
    pub(super) picker: Picker,
    pub(super) incoming: [Incoming; 2],
    pub(super) outgoing: [Outgoing; 2],
    pub(super) host: Host,
    /// When the node hears of this peer; before, it refuses its dials.
    pub(super) known_at: Duration,
}

/// A stream that is dialled and read.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) pace: Pace,
    pub(super) state: Reading,
    /// Tells the dial that is due from older plans.
    pub(super) ticket: u64,
}

#[derive(Debug)]
pub(super) enum Reading {
    Waiting,
    Dialling { conn: ConnId, url: PeerUrl, search: HeadSearch, bytes: Vec<u8> },
    Open { conn: ConnId, reader: Box<StreamReader>, lent: Option<(Block, Range<usize>)> },
}

/// A stream that is served and written.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) machine: StreamWriter,
    pub(super) lane: VecDeque<usize>,
    pub(super) conn: Option<ConnId>,
    pub(super) chain: Option<Chain>,
    /// The kernel holds the chain.
    pub(super) is_writing: bool,
    /// When the kernel last took something of the chain.
    pub(super) moved_at: Duration,
    /// The simulator's own idea of the heartbeat clock.
    pub(super) heartbeat_at: Duration,
    pub(super) heartbeat_waits: bool,
}

pub(super) const fn member(node: usize) -> MemberId {
    MemberId(0x2a + node as u64)
}

/// The second URL of each member never answers.
pub(super) const DEAD_PORT: u16 = 1;

fn urls(node: usize) -> PeerUrls {
    let texts = [format!("http://10.0.0.{node}:2380"), format!("http://10.0.0.{node}:{DEAD_PORT}")];
    PeerUrls::parse(&texts).expect("valid")
}

impl Node {
    pub(super) fn new(own: usize, nodes: usize) -> Self {
        let identity = Identity {
            member: member(own),
            cluster: ClusterId(0xc1),
            versions: Versions::default(),
            peer_urls: Some(urls(own)),
            echoes: false,
        };
        Self { identity, pool: Pool::new(), peers: (0..nodes).map(|_| None).collect(), epoch: 0 }
    }

    /// The member with this id as it is known now.
    pub(super) fn peer_of(id: MemberId) -> Option<usize> {
        id.0.checked_sub(member(0).0).map(|node| node as usize)
    }
}

/// Who is known to a node at a moment.
#[derive(Debug)]
pub(super) struct KnownAt<'a>(pub(super) &'a Node, pub(super) Duration);

impl Membership for KnownAt<'_> {
    fn is_id_removed(&self, _: MemberId) -> bool {
        false
    }

    fn is_known_peer(&self, id: MemberId) -> bool {
        let peer = Node::peer_of(id).and_then(|peer| self.0.peers.get(peer)?.as_ref());
        peer.is_some_and(|peer| peer.known_at <= self.1)
    }
}

/// What a new peer is made with.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerConfig {
    pub(super) node: usize,
    pub(super) peer: usize,
    pub(super) epoch: u32,
    pub(super) dialect: Dialect,
    pub(super) known_at: Duration,
    pub(super) bug: Option<Bug>,
}

impl Peer {
    pub(super) fn new(config: PeerConfig, pool: &Pool, now: Duration, instant: Instant) -> Self {
        let outgoing = |kind| Outgoing::new(config, kind, pool.clone(), now, instant);
        let incoming = || Incoming { pace: Pace::default(), state: Reading::Waiting, ticket: 0 };
        Self {
            status: Status::default(),
            picker: Picker::new(urls(config.peer)),
            incoming: [incoming(), incoming()],
            outgoing: StreamKind::ALL.map(outgoing),
            host: Host::new(member(config.node).0, member(config.peer).0, config.epoch),
            known_at: config.known_at,
        }
    }
}

impl Outgoing {
    fn new(config: PeerConfig, kind: StreamKind, pool: Pool, now: Duration, instant: Instant) -> Self {
        let writer = StreamWriterConfig {
            kind,
            dialect: config.dialect,
            local: member(config.node),
            remote: member(config.peer),
            heartbeat_interval: HEARTBEAT_INTERVAL,
            stall_timeout: STALL_TIMEOUT,
        };
        let mut machine = StreamWriter::new(writer, pool, instant);
        if let Some(bug) = config.bug {
            machine.plant(bug);
        }
        Self {
            machine,
            lane: VecDeque::new(),
            conn: None,
            chain: None,
            is_writing: false,
            moved_at: now,
            heartbeat_at: now + HEARTBEAT_INTERVAL,
            heartbeat_waits: false,
        }
    }
}
