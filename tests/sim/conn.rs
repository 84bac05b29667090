//! A connection: two pipes, who is at which end, and what was said on it.

use std::time::Duration;

use raftring::StreamKind;
use raftring::proto::http::head::HeadSearch;

use super::wire::Pipe;

pub(super) type ConnId = usize;

/// From the dialler to the server, where requests travel.
pub(super) const UP: usize = 0;
/// From the server to the dialler, where answers and frames travel.
pub(super) const DOWN: usize = 1;

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) dialler: usize,
    pub(super) server: usize,
    pub(super) kind: StreamKind,
    pub(super) pipes: [Pipe; 2],
    pub(super) serving: Serving,
    /// Cut hard: both ends see an error.
    pub(super) reset: bool,
    /// Anything happened that excuses an end of this connection: a fault, or somebody hung up.
    pub(super) excuse: Option<&'static str>,
    /// The server ended the body on purpose.
    pub(super) ended: bool,
    pub(super) is_http_1_0: bool,
    /// Link heartbeats encoded for it, and when the last was.
    pub(super) heartbeats: u64,
    /// Ticks at which one was waiting already.
    pub(super) heartbeats_spared: u64,
    pub(super) heartbeat_at: Duration,
    /// Link heartbeats that had come when the faults were over and all bytes were read.
    pub(super) heartbeats_when_read_up: Option<u64>,
    pub(super) paused_until: Duration,
    pub(super) attached_at: Duration,
    /// When the dialler last read something of the body, or opened it.
    pub(super) read_at: Duration,
    pub(super) transcript: Transcript,
}

/// What the server does with the connection.
#[derive(Debug)]
pub(super) enum Serving {
    Head { bytes: Vec<u8>, search: HeadSearch, deadline: Duration },
    Stream,
    Closed,
}

/// What was encoded for the connection and what was decoded from it: the second must be a prefix
/// of the first.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    /// Messages in the order in which they were encoded, by their place in the ledger.
    pub(super) encoded: Vec<usize>,
    /// How many of them left in a chain.
    pub(super) flushed: usize,
    /// How many of them the writer knows to be written.
    pub(super) confirmed: usize,
    /// How many of them came out.
    pub(super) decoded: usize,
    /// For each chain: where it begins on the wire, and how many messages were encoded before it.
    pub(super) chains: Vec<(u64, usize)>,
    /// From which message on the bytes are not to be trusted.
    pub(super) tainted_from: Option<usize>,
    /// The highest number decoded of each class.
    pub(super) last_seq: [Option<u64>; 2],
}

impl Transcript {
    /// A byte at `offset` was changed: the message that it belongs to, and all after it, may be
    /// anything. Known by chains, so up to a chain of messages before it are not judged either.
    pub(super) fn taint(&mut self, offset: u64) {
        let before = self.chains.iter().rev().find(|(start, _)| *start <= offset);
        let from = before.map_or(0, |(_, messages)| *messages);
        self.tainted_from = Some(self.tainted_from.map_or(from, |old| old.min(from)));
    }

    pub(super) fn is_tainted(&self) -> bool {
        self.tainted_from.is_some()
    }
}

impl Conn {
    pub(super) fn new(dialler: usize, server: usize, kind: StreamKind, head_deadline: Duration) -> Self {
        Self {
            dialler,
            server,
            kind,
            pipes: Default::default(),
            serving: Serving::Head {
                bytes: Vec::new(),
                search: HeadSearch::request(),
                deadline: head_deadline,
            },
            reset: false,
            excuse: None,
            ended: false,
            is_http_1_0: false,
            heartbeats: 0,
            heartbeats_spared: 0,
            heartbeat_at: Duration::ZERO,
            heartbeats_when_read_up: None,
            paused_until: Duration::ZERO,
            attached_at: Duration::ZERO,
            read_at: Duration::ZERO,
            transcript: Transcript::default(),
        }
    }

    pub(super) fn excuse(&mut self, why: &'static str) {
        self.excuse.get_or_insert(why);
    }
}

impl Conn {
    /// Everything that was written to the dialler was read by it.
    pub(super) fn is_read_up(&self) -> bool {
        self.pipes[DOWN].is_read_up()
    }

    /// Neither end can do anything with it.
    pub(super) fn is_over(&self) -> bool {
        self.reset || self.pipes.iter().all(Pipe::is_closed)
    }
}
