//! The membership, by etcd's rules.

use bytes::Bytes;
use raft::eraftpb::ConfChangeType;
use raftring::raftpb::ConfChange;

use super::entries::{apply_change, apply_data};
use crate::etcd::member::{Attributes, Member};
use crate::etcd::request;
use crate::etcd::version::ClusterVersion;
use crate::state::{Applied, MembershipChange, Refusal, Reply, State};

fn member(id: u64, port: u16) -> Member {
    Member { id, peer_urls: vec![format!("http://127.0.0.1:{port}")], ..Member::default() }
}

/// A cluster of the members 2, 3 and 1.
fn started() -> State {
    let named = |id, port, name: &str| Member {
        attributes: Attributes { name: name.to_owned(), client_urls: Vec::new() },
        ..member(id, port)
    };
    let (mut state, entries) = State::bootstrap(&[named(2, 2, "b"), named(3, 3, "c"), named(1, 1, "a")]);
    for entry in &entries {
        let applied = state.apply(entry);
        assert!(matches!(applied.membership, Some(MembershipChange::Added(_))), "{applied:?}");
    }
    state
}

fn refused(applied: &Applied) -> Option<Refusal> {
    assert!(applied.conf_change.is_none() || applied.reply == Reply::Changed);
    match applied.reply {
        Reply::Refused(refusal) => Some(refusal),
        _ => None,
    }
}

fn kinds(applied: &Applied) -> Vec<(i32, u64)> {
    let change = applied.conf_change.as_ref().expect("a change for raft");
    change.changes.iter().map(|one| (one.change_type, one.node_id)).collect()
}

