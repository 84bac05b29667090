//! The other member: a raftring transport with the follower behind it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use raftring::proto::handshake::Refusal;
use raftring::raftpb::Message;
use raftring::snapshot::{SinkError, SnapshotFolder, SnapshotSink};
use raftring::{
    ClusterId, Config, Cores, CoresConfig, Direction, DropReason, Event, Listen, MemberId, Origin, Raft,
    SnapshotStatus, StreamKind, Transport, Via,
};

use super::follower::Follower;

/// The follower with what it needs to answer, and what the transport told it.
pub struct Host {
    follower: Arc<Mutex<Follower>>,
    transport: Mutex<Option<Transport>>,
    told: Mutex<Told>,
    /// What comes by the msgapp stream is left.
    pub stalls: AtomicBool,
    /// Where databases are saved; a test that wants none has none.
    pub folder: Mutex<Option<SnapshotFolder>>,
}

#[derive(Default)]
struct Told {
    events: Vec<(Instant, Event)>,
    unreachable: Vec<(Instant, MemberId)>,
    /// Messages that `send` did and did not accept.
    accepted: usize,
    refused: usize,
}

/// A running member.
pub struct Member {
    pub host: Arc<Host>,
    cores: Cores,
    transport: Transport,
}

/// Who the member is.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    pub id: MemberId,
    pub cluster: ClusterId,
    pub listen: SocketAddr,
}

impl Member {
    /// Starts a transport at its address, with a core of its own; the log is the host's.
    pub fn start(who: &Who, follower: &Arc<Mutex<Follower>>, adjust: impl FnOnce(&mut Config)) -> Self {
        let host = Arc::new(Host {
            follower: Arc::clone(follower),
            transport: Mutex::default(),
            told: Mutex::default(),
            stalls: AtomicBool::new(false),
            folder: Mutex::default(),
        });
        let mut config = Config::new(who.id, who.cluster);
        config.peer_urls = vec![format!("http://{}", who.listen)];
        config.listen = Listen::Address(who.listen);
        let observer = Arc::clone(&host);
        config.observer = Arc::new(move |event: &Event| {
            observer.told().events.push((Instant::now(), event.clone()));
        });
        adjust(&mut config);
        let cores = Cores::start(&one_core()).expect("a core starts");
        let raft = Arc::clone(&host) as Arc<dyn Raft>;
        let transport = Transport::start(config, &cores, raft).expect("the transport starts");
        *lock(&host.transport) = Some(transport.clone());
        Self { host, cores, transport }
    }

    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Times that the msgapp stream was left unread.
    pub fn waits(&self) -> u64 {
        self.cores.stats(0).expect("core 0").host_full_waits
    }

    /// Ends it and waits for the last task; nothing may be left but the doorbell's read. What the
    /// transport told stays with the host.
    pub fn stop(self) -> Arc<Host> {
        self.host.assert_sound();
        assert!(self.transport.stop().wait(Duration::from_secs(5)), "it stops in time");
        let stats = self.cores.stats(0).expect("core 0");
        assert_eq!((stats.tasks, stats.operations, stats.blocks.out_bytes()), (0, 2, 0));
        Arc::clone(&self.host)
    }
}

/// One of the CPUs, in turn: tests run side by side.
fn one_core() -> CoresConfig {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let cpus = CoresConfig::default().cpus;
    CoresConfig::on([cpus[NEXT.fetch_add(1, Ordering::Relaxed) % cpus.len()]])
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.transport.stop().wait(Duration::from_secs(5));
        *lock(&self.host.transport) = None; // the host and its transport hold each other
        self.cores.stop();
        if std::thread::panicking() {
            self.host.print_last_events();
        }
    }
}

