//! Stops, moves and cuts while messages wait and are in flight.

use std::time::{Duration, Instant};

use raftring::{DropReason, Event};

use crate::common::scripted::Reply;
use crate::common::{app, wait_until};
use crate::scene::{Scene, apps, snapshot};

fn stopped(reason: DropReason) -> bool {
    reason == DropReason::Stopped
}

/// `TestStopBlockedPipeline`.
#[test]
fn a_stop_with_forty_blocked_messages_ends_in_time_and_tells_each() {
    let scene = Scene::start(|_| Reply::Never);
    // A snapshot that is in flight, and another one that waits.
    scene.send([snapshot()].into_iter().chain(apps(38)).chain([snapshot()]));
    scene.wait_for_posts(4);
    let began = Instant::now();
    assert!(scene.one.transport().stop().wait(Duration::from_secs(10)));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!((scene.dropped(2, stopped), scene.dropped(2, |_| true)), (40, 40));
    assert_eq!(scene.snapshots(), (0, 2));
    assert_eq!(scene.unreachable(), 0, "a raft that stops need not know");
    assert_eq!(scene.cores.queued_bytes(), 0);
}

#[test]
fn a_peer_that_is_removed_while_it_is_dialled_tells_what_it_was_to_get() {
    let scene = Scene::start(|_| Reply::taken());
    // Nobody answers there: TEST-NET-1.
    scene.one.transport().add_peer(3, ["http://192.0.2.1:2380"]).expect("a good peer");
    scene.send(apps(10).map(|message| raftring::raftpb::Message { to: Some(3), ..message }));
    assert!(scene.one.transport().remove_peer(3).wait(Duration::from_secs(5)));
    assert_eq!(scene.dropped(3, |_| true), 10);
}

#[test]
fn a_peer_that_moves_loses_what_was_in_flight_and_posts_from_its_new_core() {
    let scene = Scene::start(|_| Reply::Never);
    let transport = scene.one.transport();
    scene.send([snapshot()].into_iter().chain(apps(9)));
    scene.wait_for_posts(4);
    scene.two.script(|_| Reply::taken());
    let to = (transport.core_of(2).expect("a peer") + 1) % scene.cores.count();
    if to == transport.core_of(2).expect("a peer") {
        return; // one CPU: there is nowhere to go
    }
    assert!(transport.move_peer(2, to).expect("a core").wait(Duration::from_secs(10)));
    assert_eq!((scene.dropped(2, stopped), scene.snapshots()), (10, (0, 1)));
    wait_until("raft is told", || scene.unreachable() == 1);
    assert_eq!(scene.send([app(100, 1)]).accepted, 1);
    wait_until("it is posted", || scene.two.posts().iter().any(|post| post.message.index() == 99));
    scene.wait_until_idle();
}

/// `TestTransportCutMend`.
#[test]
fn to_a_cut_peer_nothing_is_posted_until_it_is_mended() {
    let scene = Scene::start(|_| Reply::taken());
    scene.one.transport().cut_peer(2);
    assert_eq!(scene.send(apps(3)).dropped, 3);
    wait_until("it is told", || scene.dropped(2, |reason| reason == DropReason::Paused) == 3);
    scene.one.transport().mend_peer(2);
    assert_eq!(scene.send(apps(3)).accepted, 3);
    scene.wait_for_posts(3);
    assert_eq!((scene.two.count(), scene.unreachable()), (3, 0));
}

/// A peer that is posted to now and then has no task and no connection in between.
#[test]
fn an_idle_pipeline_leaves_nothing_behind() {
    let scene = Scene::start(|_| Reply::taken());
    let dialled = |event: &Event| matches!(event, Event::DialFailed { .. });
    wait_until("it has dialled", || scene.host().saw(dialled));
    let tasks = || (0..scene.cores.count()).map(|core| scene.cores.stats(core).expect("a core").tasks).sum();
    scene.send(apps(60));
    scene.wait_for_posts(60);
    scene.wait_until_idle();
    // Two readers and the listener; probers have theirs.
    let at_rest: usize = tasks();
    scene.send(apps(60));
    scene.wait_for_posts(120);
    wait_until("the tasks have ended", || tasks() <= at_rest);
}