#[test]
fn a_cluster_begins_with_etcds_entries() {
    let (_, entries) = State::bootstrap(&[member(0x2c22_c7a8_8652_09e8, 23888), member(1, 1)]);
    assert_eq!(entries.iter().map(|entry| (entry.index, entry.term)).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
    let context = br#"{"id":3180323813498948072,"peerURLs":["http://127.0.0.1:23888"]}"#;
    let head =
        [8, 0, 16, 0, 24, 0xe8, 0x93, 0xc8, 0xb2, 0x88, 0xf5, 0xb1, 0x91, 0x2c, 34, context.len() as u8];
    assert_eq!(entries[1].data, [&head, &context[..]].concat());
    let state = started();
    assert_eq!(state.members().map(|member| member.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(state.member(2).map(|member| member.attributes.name.as_str()), Some("b"));
    assert!(state.member(2).is_some_and(Member::is_started));
}

#[test]
fn a_member_is_added_promoted_changed_and_removed_for_good() {
    let mut state = started();
    let learner = Member { is_learner: true, ..member(4, 4) };
    let added = apply_change(&mut state, &request::add_member(70, &learner));
    assert_eq!(added.request_id, Some(70));
    assert_eq!(kinds(&added), [(ConfChangeType::AddLearnerNode as i32, 4)], "in raft-rs's numbers");
    assert_eq!(added.membership, Some(MembershipChange::Added(learner)));
    let promoted = apply_change(&mut state, &request::promote_member(71, 4));
    assert_eq!(kinds(&promoted), [(ConfChangeType::AddNode as i32, 4)]);
    assert_eq!(promoted.membership, Some(MembershipChange::Promoted(4)));
    let url = "http://127.0.0.1:44".to_owned();
    let updated = apply_change(&mut state, &request::update_member(72, 4, std::slice::from_ref(&url)));
    assert_eq!((updated.conf_change, updated.reply), (None, Reply::Changed));
    assert_eq!(state.member(4).map(|member| member.peer_urls.clone()), Some(vec![url]));
    let removed = apply_change(&mut state, &request::remove_member(73, 4));
    assert_eq!(kinds(&removed), [(ConfChangeType::RemoveNode as i32, 4)]);
    assert!(state.is_removed(4) && state.member(4).is_none());
    let again = apply_change(&mut state, &request::add_member(74, &member(4, 4)));
    assert_eq!(refused(&again), Some(Refusal::MemberRemoved));
}

#[test]
fn a_change_that_is_not_valid_changes_nothing() {
    let mut state = started();
    apply_change(&mut state, &request::add_member(1, &Member { is_learner: true, ..member(4, 4) }));
    let before: Vec<Member> = state.members().cloned().collect();
    let url = |port: u16| vec![format!("http://127.0.0.1:{port}")];
    let learner = Member { is_learner: true, ..member(5, 5) };
    let other_id = ConfChange { node_id: Some(6), ..request::add_member(1, &member(5, 5)) };
    let no_json = ConfChange { context: Some(Bytes::from_static(b"{")), ..request::remove_member(1, 6) };
    let no_json = ConfChange { r#type: Some(0), ..no_json };
    for (change, refusal) in [
        (request::add_member(1, &member(1, 9)), Refusal::MemberExists),
        (request::add_member(1, &member(5, 1)), Refusal::PeerUrlExists),
        (request::add_member(1, &learner), Refusal::TooManyLearners),
        (request::promote_member(1, 9), Refusal::MemberNotFound),
        (request::promote_member(1, 1), Refusal::MemberNotLearner),
        (request::update_member(1, 9, &url(9)), Refusal::MemberNotFound),
        (request::update_member(1, 1, &url(2)), Refusal::PeerUrlExists),
        (request::remove_member(1, 9), Refusal::MemberNotFound),
        (other_id, Refusal::NotUnderstood),
        (no_json, Refusal::NotUnderstood),
        (ConfChange { r#type: Some(9), ..request::remove_member(1, 2) }, Refusal::NotUnderstood),
    ] {
        assert_eq!(refused(&apply_change(&mut state, &change)), Some(refusal), "{change:?}");
    }
    assert_eq!(state.members().cloned().collect::<Vec<_>>(), before);
    assert_eq!(state.not_understood(), 3);
}

#[test]
fn the_last_voter_stays() {
    let mut state = started();
    for id in [1, 2] {
        assert_eq!(refused(&apply_change(&mut state, &request::remove_member(1, id))), None);
    }
    assert_eq!(refused(&apply_change(&mut state, &request::remove_member(1, 3))), Some(Refusal::LastVoter));
}

#[test]
fn a_member_tells_its_name_in_either_form() {
    for cluster in [None, Some(ClusterVersion::new(3, 4)), Some(ClusterVersion::new(3, 5))] {
        let mut state = started();
        let attributes =
            Attributes { name: "new & <old>".to_owned(), client_urls: vec!["http://c:1".to_owned()] };
        let applied = apply_data(&mut state, request::publish(70, 2, &attributes, cluster));
        assert_eq!(applied.request_id, Some(70));
        assert_eq!(applied.membership, Some(MembershipChange::Published(2)));
        assert_eq!(state.member(2).map(|member| &member.attributes), Some(&attributes));
        let stranger = apply_data(&mut state, request::publish(70, 9, &attributes, cluster));
        assert!(stranger.warning.is_some());
        apply_change(&mut state, &request::remove_member(1, 2));
        let gone = apply_data(&mut state, request::publish(70, 2, &attributes, cluster));
        assert_eq!((gone.membership, gone.warning), (None, None), "it came too late");
    }
}

#[test]
fn the_clusters_version_is_set_in_either_form() {
    let mut state = started();
    assert_eq!(state.cluster_version(), None);
    for version in [ClusterVersion::MIN, ClusterVersion::new(3, 4), ClusterVersion::new(3, 6)] {
        let data = request::cluster_version(70, version, state.cluster_version());
        assert_eq!(apply_data(&mut state, data).request_id, Some(70));
        assert_eq!(state.cluster_version(), Some(version));
    }
    assert_eq!(state.not_understood(), 0);
}
