//! The threads of the process that do all the I/O, shared by any number of transports.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::congestion::{Congestion, CongestionControl};
use super::core::Core;
use super::insight::{CoreCounters, CoreStats};
use super::letter::CoreShared;
use super::resolve::Resolver;
use super::snapshot::Snapshots;
use super::{ring, sys, wakes};
use crate::buf::Pool;
use crate::cores::{
    Alarm, Backlog, Doorbell, Load, Mailbox, PinError, Spin, available_cpus, pin_current_thread,
};
use crate::error::{ConfigError, StartError};
use crate::metrics::Latencies;

/// More than a core begins in one turn, unless hundreds of connections wake at once.
const RING_ENTRIES: u32 = 1024;

/// Longer than a wake-up takes: two cores that talk to each other then find out that both should spin.
const SPIN_DEFAULT: Duration = Duration::from_micros(50);

/// Linux keeps fifteen bytes of a thread's name, of which a dash and the number take four.
const NAME_BYTES_MAX: usize = 11;

/// A core may not spin for longer: it would look like a hang.
const SPIN_MAX: Duration = Duration::from_millis(100);

/// Sixteen full lanes of payloads that no two of them share. Followers of one leader share theirs, so
/// that any number of them which are cut off costs hardly more than one.
const QUEUED_BYTES_MAX: usize = 1 << 30;

/// With less, a message or two of ordinary size would fill the process.
const QUEUED_BYTES_MAX_MIN: usize = 1 << 20;

/// See [`CoresConfig::snapshots_max`].
const SNAPSHOTS_MAX: usize = 2;

/// Each of them may have a helper thread.
const SNAPSHOTS_MAX_MAX: usize = 64;

/// With less, receivers would take it for a transfer that stalls.
const SNAPSHOT_RATE_MIN: u64 = 64 << 10;

/// Which cores to start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CoresConfig {
    /// One core a CPU, pinned to it, in this order.
    pub cpus: Vec<usize>,
    /// Threads are called this and a number, such as `raftring-0`; at most eleven bytes.
    pub name: String,
    /// Whether and how long a core polls after its last work before it sleeps. A spinning core uses
    /// its CPU whole, so by default it does only where work comes again within 50 us as a rule.
    pub spin: Spin,
    /// Entries of each core's ring: how many operations it hands to the kernel in one call, and half
    /// of how many completions it takes back in one. Not a bound on connections: a full ring is
    /// emptied into the kernel at once, and completions that do not fit are kept there until they do.
    pub ring_entries: u32,
    /// Payload bytes that wait in the lanes of all peers of all transports on these cores, a payload
    /// of 1 KiB or more counted once however many peers it waits for. 1 GiB. What would exceed it is
    /// dropped as with a full lane; but an empty lane admits one message of any legal size.
    pub queued_bytes_max: usize,
    /// Snapshots that are sent at once by all transports on these cores, and as many that are received;
    /// one a peer. 2: each may read or write a file of gigabytes, on a thread that only does that.
    pub snapshots_max: usize,
    /// Bytes a second that all snapshots together are sent with. None by default: as fast as it goes.
    pub snapshot_bytes_per_second_max: Option<u64>,
    /// Congestion control of all sockets. Set per socket, so the system's own stays as it is.
    pub congestion_control: CongestionControl,
}

impl Default for CoresConfig {
    fn default() -> Self {
        Self {
            cpus: available_cpus(),
            name: "raftring".to_owned(),
            spin: Spin::Adaptive(SPIN_DEFAULT),
            ring_entries: RING_ENTRIES,
            queued_bytes_max: QUEUED_BYTES_MAX,
            snapshots_max: SNAPSHOTS_MAX,
            snapshot_bytes_per_second_max: None,
            congestion_control: CongestionControl::Auto,
        }
    }
}

impl CoresConfig {
    /// One core for each of these CPUs.
    #[must_use]
    pub fn on(cpus: impl Into<Vec<usize>>) -> Self {
        Self { cpus: cpus.into(), ..Self::default() }
    }

    /// So many cores, on the first of the CPUs that this process may use; on all of them if there are
    /// fewer.
    #[must_use]
    pub fn first(count: usize) -> Self {
        Self::on(available_cpus().into_iter().take(count).collect::<Vec<_>>())
    }

