//! Questions and answers, leases' ends, and the cluster's version.

use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use raft::eraftpb::Entry;
use raftring::ClusterId;
use raftring::routes::Answer;

use super::leases::{LeaseClock, Renewal};
use super::question::read_parts;
use super::versions;
use super::{Question, View, answer, check_promotion, promoted};
use crate::etcd::member::{Attributes, Member};
use crate::etcd::mvccpb::{LeaseInternalRequest, LeaseInternalResponse};
use crate::etcd::request;
use crate::etcd::rpc::{LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseTimeToLiveRequest};
use crate::etcd::version::ClusterVersion;
use crate::state::{Refusal, Reply, State};

const ELECTION: Duration = Duration::from_secs(1);

fn apply(state: &mut State, data: Vec<u8>) -> Reply {
    let index = state.applied() + 1;
    state.apply(&Entry { term: 1, index, data, ..Entry::default() }).reply
}

/// Members 1 and 2, of which the first has told its name, and the learner 3.
fn cluster() -> State {
    let member = |id: u64, is_learner| Member {
        id,
        peer_urls: vec![format!("http://127.0.0.1:{id}")],
        is_learner,
        ..Member::default()
    };
    let (mut state, entries) = State::bootstrap(&[member(1, false), member(2, false), member(3, true)]);
    entries.iter().for_each(|entry| drop(state.apply(entry)));
    let attributes = Attributes { name: "m1".to_owned(), client_urls: vec!["http://c:1".to_owned()] };
    apply(&mut state, request::publish(1, 1, &attributes, None));
    state
}

fn view<'a>(state: &'a State, leases: Option<&'a mut LeaseClock>) -> View<'a> {
    View { cluster: ClusterId(0x1a2b), server_version: "3.4.23", own: None, state, leases }
}

fn text(answer: &Answer) -> (u16, String) {
    (answer.status(), String::from_utf8_lossy(answer.body()).into_owned())
}

#[test]
fn members_are_listed_as_etcd_lists_them() {
    let state = cluster();
    let (answer, _) = answer(&Question::Members, Instant::now(), &mut view(&state, None));
    let expected = "[{\"id\":1,\"peerURLs\":[\"http://127.0.0.1:1\"],\"name\":\"m1\",\"clientURLs\":[\"http://c:1\"]},\
        {\"id\":2,\"peerURLs\":[\"http://127.0.0.1:2\"]},\
        {\"id\":3,\"peerURLs\":[\"http://127.0.0.1:3\"],\"isLearner\":true}]\n";
    assert_eq!(text(&answer), (200, expected.to_owned()));
    assert!(answer.headers().contains(&("X-Etcd-Cluster-ID".to_owned(), "1a2b".to_owned())));
}

