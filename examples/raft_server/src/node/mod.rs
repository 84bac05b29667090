//! The raft loop: one thread, one round after the other.
//!
//! ```text
//!   inbox ──▶ step all messages, propose all writes, ask for all reads      node/round.rs
//!               │ ready
//!               ├─ a leader's messages ──────────────────────▶ Transport::send
//!               ├─ entries, term and vote: one fsync
//!               ├─ what those promise ───────────────────────▶ Transport::send
//!               └─ committed entries ──▶ State::apply ──▶ answers           node/apply.rs
//! ```
//!
//! Whatever waits while a round's fsync runs is in the next round, with one fsync for all of it.

mod apply;
mod asks;
mod keeping;
mod leading;
mod members;
mod questions;
mod round;
mod snapshot;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bytes::Bytes;
use raft::eraftpb::ConfState;
use raft::{RawNode, StateRole};
use raftring::raftpb::Message;
use raftring::routes::Reply as PeerReply;
use raftring::{ClusterId, Transport};
use tokio::sync::oneshot;

use crate::clerk::Clerk;
use crate::diary;
use crate::etcd::id::RequestIds;
use crate::etcd::member::Attributes;
use crate::inbox::{Found, Inbox, Refusal, Written};
use crate::log::Log;
use crate::peers::Peers;
use crate::proposals::Proposals;
use crate::reads::Reads;
use crate::snapshots::{Fetched, Snapshots};
use crate::state::State;
use crate::status::Meters;
use crate::watch::Watch;

use self::leading::Lead;
use self::members::Kind;

/// The release of etcd whose words this server speaks.
pub(crate) const RELEASE: &str = "3.4.23";

/// Bytes of entries in one append, as etcd's members have it.
const APPEND_BYTES_MAX: u64 = 1 << 20;

/// Appends under way to one member, likewise.
const APPENDS_MAX: usize = 512;

/// Entries that are not committed: proposals wait before there are more of them.
const UNCOMMITTED_BYTES_MAX: u64 = 256 << 20;

/// Committed entries that are applied in one go.
const COMMITTED_BYTES_MAX: u64 = 16 << 20;

/// What a member is told at its start.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) id: u64,
    pub(crate) cluster: ClusterId,
    pub(crate) attributes: Attributes,
    pub(crate) tick: Duration,
    pub(crate) election_ticks: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) snapshot_count: u64,
    pub(crate) pre_vote: bool,
    pub(crate) check_quorum: bool,
}

impl Settings {
    fn election_timeout(&self) -> Duration {
        self.tick * u32::try_from(self.election_ticks).unwrap_or(u32::MAX)
    }
}

/// What the loop works with.
pub(crate) struct Parts {
    pub(crate) log: Log,
    /// At the log's snapshot.
    pub(crate) state: State,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) transport: Transport,
    pub(crate) peers: Arc<Peers>,
    pub(crate) snapshots: Snapshots,
}

/// Why the loop has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// It was told to.
    Stopped,
    /// This member was removed from the cluster.
    Removed,
}

/// Who waits for an entry to be applied.
enum Waiter {
    Client(oneshot::Sender<Result<Written, Refusal>>),
    /// A member that wants a learner to vote.
    Promotion(PeerReply),
}

/// A client's write that nobody could take yet.
struct Held {
    since: Instant,
    request_id: u64,
    data: Vec<u8>,
    waiter: oneshot::Sender<Result<Written, Refusal>>,
}

/// A read that waits.
struct Read {
    key: Bytes,
    reply: oneshot::Sender<Result<Option<Found>, Refusal>>,
}

/// Leadership that is on its way to another member.
struct Transfer {
    to: u64,
    deadline: Instant,
    replies: Vec<oneshot::Sender<Result<(), Refusal>>>,
}

