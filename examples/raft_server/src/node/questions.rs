//! What other members ask on the peer URL.

use std::time::Instant;

use raftring::raft_rs;
use raftring::routes::Reply;

use super::asks::Question;
use super::leading::Lead;
use super::{Node, RELEASE, Waiter};
use crate::etcd::peer::{self, View};
use crate::etcd::request;
use crate::watch::OwnKind;

impl Node {
    pub(super) fn answer_questions(&mut self, questions: Vec<Question>, now: Instant) {
        for (question, reply) in questions {
            if let peer::Question::Promote { member } = question {
                self.promote(member, reply, now);
                continue;
            }
            let own = self.own_kind();
            let mut lead = self.lead.take();
            let mut view = self.view(lead.as_mut());
            view.own = Some(&own);
            let (answer, renewed) = peer::answer(&question, now, &mut view);
            self.lead = lead;
            reply.answer(answer);
            if let Some(lease) = renewed {
                let id = self.ids.next_id();
                self.propose_own(request::lease_checkpoint(id, lease, 0));
            }
        }
    }

    pub(super) fn view<'a>(&'a self, lead: Option<&'a mut Lead>) -> View<'a> {
        View {
            cluster: self.settings.cluster,
            server_version: RELEASE,
            own: None,
            state: &self.state,
            leases: lead.map(|lead| &mut lead.leases),
        }
    }

    fn own_kind(&self) -> serde_json::Value {
        let needed_beyond = if self.is_leader() { self.needed_beyond() } else { None };
        serde_json::to_value(OwnKind { needed_beyond }).unwrap_or_default()
    }

    fn promote(&mut self, member: u64, reply: Reply, now: Instant) {
        let matched = self.matched(member);
        let last = self.raft.raft.raft_log.last_index();
        let is_near = matched.is_some_and(|matched| matched >= last - last / 10);
        let in_sync = self.is_leader().then_some(is_near);
        if let Err(answer) = peer::check_promotion(member, in_sync, &self.view(None)) {
            return reply.answer(answer);
        }
        let id = self.ids.next_id();
        let term = self.raft.raft.term;
        // One that raft does not take is answered 500, by dropping it.
        if raft_rs::propose_conf_change(&mut self.raft, request::promote_member(id, member)).is_ok() {
            self.proposals.add(id, term, Waiter::Promotion(reply), now);
        }
    }
}
