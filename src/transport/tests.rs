//! A sender and the core at one link, in an order that only the inside can choose.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::config::Listen;
use crate::event::{Direction, Event};
use crate::io::CoresConfig;
use crate::io::link::{Left, Moment};
use crate::io::shared::Addressee;
use crate::proto::codec::StreamKind;
use crate::raft::{Origin, SnapshotStatus};
use crate::raftpb::Message;

/// A host that hears nothing.
struct Deaf;

impl Raft for Deaf {
    fn process(&self, _: Origin, messages: &mut Vec<Message>) {
        messages.clear();
    }

    fn is_id_removed(&self, _: MemberId) -> bool {
        false
    }

    fn report_unreachable(&self, _: MemberId) {}

    fn report_snapshot(&self, _: MemberId, _: SnapshotStatus) {}
}

fn start(id: u64, cores: &Cores, observer: impl Fn(&Event) + Send + Sync + 'static) -> Transport {
    let mut config = Config::new(id, 0x1a2b);
    config.listen = Listen::Address("127.0.0.1:0".parse().expect("an address"));
    config.placement = Placement::Core(0);
    config.observer = Arc::new(observer);
    Transport::start(config, cores, Arc::new(Deaf)).expect("it starts")
}

/// Stops the core in the middle of the peer's stop, when it tells that the peer is inactive.
struct Gate {
    reached: Mutex<Sender<()>>,
    go: Mutex<Receiver<()>>,
}

impl Gate {
    fn pass(&self) {
        let _ = self.reached.lock().expect("no panic").send(());
        let _ = self.go.lock().expect("no panic").recv_timeout(Duration::from_secs(5));
    }
}

#[test]
fn a_stop_that_finds_a_sender_at_the_link_ends_when_it_has_left() {
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    let ((reached, is_reached), (go, may_go), (up, is_up)) = (channel(), channel(), channel());
    let gate = Gate { reached: Mutex::new(reached), go: Mutex::new(may_go) };
    let up = Mutex::new(up);
    let one = start(1, &cores, move |event| match event {
        Event::StreamUp { direction: Direction::Writer, kind: StreamKind::Message, .. } => {
            let _ = up.lock().expect("no panic").send(());
        }
        Event::PeerInactive { reason, .. } if reason.contains("stopped") => gate.pass(),
        _ => {}
    });
    let two = start(2, &cores, |_| ());
    let url = |of: &Transport| format!("http://{}", of.local_addr().expect("it listens"));
    one.add_peer(2, [url(&two)]).expect("a good peer");
    two.add_peer(1, [url(&one)]).expect("a good peer");
    is_up.recv_timeout(Duration::from_secs(5)).expect("the stream is up");

    let peer = one.shared.peer(MemberId(2)).expect("a peer");
    let ending = one.remove_peer(2);
    is_reached.recv_timeout(Duration::from_secs(5)).expect("the peer is being stopped");
    // A sender who found the peer before comes to the link only now.
    let visit = peer.links[1].visit(Moment { now: Instant::now(), step: None });
    go.send(()).expect("the core waits");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(visit.end(false), Left::Now, "the core has asked");
    peer.post_dirty(1);
    peer.core.doorbell.ring();
    assert!(ending.wait(Duration::from_secs(2)), "the writer's task was not woken");
    for transport in [one, two] {
        assert!(transport.stop().wait(Duration::from_secs(5)));
    }
}