/// See the module.
pub(crate) struct Node {
    settings: Settings,
    raft: RawNode<Log>,
    state: State,
    conf_state: ConfState,
    inbox: Arc<Inbox>,
    transport: Transport,
    peers: Arc<Peers>,
    snapshots: Snapshots,
    clerk: Clerk,
    watch: Watch,
    next_look: Instant,
    /// Of what kind the members are, as far as they have answered.
    kinds: HashMap<u64, Kind>,
    /// What the leader said that others need of the log, if it is of our kind.
    leader_needs: Option<(u64, u64)>,
    ids: RequestIds,
    next_tick: Instant,
    outgoing: Vec<Message>,
    /// Snapshots that could not even be opened.
    unsent: Vec<u64>,
    held: VecDeque<Held>,
    proposals: Proposals<Waiter>,
    reads: Reads<Read>,
    transfer: Option<Transfer>,
    lead: Option<Lead>,
    /// A state is being made durable.
    saving: bool,
    save_after: Instant,
    /// A snapshot that came is being read: its index.
    fetching: Option<u64>,
    fetched: Option<Box<Fetched>>,
    next_publish: Instant,
    /// This member was removed, and ends then.
    removed: Option<Instant>,
    /// It was told to end, and does then at the latest.
    stopping: Option<Instant>,
    meters: Meters,
}

impl Node {
    pub(crate) fn new(settings: Settings, parts: Parts) -> Result<Self> {
        let Parts { log, state, inbox, transport, peers, snapshots } = parts;
        let conf_state = log.snapshot_metadata().conf_state.clone().unwrap_or_default();
        let raft = RawNode::new(&config(&settings, state.applied()), log, &diary::logger())
            .context("raft does not start from what is in the log")?;
        let clerk = Clerk::start(snapshots.clone(), Arc::clone(&inbox))?;
        let watch = Watch::start(Arc::clone(&inbox))?;
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started_ms = u64::try_from(started.as_millis()).unwrap_or_default();
        let now = Instant::now();
        Ok(Self {
            ids: RequestIds::new(settings.id, started_ms),
            proposals: Proposals::new(settings.request_timeout),
            next_tick: now + settings.tick,
            settings,
            raft,
            state,
            conf_state,
            inbox,
            transport,
            peers,
            snapshots,
            clerk,
            watch,
            next_look: now,
            kinds: HashMap::new(),
            leader_needs: None,
            outgoing: Vec::new(),
            unsent: Vec::new(),
            held: VecDeque::new(),
            reads: Reads::default(),
            transfer: None,
            lead: None,
            saving: false,
            save_after: now,
            fetching: None,
            fetched: None,
            next_publish: now,
            removed: None,
            stopping: None,
            meters: Meters::default(),
        })
    }

    /// Runs until it is told to end, or must.
    ///
    /// # Errors
    /// What it cannot go on with: a broken disk, or a log that lost entries.
    pub(crate) fn run(mut self) -> Result<End> {
        self.meet_members();
        let ended = loop {
            match self.round() {
                Ok(None) => {}
                Ok(Some(end)) => break Ok(end),
                Err(error) => break Err(error),
            }
        };
        self.refuse_all(Refusal::Stopping);
        ended
    }

    /// The member that leads, as far as this one knows; 0 for none.
    fn leader(&self) -> u64 {
        self.raft.raft.leader_id
    }

    fn is_leader(&self) -> bool {
        self.raft.raft.state == StateRole::Leader
    }
}

fn config(settings: &Settings, applied: u64) -> raft::Config {
    raft::Config {
        id: settings.id,
        election_tick: settings.election_ticks,
        heartbeat_tick: 1,
        applied,
        max_size_per_msg: APPEND_BYTES_MAX,
        max_inflight_msgs: APPENDS_MAX,
        check_quorum: settings.check_quorum,
        pre_vote: settings.pre_vote,
        max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
        max_committed_size_per_ready: COMMITTED_BYTES_MAX,
        ..raft::Config::default()
    }
}
