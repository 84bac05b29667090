use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::cores::{Backlog, LaneLimits};
use crate::id::MemberId;
use crate::proto::codec::{Dialect, StreamKind};
use crate::proto::stream::ENCODED_BYTES_MAX;
use crate::raftpb::{Entry, MessageType};

const LIMITS: LaneLimits = LaneLimits { messages_max: 4, bytes_max: 8 << 20 };

/// A link with a connection, and its other end.
fn connected() -> (Link, TcpStream) {
    connected_as(StreamKind::Message)
}

fn connected_as(kind: StreamKind) -> (Link, TcpStream) {
    let config = StreamWriterConfig {
        kind,
        dialect: Dialect::default(),
        local: MemberId(1),
        remote: MemberId(2),
        heartbeat_interval: Duration::from_secs(1),
        stall_timeout: Duration::from_secs(1),
    };
    let meters = Meters {
        transport: Arc::default(),
        peer: Arc::default(),
        follower: Arc::default(),
        stages: Arc::default(),
    };
    let lane = Lane::new(LIMITS, Arc::new(Backlog::new(usize::MAX)));
    let link = Link::new(config, lane, Pool::new(), meters, Instant::now());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    link.clear_desk().attach(BodyFraming::UntilClose, near);
    link.set_up(true);
    (link, listener.accept().expect("it connected").0)
}

fn message(commit: u64, bytes: usize) -> Message {
    let entry = Entry { data: Some(vec![0; bytes].into()), ..Entry::default() };
    let kind = Some(MessageType::MsgHeartbeat as i32);
    Message { r#type: kind, commit: Some(commit), entries: vec![entry], ..Message::default() }
}

fn moment() -> Moment {
    Moment { now: Instant::now(), step: None }
}

/// Commits of the frames that arrive until the other end is closed.
fn commits(mut far: TcpStream) -> Vec<u64> {
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes).expect("it is closed in order");
    let (mut rest, mut commits) = (&bytes[..], Vec::new());
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (frame, behind) = behind.split_at(u64::from_be_bytes(*length) as usize);
        let message = <Message as prost::Message>::decode(frame).expect("a message");
        commits.push(message.commit());
        rest = behind;
    }
    commits
}

#[test]
fn a_free_link_sends_at_once_and_leaves_nothing_to_the_core() {
    let (link, far) = connected();
    let mut visit = link.visit(moment());
    for commit in 1..=3 {
        visit.put(message(commit, 10)).expect("room");
    }
    assert_eq!(visit.end(true), Left::Nothing);
    assert_eq!(link.stats().direct_writes, 1);
    link.clear_desk().detach();
    assert_eq!(commits(far), [1, 2, 3]);
}

#[test]
fn who_finds_the_desk_taken_uses_the_lane_and_the_next_sends_that_first() {
    let (link, far) = connected();
    let taken = link.visit(moment());
    let mut other = link.visit(moment());
    other.put(message(1, 10)).expect("room");
    assert_eq!(other.end(true), Left::Now, "the core is told");
    assert_eq!(taken.end(true), Left::Nothing, "and finds the lane empty: it was sent along");
    let mut next = link.visit(moment());
    next.put(message(2, 10)).expect("room");
    assert_eq!(next.end(true), Left::Nothing);
    link.clear_desk().detach();
    assert_eq!(commits(far), [1, 2]);
}

#[test]
fn a_core_that_found_a_sender_is_told_and_comes_before_the_next() {
    let (link, _far) = connected();
    let visit = link.visit(moment());
    assert!(link.desk().is_none());
    assert_eq!(visit.end(true), Left::Now, "the core wants the desk");
    let mut kept_out = link.visit(moment());
    kept_out.put(message(1, 10)).expect("room");
    assert_eq!(link.lane.depth().0, 1);
    assert_eq!(kept_out.end(true), Left::Now);
    let mut desk = link.desk().expect("free");
    assert!(desk.send_now(&link.lane, moment()));
    assert_eq!(link.lane.depth().0, 0);
}

#[test]
fn what_the_socket_does_not_take_is_left_to_the_core_and_the_rest_waits_in_the_lane() {
    let (link, _far) = connected();
    let mut visit = link.visit(moment());
    let mut accepted = 0;
    while visit.put(message(1, ENCODED_BYTES_MAX)).is_ok() {
        accepted += 1;
    }
    // One is encoded beyond the bound, and the lane takes as many as it is told to.
    assert_eq!(accepted, 1 + LIMITS.messages_max);
    assert_eq!(visit.end(true), Left::Now);
    let mut visit = link.visit(moment());
    visit.put(message(2, 10)).expect("what was sent has made room");
    assert_eq!(visit.end(true), Left::Now, "the core has work still");
    let mut desk = link.clear_desk();
    assert!(matches!(desk.poll_transmit(&link.lane, Instant::now()), Some(Ok(_))), "the rest of a write");
    assert!(desk.poll_transmit(&link.lane, Instant::now()).is_none(), "one write in flight");
    let lost = desk.detach().total() + desk.drain(&link.lane).total();
    drop(desk);
    assert!(lost > 0 && lost <= accepted + 1, "what was not written whole is told: {lost}");
    assert_eq!(link.lane.depth(), (0, 0));
}

