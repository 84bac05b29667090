//! What waits, what is in flight, and how long.

use std::time::{Duration, Instant};

use raftring::cores::Rank;
use raftring::raftpb::{Message, MessageType};
use raftring::{DropReason, PostError};

use crate::common::scripted::{Reply, Scripted};
use crate::common::wait_until;
use crate::scene::{Scene, apps, of_type, snapshot};

const IN_FLIGHT: usize = 4;
const WAITING: usize = 64;

/// `TestPipelineExceedMaximumServing`, with what may fill all of it.
#[test]
fn four_in_flight_and_sixty_four_that_wait_are_accepted_exactly() {
    let scene = Scene::start(|_| Reply::Held);
    let sent = scene.send(of_type(MessageType::MsgVote, 100));
    assert_eq!((sent.accepted, sent.dropped), (IN_FLIGHT + WAITING, 100 - IN_FLIGHT - WAITING));
    scene.wait_for_posts(IN_FLIGHT);
    assert_eq!(scene.send([snapshot()]).dropped, 1);
    wait_until("a snapshot that finds no room has failed", || scene.snapshots() == (0, 1));
    let full = |reason| matches!(reason, DropReason::LaneFull(_));
    wait_until("what was dropped is told", || scene.dropped(2, full) == 33);
    // However many were dropped together, raft hears once of each kind.
    assert!((1..=3).contains(&scene.unreachable()), "{}", scene.unreachable());
    assert_eq!(scene.two.count(), IN_FLIGHT, "no more are in flight");
    scene.two.let_go();
    scene.wait_for_posts(IN_FLIGHT + WAITING);
    scene.wait_until_idle();
    assert_eq!(scene.send(apps(3)).accepted, 3, "there is room again");
    scene.wait_for_posts(IN_FLIGHT + WAITING + 3);
    assert_eq!(scene.failed(), 0);
}

/// While no stream is up all classes are posted: what comes again by itself leaves room to the others.
#[test]
fn appends_give_way_before_proposals_before_acks_and_votes_last() {
    use MessageType::{MsgApp, MsgAppResp, MsgProp, MsgVote};
    let scene = Scene::start(|_| Reply::Held);
    let room = IN_FLIGHT + WAITING;
    let (mut accepted, mut sent_in_all) = (0, 0);
    for (kind, rank) in [
        (MsgApp, Rank::Bulk),
        (MsgProp, Rank::Request),
        (MsgAppResp, Rank::Answer),
        (MsgVote, Rank::Vital),
        (MsgApp, Rank::Bulk),
    ] {
        let sent = scene.send(of_type(kind, 100));
        let fits = rank.share(room).saturating_sub(accepted);
        assert_eq!((sent.accepted, sent.dropped), (fits, 100 - fits), "{kind:?}");
        accepted += fits;
        sent_in_all += 100;
    }
    assert_eq!(accepted, room);
    scene.two.let_go();
    scene.wait_for_posts(room);
    wait_until("the others are told", || scene.dropped(2, |_| true) == sent_in_all - room);
    let posted = |kind| scene.two.posts().iter().filter(|post| post.message.r#type() == kind).count();
    assert_eq!([MsgApp, MsgProp, MsgAppResp, MsgVote].map(posted), [51, 9, 4, 4]);
}

#[test]
fn bytes_that_wait_are_bounded_too() {
    let scene = Scene::start_with(|config| config.lane_bytes_max = 84 << 10, |_| Reply::Held);
    let large = |message: Message| {
        let mut message = message;
        message.entries[0].data = Some(vec![0; 20 << 10].into());
        message
    };
    let sent = scene.send(apps(10).map(large));
    assert_eq!((sent.accepted, sent.dropped), (3, 7));
    let backlog = scene.cores.queued_bytes();
    assert!((60 << 10..80 << 10).contains(&backlog), "in flight they still count: {backlog}");
    scene.two.let_go();
    scene.wait_for_posts(3);
    scene.wait_until_idle();
    assert_eq!(scene.cores.queued_bytes(), 0);
}

/// Protocol section 17 row 16: in etcd the four workers hang until the connection dies.
#[test]
fn a_peer_that_never_answers_costs_its_time_and_gets_the_next_message_after_that() {
    let post_timeout = Duration::from_millis(300);
    let scene = Scene::start_with(|config| config.post_timeout = post_timeout, |_| Reply::Never);
    assert_eq!(scene.send(apps(8)).accepted, 8);
    scene.wait_for_posts(IN_FLIGHT);
    scene.two.script(|_| Reply::taken());
    wait_until("the silent posts are given up", || scene.failed() == IN_FLIGHT);
    scene.wait_for_posts(8);
    scene.wait_until_idle();
    assert_eq!(scene.post_errors(), vec![PostError::Timeout; IN_FLIGHT]);
    assert_eq!((scene.two.count(), scene.unreachable()), (8, IN_FLIGHT));
}

/// Protocol section 17 row 15: in etcd such a body is read for ever.
#[test]
fn an_answer_without_end_is_read_up_to_its_bound() {
    let scene = Scene::start(|_| Reply::Endless);
    let began = Instant::now();
    assert_eq!(scene.send(apps(1)).accepted, 1);
    wait_until("it is given up", || scene.failed() == 1);
    assert!(began.elapsed() < Duration::from_secs(5));
    // Ours reads 4 KiB and then closes; what is in between lies in the sockets' buffers.
    assert!(scene.two.endless_bytes() < 32 << 20, "{}", scene.two.endless_bytes());
}

/// A connection is dialled while the network swallows everything: others do not wait for it.
#[test]
fn a_peer_that_is_silent_holds_up_nobody_else() {
    let scene = Scene::start(|_| Reply::Never);
    let three = Scripted::start(|_| Reply::taken());
    scene.one.transport().add_peer(3, [three.url()]).expect("a good peer");
    // A listener whose queue is full drops what else comes, as a firewall does.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("a free port");
    socket.listen(0).expect("it listens");
    let black_hole = socket.local_addr().expect("bound").as_socket().expect("IPv4");
    let fill = || std::net::TcpStream::connect_timeout(&black_hole, Duration::from_millis(200));
    let _queued: Vec<_> = std::iter::repeat_with(fill).take_while(Result::is_ok).collect();
    scene.one.transport().add_peer(4, [format!("http://{black_hole}")]).expect("a good peer");
    for silent in [2, 4] {
        scene.send(apps(100).map(|message| Message { to: Some(silent), ..message }));
    }
    scene.wait_for_posts(IN_FLIGHT);
    for count in 1..=20 {
        let one = apps(1).map(|message| Message { to: Some(3), ..message });
        assert_eq!(scene.send(one).accepted, 1);
        wait_until("it is posted", || three.count() == count);
    }
    assert_eq!(scene.dropped(3, |_| true), 0);
    assert_eq!(scene.two.count(), IN_FLIGHT, "nothing was given up meanwhile");
}
