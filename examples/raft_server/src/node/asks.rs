//! What clients and operators want. Each is answered exactly once.

use std::time::Instant;

use raft::eraftpb::{self, Entry, MessageType};
use raftring::routes::Reply as PeerReply;
use tokio::sync::oneshot;

use super::{End, Held, Node, Read, Transfer, UNCOMMITTED_BYTES_MAX, Waiter};
use crate::diary;
use crate::etcd::peer;
use crate::etcd::request;
use crate::inbox::{Ask, Found, Refusal, Write, Written};
use crate::status::{LogStatus, PeerStatus, Status};

/// Proposals that go as one message.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// A member's question, and the way back.
pub(super) type Question = (peer::Question, PeerReply);

/// Why a client is not served where there are users.
const USERS: &str = "the cluster has users and roles, which this server does not know";

impl Node {
    /// Gives the questions of members back: they are answered when the round has applied what it can.
    pub(super) fn take_asks(&mut self, asks: Vec<Ask>, now: Instant) -> Vec<Question> {
        let mut questions = Vec::new();
        for ask in asks {
            match ask {
                Ask::Write(write, reply) => self.take_write(write, reply, now),
                Ask::Get(key, reply) if self.state.has_users() => refuse(reply, key, USERS),
                Ask::Get(key, reply) => {
                    self.reads.add(Read { key, reply }, now + self.settings.request_timeout);
                }
                Ask::Status(reply) => drop(reply.send(Box::new(self.status()))),
                Ask::Lead(to, reply) => self.move_leadership(to, reply, now),
                Ask::Peer(question, reply) => questions.push((question, reply)),
            }
        }
        questions
    }

    fn take_write(&mut self, write: Write, waiter: oneshot::Sender<Result<Written, Refusal>>, now: Instant) {
        if self.state.has_users() {
            return refuse(waiter, write, USERS);
        }
        let request_id = self.ids.next_id();
        let data = match write {
            Write::Put(key, value) => request::put(request_id, key, value),
            Write::Delete(key) => request::delete_range(request_id, key, bytes::Bytes::new()),
        };
        self.held.push_back(Held { since: now, request_id, data, waiter });
    }

    /// Proposes what waits, as much as raft takes now.
    pub(super) fn propose_held(&mut self) {
        while !self.held.is_empty() && self.can_propose() {
            let mut bytes = 0;
            let count = self.held.iter().take_while(|held| {
                let fits = bytes == 0 || bytes + held.data.len() <= BATCH_BYTES_MAX;
                bytes += held.data.len();
                fits
            });
            let count = count.count();
            let (mut entries, mut waiters) = (Vec::with_capacity(count), Vec::with_capacity(count));
            for held in self.held.drain(..count) {
                entries.push(Entry { data: held.data, ..Entry::default() });
                waiters.push((held.request_id, held.since, held.waiter));
            }
            let term = self.raft.raft.term;
            let is_taken = self.propose(entries);
            for (request_id, since, waiter) in waiters {
                if is_taken {
                    self.proposals.add(request_id, term, Waiter::Client(waiter), since);
                } else {
                    let _ = waiter.send(Err(Refusal::NoLeader));
                }
            }
        }
    }

    /// One message of several; false if nobody takes it.
    fn propose(&mut self, entries: Vec<Entry>) -> bool {
        let count = entries.len() as u64;
        let message = eraftpb::Message {
            msg_type: MessageType::MsgPropose as i32,
            from: self.settings.id,
            entries,
            ..eraftpb::Message::default()
        };
        let is_taken = self.raft.raft.step(message).is_ok();
        self.meters.proposed += if is_taken { count } else { 0 };
        is_taken
    }

    /// Something of the server's own, for which nobody waits: whoever needs it looks whether it came.
    pub(super) fn propose_own(&mut self, data: Vec<u8>) {
        if self.can_propose() {
            self.propose(vec![Entry { data, ..Entry::default() }]);
        }
    }

    /// What raft-rs would drop is not given to it.
    pub(super) fn can_propose(&self) -> bool {
        let raft = &self.raft.raft;
        if !self.is_leader() {
            return raft.leader_id != 0;
        }
        let has_room = (raft.uncommitted_size() as u64) < UNCOMMITTED_BYTES_MAX / 2;
        raft.lead_transferee.is_none() && raft.prs().get(raft.id).is_some() && has_room
    }

    pub(super) fn ask_to_read(&mut self, now: Instant) {
        // No other member's question may have the same context.
        let context = self.ids.next_id();
        if self.reads.ask(context, now) {
            self.raft.read_index(context.to_be_bytes().to_vec());
        }
    }

    pub(super) fn answer_reads(&mut self) {
        for Read { key, reply } in self.reads.take_ready(self.state.applied()) {
            let found = self.state.get(&key).map(|found| Found {
                value: found.value.clone(),
                revision: u64::try_from(found.mod_revision).unwrap_or_default(),
            });
            let _ = reply.send(Ok(found));
        }
    }

    /// What has waited too long.
    pub(super) fn expire(&mut self, now: Instant) {
        for read in self.reads.take_expired(now) {
            let _ = read.reply.send(Err(Refusal::Timeout));
        }
        self.proposals.take_expired(now).into_iter().for_each(|waiter| waiter.refuse(Refusal::Timeout));
        let timeout = self.settings.request_timeout;
        while self.held.front().is_some_and(|held| now >= held.since + timeout) {
            if let Some(held) = self.held.pop_front() {
                let _ = held.waiter.send(Err(Refusal::NoLeader));
            }
        }
        if let Some(transfer) = self.transfer.take_if(|transfer| now >= transfer.deadline) {
            transfer.answer(Err(Refusal::Not("leadership did not move in time: it stays")));
        }
    }

