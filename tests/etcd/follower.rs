//! A raft follower, as small as etcd's leader lets it be: it votes, keeps a log and acknowledges.
//! It never campaigns.

use std::collections::BTreeMap;

use bytes::Bytes;
use raftring::Via;
use raftring::raftpb::{Entry, Message, MessageType};

/// An entry and the way it came.
#[derive(Clone, Debug)]
pub struct Logged {
    pub entry: Entry,
    /// `None` for one that a test planted.
    pub via: Option<Via>,
}

/// Messages that came, by type and way, and entries by way.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    messages: BTreeMap<(i32, &'static str), usize>,
    entries: BTreeMap<&'static str, usize>,
    /// Bytes of entry data in the largest message.
    pub largest: usize,
}

/// What a real member would keep on its disk, and what came to it.
#[derive(Debug, Default)]
pub struct Follower {
    id: u64,
    term: u64,
    vote: u64,
    pub commit: u64,
    /// Entry `i` has index `i + 1` behind that of the snapshot: nothing else is ever compacted.
    pub log: Vec<Logged>,
    /// Index and term of the snapshot that the log begins with.
    pub snapshot: (u64, u64),
    /// The last snapshot that came.
    pub snapshot_message: Option<Message>,
    pub tally: Tally,
    /// Appends that did not fit our log and were rejected.
    pub rejected: usize,
    /// Entries that gave way to those of the leader.
    pub truncated: usize,
    /// What no correct leader and no correct transport do.
    pub violations: Vec<String>,
}

impl Follower {
    pub fn new(id: u64) -> Self {
        Self { id, ..Self::default() }
    }

    /// Takes one message; the answer to it, if there is one.
    pub fn step(&mut self, via: Via, message: &Message) -> Option<Message> {
        self.tally.count(via, message);
        if message.to() != self.id {
            self.violations.push(format!("a message to {:x} came to {:x}", message.to(), self.id));
        }
        if message.is(MessageType::MsgPreVote) {
            return Some(self.answer_pre_vote(message));
        }
        if message.term() > self.term {
            (self.term, self.vote) = (message.term(), 0);
        }
        match message.kind()? {
            MessageType::MsgVote => Some(self.answer_vote(message)),
            MessageType::MsgApp => Some(self.answer_append(via, message)),
            MessageType::MsgHeartbeat => Some(self.answer_heartbeat(message)),
            MessageType::MsgSnap => Some(self.answer_snapshot(message)),
            _ => None,
        }
    }

    /// Appends an entry that no leader ever sent.
    pub fn plant(&mut self, term: u64, data: &'static str) {
        let index = self.last_index() + 1;
        let data = Some(data.into());
        let entry = Entry { term: Some(term), index: Some(index), data, ..Entry::default() };
        self.log.push(Logged { entry, via: None });
    }

    pub const fn term(&self) -> u64 {
        self.term
    }

    pub fn last_index(&self) -> u64 {
        self.snapshot.0 + self.log.len() as u64
    }

    /// The term of an entry; 0 is the term of the entry before the first.
    fn term_at(&self, index: u64) -> Option<u64> {
        match index.checked_sub(self.snapshot.0)? {
            0 => Some(self.snapshot.1),
            at => self.log.get(at as usize - 1).map(|logged| logged.entry.term()),
        }
    }

    fn answer(&self, kind: MessageType, to: &Message) -> Message {
        Message {
            r#type: Some(kind as i32),
            to: to.from,
            from: Some(self.id),
            term: Some(self.term),
            ..Message::default()
        }
    }

    fn is_up_to_date(&self, candidate: &Message) -> bool {
        let own = (self.term_at(self.last_index()).unwrap_or(0), self.last_index());
        (candidate.log_term(), candidate.index()) >= own
    }

    /// Would it get the vote? Granting changes nothing here.
    fn answer_pre_vote(&self, message: &Message) -> Message {
        let granted = message.term() > self.term && self.is_up_to_date(message);
        let term = if granted { message.term() } else { self.term };
        let reject = (!granted).then_some(true);
        Message { term: Some(term), reject, ..self.answer(MessageType::MsgPreVoteResp, message) }
    }

    fn answer_vote(&mut self, message: &Message) -> Message {
        let free = self.vote == 0 || self.vote == message.from();
        let granted = message.term() == self.term && free && self.is_up_to_date(message);
        if granted {
            self.vote = message.from();
        }
        let reject = (!granted).then_some(true);
        Message { reject, ..self.answer(MessageType::MsgVoteResp, message) }
    }

