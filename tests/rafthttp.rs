//! etcd's own tests of rafthttp (protocol section 18), by name: which test of ours shows the same.
//!
//! | etcd's test | ours |
//! |---|---|
//! | TestSendMessage | `test_send_message`, `every_message_type_arrives_as_it_was_sent` |
//! | TestSendMessageWhenStreamIsBroken | `test_send_message_when_stream_is_broken` |
//! | TestServeRaftPrefix | `a_message_that_is_not_taken_is_answered_as_etcd_answers_it`, `messages_are_taken_one_after_another_on_one_connection`; a Process that writes its own answer has no counterpart |
//! | TestServeRaftStreamPrefix | `an_accepted_dial_is_answered_at_once_and_stays_open`, `both_streams_lead_to_the_writer_of_the_dialler` |
//! | TestServeRaftStreamPrefixBad | `a_refused_dial_is_answered_as_etcd_answers_it`, `another_method_learns_the_right_one` |
//! | TestCloseNotifier | none: it is a helper of Go's handlers |
//! | TestMessage | `test_message`; over the limit: `declared_lengths_over_the_limits_are_refused_before_their_bytes_arrive` |
//! | TestMsgAppV2 | `test_msg_app_v2` |
//! | TestEntry | none: a codec of etcd's tests alone |
//! | TestPeerPick | `a_message_takes_the_best_way_that_is_up` |
//! | TestURLPickerPickTwice | `picking_twice_gives_the_same_url` |
//! | TestURLPickerUpdate | `an_update_starts_the_new_list` |
//! | TestURLPickerUnreachable | `failures_on_one_url_rotate_once` |
//! | TestPipelineSend, TestPipelinePost | `what_has_no_stream_is_posted_as_by_go`, `a_message_is_posted_as_by_go` |
//! | TestPipelineKeepSendingWhenPostError | `fifty_messages_are_all_tried_though_each_fails` |
//! | TestPipelineExceedMaximumServing | `four_in_flight_and_sixty_four_that_wait_are_accepted_exactly` |
//! | TestPipelineSendFailed | `failures_are_counted_and_those_of_appends_in_the_statistics_of_the_follower` |
//! | TestPipelinePostBad | `whatever_is_no_204_is_a_failure_and_told_once`, `only_204_is_a_success` |
//! | TestPipelinePostErrorc | `only_a_403_to_a_post_tells_that_we_were_removed` |
//! | TestStopBlockedPipeline | `a_stop_with_forty_blocked_messages_ends_in_time_and_tells_each` |
//! | TestSnapshotSend | `databases_of_every_size_arrive`, `a_source_that_fails_or_lies_leaves_no_file` |
//! | TestStreamWriterAttachOutgoingConn | `of_streams_that_replace_each_other_in_haste_only_the_newest_stays`, `each_connection_starts_the_codec_and_the_body_anew` |
//! | TestStreamWriterAttachBadOutgoingConn | `a_client_that_closes_is_noticed_without_a_write`, `a_client_that_does_not_read_is_given_up_and_costs_no_more_than_its_lane` |
//! | TestStreamReaderDialRequest | `a_stream_is_asked_for_as_by_go` |
//! | TestStreamReaderDialResult | `only_200_is_a_stream_and_only_410_is_reported` |
//! | TestStreamReaderStopOnDial | `while_a_dial_gets_no_answer_from_the_member` |
//! | TestStreamReaderDialDetectUnsupport | `the_version_is_looked_at_before_the_status` |
//! | TestStream | `every_message_type_arrives_as_it_was_sent`; on a queue of their own: `proposals_that_wait_for_a_leader_cost_nothing_else_a_message` |
//! | TestCheckStreamSupport, TestStreamSupportCurrentVersion | `the_stream_table_lists_minors_and_our_own_is_among_them` |
//! | TestTransportSend | `test_transport_send` |
//! | TestTransportCutMend | `test_transport_cut_mend` |
//! | TestTransportAdd | `test_transport_add` |
//! | TestTransportRemove, TestTransportRemoveIsIdempotent | `test_transport_remove_is_idempotent` |
//! | TestTransportUpdate | `test_transport_update` |
//! | TestTransportErrorc | `test_transport_errorc`, `only_a_403_to_a_post_tells_that_we_were_removed` |
//! | TestCompareMajorMinorVersion | `only_major_and_minor_are_compared` |
//! | TestServerVersion, TestMinClusterVersion | `a_missing_header_means_two_zero`, `what_would_crash_etcd_is_none` |
//! | TestCheckVersionCompatibility | `a_remote_may_be_newer_but_not_older_than_our_minimum` |
#![cfg(feature = "io")]

