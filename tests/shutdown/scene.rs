//! Cores of one's own for each scene, and who plays in it. Descriptors are counted for the process,
//! so one scene is played at a time.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::time::Duration;

use raftring::raftpb::Message;
use raftring::{Cores, CoresConfig, MemberId, Origin, Raft, SnapshotStatus};

use crate::common::{CLUSTER, CORE_OPERATIONS, Host, Member, Pair, descriptors, wait_until};

/// What a stop waits for at most is a write that nobody reads; the tests set less than this for it,
/// and more for everything else.
pub(crate) const IN_TIME: Duration = Duration::from_secs(4);
const NOT_IN_TIME: Duration = Duration::from_secs(600);

/// Runs a scene, alone in this process, with cores of its own whose descriptors are closed at last.
pub(crate) fn alone(scene: impl FnOnce(&Cores)) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = descriptors();
    let cores = Cores::start(&CoresConfig::default()).expect("cores start");
    scene(&cores);
    cores.stop();
    drop(cores);
    wait_until("the cores' descriptors are closed", || descriptors() == before);
}

/// Runs a scene at whose end all its transports have ended.
pub(crate) fn check(scene: impl FnOnce(&Cores)) {
    alone(|cores| {
        let at_rest = descriptors();
        scene(cores);
        for core in (0..cores.count()).map(|core| cores.stats(core).expect("a core")) {
            assert_eq!((core.tasks, core.blocks.out_bytes(), core.peers), (0, 0, 0));
            assert_eq!(core.operations, CORE_OPERATIONS);
        }
        wait_until("its descriptors are closed", || descriptors() == at_rest);
    });
}

pub(crate) fn any() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

/// Member 1, which waits for everything but a write.
pub(crate) fn patient(cores: &Cores) -> Member {
    Member::start(1, cores, any(), |config| {
        config.dial_timeout = NOT_IN_TIME;
        config.read_timeout = NOT_IN_TIME;
        config.write_timeout = Duration::from_secs(1);
    })
}

pub(crate) fn stop(member: &Member) {
    assert!(member.transport().stop().wait(IN_TIME), "member {} stops", member.id);
}

fn operations(cores: &Cores) -> usize {
    (0..cores.count()).map(|core| cores.stats(core).expect("a core").operations).sum()
}

/// Waits until so many operations are in flight beside those of cores and one listener.
pub(crate) fn wait_for_operations(cores: &Cores, count: usize) {
    wait_until("operations are in flight", || {
        operations(cores) == CORE_OPERATIONS * cores.count() + 1 + count
    });
}

/// Member 2's request for a stream of member 1.
pub(crate) fn request(stream: &str) -> String {
    format!(
        "GET /raft/stream/{stream}/2 HTTP/1.1\r\nHost: x\r\nX-Server-From: 2\r\nX-Server-Version: 3.5.0\r\n\
         X-Min-Cluster-Version: 3.0.0\r\nX-Etcd-Cluster-ID: {CLUSTER:x}\r\nX-Raft-To: 1\r\n\r\n"
    )
}

pub(crate) fn say(to: &Member, text: &str) -> TcpStream {
    let mut stream =
        TcpStream::connect(to.transport().local_addr().expect("it listens")).expect("it listens");
    stream.write_all(text.as_bytes()).expect("sent");
    stream
}

/// A host whose `process` is the test's.
struct Odd<F> {
    inner: Arc<Host>,
    process: F,
}

impl<F: Fn(&mut Vec<Message>) + Send + Sync + 'static> Raft for Odd<F> {
    fn process(&self, _: Origin, messages: &mut Vec<Message>) {
        (self.process)(messages);
    }

    fn is_id_removed(&self, _: MemberId) -> bool {
        false
    }

    fn report_unreachable(&self, id: MemberId) {
        self.inner.report_unreachable(id);
    }

    fn report_snapshot(&self, id: MemberId, status: SnapshotStatus) {
        self.inner.report_snapshot(id, status);
    }
}

/// Two members; `process` is that of the second one's host.
pub(crate) fn odd_pair(cores: &Cores, process: impl Fn(&mut Vec<Message>) + Send + Sync + 'static) -> Pair {
    let host = Host::new();
    let raft = Arc::new(Odd { inner: Arc::clone(&host), process });
    let two = Member::start_as(2, cores, any(), raft, host, |_| ());
    join(cores, Member::start(1, cores, any(), |_| ()), two)
}

fn join(cores: &Cores, one: Member, two: Member) -> Pair {
    one.add(&two);
    two.add(&one);
    let pair = Pair { cores: cores.clone(), one, two };
    pair.wait_for_streams();
    pair
}

pub(crate) fn pair(cores: &Cores) -> Pair {
    join(cores, Member::start(1, cores, any(), |_| ()), Member::start(2, cores, any(), |_| ()))
}

/// Runs both at the same time.
pub(crate) fn at_once<'a>(first: impl FnOnce() + Send + 'a, second: impl FnOnce() + Send + 'a) {
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            barrier.wait();
            first();
        });
        barrier.wait();
        second();
    });
}
