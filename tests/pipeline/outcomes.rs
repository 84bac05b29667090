//! What is posted, and what follows from each answer: the table of protocol section 10.1.

use std::time::Duration;

use raftring::proto::handshake::Precondition;
use raftring::proto::pipeline::PostRefusal;
use raftring::raftpb::{Message, MessageType};
use raftring::{DropReason, Event, MemberId, PostError, SnapshotStatus};

use crate::common::scripted::Reply;
use crate::common::{Member, app, normalised, wait_until};
use crate::scene::{Scene, apps, snapshot};

/// `TestPipelineSend`, `TestPipelinePost`.
#[test]
fn what_has_no_stream_is_posted_as_by_go() {
    let urls = ["http://10.0.0.1:2380", "http://10.0.0.2:2380"].map(str::to_owned);
    let scene = Scene::start_with(|config| config.peer_urls = urls.into(), |_| Reply::taken());
    assert_eq!(scene.send([app(7, 3)]).accepted, 1);
    scene.wait_for_posts(1);
    let post = scene.two.posts().remove(0);
    assert_eq!(
        post.head,
        format!(
            "POST /raft HTTP/1.1\r\nHost: {}\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: {}\r\n\
             Content-Type: application/protobuf\r\nX-Etcd-Cluster-Id: 1a2b\r\nX-Min-Cluster-Version: 3.0.0\r\n\
             X-Peerurls: http://10.0.0.1:2380,http://10.0.0.2:2380\r\nX-Server-From: 1\r\n\
             X-Server-Version: 3.5.0\r\nAccept-Encoding: gzip\r\n\r\n",
            scene.two.address,
            post.body.len()
        )
    );
    assert_eq!(normalised(post.message), normalised(app(7, 3)));
    wait_until("the post makes the peer active", || {
        scene.host().saw(|event| matches!(event, Event::PeerActive { peer } if peer.0 == 2))
    });
    scene.wait_until_idle();
    assert_eq!((scene.failed(), scene.unreachable(), scene.snapshots()), (0, 0, (0, 0)));
    let transport = scene.one.transport();
    let metrics = transport.metrics().of(MemberId(2));
    assert_eq!((metrics.sent_bytes.get(), metrics.sent_failures.get()), (post.body.len() as u64, 0));
    let stats = transport.leader_stats();
    assert_eq!((stats.followers[0].1.success_count(), stats.followers[0].1.fail_count()), (1, 0));
    assert_eq!(transport.server_stats().sent.count, 1);
}

/// `TestPipelineSendFailed`: appends alone are of a follower's statistics.
#[test]
fn failures_are_counted_and_those_of_appends_in_the_statistics_of_the_follower() {
    let scene = Scene::start(|_| Reply::status(500, "no"));
    scene.send(apps(3).chain([snapshot()]));
    wait_until("each is told", || scene.failed() == 4);
    scene.wait_until_idle();
    let transport = scene.one.transport();
    let metrics = transport.metrics().of(MemberId(2));
    assert_eq!((metrics.sent_bytes.get(), metrics.sent_failures.get()), (0, 4));
    let stats = transport.leader_stats();
    assert_eq!((stats.followers[0].1.success_count(), stats.followers[0].1.fail_count()), (0, 3));
}

#[test]
fn a_large_message_arrives_whole() {
    let scene = Scene::start(|_| Reply::taken());
    let mut message = app(1, 1);
    let data: Vec<u8> = (0..8 << 20).map(|n: u32| n as u8 ^ (n >> 13) as u8).collect();
    message.entries[0].data = Some(data.into());
    assert_eq!(scene.send([message.clone()]).accepted, 1);
    scene.wait_for_posts(1);
    assert_eq!(scene.two.posts()[0].message.entries, message.entries);
}

/// `TestPipelinePostBad`, `TestPipelineSendFailed`: and nothing is posted a second time.
#[test]
fn whatever_is_no_204_is_a_failure_and_told_once() {
    let refused = PostError::Refused;
    let status = |status| refused(PostRefusal::UnexpectedStatus(status));
    let other = |text: &str| refused(PostRefusal::Precondition(Precondition::Other(text.to_owned())));
    let foreign = "HTTP/1.1 204 No Content\r\nX-Etcd-Cluster-Id: bad\r\n\r\n".to_owned();
    let rows = [
        (Reply::status(200, "ok"), Some(status(200))),
        (Reply::status(201, "made"), Some(status(201))),
        (Reply::status(400, "error reading raft message"), Some(status(400))),
        (Reply::status(500, "error processing raft message"), Some(status(500))),
        (
            Reply::status(412, "incompatible version"),
            Some(refused(PostRefusal::Precondition(Precondition::IncompatibleVersion))),
        ),
        (
            Reply::status(412, "cluster ID mismatch"),
            Some(refused(PostRefusal::Precondition(Precondition::ClusterIdMismatch))),
        ),
        (Reply::status(412, "to field mismatch"), Some(other("to field mismatch"))),
        (
            Reply::SayAndClose("HTTP/1.1 412 X\r\nContent-Length: 99\r\n\r\nhalf".to_owned()),
            Some(other("half")),
        ),
        (
            Reply::Say(foreign),
            Some(refused(PostRefusal::ClusterIdMismatchInReply { theirs: "bad".to_owned() })),
        ),
        (Reply::SayAndClose("220 smtp ready\r\n\r\n".to_owned()), None),
        (Reply::SayAndClose("HTTP/1.1 204 No".to_owned()), None),
        (Reply::Close, None),
    ];
    for (reply, expected) in rows {
        let scene = Scene::start({
            let reply = reply.clone();
            move |_| reply.clone()
        });
        assert_eq!(scene.send(apps(1)).accepted, 1);
        wait_until("it is told", || scene.failed() == 1 && scene.unreachable() == 1);
        let errors = scene.post_errors();
        assert_eq!(errors.len(), 1, "{reply:?}: {errors:?}");
        match expected {
            Some(expected) => assert_eq!(errors[0], expected),
            None => {
                assert!(
                    matches!(errors[0], PostError::Connection(_) | PostError::Malformed(_)),
                    "{errors:?}"
                );
            }
        }
        scene.wait_until_idle();
        assert_eq!(scene.two.count(), 1, "{reply:?}");
        assert!(!scene.host().saw(|event| matches!(event, Event::MemberRemoved { .. })));
    }
}

