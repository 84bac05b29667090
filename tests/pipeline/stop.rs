//! Stops, moves and cuts while messages wait and are in flight.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use raftring::raftpb::Message;
use raftring::routes::{Answer, Reply as RouteReply, Request};
use raftring::{Config, DropReason, Event};

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
    scene.send(apps(50));
    scene.wait_for_posts(50);
    scene.wait_until_idle();
    // Two readers and the listener; probers have theirs.
    let at_rest: usize = tasks();
    scene.send(apps(50));
    scene.wait_for_posts(100);
    wait_until("the tasks have ended", || tasks() <= at_rest);
}

/// A path of the host's that holds its core up, as no host should: what comes meanwhile is found at once.
struct HeldCore {
    entered: Receiver<()>,
    leave: Sender<()>,
}

impl HeldCore {
    fn serve(config: &mut Config) -> Self {
        let ((enter, entered), (leave, left)) = (channel(), channel());
        let ends = Mutex::new((enter, left));
        config.routes = Some(Arc::new(move |_: Request, reply: RouteReply| {
            let (enter, left) = &*ends.lock().expect("no panic");
            enter.send(()).expect("somebody listens");
            left.recv_timeout(Duration::from_secs(10)).expect("it is let go");
            reply.answer(Answer::text(""));
        }));
        Self { entered, leave }
    }

    /// Holds the core up until [`HeldCore::leave`] hears something.
    fn enter(&self, scene: &Scene) -> TcpStream {
        let address = scene.one.transport().local_addr().expect("it listens");
        let mut stream = TcpStream::connect(address).expect("it accepts");
        stream.write_all(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n").expect("it takes a request");
        self.entered.recv_timeout(Duration::from_secs(10)).expect("the core is held up");
        stream
    }
}

/// The answer and the removal are found together: the gauge must not stay up for ever.
#[test]
fn a_post_that_succeeds_after_the_peer_was_removed_activates_nobody() {
    let mut held = None;
    let scene = Scene::start_with(|config| held = Some(HeldCore::serve(config)), |_| Reply::Held);
    let held = held.expect("a path");
    scene.send(apps(4));
    scene.wait_for_posts(4);
    let _asking = held.enter(&scene);
    scene.two.let_go();
    // For the answers to arrive. Were they late this would show nothing, but not fail.
    std::thread::sleep(Duration::from_millis(100));
    let ending = scene.one.transport().remove_peer(2);
    held.leave.send(()).expect("the core waits");
    assert!(ending.wait(Duration::from_secs(10)));
    let count = |what: fn(&Event) -> bool| {
        scene.host().events.lock().expect("no panic").iter().filter(|event| what(event)).count()
    };
    let active = count(|event| matches!(event, Event::PeerActive { .. }));
    assert_eq!(active, count(|event| matches!(event, Event::PeerInactive { .. })));
    let text = scene.one.transport().metrics_text();
    let gauge = text.lines().find(|line| line.starts_with("etcd_network_active_peers{"));
    assert!(gauge.is_none_or(|line| line.ends_with(" 0")), "{gauge:?}");
}

/// A post that was about to begin does not: to a unix socket it would be there before anybody could end
/// it.
#[test]
fn nothing_is_posted_to_a_unix_socket_once_its_peer_was_removed() {
    let mut held = None;
    let scene = Scene::start_with(|config| held = Some(HeldCore::serve(config)), |_| Reply::taken());
    let held = held.expect("a path");
    let path = std::env::temp_dir().join(format!("raftring-removed-{}", std::process::id()));
    let listener = UnixListener::bind(&path).expect("a name of our own");
    let (asked, asks) = channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().map_while(Result::ok) {
            let mut line = String::new();
            let mut reader = BufReader::new(stream);
            let _ = reader.read_line(&mut line);
            let _ = asked.send(line);
            kept.push(reader);
        }
    });
    scene.one.transport().add_peer(3, [format!("unix://{}", path.display())]).expect("a good peer");
    asks.recv_timeout(Duration::from_secs(10)).expect("it is dialled");
    let _asking = held.enter(&scene);
    scene.send(apps(4).map(|message| Message { to: Some(3), ..message }));
    let ending = scene.one.transport().remove_peer(3);
    held.leave.send(()).expect("the core waits");
    let ended = ending.wait(Duration::from_secs(8));
    std::fs::remove_file(&path).expect("it is there");
    assert!(ended, "nobody waits for an answer any more");
    assert_eq!((scene.dropped(3, stopped), scene.dropped(3, |_| true)), (4, 4));
    assert!(asks.try_iter().all(|line| !line.starts_with("POST ")));
}
