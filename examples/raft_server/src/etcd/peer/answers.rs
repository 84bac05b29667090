//! Answers to members, in etcd's form.

use std::time::Instant;

use bytes::Bytes;
use prost::Message as _;
use raftring::ClusterId;
use raftring::routes::Answer;

use super::leases::{LeaseClock, Renewal};
use super::question::Question;
use crate::etcd::member::{Member, to_json};
use crate::etcd::mvccpb::LeaseInternalResponse;
use crate::etcd::rpc::{LeaseKeepAliveResponse, LeaseTimeToLiveResponse, ResponseHeader};
use crate::state::{Refusal, Reply, State};

/// What is answered from.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) cluster: ClusterId,
    /// The release that this member says it has, in full: `3.4.23`.
    pub(crate) server_version: &'a str,
    /// Of our kind alone, in `/version`.
    pub(crate) own: Option<&'a serde_json::Value>,
    pub(crate) state: &'a State,
    /// Of a leader that has applied an entry of its own term, and all that it knew to be committed when the
    /// question came.
    pub(crate) leases: Option<&'a mut LeaseClock>,
}

/// The answer to all but `Question::Promote`, which is 500 here. A lease that was renewed and whose last
/// checkpoint must go is told beside it: propose `request::lease_checkpoint` for it.
pub(crate) fn answer(question: &Question, now: Instant, view: &mut View<'_>) -> (Answer, Option<i64>) {
    let answer = match *question {
        Question::Members => members(view),
        Question::Version => Answer::json(version_json(view)),
        Question::DowngradeEnabled => {
            typed(200, "text/plain; charset=utf-8", view.state.downgrade().is_some().to_string())
        }
        Question::KeepAlive { lease } => return keep_alive(lease, now, view),
        Question::TimeToLive { lease, keys } => time_to_live(lease, keys, now, view),
        Question::Promote { .. } => not_leader(),
    };
    (answer, None)
}

/// `GET /version`, for one's own members with what only they know.
pub(crate) fn version_json(view: &View<'_>) -> String {
    let cluster = view.state.cluster_version();
    let cluster = cluster.map_or_else(|| "not_decided".to_owned(), |version| version.to_string());
    let (server, cluster) = (to_json(&view.server_version), to_json(&cluster));
    let own = view.own.map(|own| format!(",\"raft_server\":{own}")).unwrap_or_default();
    format!("{{\"etcdserver\":{server},\"etcdcluster\":{cluster}{own}}}")
}

fn members(view: &View<'_>) -> Answer {
    let members: Vec<&Member> = view.state.members().collect();
    of_cluster(Answer::json(to_json(&members) + "\n"), view.cluster)
}

fn keep_alive(lease: i64, now: Instant, view: &mut View<'_>) -> (Answer, Option<i64>) {
    let Some(clock) = view.leases.as_deref_mut() else { return (not_primary(400), None) };
    match clock.renew(lease, view.state, now) {
        Renewal::Renewed { ttl_s, checkpointed } => {
            let response = LeaseKeepAliveResponse { header: None, id: lease, ttl: ttl_s };
            (protobuf(response.encode_to_vec()), checkpointed.then_some(lease))
        }
        Renewal::NotFound => (text(404, "lease not found"), None),
        // Whoever asks again is told how it ended.
        Renewal::Ending => (not_primary(400), None),
    }
}

fn time_to_live(id: i64, keys: bool, now: Instant, view: &View<'_>) -> Answer {
    let Some(clock) = view.leases.as_deref() else { return not_primary(500) };
    let Some(lease) = view.state.lease(id) else { return text(404, "lease not found") };
    let response = LeaseTimeToLiveResponse {
        header: Some(ResponseHeader::default()),
        id,
        ttl: clock.remaining_s(id, now).unwrap_or(lease.ttl_s),
        granted_ttl: lease.ttl_s,
        keys: if keys { lease.keys.iter().cloned().collect() } else { Vec::new() },
    };
    protobuf(LeaseInternalResponse { time_to_live: Some(response) }.encode_to_vec())
}

/// Whether a leader may propose that this learner votes. `in_sync`: it has nine tenths of the leader's log;
/// `None` if this member does not lead.
///
/// # Errors
/// The answer.
pub(crate) fn check_promotion(member: u64, in_sync: Option<bool>, view: &View<'_>) -> Result<(), Answer> {
    let Some(in_sync) = in_sync else { return Err(of_cluster(not_leader(), view.cluster)) };
    let refused = match view.state.member(member) {
        None => refused(Refusal::MemberNotFound),
        Some(known) if !known.is_learner => refused(Refusal::MemberNotLearner),
        Some(_) if !in_sync => {
            text(412, "etcdserver: can only promote a learner member which is in sync with leader")
        }
        Some(_) if !most_are_started(view.state) => text(500, "Internal Server Error"),
        Some(_) => return Ok(()),
    };
    Err(of_cluster(refused, view.cluster))
}

/// What becomes of the promotion when its entry is applied.
pub(crate) fn promoted(reply: &Reply, view: &View<'_>) -> Answer {
    match reply {
        Reply::Refused(refusal) => of_cluster(refused(*refusal), view.cluster),
        _ => members(view),
    }
}

/// etcd's care, when one more will vote: most voters have told their names.
fn most_are_started(state: &State) -> bool {
    let voters = state.members().filter(|member| !member.is_learner);
    let (count, started) = voters
        .fold((1, 1), |(count, started), member| (count + 1, started + usize::from(member.is_started())));
    started > count / 2
}

fn refused(refusal: Refusal) -> Answer {
    let status = match refusal {
        Refusal::MemberNotFound => 404,
        Refusal::MemberNotLearner => 412,
        _ => 500,
    };
    text(status, &refusal.to_string())
}

fn not_leader() -> Answer {
    text(500, "etcdserver: not leader")
}

/// Whoever is told this asks again, and not only this member.
fn not_primary(status: u16) -> Answer {
    text(status, "not a primary lessor")
}

fn protobuf(body: Vec<u8>) -> Answer {
    typed(200, "application/protobuf", body)
}

/// An error, as Go writes it.
pub(super) fn text(status: u16, sentence: &str) -> Answer {
    typed(status, "text/plain; charset=utf-8", format!("{sentence}\n"))
}

fn typed(status: u16, content_type: &str, body: impl Into<Bytes>) -> Answer {
    Answer::new(status, content_type, body).unwrap_or_else(|_| Answer::not_found())
}

fn of_cluster(answer: Answer, cluster: ClusterId) -> Answer {
    let plain = answer.clone();
    answer.header("X-Etcd-Cluster-ID", &cluster.to_string()).unwrap_or(plain)
}
