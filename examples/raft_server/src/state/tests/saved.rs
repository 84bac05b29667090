//! Snapshots of ours: whole, torn, and hostile.

use super::entries::{apply, apply_change, apply_data, put};
use crate::etcd::member::Member;
use crate::etcd::request;
use crate::etcd::rpc::{AlarmAction, AlarmType, LeaseGrantRequest, PutRequest};
use crate::etcd::version::ClusterVersion;
use crate::state::State;

/// With something of everything.
fn full() -> State {
    let members: Vec<Member> = [("a", "http://a:1"), ("b", "http://b:1")]
        .map(|(name, url)| Member::initial(name, &[url.to_owned()], "token"))
        .into();
    let (mut state, entries) = State::bootstrap(&members);
    entries.iter().for_each(|entry| drop(state.apply(entry)));
    apply_change(&mut state, &request::remove_member(1, members[0].id));
    apply_data(&mut state, request::cluster_version(2, ClusterVersion::new(3, 4), None));
    apply(&mut state, LeaseGrantRequest { id: 9, ttl: 100 }.into());
    for number in 0..50 {
        apply(
            &mut state,
            PutRequest { lease: number % 2 * 9, ..put(&format!("key {number}"), "value") }.into(),
        );
    }
    apply_data(&mut state, request::alarm(3, 5, AlarmAction::Activate, AlarmType::NoSpace));
    apply_data(&mut state, request::lease_checkpoint(4, 9, 42));
    apply_data(&mut state, b"junk".to_vec());
    state
}

fn saved(state: &State) -> Vec<u8> {
    let mut saved = Vec::new();
    state.save(&mut saved).expect("into memory");
    saved
}

#[test]
fn what_was_saved_is_loaded() {
    for state in [State::new(), full()] {
        let bytes = saved(&state);
        assert_eq!(&bytes[..8], State::MAGIC);
        let loaded = State::load(&mut &bytes[..]).expect("what was saved");
        assert_eq!(loaded, state);
        assert_eq!((loaded.kv_digest(), saved(&loaded)), (state.kv_digest(), bytes));
    }
}

#[test]
fn a_loaded_state_goes_on_as_the_other() {
    let mut state = full();
    let mut loaded = State::load(&mut &saved(&state)[..]).expect("what was saved");
    for data in [request::put(5, "key 1".into(), "new".into()), request::lease_revoke(6, 9)] {
        assert_eq!(apply_data(&mut state, data.clone()), apply_data(&mut loaded, data));
    }
    assert_eq!(loaded, state);
    assert_eq!(state.log_digest().from, 1);
}

#[test]
fn a_torn_file_is_refused_wherever_it_ends() {
    let bytes = saved(&full());
    for length in 0..bytes.len() {
        assert!(State::load(&mut &bytes[..length]).is_err(), "the first {length} of {}", bytes.len());
    }
    let longer = [&bytes[..], b"\0"].concat();
    assert!(State::load(&mut &longer[..]).is_err());
}

#[test]
fn a_byte_that_is_another_is_noticed_wherever_it_is() {
    let bytes = saved(&full());
    for at in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[at] ^= 1 << (at % 8);
        assert!(State::load(&mut &wrong[..]).is_err(), "byte {at} of {}", bytes.len());
    }
}

#[test]
fn a_length_that_is_a_lie_reserves_nothing() {
    let lie = [&State::MAGIC[..], &u32::MAX.to_le_bytes()].concat();
    assert!(State::load(&mut &lie[..]).is_err());
    let lie = [&State::MAGIC[..], &(256_u32 << 20).to_le_bytes(), b"few"].concat();
    let error = State::load(&mut &lie[..]).expect_err("it ends too early");
    assert!(error.to_string().contains("too early"), "{error}");
}
