//! One round: what came, what raft makes of it, and where that goes.

use std::mem;
use std::time::Instant;

use anyhow::{Result, bail};
use raft::eraftpb::{self, Entry, HardState};
use raft::{ReadState, Ready, SoftState, StateRole};
use raftring::proto::stats::RaftState;
use raftring::raft_rs::{self, Refused, StepError};
use raftring::raftpb::{Message, MessageType};
use raftring::{MemberId, SnapshotStatus};

use super::{End, Node};
use crate::diary;
use crate::inbox::{Done, Mail, Reports};

impl Node {
    pub(super) fn round(&mut self) -> Result<Option<End>> {
        let mail = self.inbox.wait(self.next_tick);
        let now = Instant::now();
        self.meters.rounds += 1;
        let questions = self.take(mail, now)?;
        if now >= self.next_tick {
            self.tick(now);
        }
        self.propose_held();
        self.ask_to_read(now);
        while self.raft.has_ready() {
            self.handle_ready()?;
        }
        self.save_if_due(now);
        self.answer_questions(questions, now);
        self.answer_reads();
        if self.raft.store().has_failed() {
            bail!("the log cannot be read");
        }
        Ok(self.end(now))
    }

    fn take(&mut self, mail: Mail, now: Instant) -> Result<Vec<super::asks::Question>> {
        self.meters.messages += mail.messages.len() as u64;
        for message in mail.messages {
            self.step(message)?;
        }
        self.take_reports(mail.reports, now);
        for done in mail.done {
            match done {
                Done::Saved(saved) => self.saved(saved, now)?,
                Done::Fetched(message, fetched) => self.fetched(message, fetched)?,
                Done::Looked(looked) => self.looked(&looked),
            }
        }
        if mail.stop && self.stopping.is_none() {
            self.begin_to_stop(now);
        }
        Ok(self.take_asks(mail.asks, now))
    }

    fn take_reports(&mut self, reports: Reports, now: Instant) {
        for id in reports.unreachable {
            self.raft.report_unreachable(id);
        }
        let unsent = mem::take(&mut self.unsent).into_iter().map(|id| (id, SnapshotStatus::Failure));
        for (id, status) in reports.snapshots.into_iter().chain(unsent) {
            let status = match status {
                SnapshotStatus::Finish => raft::SnapshotStatus::Finish,
                SnapshotStatus::Failure => raft::SnapshotStatus::Failure,
            };
            self.raft.report_snapshot(id, status);
        }
        if reports.removed {
            self.leave(now);
        }
    }

    pub(super) fn step(&mut self, message: Message) -> Result<()> {
        if message.is(MessageType::MsgSnap) {
            return self.snapshot_came(message);
        }
        if self.fetching.is_some() && message.is(MessageType::MsgApp) {
            // What is behind the snapshot comes again: a rejection would only bring another one.
            return Ok(());
        }
        self.step_raft(message)
    }

    pub(super) fn step_raft(&mut self, message: Message) -> Result<()> {
        match raft_rs::step(&mut self.raft, message) {
            // Messages of strangers and proposals without a leader are nobody's fault.
            Ok(()) | Err(StepError::Raft(_)) => Ok(()),
            Err(StepError::Refused(refused @ Refused::CommitBeyondLog { .. })) => {
                bail!("{refused}; remove this member and add it as a new one");
            }
            Err(error) => {
                self.meters.refused += 1;
                diary::warn(format!("a message was refused: {error}"));
                Ok(())
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        // Whoever was held up for several ticks must not take that for silence of the leader.
        self.next_tick = (self.next_tick + self.settings.tick).max(now + self.settings.tick / 2);
        self.raft.tick();
        self.expire(now);
        self.look_if_due(now);
        self.publish_if_due(now);
        self.lead_on(now);
    }

    pub(super) fn handle_ready(&mut self) -> Result<()> {
        let mut ready = self.raft.ready();
        if let Some(state) = ready.ss() {
            let state = SoftState { leader_id: state.leader_id, raft_state: state.raft_state };
            self.tell_leadership(&state);
        }
        self.queue(ready.take_messages());
        if ready.must_sync() {
            self.send();
        }
        if !ready.snapshot().is_empty() {
            self.install(ready.snapshot(), ready.hs())?;
        }
        self.persist(&ready)?;
        self.queue(ready.take_persisted_messages());
        self.confirm_reads(ready.take_read_states());
        let mut committed = ready.take_committed_entries();
        let mut light = self.raft.advance_append(ready);
        if let Some(commit) = light.commit_index() {
            self.raft.mut_store().set_commit(commit);
        }
        self.queue(light.take_messages());
        self.send();
        committed.append(&mut light.take_committed_entries());
        self.apply(&committed)?;
        self.raft.advance_apply();
        Ok(())
    }

    fn persist(&mut self, ready: &Ready) -> Result<()> {
        let (entries, state, sync): (&[Entry], Option<&HardState>, bool) =
            (ready.entries(), ready.hs(), ready.must_sync());
        let began = Instant::now();
        self.raft.mut_store().append(entries, state, sync)?;
        if sync {
            self.meters.syncs += 1;
            self.meters.sync_time += began.elapsed();
        }
        Ok(())
    }

    fn tell_leadership(&mut self, state: &SoftState) {
        let (role, leader, term) = (state.raft_state, state.leader_id, self.raft.raft.term);
        diary::note(format!("{role:?} in term {term}, and the leader is {leader:x}"));
        let told = match role {
            StateRole::Leader => RaftState::Leader,
            StateRole::Follower => RaftState::Follower,
            StateRole::Candidate => RaftState::Candidate,
            StateRole::PreCandidate => RaftState::PreCandidate,
        };
        self.transport.tell_leadership(told, (leader != 0).then_some(MemberId(leader)));
        if role != StateRole::Leader {
            self.lead = None;
        }
        self.leader_changed(leader);
    }

    fn confirm_reads(&mut self, states: Vec<ReadState>) {
        for state in states {
            if let Ok(context) = state.request_ctx.as_slice().try_into() {
                self.reads.confirm(u64::from_be_bytes(context), state.index);
            }
        }
    }

    fn queue(&mut self, messages: Vec<eraftpb::Message>) {
        for message in messages {
            match raft_rs::from_raft_rs(message) {
                Ok(message) if message.is(MessageType::MsgSnap) => self.send_snapshot(message),
                Ok(message) => self.outgoing.push(message),
                Err(refused) => diary::warn(format!("a message cannot be sent: {refused}")),
            }
        }
    }

    fn send(&mut self) {
        if !self.outgoing.is_empty() {
            // Whatever is dropped is told by `report_unreachable`, if raft should know.
            self.transport.send(self.outgoing.drain(..));
        }
    }
}