    fn validate(&self) -> Result<(), StartError> {
        let wrong = |setting, advice: String| Err(ConfigError { setting, advice }.into());
        if self.cpus.is_empty() {
            return wrong("cpus", format!("name at least one of {:?}", available_cpus()));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = self.cpus.iter().find(|cpu| !seen.insert(**cpu)) {
            return wrong("cpus", format!("CPU {twice} is named twice: one core a CPU"));
        }
        let available = available_cpus();
        if let Some(&cpu) = self.cpus.iter().find(|cpu| !available.contains(cpu)) {
            return Err(PinError { cpu, available }.into());
        }
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX || self.name.contains('\0') {
            return wrong("name", format!("{:?} names no thread: give 1 to 11 bytes", self.name));
        }
        if self.spin.limit() > SPIN_MAX {
            return wrong("spin", format!("{:?} is over {SPIN_MAX:?}: 50 us is plenty", self.spin.limit()));
        }
        if !(ring::ENTRIES_MIN..=ring::ENTRIES_MAX).contains(&self.ring_entries) {
            let entries = self.ring_entries;
            return wrong("ring_entries", format!("{entries} is out of range: give 256 to 32,768"));
        }
        if self.queued_bytes_max < QUEUED_BYTES_MAX_MIN {
            let bytes = self.queued_bytes_max;
            return wrong("queued_bytes_max", format!("{bytes} is too few: give 1 MiB at least"));
        }
        if !(1..=SNAPSHOTS_MAX_MAX).contains(&self.snapshots_max) {
            let count = self.snapshots_max;
            return wrong(
                "snapshots_max",
                format!("{count} is out of range: give 1 to 64; the default is 2"),
            );
        }
        if let Some(rate) = self.snapshot_bytes_per_second_max.filter(|&rate| rate < SNAPSHOT_RATE_MIN) {
            let advice = format!("{rate} bytes a second is too few: give 64 KiB at least, or None");
            return wrong("snapshot_bytes_per_second_max", advice);
        }
        Ok(())
    }
}

/// The running cores. Cloning gives the same ones; they stop when the last clone (transports hold
/// one each) is dropped, or by [`Cores::stop`].
#[derive(Clone)]
pub struct Cores {
    inner: Arc<Inner>,
}

struct Inner {
    cores: Vec<Arc<CoreShared>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    resolver: Resolver,
    backlog: Arc<Backlog>,
    snapshots: Arc<Snapshots>,
    stopped: AtomicBool,
}

impl Cores {
    /// Starts the threads; returns when every ring is built and has done one operation.
    ///
    /// # Errors
    /// A setting is wrong, a CPU cannot be had, or io_uring is not available here; the error names
    /// the cause and the cure.
    pub fn start(config: &CoresConfig) -> Result<Self, StartError> {
        config.validate()?;
        let congestion = Congestion::choose(&config.congestion_control)?;
        sys::ignore_sigpipe();
        let mut inner = Inner {
            cores: Vec::new(),
            threads: Mutex::default(),
            resolver: Resolver::start()?,
            backlog: Arc::new(Backlog::new(config.queued_bytes_max)),
            snapshots: Snapshots::new(config.snapshots_max, config.snapshot_bytes_per_second_max),
            stopped: AtomicBool::new(false),
        };
        for (index, &cpu) in config.cpus.iter().enumerate() {
            // On an error `inner` is dropped, which stops those that run.
            let (core, thread) = start_one(config, index, cpu, &inner.backlog, congestion.clone())?;
            inner.cores.push(core);
            inner.threads.get_mut().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// How many cores there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.inner.cores.len()
    }

    /// Runs a task of the host's on a core, beside the transports' own. It may send without any
    /// crossing, and must not block.
    ///
    /// # Errors
    /// If there is no such core.
    pub fn spawn<F>(&self, core: usize, make: impl FnOnce() -> F + Send + 'static) -> Result<(), ConfigError>
    where
        F: Future<Output = ()> + 'static,
    {
        self.core(core)?.run(move |core| core.spawn("host task", make(), |_| ()));
        Ok(())
    }

    /// A look at one core, taken on it; all zero if it has ended, or does not answer within a second.
    /// Not for use on that core, which would wait for itself.
    ///
    /// # Errors
    /// If there is no such core.
    pub fn stats(&self, core: usize) -> Result<CoreStats, ConfigError> {
        let shared = self.core(core)?;
        let (sender, receiver) = mpsc::sync_channel(1);
        shared.run(move |core| _ = sender.send(core.shared.stats()));
        Ok(receiver.recv_timeout(Duration::from_secs(1)).unwrap_or_default())
    }

    /// How long messages stayed in each stage of their way since the cores were started, all transports
    /// together.
    #[must_use]
    pub fn latencies(&self) -> Latencies {
        Latencies::of(self.inner.cores.iter().map(|core| &*core.stages))
    }

    /// Payload bytes that wait in all lanes now, as [`CoresConfig::queued_bytes_max`] counts them. Each
    /// peer's own share, in which all of its payloads count, is told by `Transport::queued`.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.inner.backlog.bytes()
    }

    /// Stops every core whose tasks are done, and waits for the threads. Transports are stopped
    /// first; from a core's own thread this only starts it.
    pub fn stop(&self) {
        self.inner.stop();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.inner.stopped.load(Ordering::Acquire)
    }

    pub(crate) fn all(&self) -> &[Arc<CoreShared>] {
        &self.inner.cores
    }

    pub(crate) fn core(&self, index: usize) -> Result<&Arc<CoreShared>, ConfigError> {
        self.inner.cores.get(index).ok_or_else(|| ConfigError {
            setting: "placement",
            advice: format!("there is no core {index}; choose from 0 to {}", self.count() - 1),
        })
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.inner.resolver
    }

    pub(crate) fn snapshots(&self) -> &Arc<Snapshots> {
        &self.inner.snapshots
    }
}

impl fmt::Debug for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cores").field("count", &self.count()).finish()
    }
}

