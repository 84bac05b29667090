//! Connections are kept while they are fresh, and looked at before they are used again.

use std::time::Duration;

use raftring::raftpb::Message;

use crate::common::scripted::Reply;
use crate::common::{app, wait_until};
use crate::scene::{Scene, apps};

fn post_one(scene: &Scene, index: u64) -> usize {
    assert_eq!(scene.send([app(index, 1)]).accepted, 1);
    let posted = |message: &Message| message.index() == index - 1;
    wait_until("it is posted", || scene.two.posts().iter().any(|post| posted(&post.message)));
    scene.wait_until_idle();
    scene.two.posts().iter().find(|post| posted(&post.message)).expect("posted").connection
}

#[test]
fn a_connection_is_used_again_while_it_is_fresh() {
    let scene = Scene::start(|_| Reply::taken());
    let first = post_one(&scene, 1);
    for index in 2..=20 {
        assert_eq!(post_one(&scene, index), first);
    }
}

/// etcd closes it after 5 s: what is written then is lost.
#[test]
fn a_connection_that_was_idle_for_four_seconds_is_not_used_again() {
    let scene = Scene::start(|_| Reply::taken());
    let first = post_one(&scene, 1);
    std::thread::sleep(Duration::from_millis(4_300));
    assert_ne!(post_one(&scene, 2), first);
    assert_eq!(scene.failed(), 0);
}

#[test]
fn a_kept_connection_that_was_closed_meanwhile_costs_no_message() {
    let scene = Scene::start(|_| Reply::taken());
    let mut last = post_one(&scene, 1);
    for index in 2..=10 {
        scene.two.cut();
        let next = post_one(&scene, index);
        assert_ne!(next, last);
        last = next;
    }
    assert_eq!((scene.failed(), scene.two.count()), (0, 10));
}

#[test]
fn after_an_answer_that_asks_for_it_the_connection_is_closed() {
    let closing = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    let scene = Scene::start(move |_| Reply::Say(closing.to_owned()));
    let first = post_one(&scene, 1);
    assert_ne!(post_one(&scene, 2), first);
}

#[test]
fn behind_an_answer_nothing_else_is_believed() {
    let two = "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    let scene = Scene::start(move |_| Reply::Say(two.to_owned()));
    let first = post_one(&scene, 1);
    assert_ne!(post_one(&scene, 2), first, "the second answer was to no question");
    assert_eq!(scene.failed(), 0);
}

#[test]
fn a_burst_uses_four_connections_and_keeps_them() {
    let scene = Scene::start(|_| Reply::Held);
    scene.send(apps(4));
    scene.wait_for_posts(4);
    scene.two.let_go();
    scene.wait_until_idle();
    scene.send(apps(40));
    scene.wait_for_posts(44);
    let mut used: Vec<_> = scene.two.posts().iter().map(|post| post.connection).collect();
    used.sort_unstable();
    used.dedup();
    assert_eq!(used.len(), 4);
}
