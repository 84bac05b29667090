//! A real etcd brings a follower up to date that lacks what its log no longer has.

use std::time::Duration;

use raftring::raftpb::{Message, MessageType};
use raftring::snapshot::{FileSource, SnapshotFolder};
use raftring::{Event, Via};

use super::cluster::{Cluster, LEADER_TIMEOUT, key};
use super::member::wait_until;
use super::server;

/// Keys that are put before; etcd compacts its log every ten entries.
const KEYS: usize = 60;

/// Keys that a snapshot must hold: of the last ones etcd may not have known, when it was killed, that
/// they are committed.
const IN_SNAPSHOT: usize = 40;

/// Both run, ours has forgotten everything and got a snapshot instead, which is in this folder.
fn brought_up_to_date() -> (Cluster, SnapshotFolder) {
    let mut cluster = Cluster::new();
    cluster.etcd.flags = vec!["--snapshot-count", "10"];
    cluster.etcd.start();
    cluster.start_ours(|_| ());
    cluster.etcd.put_until_it_works("first", "put", LEADER_TIMEOUT);
    cluster.put_all(0..KEYS);
    wait_until("etcd has compacted its log", Duration::from_secs(10), || {
        cluster.etcd.log().matches("saved snapshot").count() >= 2
    });
    cluster.stop_ours();
    cluster.etcd.kill();
    cluster.forget();

    cluster.start_ours(|_| ());
    let folder = SnapshotFolder::open(cluster.etcd.folder("received")).expect("a folder").with_reserve(0, 0);
    *cluster.host().folder.lock().expect("no panic") = Some(folder.clone());
    cluster.etcd.start();
    wait_until("the snapshot has come", Duration::from_secs(20), || cluster.host().follower().snapshot.0 > 0);
    (cluster, folder)
}

/// Goal: etcd's `POST /raft/snapshot` is taken, its database arrives whole, raft goes on behind it, and
/// etcd counts a success.
///
/// Method: both stop, ours forgets everything, and etcd starts again, with a log that begins behind its
/// last snapshot: it cannot append to our empty one. What arrives is opened by etcd's own tools, and
/// made a member's data of.
#[test]
fn etcd_brings_a_follower_up_to_date_that_was_away() {
    if server::is_missing() {
        return;
    }
    let (cluster, folder) = brought_up_to_date();
    let index = cluster.host().follower().snapshot.0;
    assert!(index > IN_SNAPSHOT as u64, "{index}");
    assert_eq!(cluster.host().follower().tally.messages(MessageType::MsgSnap, Via::Snapshot), 1);
    let ended = |event: &Event| match event {
        Event::SnapshotReceiveEnded { index: of, bytes, refusal: None, .. } => *of == index && *bytes > 0,
        _ => false,
    };
    wait_until("it is told", Duration::from_secs(5), || cluster.host().count(0, ended) == 1);

    cluster.etcd.put_until_it_works("behind", "the snapshot", LEADER_TIMEOUT);
    assert_eq!(cluster.etcd.get("behind"), Ok("the snapshot".to_owned()));
    let us = format!("To=\"{}\"", cluster.us.id);
    let count =
        |name: &str| cluster.etcd.metric(&format!("etcd_network_snapshot_send_{name}"), &us).round() as u64;
    wait_until("etcd counts it", Duration::from_secs(5), || count("success") == 1);
    assert_eq!((count("failures"), count("inflights_total")), (0, 0));

    let file = folder.file(index);
    let path = file.to_str().expect("a path");
    let status = cluster.etcd.etcdctl(&["snapshot", "status", path, "-w", "json"], Duration::from_secs(5));
    let status = status.expect("etcd reads it");
    println!("the database that came: {status}");
    let keys = status.split("\"totalKey\":").nth(1).and_then(|rest| rest.split([',', '}']).next());
    let keys: usize = keys.and_then(|keys| keys.parse().ok()).expect("a count");
    assert!(keys > IN_SNAPSHOT, "every key is in it: {status}");
    let restored = cluster.etcd.folder("restored");
    let dir = restored.to_str().expect("a path");
    let restore = ["snapshot", "restore", path, "--skip-hash-check", "--data-dir", dir];
    cluster.etcd.etcdctl(&restore, Duration::from_secs(10)).expect("etcd makes a member of it");
    let database = std::fs::read(restored.join("member/snap/db")).expect("the database of that member");
    for n in 0..IN_SNAPSHOT {
        let key = key(n);
        assert!(database.windows(key.len()).any(|bytes| bytes == key.as_bytes()), "{key}");
    }
    cluster.finish();
}

/// Goal: what we send by `POST /raft/snapshot` is a snapshot to etcd: it takes the database, counts a
/// success, and serves what is in it.
///
/// Method: the snapshot that etcd sent goes back to it, as from the leader of a later term who is far
/// ahead, while etcd holds a key that is not in it. (From there on nobody leads: ours never does.)
#[test]
fn etcd_takes_a_snapshot_of_ours() {
    if server::is_missing() {
        return;
    }
    let (cluster, folder) = brought_up_to_date();
    cluster.etcd.put_until_it_works("behind", "the snapshot", LEADER_TIMEOUT);
    let (index, term, message) = {
        let follower = cluster.host().follower();
        (follower.snapshot.0, follower.term(), follower.snapshot_message.clone().expect("it came"))
    };
    let mut message =
        Message { from: Some(cluster.us.id.0), to: Some(cluster.etcd_id.0), term: Some(term + 1), ..message };
    let metadata = message.snapshot.as_mut().and_then(|snapshot| snapshot.metadata.as_mut()).expect("there");
    (metadata.index, metadata.term) = (Some(index + 1_000), Some(term + 1));
    let source = FileSource::open(folder.file(index)).expect("it was saved");
    let handle = cluster.member().transport().send_snapshot(message, source);
    assert_eq!(handle.wait(Duration::from_secs(20)), Some(Ok(())));
    assert_eq!(handle.sent(), handle.size());

    let us = format!("From=\"{}\"", cluster.us.id);
    let count = |name: &str| {
        cluster.etcd.metric(&format!("etcd_network_snapshot_receive_{name}"), &us).round() as u64
    };
    wait_until("etcd counts it", Duration::from_secs(5), || count("success") == 1);
    assert_eq!((count("failures"), count("inflights_total")), (0, 0));
    let get = |key: &str| {
        let args = ["get", "--consistency", "s", "--print-value-only", key];
        cluster.etcd.etcdctl(&args, Duration::from_secs(2)).map(|value| value.trim_end().to_owned())
    };
    wait_until("etcd serves what is in it", Duration::from_secs(20), || get("behind") == Ok(String::new()));
    assert_eq!(get("first"), Ok("put".to_owned()));
    assert!(cluster.etcd.is_running());
}