impl Inner {
    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        for core in &self.cores {
            core.run(|core| core.stop());
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A core cannot wait for itself; it ends when its last task does.
            if thread.thread().id() != std::thread::current().id() && Core::current().is_none() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

fn start_one(
    config: &CoresConfig,
    index: usize,
    cpu: usize,
    backlog: &Arc<Backlog>,
    congestion: Congestion,
) -> Result<(Arc<CoreShared>, JoinHandle<()>), StartError> {
    let doorbell = Doorbell::new().map_err(StartError::System)?;
    let alarm = Alarm::new().map_err(StartError::System)?;
    let shared = Arc::new(CoreShared {
        index,
        load: Load::new(),
        pool: Pool::new(),
        backlog: Arc::clone(backlog),
        congestion,
        mailbox: Mailbox::default(),
        doorbell,
        alarm,
        counters: CoreCounters::default(),
        stages: Arc::default(),
    });
    let (ready, started) = mpsc::sync_channel(1);
    let of_thread = Arc::clone(&shared);
    let (spin, entries) = (config.spin, config.ring_entries);
    let thread = std::thread::Builder::new()
        .name(format!("{}-{index}", config.name))
        .spawn(move || run_one(of_thread, cpu, spin, entries, &ready))
        .map_err(StartError::System)?;
    match started.recv() {
        Ok(Ok(())) => Ok((shared, thread)),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(StartError::System(io::Error::other("a core's thread ended while it started"))),
    }
}

fn run_one(
    shared: Arc<CoreShared>,
    cpu: usize,
    spin: Spin,
    entries: u32,
    ready: &mpsc::SyncSender<Result<(), StartError>>,
) {
    let runtime = pin_current_thread(cpu).map_err(StartError::from).and_then(|()| ring::build(entries));
    let mut runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    runtime.block_on(async move {
        let core = Core::new(shared, spin);
        core.enter();
        match wakes::listen(&core) {
            Ok(wakes) => {
                let _ = ready.send(Ok(()));
                Rc::clone(&core).run().await;
                wakes.stop().await;
            }
            Err(error) => drop(ready.send(Err(StartError::System(error)))),
        }
    });
}