    fn move_leadership(&mut self, to: u64, reply: oneshot::Sender<Result<(), Refusal>>, now: Instant) {
        let refused = if !self.is_leader() {
            Some("this member does not lead")
        } else if !self.conf_state.voters.contains(&to) {
            Some("there is no voting member of that id")
        } else if self.transfer.as_ref().is_some_and(|transfer| transfer.to != to) {
            Some("leadership is on its way to another member")
        } else {
            None
        };
        if let Some(why) = refused {
            let _ = reply.send(Err(Refusal::Not(why)));
            return;
        }
        if to == self.settings.id {
            let _ = reply.send(Ok(()));
            return;
        }
        self.raft.transfer_leader(to);
        let deadline = now + self.settings.election_timeout();
        let transfer = self.transfer.get_or_insert_with(|| Transfer { to, deadline, replies: Vec::new() });
        transfer.replies.push(reply);
    }

    pub(super) fn leader_changed(&mut self, leader: u64) {
        if leader == 0 || leader == self.settings.id {
            return;
        }
        if let Some(transfer) = self.transfer.take() {
            let arrived = transfer.to == leader;
            transfer.answer(if arrived { Ok(()) } else { Err(Refusal::Not("another member was elected")) });
        }
    }

    fn status(&self) -> Status {
        let (raft, store) = (&self.raft.raft, self.raft.store());
        let version = self.state.cluster_version();
        Status {
            id: format!("{:x}", self.settings.id),
            name: self.settings.attributes.name.clone(),
            cluster: self.settings.cluster.to_string(),
            leader: format!("{:x}", raft.leader_id),
            role: match raft.state {
                raft::StateRole::Leader => "leader",
                raft::StateRole::Follower => "follower",
                raft::StateRole::Candidate => "candidate",
                raft::StateRole::PreCandidate => "pre-candidate",
            },
            term: raft.term,
            commit: raft.raft_log.committed,
            applied: self.state.applied(),
            revision: self.state.revision(),
            cluster_version: version.map_or_else(|| "not_decided".to_owned(), |version| version.to_string()),
            log_digest: self.state.log_digest().into(),
            kv_digest: format!("{:016x}", self.state.kv_digest()),
            not_understood: self.state.not_understood(),
            removed: self.removed.is_some(),
            log: LogStatus {
                snapshot: store.snapshot_metadata().index,
                entries: store.len(),
                bytes: store.bytes(),
            },
            peers: self.peer_statuses(),
            meters: crate::status::Meters { waiting: self.proposals.len(), ..self.meters.clone() },
        }
    }

    fn peer_statuses(&self) -> Vec<PeerStatus> {
        let others = self.state.members().filter(|member| member.id != self.settings.id);
        let status = |member: &crate::etcd::member::Member| PeerStatus {
            id: format!("{:x}", member.id),
            name: member.attributes.name.clone(),
            urls: member.peer_urls.clone(),
            learner: member.is_learner,
            matched: self.matched(member.id),
            round_trip_ms: None,
            active_since_s: None,
            number: member.id,
        };
        others.map(status).collect()
    }

    // ---- the end -------------------------------------------------------------------------------

    /// Gives leadership away first, if somebody can have it.
    pub(super) fn begin_to_stop(&mut self, now: Instant) {
        diary::note("ending: it was told to");
        self.stopping = Some(now + self.settings.election_timeout());
        self.give_leadership_away();
    }

    /// This member was removed. It goes on for a moment, so that the others and its clients learn of it.
    pub(super) fn leave(&mut self, now: Instant) {
        if self.removed.is_none() {
            diary::warn("this member was removed from the cluster, and ends");
            self.removed = Some(now + self.settings.election_timeout());
            self.give_leadership_away();
        }
    }

    fn give_leadership_away(&mut self) {
        if self.is_leader()
            && let Some(to) = self.successor(|_| true)
        {
            diary::note(format!("leadership goes to {to:x}"));
            self.raft.transfer_leader(to);
        }
    }

    pub(super) fn end(&self, now: Instant) -> Option<End> {
        if self.removed.is_some_and(|ends| now >= ends) {
            return Some(End::Removed);
        }
        let ends = self.stopping?;
        let is_done = !self.is_leader() || self.raft.raft.lead_transferee.is_none();
        (is_done || now >= ends).then_some(End::Stopped)
    }

    /// Whoever waits is told, for nobody will be answered any more.
    pub(super) fn refuse_all(&mut self, refusal: Refusal) {
        // From now on nothing is asked any more.
        self.inbox.stop();
        let rest = self.inbox.wait(Instant::now());
        let now = Instant::now();
        drop(self.take_asks(rest.asks, now));
        for held in self.held.drain(..) {
            let _ = held.waiter.send(Err(refusal));
        }
        self.proposals.take_all().into_iter().for_each(|waiter| waiter.refuse(refusal));
        for read in self.reads.take_all() {
            let _ = read.reply.send(Err(refusal));
        }
        if let Some(transfer) = self.transfer.take() {
            transfer.answer(Err(refusal));
        }
    }
}

fn refuse<T, R>(reply: oneshot::Sender<Result<R, Refusal>>, _unserved: T, why: &'static str) {
    let _ = reply.send(Err(Refusal::Not(why)));
}

impl Transfer {
    fn answer(self, outcome: Result<(), Refusal>) {
        for reply in self.replies {
            let _ = reply.send(outcome);
        }
    }
}

impl Waiter {
    pub(super) fn refuse(self, refusal: Refusal) {
        match self {
            Self::Client(waiter) => drop(waiter.send(Err(refusal))),
            // Dropped, it answers 500.
            Self::Promotion(_) => {}
        }
    }
}