    fn answer_heartbeat(&mut self, message: &Message) -> Message {
        if message.term() == self.term {
            self.advance_commit(message.commit());
        }
        // The context carries the number of a read: without it linearizable reads never end.
        Message { context: message.context.clone(), ..self.answer(MessageType::MsgHeartbeatResp, message) }
    }

    fn answer_append(&mut self, via: Via, message: &Message) -> Message {
        let answer = self.answer(MessageType::MsgAppResp, message);
        if message.term() < self.term {
            return answer;
        }
        if !message.has_contiguous_entries() {
            self.violations.push(format!("gaps in the entries after {}", message.index()));
        }
        if message.index() < self.commit {
            return Message { index: Some(self.commit), ..self.answer(MessageType::MsgAppResp, message) };
        }
        if self.term_at(message.index()) != Some(message.log_term()) {
            self.rejected += 1;
            return self.reject(message);
        }
        for entry in &message.entries {
            self.append(via, entry);
        }
        let last = message.index() + message.entries.len() as u64;
        self.advance_commit(message.commit().min(last));
        Message { index: Some(last), ..self.answer(MessageType::MsgAppResp, message) }
    }

    /// Its database is saved: the log begins there.
    fn answer_snapshot(&mut self, message: &Message) -> Message {
        let snapshot = (message.snapshot_index(), message.snapshot_term());
        if message.term() == self.term && snapshot.0 > self.commit {
            (self.snapshot, self.commit) = (snapshot, snapshot.0);
            let mut message = message.clone();
            if let Some(data) = message.snapshot.as_mut().and_then(|snapshot| snapshot.data.as_mut()) {
                *data = Bytes::copy_from_slice(data); // as with entries
            }
            self.snapshot_message = Some(message);
            self.log.clear();
        }
        Message { index: Some(self.commit), ..self.answer(MessageType::MsgAppResp, message) }
    }

    fn reject(&self, message: &Message) -> Message {
        let hint = message.index().min(self.last_index());
        Message {
            log_term: self.term_at(hint),
            index: message.index,
            reject: Some(true),
            reject_hint: Some(hint),
            ..self.answer(MessageType::MsgAppResp, message)
        }
    }

    /// Takes an entry that follows what is already known to agree.
    fn append(&mut self, via: Via, entry: &Entry) {
        let at = (entry.index() - self.snapshot.0) as usize - 1;
        if let Some(known) = self.log.get(at) {
            if known.entry.term() == entry.term() {
                if known.entry.data != entry.data {
                    self.violations.push(format!("two entries with index {} and one term", at + 1));
                }
                return;
            }
            if entry.index() <= self.commit {
                self.violations.push(format!("entry {} was committed and changed", at + 1));
            }
            self.truncated += self.log.len() - at;
            self.log.truncate(at);
        }
        // Copied, for a log lives long: a slice would hold the block that it was read into.
        let data = entry.data.as_deref().map(Bytes::copy_from_slice);
        self.log.push(Logged { entry: Entry { data, ..entry.clone() }, via: Some(via) });
    }

    fn advance_commit(&mut self, commit: u64) {
        if commit > self.last_index() {
            self.violations.push(format!("commit {commit} is beyond our log"));
        }
        self.commit = self.commit.max(commit.min(self.last_index()));
    }
}

impl Tally {
    fn count(&mut self, via: Via, message: &Message) {
        self.largest = self.largest.max(message.payload_bytes());
        *self.messages.entry((message.type_number(), name(via))).or_default() += 1;
        *self.entries.entry(name(via)).or_default() += message.entries.len();
    }

    /// Messages of this type that came this way.
    pub fn messages(&self, kind: MessageType, via: Via) -> usize {
        self.messages.get(&(kind as i32, name(via))).copied().unwrap_or(0)
    }

    /// Requests for our vote, whichever way they came.
    pub fn votes(&self) -> usize {
        let ways = [Via::Msgapp, Via::Message, Via::Pipeline];
        ways.into_iter().map(|via| self.messages(MessageType::MsgVote, via)).sum()
    }

    /// Entries that came this way, repetitions included.
    pub fn entries(&self, via: Via) -> usize {
        self.entries.get(name(via)).copied().unwrap_or(0)
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "entries {:?}", self.entries)?;
        for ((number, via), count) in &self.messages {
            let kind = MessageType::try_from(*number).map_or("unknown", |kind| kind.as_str_name());
            write!(f, ", {kind} by {via} {count}")?;
        }
        Ok(())
    }
}

const fn name(via: Via) -> &'static str {
    match via {
        Via::Msgapp => "msgapp",
        Via::Message => "message",
        Via::Pipeline => "pipeline",
        Via::Snapshot => "snapshot",
    }
}
