//! What is committed becomes the state, and those who wait for it are told.

use std::time::Instant;

use anyhow::{Context, Result};
use raft::eraftpb::Entry;

use super::{Node, Waiter};
use crate::diary;
use crate::etcd::peer;
use crate::inbox::{Refusal, Written};
use crate::state::{Applied, Reply};

impl Node {
    pub(super) fn apply(&mut self, entries: &[Entry]) -> Result<()> {
        let Some(last) = entries.last() else { return Ok(()) };
        for entry in entries {
            if entry.term > self.state.applied_term() {
                let lost = self.proposals.take_older(entry.term);
                // Those that the old leader handed on are among the entries before this one.
                lost.into_iter().for_each(|waiter| waiter.refuse(Refusal::Lost));
            }
            let applied = self.state.apply(entry);
            self.applied(applied).with_context(|| format!("entry {}", entry.index))?;
        }
        if self.is_leader() && self.lead.is_none() && last.term == self.raft.raft.term {
            self.begin_to_lead();
        }
        Ok(())
    }

    fn applied(&mut self, applied: Applied) -> Result<()> {
        if let Some(warning) = applied.warning {
            diary::warn(warning);
        }
        if let Some(change) = applied.conf_change {
            // The state has found it valid by etcd's rules, as all members do.
            self.conf_state = self.raft.apply_conf_change(&change).context("a change of the members")?;
        }
        if let Some(change) = applied.membership {
            self.member_changed(change);
        }
        if let Some(lead) = &mut self.lead {
            match applied.reply {
                Reply::Granted { lease, ttl_s } => lead.leases.granted(lease, ttl_s, Instant::now()),
                Reply::Revoked { lease } => lead.leases.revoked(lease),
                _ => {}
            }
        }
        if let Some(waiter) = applied.request_id.and_then(|id| self.proposals.take(id)) {
            self.tell(waiter, &applied.reply);
        }
        Ok(())
    }

    fn tell(&self, waiter: Waiter, reply: &Reply) {
        match waiter {
            Waiter::Client(waiter) => drop(waiter.send(written(reply))),
            Waiter::Promotion(waiter) => {
                let answer = peer::promoted(reply, &self.view(None));
                waiter.answer(answer);
            }
        }
    }
}

fn written(reply: &Reply) -> Result<Written, Refusal> {
    let written =
        |revision: i64, deleted| Written { revision: u64::try_from(revision).unwrap_or_default(), deleted };
    match reply {
        Reply::Put { revision, .. } => Ok(written(*revision, 0)),
        Reply::Deleted { revision, deleted } => Ok(written(*revision, *deleted)),
        Reply::Refused(refusal) => Err(Refusal::Denied(*refusal)),
        _ => Err(Refusal::Lost),
    }
}