#[allow(dead_code, reason = "shared by several tests")]
#[path = "hostile/client.rs"]
mod client;
mod common;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use client::read_head;
use common::{Member, Pair, app, wait_until};
use raftring::raftpb::{Message, MessageType};
use raftring::{Cores, CoresConfig, DialError, DropReason, Event, MemberId};

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn to(id: u64, number: u64) -> Message {
    Message { to: Some(id), ..app(number, 1) }
}

fn number_of_next(member: &Member) -> u64 {
    member.host.next(PATIENCE).expect("it arrives").message.entries[0].index()
}

#[test]
fn test_send_message_when_stream_is_broken() {
    let pair = Pair::start();
    pair.one.transport().break_connections(2);
    let (began, mut sent) = (Instant::now(), 0);
    while pair.two.host.next(Duration::from_millis(1)).is_none() {
        assert!(began.elapsed() < PATIENCE, "none of {sent} gets through");
        pair.one.transport().send([app(1, 1)]);
        sent += 1;
    }
    println!("message {sent} got through after {:?}", began.elapsed());
}

#[test]
fn test_transport_send() {
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    let address: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let [one, two, three] = [1, 2, 3].map(|id| Member::start(id, &cores, address, |_| ()));
    for (member, other) in [(&one, &two), (&two, &one), (&one, &three), (&three, &one)] {
        member.add(other);
    }
    wait_until("all streams of the first are up", || {
        let events = one.host.events.lock().expect("no panic");
        events.iter().filter(|event| matches!(event, Event::StreamUp { .. })).count() >= 8
    });
    let nobody = Message { to: None, ..app(1, 1) };
    let batch = [nobody.clone(), to(2, 1), to(9, 1), to(3, 1), nobody, to(2, 2), to(2, 3), to(3, 2)];
    let sent = one.transport().send(batch);
    assert_eq!((sent.accepted, sent.dropped), (5, 1), "without a target they are no messages");
    assert_eq!([(); 3].map(|()| number_of_next(&two)), [1, 2, 3]);
    assert_eq!([(); 2].map(|()| number_of_next(&three)), [1, 2]);
    let unknown = |event: &Event| {
        matches!(
            event,
            Event::Dropped { peer: MemberId(9), reason: DropReason::UnknownPeer, messages: 1, .. }
        )
    };
    assert!(one.host.saw(unknown));
    for member in [one, two, three] {
        assert!(member.transport().stop().wait(PATIENCE));
    }
}

#[test]
fn test_transport_cut_mend() {
    let pair = Pair::start();
    let one = pair.one.transport();
    one.cut_peer(2);
    assert_eq!(one.send([app(1, 1)]).dropped, 1, "nothing is sent to a cut peer");
    let paused =
        |event: &Event| matches!(event, Event::Dropped { reason: DropReason::Paused, messages: 1, .. });
    wait_until("it is told", || pair.one.host.saw(paused));
    one.mend_peer(2);
    assert_eq!(one.send([app(2, 1)]).accepted, 1);
    assert_eq!(number_of_next(&pair.two), 2, "after mending it is");
}