impl Host {
    pub fn follower(&self) -> MutexGuard<'_, Follower> {
        lock(&self.follower)
    }

    /// How many events there were, to look only at later ones.
    pub fn mark(&self) -> usize {
        self.told().events.len()
    }

    /// Events since a mark.
    pub fn events(&self, mark: usize) -> Vec<(Instant, Event)> {
        self.told().events[mark..].to_vec()
    }

    /// When the first such event since a mark happened.
    pub fn when(&self, mark: usize, is: impl Fn(&Event) -> bool) -> Option<Instant> {
        self.told().events[mark..].iter().find(|(_, event)| is(event)).map(|(at, _)| *at)
    }

    pub fn count(&self, mark: usize, is: impl Fn(&Event) -> bool) -> usize {
        self.told().events[mark..].iter().filter(|(_, event)| is(event)).count()
    }

    pub fn unreachable_since(&self, since: Instant) -> usize {
        self.told().unreachable.iter().filter(|(at, _)| *at >= since).count()
    }

    pub fn accepted(&self) -> usize {
        self.told().accepted
    }

    /// When the last of the four streams came up after a mark, if all did.
    pub fn all_streams_up(&self, mark: usize) -> Option<Instant> {
        let up = |kind, direction| {
            self.when(mark, |event| {
                matches!(event, Event::StreamUp { kind: k, direction: d, .. } if (*k, *d) == (kind, direction))
            })
        };
        let mut last = None;
        for kind in StreamKind::ALL {
            for direction in [Direction::Reader, Direction::Writer] {
                last = last.max(Some(up(kind, direction)?));
            }
        }
        last
    }

    /// Sends as the follower does.
    pub fn send(&self, batch: Vec<Message>) {
        let Some(transport) = lock(&self.transport).clone() else { return };
        let sent = transport.send(batch);
        let mut told = self.told();
        told.accepted += sent.accepted;
        told.refused += sent.dropped;
    }

    /// That nothing happened to any stream since a mark: what etcd asks for beyond streams and
    /// messages (its version), and what our probers find, have no part in that.
    pub fn assert_quiet(&self, mark: usize) {
        let apart = |event: &Event| match event {
            Event::RequestRefused { refusal, .. } => *refusal == Refusal::NotFound,
            Event::ProbeHealth { healthy, .. } => *healthy,
            _ => false,
        };
        let mut events = self.events(mark);
        events.retain(|(_, event)| !apart(event));
        assert!(events.is_empty(), "{events:?}");
    }

    fn print_last_events(&self) {
        let events = self.events(0);
        println!("---- the last of {} events", events.len());
        for (at, event) in &events[events.len().saturating_sub(30)..] {
            println!("{:?} ago: {event:?}", at.elapsed());
        }
    }

    /// What holds whatever happened: nobody broke the rules of raft, no host callback panicked,
    /// nothing of etcd's was found implausible, and every loss was told, and told once.
    pub fn assert_sound(&self) {
        assert_eq!(self.follower().violations, Vec::<String>::new());
        let wrong = |event: &Event| {
            matches!(
                event,
                Event::Panicked { .. }
                    | Event::Rejected { .. }
                    | Event::ListenerFailed { .. }
                    | Event::MemberRemoved { .. }
            )
        };
        let wrong: Vec<_> = self.events(0).into_iter().filter(|(_, event)| wrong(event)).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        wait_until("every loss is reported", Duration::from_secs(2), || self.losses_are_told());
    }

    /// Each message that `send` refused is in an event, and raft heard of every such event.
    fn losses_are_told(&self) -> bool {
        let told = self.told();
        let (mut refused, mut reports) = (0, 0);
        for (_, event) in &told.events {
            if let Event::Dropped { messages, reason, .. } = event {
                match reason {
                    DropReason::LaneFull(_) => {
                        (refused, reports) = (refused + messages, reports + 1);
                    }
                    DropReason::StreamLost | DropReason::PostFailed => reports += 1,
                    // Of a transport that was stopped: its raft is not told any more.
                    DropReason::UnknownPeer => refused += messages,
                    _ => {}
                }
            }
        }
        refused == told.refused && reports == told.unreachable.len()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        lock(&self.told)
    }
}

impl Raft for Host {
    fn process(&self, origin: Origin, messages: &mut Vec<Message>) {
        if origin.via == Via::Msgapp && self.stalls.load(Ordering::Relaxed) {
            return;
        }
        let answers = {
            let mut follower = self.follower();
            messages.drain(..).filter_map(|message| follower.step(origin.via, &message)).collect()
        };
        self.send(answers);
    }

    fn is_id_removed(&self, _id: MemberId) -> bool {
        false
    }

    fn report_unreachable(&self, id: MemberId) {
        self.told().unreachable.push((Instant::now(), id));
    }

    fn report_snapshot(&self, _id: MemberId, _status: SnapshotStatus) {}

    fn snapshot_sink(&self, snapshot: &Message) -> Result<Box<dyn SnapshotSink>, SinkError> {
        let folder = lock(&self.folder).clone().ok_or(SinkError::Unsupported)?;
        Ok(Box::new(folder.sink(snapshot.snapshot_index())?))
    }
}

/// A test that failed elsewhere must not hide behind a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn wait_until(what: &str, timeout: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in {timeout:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
