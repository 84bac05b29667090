//! raftring itself: one transport a member, placed on the cores as the plan says.

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use raftring::raftpb::Message;
use raftring::{
    Config, Cores, CoresConfig, Listen, MemberId, Origin, Placement, Raft, Signal, SnapshotStatus, Transport,
    Via,
};

use crate::batch::Batch;
use crate::black_hole::BlackHole;
use crate::inbox::Inbox;
use crate::load::Load;
use crate::message::member_id;
use crate::meter::Meter;
use crate::plan::{Host, Mode, Plan};
use crate::player::{Player, wait_until};
use crate::{drive, rtt};

/// The cluster of every run; nothing else listens to it.
const CLUSTER: u64 = 0xbe_ac_4e_d0;

/// For all members to find each other, 128 of them on two busy cores.
const START_MAX: Duration = Duration::from_secs(20);

/// For a transport to let go of everything.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Plays with raftring.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raftring;

impl Player for Raftring {
    fn name(&self) -> &'static str {
        "raftring"
    }

    fn play(&self, plan: &Plan, meter: &Arc<Meter>, watch: &mut dyn FnMut()) -> Result<()> {
        let mut cluster = Cluster::start(plan, meter)?;
        cluster.connect()?;
        let load = cluster.start_load()?;
        watch();
        load.end()?;
        cluster.stop()
    }
}

/// A leader and its followers.
struct Cluster {
    plan: Plan,
    meter: Arc<Meter>,
    cores: Cores,
    members: Vec<Arc<Member>>,
    hole: Option<BlackHole>,
    host_threads: Vec<thread::JoinHandle<()>>,
}

/// One member: its role in the load, and its transport once that runs.
struct Member {
    number: usize,
    mode: Mode,
    meter: Arc<Meter>,
    leader: Arc<rtt::Leader>,
    transport: OnceLock<Transport>,
    /// Where a host on a thread of its own takes its messages; `None` for one on the core.
    inbox: Option<Inbox<Message>>,
    /// Who said hello to the leader.
    heard: Mutex<HashSet<u64>>,
    /// Streams come and go while the members find each other: what is lost then is no loss.
    connected: AtomicBool,
    /// Who is expected to take nothing; 0 for nobody.
    hole: u64,
}

/// What runs the load; ends by itself when the run is over.
struct Running(Option<Receiver<()>>);

impl Cluster {
    fn start(plan: &Plan, meter: &Arc<Meter>) -> Result<Self> {
        let mut config = CoresConfig::on(plan.cores.clone());
        config.spin = plan.spin;
        let cores = Cores::start(&config).context("the cores do not start")?;
        let leader = Arc::new(rtt::Leader::new(plan, meter));
        let threaded = plan.mode == Mode::Rtt && plan.host == Host::Thread;
        let hole = if plan.black_hole { Some(BlackHole::open(plan.followers + 1)?) } else { None };
        let members = (0..=plan.followers).map(|number| {
            let member = Arc::new(Member {
                number,
                mode: plan.mode,
                meter: Arc::clone(meter),
                leader: Arc::clone(&leader),
                transport: OnceLock::new(),
                inbox: threaded.then(Inbox::default),
                heard: Mutex::default(),
                connected: AtomicBool::new(false),
                hole: hole.as_ref().map_or(0, |hole| hole.id),
            });
            let transport =
                Transport::start(config_of(plan, number), &cores, Arc::clone(&member) as Arc<dyn Raft>)?;
            ensure!(member.transport.set(transport).is_ok(), "a member has one transport");
            Ok(member)
        });
        let members = members.collect::<Result<Vec<_>>>()?;
        let (plan, meter) = (plan.clone(), Arc::clone(meter));
        Ok(Self { plan, meter, cores, members, hole, host_threads: Vec::new() }.with_hosts())
    }

    /// Gives each member with an inbox the thread that empties it.
    fn with_hosts(mut self) -> Self {
        for member in self.members.iter().filter(|member| member.inbox.is_some()) {
            let member = Arc::clone(member);
            self.host_threads.push(thread::spawn(move || member.run_host()));
        }
        self
    }