#[test]
fn test_transport_add() {
    let pair = Pair::start();
    let one = pair.one.transport();
    // A second member of the same id changes nothing, not even the URLs.
    one.add_peer(2, ["http://127.0.0.1:1"]).expect("it is there");
    assert!(one.peer_stats(2).is_some());
    assert_eq!(one.send([app(1, 1)]).accepted, 1);
    assert_eq!(number_of_next(&pair.two), 1);
    assert!(one.add_peer(3, ["no url"]).is_err());
    assert!(one.core_of(3).is_none());
}

#[test]
fn test_transport_remove_is_idempotent() {
    let pair = Pair::start();
    let one = pair.one.transport();
    for _ in 0..2 {
        assert!(one.remove_peer(2).wait(PATIENCE));
        assert!(one.peer_stats(2).is_none() && one.active_since(2).is_none());
        assert_eq!(one.send([app(1, 1)]).dropped, 1);
    }
}

/// Answers every request with this status, and tells where it came.
fn answers(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            thread::spawn(move || {
                read_head(&mut stream);
                let head = format!(
                    "HTTP/1.1 {status}\r\nX-Etcd-Cluster-Id: 1a2b\r\nX-Server-Version: 3.5.0\r\n\
                     Content-Length: 0\r\nConnection: close\r\n\r\n"
                );
                let _ = stream.write_all(head.as_bytes());
            });
        }
    });
    url
}

#[test]
fn test_transport_update() {
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    let address: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let [one, two] = [1, 2].map(|id| Member::start(id, &cores, address, |_| ()));
    two.add(&one);
    // At first it is looked for where it is not.
    one.transport().add_peer(2, [answers("404 Not Found")]).expect("a good peer");
    let refused = |event: &Event| matches!(event, Event::DialFailed { .. });
    wait_until("it is refused there", || one.host.saw(refused));
    one.transport().update_peer(2, [two.url()]).expect("a good url");
    one.transport().update_peer(9, [two.url()]).expect("nobody, and no harm");
    wait_until("it is found at the new place", || {
        let events = one.host.events.lock().expect("no panic");
        events.iter().filter(|event| matches!(event, Event::StreamUp { .. })).count() >= 4
    });
    assert_eq!(two.transport().send([Message { to: Some(1), from: Some(2), ..app(1, 1) }]).accepted, 1);
    assert_eq!(number_of_next(&one), 1);
    for member in [one, two] {
        assert!(member.transport().stop().wait(PATIENCE));
    }
}

#[test]
fn test_transport_errorc() {
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    let address: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let one = Member::start(1, &cores, address, |_| ());
    one.transport().add_peer(2, [answers("403 Forbidden")]).expect("a good peer");
    wait_until("dials of both streams are refused", || {
        let events = one.host.events.lock().expect("no panic");
        let refused =
            |event: &&Event| matches!(event, Event::DialFailed { error: DialError::Refused(_), .. });
        events.iter().filter(refused).count() >= 4
    });
    let removed = |event: &Event| matches!(event, Event::MemberRemoved { .. });
    assert!(!one.host.saw(removed), "only a 410 to a stream says that we were removed");
    assert!(one.transport().stop().wait(PATIENCE));
}

#[test]
fn test_send_message() {
    use MessageType::{MsgApp, MsgAppResp, MsgHeartbeat, MsgHeartbeatResp, MsgProp, MsgVote, MsgVoteResp};
    let pair = Pair::start();
    let kinds = [MsgProp, MsgApp, MsgAppResp, MsgVote, MsgVoteResp, MsgHeartbeat, MsgHeartbeatResp];
    let batch = kinds.map(|kind| Message { r#type: Some(kind as i32), ..app(1, 1) });
    assert_eq!(pair.one.transport().send(batch).accepted, kinds.len());
    let mut got: Vec<_> = kinds
        .iter()
        .map(|_| pair.two.host.next(PATIENCE).expect("it arrives").message.type_number())
        .collect();
    got.sort_unstable();
    let mut expected = kinds.map(|kind| kind as i32).to_vec();
    expected.sort_unstable();
    assert_eq!(got, expected);
}
