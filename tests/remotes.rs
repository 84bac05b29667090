//! Members that are no peers and can be posted to: those the host added, and those that told of
//! themselves. Protocol sections 4.6, 8.7 and 13.
#![cfg(feature = "io")]
#![allow(missing_docs, reason = "a test")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::scripted::{Reply, Scripted};
use common::{Member, app, wait_until};
use prost::Message as _;
use raftring::raftpb::{Message, MessageType, Snapshot};
use raftring::{Cores, CoresConfig, DropReason, Event, MemberId, PeerError, SnapshotStatus};

/// Whom member 1 does not know.
const STRANGER: u64 = 9;

struct Scene {
    cores: Cores,
    one: Member,
}

impl Scene {
    fn start() -> Self {
        let cores = Cores::start(&CoresConfig::default()).expect("cores start");
        let one = Member::start(1, &cores, "127.0.0.1:0".parse().expect("an address"), |_| ());
        Self { cores, one }
    }

    /// A request of `from`, who says where he is; the answer's first line.
    fn ask(&self, line: &str, from: u64, urls: &str, body: &[u8]) -> String {
        let address = self.one.transport().local_addr().expect("it listens");
        let mut stream = TcpStream::connect(address).expect("it listens");
        let head = format!(
            "{line} HTTP/1.1\r\nHost: a\r\nX-Etcd-Cluster-Id: 1a2b\r\nX-Server-Version: 3.5.0\r\n\
             X-Min-Cluster-Version: 3.0.0\r\nX-Server-From: {from:x}\r\nX-PeerURLs: {urls}\r\nX-Raft-To: 1\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.lines().next().unwrap_or_default().to_owned()
    }

    fn post(&self, from: u64, urls: &str) -> String {
        let kind = Some(MessageType::MsgHeartbeat as i32);
        let message = Message { r#type: kind, to: Some(1), from: Some(from), ..Message::default() };
        self.ask("POST /raft", from, urls, &message.encode_to_vec())
    }

    fn remotes(&self) -> Vec<u64> {
        self.one.transport().remotes().into_iter().map(|id| id.0).collect()
    }

    fn send(&self, index: u64) -> bool {
        self.one.transport().send([to_stranger(app(index, 1))]).accepted == 1
    }

    fn dropped(&self, because: DropReason) -> usize {
        let events = self.one.host.events.lock().expect("no panic");
        let of = |event: &Event| match event {
            Event::Dropped { peer, messages, reason, .. } if peer.0 == STRANGER && *reason == because => {
                *messages
            }
            _ => 0,
        };
        events.iter().map(of).sum()
    }

    fn told_unreachable(&self) -> usize {
        self.one.host.unreachable.lock().expect("no panic").len()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let ended = self.one.transport().stop().wait(Duration::from_secs(10));
        assert!(ended || std::thread::panicking(), "it stops");
    }
}

fn to_stranger(message: Message) -> Message {
    Message { to: Some(STRANGER), ..message }
}

const TAKEN: &str = "HTTP/1.1 204 No Content";

#[test]
fn who_posts_and_says_where_he_is_can_be_answered() {
    let (scene, stranger) = (Scene::start(), Scripted::start(|_| Reply::taken()));
    assert!(!scene.send(1), "nobody knows him");
    assert_eq!(scene.post(STRANGER, &stranger.url()), TAKEN);
    assert_eq!(scene.remotes(), [STRANGER]);
    assert!(
        scene.one.host.saw(|event| matches!(event, Event::RemoteLearned { remote } if remote.0 == STRANGER))
    );
    assert!(scene.send(2));
    wait_until("he is answered", || stranger.count() == 1);
    assert_eq!(stranger.posts()[0].message.index(), 1);
    assert_eq!(
        (scene.one.transport().active_since(STRANGER), scene.one.transport().active_peers()),
        (None, 0)
    );
}

/// Protocol section 5.2 row 8: refused, and known from then on.
#[test]
fn who_dials_a_stream_and_is_not_known_can_be_answered() {
    let (scene, stranger) = (Scene::start(), Scripted::start(|_| Reply::taken()));
    let line = "GET /raft/stream/message/9";
    assert_eq!(scene.ask(line, STRANGER, &stranger.url(), b""), "HTTP/1.1 404 Not Found");
    assert!(scene.send(1));
    wait_until("he is answered", || stranger.count() == 1);
}

/// Protocol section 17 row 12: etcd panics here, or at its first send.
#[test]
fn wrong_urls_introduce_nobody_and_cost_nothing() {
    let scene = Scene::start();
    let rows = [
        "",
        " ",
        "http://",
        "http://a",
        "http://a:1/",
        "http://a:0",
        "http://a:99999",
        "ftp://a:1",
        "a:1",
        "http://a:1,",
        "http://a:1,nonsense",
        "http://[::1:1",
        "http://a:1,http://b:1/path",
    ];
    for urls in rows {
        assert_eq!(scene.post(STRANGER, urls), TAKEN, "{urls}");
    }
    // Another scheme than the listener's could make us dial what is not meant for the network.
    for urls in ["https://10.0.0.1:2380", "unix://tmp/socket:0", "http://10.0.0.1:1,https://10.0.0.1:2"] {
        assert_eq!(scene.post(STRANGER, urls), TAKEN, "{urls}");
    }
    // Nobody and ourselves.
    for from in [0, 1] {
        let answer = scene.post(from, "http://10.0.0.1:2380");
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    }
    assert_eq!(scene.remotes(), [0; 0]);
}

/// Protocol section 17 row 13: in etcd each has four workers for ever.
#[test]
fn a_crowd_of_strangers_is_not_remembered() {
    let scene = Scene::start();
    let tasks = |core| scene.cores.stats(core).expect("a core").tasks;
    let before: usize = (0..scene.cores.count()).map(tasks).sum();
    let began = Instant::now();
    for id in 0..200 {
        assert_eq!(scene.post(1_000 + id, "http://10.0.0.1:2380"), TAKEN);
    }
    let seconds = began.elapsed().as_secs() as usize;
    let learned = scene.remotes().len();
    assert!((1..=2 + seconds).contains(&learned), "{learned} in {seconds} s");
    wait_until("none has a task", || (0..scene.cores.count()).map(tasks).sum::<usize>() <= before);
}

#[test]
fn a_remote_of_the_hosts_is_posted_to_and_a_peer_of_the_same_id_takes_precedence() {
    let scene = Scene::start();
    let (remote, peer) = (Scripted::start(|_| Reply::taken()), Scripted::start(|_| Reply::taken()));
    let transport = scene.one.transport();
    transport.add_remote(STRANGER, [remote.url()]).expect("a good remote");
    transport.add_remote(STRANGER, [peer.url()]).expect("known already");
    assert_eq!(scene.post(STRANGER, &peer.url()), TAKEN, "known already");
    assert!(scene.send(1));
    wait_until("it is posted", || remote.count() == 1);
    assert_eq!(peer.count(), 0, "the first URLs stay");

    transport.add_peer(STRANGER, [peer.url()]).expect("a good peer");
    assert!(scene.send(2));
    wait_until("it is posted", || peer.count() == 1);
    assert!(transport.remove_peer(STRANGER).wait(Duration::from_secs(5)));
    assert!(scene.send(3));
    wait_until("the remote is there still", || remote.count() == 2);

    transport.add_peer(7, [peer.url()]).expect("a good peer");
    transport.add_remote(7, [remote.url()]).expect("a peer already");
    assert_eq!(scene.remotes(), [STRANGER]);
}

#[test]
fn what_cannot_be_a_remote_is_refused() {
    let scene = Scene::start();
    let transport = scene.one.transport();
    for id in [0, 1] {
        let refused = transport.add_remote(id, ["http://10.0.0.1:2380"]);
        assert!(matches!(refused, Err(PeerError::Id { id: wrong, .. }) if wrong == MemberId(id)));
    }
    assert!(matches!(transport.add_remote(9, ["10.0.0.1:2380"]), Err(PeerError::Url(_))));
    assert!(transport.stop().wait(Duration::from_secs(5)));
    assert!(matches!(transport.add_remote(9, ["http://10.0.0.1:2380"]), Err(PeerError::Stopped)));
}

/// Protocol section 8.7: raft knows nothing of remotes and is told nothing, but for snapshots, whose
/// fate it waits for.
#[test]
fn what_a_remote_does_not_get_is_told_to_the_observer_alone() {
    let (scene, remote) = (Scene::start(), Scripted::start(|_| Reply::Held));
    scene.one.transport().add_remote(STRANGER, [remote.url()]).expect("a good remote");
    let sent = scene.one.transport().send((1..=100).map(|index| to_stranger(app(index, 1))));
    assert_eq!((sent.accepted, sent.dropped), (51, 49));
    let full = DropReason::ALL.into_iter().filter(|reason| matches!(reason, DropReason::LaneFull(_)));
    let full: Vec<_> = full.collect();
    wait_until("it is told", || full.iter().map(|&reason| scene.dropped(reason)).sum::<usize>() == 49);
    remote.let_go();
    wait_until("the others are posted", || remote.count() == 51);

    remote.script(|_| Reply::status(500, "no"));
    let snapshot = Some(Box::new(Snapshot { data: Some("all".into()), ..Snapshot::default() }));
    let kind = Some(MessageType::MsgSnap as i32);
    let snapshot = Message { r#type: kind, from: Some(1), snapshot, ..Message::default() };
    assert!(scene.send(101));
    assert_eq!(scene.one.transport().send([to_stranger(snapshot)]).accepted, 1);
    wait_until("failures are told", || scene.dropped(DropReason::PostFailed) == 2);
    let failed = || scene.one.host.snapshots.lock().expect("no panic").clone();
    wait_until("and the snapshot's", || failed() == [(MemberId(STRANGER), SnapshotStatus::Failure)]);
    assert_eq!(scene.told_unreachable(), 0);
}

#[test]
fn a_remote_that_is_cut_stops_its_posts_and_one_that_is_mended_begins_anew() {
    let (scene, remote) = (Scene::start(), Scripted::start(|_| Reply::Never));
    let transport = scene.one.transport();
    transport.add_remote(STRANGER, [remote.url()]).expect("a good remote");
    for index in 1..=10 {
        assert!(scene.send(index));
    }
    wait_until("four are in flight", || remote.count() == 4);
    transport.cut_peer(STRANGER);
    assert!(!scene.send(11));
    wait_until("all is told", || scene.dropped(DropReason::Paused) == 11);
    remote.script(|_| Reply::taken());
    transport.mend_peer(STRANGER);
    assert!(scene.send(12));
    wait_until("it is posted", || remote.count() == 5);
    // `pause` is for peers alone.
    transport.pause();
    assert!(scene.send(13));
    wait_until("it is posted", || remote.count() == 6);
}

#[test]
fn a_stop_ends_what_remotes_have_under_way() {
    let (scene, remote) = (Scene::start(), Scripted::start(|_| Reply::Never));
    scene.one.transport().add_remote(STRANGER, [remote.url()]).expect("a good remote");
    for index in 1..=40 {
        assert!(scene.send(index));
    }
    wait_until("four are in flight", || remote.count() == 4);
    let began = Instant::now();
    assert!(scene.one.transport().stop().wait(Duration::from_secs(10)));
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(scene.dropped(DropReason::Stopped), 40);
    assert_eq!(scene.cores.queued_bytes(), 0);
    for core in 0..scene.cores.count() {
        let stats = scene.cores.stats(core).expect("a core");
        assert_eq!((stats.tasks, stats.blocks.out_bytes()), (0, 0));
    }
    assert!(!scene.send(41), "nobody is known any more");
}