/// `TestPipelinePostErrorc`, `TestTransportErrorc`: a 403 to a dial says nothing, one to a post does.
#[test]
fn only_a_403_to_a_post_tells_that_we_were_removed() {
    let scene = Scene::start(|_| Reply::status(403, "removed"));
    scene.two.refuse_streams_with("403 Forbidden");
    let removed = |event: &Event| matches!(event, Event::MemberRemoved { by } if by.0 == 2);
    let dialled = |event: &Event| matches!(event, Event::DialFailed { .. });
    wait_until("both streams are refused", || {
        scene.host().events.lock().expect("no panic").iter().filter(|event| dialled(event)).count() > 4
    });
    assert!(!scene.host().saw(removed));
    scene.send(apps(1));
    wait_until("the host is told", || scene.host().saw(removed));
    assert_eq!(scene.post_errors(), [PostError::Refused(PostRefusal::MemberRemoved)]);
}

/// `TestPipelineKeepSendingWhenPostError`.
#[test]
fn fifty_messages_are_all_tried_though_each_fails() {
    let scene = Scene::start(|_| Reply::Close);
    assert_eq!(scene.send(apps(50)).accepted, 50);
    wait_until("each is told", || scene.failed() == 50);
    assert_eq!((scene.two.count(), scene.unreachable()), (50, 50));
}

/// Where nobody listens each message is tried and told all the same.
#[test]
fn a_peer_that_nobody_listens_for_is_told_as_unreachable_message_by_message() {
    let scene = Scene::start(|_| Reply::taken());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", nobody.local_addr().expect("bound"));
    drop(nobody);
    scene.one.transport().update_peer(2, [url]).expect("a good URL");
    assert_eq!(scene.send(apps(10)).accepted, 10);
    wait_until("each is told", || scene.failed() == 10 && scene.unreachable() == 10);
    assert!(scene.post_errors().iter().all(|error| matches!(error, PostError::Connection(_))));
    assert_eq!(scene.two.count(), 0);
}

/// The other URL of a peer is tried after a failure.
#[test]
fn a_url_that_fails_is_left_for_the_next() {
    let scene = Scene::start(|_| Reply::taken());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", nobody.local_addr().expect("bound"));
    drop(nobody);
    scene.one.transport().update_peer(2, [url, scene.two.url()]).expect("good URLs");
    wait_until("one gets through", || {
        scene.send(apps(1));
        scene.two.count() > 0
    });
}

#[test]
fn each_snapshot_has_one_report() {
    let is_snapshot = |message: &Message| message.is(MessageType::MsgSnap);
    let scene = Scene::start(move |message| {
        if is_snapshot(message) && message.index() == 0 { Reply::taken() } else { Reply::status(500, "no") }
    });
    scene.send([snapshot()]);
    wait_until("it has arrived", || scene.snapshots() == (1, 0));
    scene.send([Message { index: Some(1), ..snapshot() }]);
    wait_until("it has failed", || scene.snapshots() == (1, 1));
    scene.send(apps(1));
    wait_until("what is no snapshot is told otherwise", || scene.failed() == 2);
    scene.one.transport().cut_peer(2);
    assert_eq!(scene.send([snapshot()]).dropped, 1);
    wait_until("one that is held back has failed", || scene.snapshots() == (1, 2));
    assert_eq!(scene.two.count(), 3);
}

/// Who refuses a large body by its head answers and closes before it has read it: the answer counts,
/// and not the connection that broke over it.
#[test]
fn a_body_that_is_refused_unread_is_told_in_the_words_of_who_refused_it() {
    let scene = Scene::start(|_| Reply::taken());
    let address = "127.0.0.1:0".parse().expect("an address");
    let three = Member::start(3, &scene.cores, address, |config| config.frames.frame_bytes_max = 64 << 10);
    scene.one.add(&three);
    let mut large = Message { to: Some(3), ..app(1, 1) };
    large.entries[0].data = Some(vec![0; 8 << 20].into());
    for _ in 0..5 {
        scene.send([large.clone()]);
    }
    wait_until("each is told", || {
        scene.dropped(3, |reason| reason == DropReason::PostFailed) == 5 && scene.post_errors().len() == 5
    });
    let refused = PostError::Refused(PostRefusal::UnexpectedStatus(413));
    assert_eq!(scene.post_errors(), vec![refused; 5]);
    assert!(three.transport().stop().wait(Duration::from_secs(10)));
}

/// Raft waits for the fate of a snapshot also where nobody is.
#[test]
fn a_snapshot_to_nobody_has_failed_once() {
    let scene = Scene::start(|_| Reply::taken());
    let to_nobody = || Message { to: Some(9), ..snapshot() };
    assert_eq!(scene.send([to_nobody(), Message { to: Some(9), ..app(1, 1) }, to_nobody()]).dropped, 3);
    let failed = (MemberId(9), SnapshotStatus::Failure);
    let told = || scene.host().snapshots.lock().expect("no panic").clone();
    wait_until("both are told", || told().len() >= 2);
    assert_eq!(told(), [failed, failed]);
    assert_eq!(scene.dropped(9, |reason| reason == DropReason::UnknownPeer), 3);
}