    /// Introduces everyone and waits until hellos arrive, there by the msgapp stream and back by the
    /// message stream: a circle whose only message meets a stream that is not up ends for ever.
    fn connect(&mut self) -> Result<()> {
        let leader = self.members[0].transport();
        for follower in &self.members[1..] {
            follower.transport().add_peer(member_id(0), [url(leader)])?;
            leader.add_peer_on(
                self.plan.leaders_core(follower.number),
                member_id(follower.number),
                [url(follower.transport())],
            )?;
        }
        wait_until("every follower hears the leader", START_MAX, || {
            let silent = (0..self.plan.followers).filter(|&follower| self.meter.hellos(follower) == 0);
            leader.send(silent.map(|follower| self.meter.messages.hello(follower)));
            (0..self.plan.followers).all(|follower| self.meter.hellos(follower) > 0)
        })?;
        wait_until("the leader hears every follower", START_MAX, || {
            let heard = self.members[0].heard();
            for follower in
                self.members[1..].iter().filter(|member| !heard.contains(&member_id(member.number)))
            {
                follower.transport().send([self.meter.messages.hello_back(follower.number - 1)]);
            }
            heard.len() == self.plan.followers
        })?;
        if let Some(hole) = &mut self.hole {
            leader.add_peer_on(0, hole.id, [hole.url()?])?;
            hole.swallow(leader, CLUSTER, &self.meter)?;
        }
        for member in &self.members {
            member.connected.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    fn start_load(&self) -> Result<Running> {
        let leader = self.members[0].transport().clone();
        match (self.plan.mode, self.plan.host) {
            (Mode::Rtt, Host::Thread) => {
                leader.send(self.members[0].leader.start());
                Ok(Running(None))
            }
            (Mode::Rtt, Host::Core) => {
                let circles = Arc::clone(&self.members[0].leader);
                self.on_leaders_core(move || async move {
                    let _ = leader.send(circles.start());
                })
            }
            (Mode::Push, Host::Thread) => {
                let (done, running) = channel();
                let (mut load, hole) =
                    (Load::new(&self.plan, &self.meter), self.hole.as_ref().map_or(0, |hole| hole.id));
                thread::spawn(move || {
                    drive::on_thread(&mut load, |batch| {
                        leader.send_ref(batch.iter());
                        feed(&leader, hole, batch);
                    });
                    let _ = done.send(());
                });
                Ok(Running(Some(running)))
            }
            (Mode::Push, Host::Core) => {
                let mut load = Load::new(&self.plan, &self.meter);
                let signal = Signal::new();
                let raise = signal.clone();
                self.meter.credits.wake_with(Box::new(move || raise.raise()));
                self.on_leaders_core(move || async move {
                    let send = |batch: &mut Batch| _ = leader.send_ref(batch.iter());
                    drive::on_core(&mut load, send, async || signal.raised().await).await;
                })
            }
        }
    }

    fn on_leaders_core<F: Future<Output = ()> + 'static>(
        &self,
        make: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Running> {
        let (done, running) = channel();
        let task = move || {
            let load = make();
            async move {
                load.await;
                let _ = done.send(());
            }
        };
        self.cores.spawn(0, task)?;
        Ok(Running(Some(running)))
    }

    fn stop(mut self) -> Result<()> {
        let endings: Vec<_> = self.members.iter().map(|member| member.transport().stop()).collect();
        for ending in endings {
            ensure!(ending.wait(STOP_MAX), "a transport did not end within {STOP_MAX:?}");
        }
        for member in &self.members {
            member.inbox.iter().for_each(Inbox::close);
        }
        for host in self.host_threads.drain(..) {
            ensure!(host.join().is_ok(), "a host's thread panicked");
        }
        self.cores.stop();
        Ok(())
    }
}

/// A black hole is sent what the first follower is sent.
fn feed(leader: &Transport, hole: u64, batch: &Batch) {
    if hole != 0 {
        let first = batch.first().map(|message| message.to());
        let copies = batch.iter().filter(|message| Some(message.to()) == first).cloned();
        leader.send(copies.map(|message| Message { to: Some(hole), ..message }));
    }
}

impl Running {
    fn end(self) -> Result<()> {
        match self.0 {
            Some(running) => running.recv_timeout(STOP_MAX).context("the load did not end with the run"),
            None => Ok(()),
        }
    }
}

fn config_of(plan: &Plan, number: usize) -> Config {
    let mut config = Config::new(member_id(number), CLUSTER);
    config.listen = Listen::Address(([127, 0, 0, 1], 0).into());
    // Everyone connects from one address, and all at once.
    config.handshakes_per_address_max = config.handshakes_max;
    config.placement = Placement::Core(plan.core_of(number));
    config
}

fn url(transport: &Transport) -> String {
    transport.local_addr().map_or_else(String::new, |address| format!("http://{address}"))
}

impl Member {
    fn transport(&self) -> &Transport {
        self.transport.get().expect("set before anyone connects")
    }

    fn heard(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what arrived, wherever the host lives, and sends what follows from it.
    fn take(&self, messages: &[Message], out: &mut Vec<Message>) {
        match (self.number, self.mode) {
            (0, _) => self.leader.process(messages, out),
            (number, Mode::Push) => self.meter.processed(number - 1, messages),
            (number, Mode::Rtt) => rtt::answer(&self.meter, number - 1, messages, out),
        }
        if !out.is_empty() {
            self.transport().send(out.drain(..));
        }
    }

    fn run_host(&self) {
        let (mut messages, mut out) = (Vec::new(), Vec::new());
        while self.inbox.as_ref().is_some_and(|inbox| inbox.take(&mut messages)) {
            self.take(&messages, &mut out);
            messages.clear();
        }
    }
}

impl Raft for Member {
    fn process(&self, origin: Origin, messages: &mut Vec<Message>) {
        // Hellos that came by the other stream do not show that this one works.
        if origin.via != Via::Msgapp {
            messages.retain(|message| !self.meter.messages.is_hello(message));
        }
        if self.number == 0 {
            if !self.connected.load(Ordering::Relaxed) {
                self.heard().extend(messages.iter().filter_map(|message| message.from));
            }
            messages.retain(|message| !self.meter.messages.is_hello_back(message));
        }
        match &self.inbox {
            Some(inbox) => inbox.put(messages.drain(..)),
            None => {
                self.take(messages, &mut Vec::new());
                messages.clear();
            }
        }
    }

    fn is_id_removed(&self, _id: MemberId) -> bool {
        false
    }

    fn report_unreachable(&self, id: MemberId) {
        let expected = id.0 == self.hole;
        if !expected && self.connected.load(Ordering::SeqCst) && !self.meter.is_over() {
            self.meter.unreachable();
        }
    }

    fn report_snapshot(&self, _id: MemberId, _status: SnapshotStatus) {}
}
