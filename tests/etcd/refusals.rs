//! Members that have nothing to say to each other.

use std::time::{Duration, Instant};

use raftring::proto::handshake::{DialRefusal, Refusal};
use raftring::{ClusterId, DialError, Event, MemberId, StreamKind};

use super::cluster::{Cluster, LEADER_TIMEOUT, STREAMS_TIMEOUT};
use super::member::{Member, Who, wait_until};
use super::server;

/// Goal: members of another cluster refuse each other in words that both understand, and nobody
/// comes to harm.
///
/// Method: ours says another cluster id, at the place and with the id of etcd's other member. After
/// some refusals in both directions the right one takes its place, and the cluster comes to life.
#[test]
fn another_cluster_is_refused_both_ways_and_etcd_survives() {
    if server::is_missing() {
        return;
    }
    let cluster = Cluster::new();
    let other = Who { cluster: ClusterId(0x0bad), ..cluster.us };
    cluster.etcd.start();
    let stranger = Member::start(&other, &cluster.follower, |_| ());
    stranger.transport().add_peer(cluster.etcd_id, [cluster.etcd.url()]).expect("a good peer");
    wait_until("both streams are refused by etcd", STREAMS_TIMEOUT, || {
        StreamKind::ALL.into_iter().all(|kind| {
            dial_refused(&stranger, kind, |refusal| *refusal == DialRefusal::ClusterIdMismatch) > 0
        })
    });
    wait_until("etcd is refused", STREAMS_TIMEOUT, || {
        refused(&stranger, |refusal| *refusal == Refusal::ClusterIdMismatch) >= 5
    });
    assert_no_stream(&stranger);
    stranger.stop();
    assert_eq!(Refusal::ClusterIdMismatch.status(), 412);
    wait_until("etcd tells why", Duration::from_secs(2), || {
        cluster.etcd.log().contains("request sent was ignored by remote peer due to cluster ID mismatch")
    });
    assert_comes_to_life(cluster);
}

/// Goal: a member that the other does not know (yet) is told so with 404, and nobody comes to harm.
///
/// Method: at the place of etcd's other member stands one that does not know etcd; and one with an
/// id that etcd does not know dials it. Then the right one takes its place.
#[test]
fn an_unknown_member_is_refused_both_ways_and_etcd_survives() {
    if server::is_missing() {
        return;
    }
    let cluster = Cluster::new();
    cluster.etcd.start();
    let knows_nobody = Member::start(&cluster.us, &cluster.follower, |_| ());
    let listen = server::free_port(cluster.us.listen.ip());
    let unknown = Who { id: MemberId(0x5757), listen, ..cluster.us };
    let unknown = Member::start(&unknown, &cluster.follower, |_| ());
    unknown.transport().add_peer(cluster.etcd_id, [cluster.etcd.url()]).expect("a good peer");
    wait_until("both our streams are refused by etcd, again and again", STREAMS_TIMEOUT, || {
        StreamKind::ALL.into_iter().all(|kind| {
            dial_refused(&unknown, kind, |refusal| *refusal == DialRefusal::PeerDoesNotKnowUs) >= 5
        })
    });
    wait_until("etcd is refused", STREAMS_TIMEOUT, || {
        refused(&knows_nobody, |refusal| *refusal == Refusal::SenderNotFound) >= 5
    });
    assert_eq!(Refusal::SenderNotFound.status(), 404);
    for member in [knows_nobody, unknown] {
        assert_no_stream(&member);
        member.stop();
    }
    assert!(cluster.etcd.log().contains("failed to find remote peer in cluster"), "and so etcd says");
    assert_comes_to_life(cluster);
}

fn dial_refused(member: &Member, of_kind: StreamKind, is: impl Fn(&DialRefusal) -> bool) -> usize {
    member.host.count(0, |event| {
        matches!(event, Event::DialFailed { kind, error: DialError::Refused(refusal), .. }
            if *kind == of_kind && is(refusal))
    })
}

fn refused(member: &Member, is: impl Fn(&Refusal) -> bool) -> usize {
    member.host.count(0, |event| matches!(event, Event::RequestRefused { refusal, .. } if is(refusal)))
}

fn assert_no_stream(member: &Member) {
    assert_eq!(member.host.count(0, |event| matches!(event, Event::StreamUp { .. })), 0);
    assert_eq!(member.transport().active_peers(), 0);
}

/// The right member starts where the wrong one was; etcd is none the worse.
fn assert_comes_to_life(mut cluster: Cluster) {
    assert!(cluster.etcd.is_running());
    let started = Instant::now();
    cluster.start_ours(|_| ());
    cluster.wait_for_streams(0);
    cluster.etcd.put_until_it_works("alive", "yes", LEADER_TIMEOUT);
    println!("the right member, and a put after {:?}", started.elapsed());
    cluster.put_all(0..10);
    cluster.assert_arrived(0..10);
    cluster.finish();
}