#[test]
fn a_link_that_has_sent_in_this_step_gathers() {
    let (link, _far) = connected();
    let step = |step| Moment { step: Some(step), ..moment() };
    let send = |at, bytes| {
        let mut visit = link.visit(at);
        visit.put(message(1, bytes)).expect("room");
        visit.end(true) == Left::Now
    };
    assert!(!send(step(1), 10));
    assert!(send(step(1), 10), "the writer's task sends it, with what follows");
    assert!(!send(step(1), DIRECT_SEND_BYTES), "a good write has gathered");
    assert!(!send(step(2), 10));
    assert_eq!(link.stats().direct_writes, 3);
}

fn heartbeat(commit: u64) -> Message {
    Message { from: Some(1), to: Some(2), term: Some(7), entries: Vec::new(), ..message(commit, 0) }
}

#[test]
fn a_heartbeat_takes_over_the_commit_of_a_later_one_that_differs_in_nothing_else() {
    let mut waiting = heartbeat(3);
    assert!(waiting.absorb(&heartbeat(5)));
    assert_eq!(waiting, heartbeat(5));
    let others: [fn(&mut Message); 7] = [
        |other| other.from = Some(3),
        |other| other.term = Some(8),
        |other| other.context = Some("read".into()),
        |other| other.index = Some(1),
        |other| other.r#type = Some(MessageType::MsgHeartbeatResp as i32),
        |other| other.entries.push(Entry::default()),
        |other| other.to = Some(3),
    ];
    for change in others {
        let mut other = heartbeat(6);
        change(&mut other);
        assert!(!waiting.absorb(&other), "{other:?}");
        assert_eq!(waiting, heartbeat(5), "it says what it said");
    }
    let mut with_entries = message(1, 10);
    let same = with_entries.clone();
    assert!(!with_entries.absorb(&same), "that is no heartbeat of raft");
}

#[test]
fn in_a_full_lane_a_heartbeat_is_superseded_and_nothing_else_is() {
    let (link, far) = connected();
    let taken = link.visit(moment());
    let mut other = link.visit(moment());
    for commit in 1..=LIMITS.messages_max as u64 {
        assert_eq!(other.put(heartbeat(commit)), Ok(Put::Taken), "there is room");
    }
    assert_eq!(other.put(heartbeat(9)), Ok(Put::Superseded));
    let vote = Message { r#type: Some(MessageType::MsgVote as i32), ..heartbeat(1) };
    assert_eq!(other.put(vote), Err(Refused::Messages));
    assert_eq!(other.end(true), Left::Now);
    assert_eq!(taken.end(true), Left::Nothing);
    link.clear_desk().detach();
    assert_eq!(commits(far), [1, 2, 3, 9]);
}

#[test]
fn what_is_lost_with_a_connection_is_known_by_class() {
    let (link, _far) = connected();
    let kinds = [MessageType::MsgVote, MessageType::MsgAppResp, MessageType::MsgVote];
    let mut visit = link.visit(moment());
    for kind in kinds {
        visit.put(Message { r#type: Some(kind as i32), ..heartbeat(1) }).expect("room");
    }
    // Encoded, and not sent.
    drop(visit);
    let lost = link.clear_desk().detach();
    assert_eq!((lost.get(MessageClass::Vote), lost.get(MessageClass::Ack), lost.total()), (2, 1, 3));
}

#[test]
fn what_a_quick_sender_has_gathered_leaves_when_the_core_looks() {
    for (kind, gathers) in [(StreamKind::Msgapp, true), (StreamKind::Message, false)] {
        let (link, mut far) = connected_as(kind);
        let (start, mut bytes) = (moment(), 0);
        let send = || {
            let mut visit = link.visit(start);
            assert_eq!(visit.put(message(1, 10)), Ok(Put::Taken));
            visit.end(true)
        };
        let asked = (0..200).any(|_| send() == Left::Later);
        assert_eq!(asked, gathers, "{kind:?}");
        assert_eq!(send(), Left::Nothing, "the core is asked once");
        let before = link.stats();
        assert_eq!(before.unflushed_bytes > 0, gathers);
        let mut desk = link.desk().expect("free");
        assert!(desk.look(&link.lane, moment()));
        drop(desk);
        let after = link.stats();
        assert_eq!(after.unflushed_bytes, 0);
        assert_eq!(after.direct_writes, before.direct_writes + u64::from(gathers));
        far.set_nonblocking(true).expect("a socket");
        while let Ok(count) = far.read(&mut [0; 4 << 10]) {
            bytes += count as u64;
        }
        assert!(bytes >= after.writer.messages, "{bytes} bytes of {} messages", after.writer.messages);
    }
}

#[test]
fn what_was_asked_of_the_core_for_one_connection_is_asked_again_for_the_next() {
    let (link, _far) = connected_as(StreamKind::Msgapp);
    let start = moment();
    let send = || {
        let mut visit = link.visit(start);
        assert_eq!(visit.put(message(1, 10)), Ok(Put::Taken));
        visit.end(true)
    };
    assert!((0..200).any(|_| send() == Left::Later));
    let (listener, mut desk) = (TcpListener::bind("127.0.0.1:0").expect("a free port"), link.clear_desk());
    assert!(desk.detach().total() > 0);
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    desk.attach(BodyFraming::UntilClose, near);
    drop(desk);
    let left = (0..200).map(|_| send());
    let asked: Vec<_> = left.filter(|&left| left == Left::Later).collect();
    assert_eq!(asked.len(), 1, "else what gathers waits for a tick");
    assert!(link.stats().unflushed_bytes > 0);
}