#[test]
fn the_version_is_that_of_the_cluster_once_it_is_decided() {
    let mut state = cluster();
    let ask = |state: &State, own: Option<&serde_json::Value>| {
        let mut view = View { own, ..view(state, None) };
        text(&answer(&Question::Version, Instant::now(), &mut view).0).1
    };
    assert_eq!(ask(&state, None), r#"{"etcdserver":"3.4.23","etcdcluster":"not_decided"}"#);
    apply(&mut state, request::cluster_version(1, ClusterVersion::new(3, 4), None));
    assert_eq!(ask(&state, None), r#"{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}"#);
    let own = serde_json::json!({"needed_beyond": 7});
    let with_own = ask(&state, Some(&own));
    assert_eq!(
        with_own,
        r#"{"etcdserver":"3.4.23","etcdcluster":"3.4.0","raft_server":{"needed_beyond":7}}"#
    );
    let downgrade = answer(&Question::DowngradeEnabled, Instant::now(), &mut view(&state, None)).0;
    assert_eq!(text(&downgrade), (200, "false".to_owned()));
}

#[test]
fn who_does_not_lead_says_nothing_of_leases() {
    let state = cluster();
    for (question, status) in
        [(Question::KeepAlive { lease: 9 }, 400), (Question::TimeToLive { lease: 9, keys: true }, 500)]
    {
        let (answer, _) = answer(&question, Instant::now(), &mut view(&state, None));
        assert_eq!(answer.status(), status, "a 404 would end a client's lease");
    }
}

#[test]
fn a_leader_renews_and_tells_what_is_left() {
    let (mut state, now) = (cluster(), Instant::now());
    apply(&mut state, request::lease_grant(1, 9, 30));
    let mut clock = LeaseClock::start(&state, ELECTION, now);
    let keys =
        |answer: &Answer| LeaseInternalResponse::decode(answer.body().as_ref()).expect("one").time_to_live;
    let ask =
        |question, now, clock: &mut LeaseClock| answer(&question, now, &mut view(&state, Some(clock))).0;
    let left = keys(&ask(Question::TimeToLive { lease: 9, keys: true }, now, &mut clock)).expect("one");
    assert_eq!((left.ttl, left.granted_ttl, left.keys), (31, 30, Vec::<Bytes>::new()));
    let later = now + Duration::from_secs(20);
    let renewed = ask(Question::KeepAlive { lease: 9 }, later, &mut clock);
    let renewed = LeaseKeepAliveResponse::decode(renewed.body().as_ref()).expect("an answer");
    assert_eq!((renewed.id, renewed.ttl), (9, 30));
    let left = keys(&ask(Question::TimeToLive { lease: 9, keys: false }, later, &mut clock)).expect("one");
    assert_eq!(left.ttl, 30);
    for question in [Question::KeepAlive { lease: 8 }, Question::TimeToLive { lease: 8, keys: false }] {
        assert_eq!(text(&ask(question, now, &mut clock)), (404, "lease not found\n".to_owned()));
    }
}

#[test]
fn a_lease_that_is_not_renewed_is_to_be_revoked_until_it_is() {
    let (mut state, now) = (cluster(), Instant::now());
    let at = |seconds| now + Duration::from_secs(seconds);
    apply(&mut state, request::lease_grant(1, 9, 10));
    let mut clock = LeaseClock::start(&state, ELECTION, now);
    apply(&mut state, request::lease_grant(2, 8, 10));
    clock.granted(8, 10, now);
    assert!(clock.due(at(9)).is_empty());
    assert_eq!(clock.due(at(10)), [8], "the other one had an election's time on top");
    assert_eq!(clock.due(at(12)), [9]);
    assert_eq!(clock.renew(8, &state, at(12)), Renewal::Ending);
    assert!(clock.due(at(12)).is_empty(), "it was proposed");
    assert_eq!(clock.due(at(20)), [8, 9], "the proposal was lost");
    assert_eq!(apply(&mut state, request::lease_revoke(3, 8)), Reply::Revoked { lease: 8 });
    clock.revoked(8);
    assert_eq!(clock.renew(8, &state, at(20)), Renewal::NotFound);
    assert_eq!(clock.due(at(30)), [9]);
    assert_eq!(clock.remaining_s(8, now), None);
    assert_eq!(clock.remaining_s(9, at(30)), Some(-19));
}

#[test]
fn what_a_leader_said_was_left_is_what_the_next_one_gives() {
    let (mut state, now) = (cluster(), Instant::now());
    apply(&mut state, request::lease_grant(1, 9, 1_000));
    apply(&mut state, request::lease_checkpoint(2, 9, 5));
    let mut clock = LeaseClock::start(&state, ELECTION, now);
    assert_eq!(clock.remaining_s(9, now), Some(6));
    let (answer, checkpoint) =
        answer(&Question::KeepAlive { lease: 9 }, now, &mut view(&state, Some(&mut clock)));
    assert_eq!((answer.status(), checkpoint), (200, Some(9)), "a renewal has made it wrong");
    apply(&mut state, request::lease_checkpoint(2, 9, 0));
    assert_eq!(clock.renew(9, &state, now), Renewal::Renewed { ttl_s: 1_000, checkpointed: false });
}

#[test]
fn leases_of_any_length_are_kept() {
    let (mut state, now) = (cluster(), Instant::now());
    apply(&mut state, request::lease_grant(1, 9, 9_000_000_000));
    apply(&mut state, request::lease_grant(1, 8, -5));
    apply(&mut state, request::lease_checkpoint(1, 9, i64::MAX));
    let mut clock = LeaseClock::start(&state, ELECTION, now);
    assert_eq!(clock.due(now + Duration::from_secs(3)), [8]);
    assert!(matches!(clock.renew(9, &state, now), Renewal::Renewed { .. }));
}

#[test]
fn a_learner_is_promoted_by_a_leader_that_sees_it_in_step() {
    let mut state = cluster();
    let check = |state: &State, member, in_sync| {
        let checked = check_promotion(member, in_sync, &view(state, None));
        checked.map_err(|answer| answer.status()).err()
    };
    assert_eq!(check(&state, 3, None), Some(500), "of who does not lead");
    assert_eq!(check(&state, 9, Some(true)), Some(404));
    assert_eq!(check(&state, 1, Some(true)), Some(412));
    assert_eq!(check(&state, 3, Some(false)), Some(412));
    assert_eq!(check(&state, 3, Some(true)), None);
    // A third voter, with the second one never started: two of three is most.
    let attributes = Attributes { name: "x".to_owned(), client_urls: Vec::new() };
    apply(&mut state, request::publish(1, 1, &Attributes::default(), None));
    assert_eq!(check(&state, 3, Some(true)), Some(500), "nobody was started");
    apply(&mut state, request::publish(1, 2, &attributes, None));
    assert_eq!(check(&state, 3, Some(true)), None);
    assert_eq!(promoted(&Reply::Changed, &view(&state, None)).status(), 200);
    assert_eq!(promoted(&Reply::Refused(Refusal::MemberNotFound), &view(&state, None)).status(), 404);
    assert_eq!(promoted(&Reply::Refused(Refusal::MemberNotLearner), &view(&state, None)).status(), 412);
}

#[test]
fn the_clusters_version_is_the_lowest_and_only_rises() {
    let mut state = cluster();
    let all = |text: &'static str| move |_: u64| Some(text.to_owned());
    let one_is_silent = |id: u64| (id != 3).then(|| "3.4.23".to_owned());
    let propose = |state: &State, release: &dyn Fn(u64) -> Option<String>| {
        versions::to_propose(state, 1, "3.5.1", release)
    };
    assert_eq!(propose(&state, &one_is_silent), Some(ClusterVersion::MIN), "of a new cluster");
    assert_eq!(propose(&state, &all("3.4.23")), Some(ClusterVersion::new(3, 4)));
    apply(&mut state, request::cluster_version(1, ClusterVersion::MIN, None));
    assert_eq!(propose(&state, &one_is_silent), None);
    assert_eq!(propose(&state, &all("no version")), None);
    assert_eq!(propose(&state, &all("3.6.0")), Some(ClusterVersion::new(3, 5)), "this one's");
    apply(&mut state, request::cluster_version(1, ClusterVersion::new(3, 5), None));
    assert_eq!(propose(&state, &all("3.6.0")), None);
    assert_eq!(propose(&state, &all("3.4.23")), None);
}

#[test]
fn questions_are_read_and_others_answered_as_etcd_answers_them() {
    let keep_alive = LeaseKeepAliveRequest { id: 9 }.encode_to_vec();
    let inner = LeaseTimeToLiveRequest { id: 9, keys: true };
    let time_to_live = LeaseInternalRequest { time_to_live: Some(inner) }.encode_to_vec();
    let read = |method: &str, path: &str, body: &[u8]| {
        read_parts(method, path, body).map_err(|answer| (answer.status(), answer.headers().len()))
    };
    assert_eq!(read("GET", "/members", b""), Ok(Question::Members));
    assert_eq!(read("GET", "/version", b""), Ok(Question::Version));
    assert_eq!(read("GET", "/downgrade/enabled", b""), Ok(Question::DowngradeEnabled));
    assert_eq!(read("POST", "/leases", &keep_alive), Ok(Question::KeepAlive { lease: 9 }));
    let asked = Question::TimeToLive { lease: 9, keys: true };
    assert_eq!(read("POST", "/leases/internal", &time_to_live), Ok(asked));
    let promote = Question::Promote { member: u64::MAX };
    assert_eq!(read("POST", "/members/promote/18446744073709551615", b""), Ok(promote));
    assert_eq!(read("POST", "/members", b""), Err((405, 2)));
    assert_eq!(read("GET", "/leases", b""), Err((405, 1)), "without `Allow`");
    assert_eq!(read("POST", "/leases", b"\xff"), Err((400, 1)));
    assert_eq!(read("POST", "/leases/internal", b""), Err((400, 1)), "etcd would end");
    for id in ["", "x", "+1", "1a", "99999999999999999999"] {
        assert_eq!(read("POST", &format!("/members/promote/{id}"), b""), Err((404, 1)), "{id}");
    }
    assert_eq!(read("GET", "/members/hashkv", b""), Err((404, 1)));
}
