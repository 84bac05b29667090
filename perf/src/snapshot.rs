//! A database from one transport to another: how fast, with how much memory, and what becomes of the
//! heartbeats beside it.
//!
//! ```text
//!   host thread, every 250 us ─heartbeat─> transport 1 ══stream══> transport 2: process
//!                             └─stamp───> plain socket ──────────> plain thread (the control)
//!   file ──────────────────────────────> transport 1 ══POST══════> transport 2: file
//! ```
//!
//! The control shares the machine, the moment and the load, and has nothing of ours in it: what
//! delays both is the machine's.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use raftring::raftpb::{Message, MessageType, Snapshot, SnapshotMetadata};
use raftring::snapshot::{FileSource, SinkError, SnapshotFolder, SnapshotSink};
use raftring::{
    Config, Cores, CoresConfig, Listen, MemberId, Origin, Placement, Raft, SnapshotStatus, Transport, Via,
};

use crate::affinity;
use crate::cli::SnapshotArgs;
use crate::clock::Clock;
use crate::compare::table::Spread;
use crate::meter::histogram;
use crate::progress::Progress;
use crate::report::{percentiles_us, print_percentiles};

/// Between two heartbeats: often enough for a p99.9 of what lasts three seconds.
const TICK: Duration = Duration::from_micros(250);

/// The share of messages that are quicker than the latency that is compared.
const TAIL: f64 = 0.999;

/// As much as the whole process may take beyond what it has before, both ends together.
const EXTRA_BYTES_MAX: usize = 64 << 20;

/// How far a rate may be from its limit, as a part.
const RATE_TOLERANCE: f64 = 0.05;

/// Long enough for any size at any rate that somebody waits for.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Sends the database and prints the figures; fails if it takes too much memory or misses its rate.
pub fn run(args: &SnapshotArgs, progress: &Progress) -> Result<()> {
    let scratch = Scratch::new(&args.dir)?;
    progress.say("writing the database");
    let file = scratch.0.join("source");
    write_database(&file, args.mebibytes)?;
    let stage = Stage::start(args, &scratch)?;
    progress.say("heartbeats alone");
    let (alone, _) = stage.beat(args.alone, || false)?;

    let before = resident_bytes()?;
    let peak = Peak::watch(before);
    let mut rounds = Rounds::default();
    for round in 1..=args.rounds {
        progress.say(&format!("heartbeats beside the snapshot, round {round}"));
        rounds.add(stage.round(&file)?)?;
    }
    let peak = peak.end();
    progress.clear();
    let extra = peak.saturating_sub(before);
    println!(
        "resident before {:.1} MiB, at most {:.1} MiB during: {:.1} MiB extra for both ends",
        mib(before),
        mib(peak),
        mib(extra)
    );
    print("alone", &alone)?;
    rounds.print()?;
    stage.stop()?;
    ensure!(extra < EXTRA_BYTES_MAX, "{} bytes extra are over {EXTRA_BYTES_MAX}", extra);
    args.rate.map_or(Ok(()), |limit| rounds.check_rate(limit as f64))
}

/// One snapshot, and what was sent beside it.
struct Round {
    bytes: u64,
    took: Duration,
    beats: Beats,
}

/// All of them.
#[derive(Default)]
struct Rounds {
    bytes_per_second: Vec<f64>,
    /// The p99.9 of the heartbeats by that of the control, round by round.
    ratios: Vec<f64>,
    all: Option<Beats>,
}

impl Rounds {
    fn add(&mut self, round: Round) -> Result<()> {
        let rate = round.bytes as f64 / round.took.as_secs_f64();
        let [heartbeat, control] = [&round.beats.heartbeats, &round.beats.control]
            .map(|latencies| latencies.value_at_quantile(TAIL) as f64 / 1e3);
        let ratio = heartbeat / control;
        println!(
            "{} MiB in {:.2} s: {:.1} MB/s; p99.9 of heartbeats {heartbeat:.1} us, of the control {control:.1} us, ratio {ratio:.2}",
            round.bytes >> 20,
            round.took.as_secs_f64(),
            rate / 1e6
        );
        self.bytes_per_second.push(rate);
        self.ratios.push(ratio);
        match &mut self.all {
            None => self.all = Some(round.beats),
            Some(all) => {
                all.heartbeats.add(&round.beats.heartbeats)?;
                all.control.add(&round.beats.control)?;
            }
        }
        Ok(())
    }

    fn print(&self) -> Result<()> {
        let all = self.all.as_ref().context("no round")?;
        print("beside", all)?;
        let ratio = Spread::of(self.ratios.clone()).context("no round")?;
        let together =
            all.heartbeats.value_at_quantile(TAIL) as f64 / all.control.value_at_quantile(TAIL) as f64;
        println!(
            "p99.9 of heartbeats by that of the control: {:.2} [{:.2}..{:.2}], {together:.2} over all rounds",
            ratio.median, ratio.min, ratio.max
        );
        Ok(())
    }

    fn check_rate(&self, limit: f64) -> Result<()> {
        for rate in &self.bytes_per_second {
            let off = (rate / limit - 1.0).abs();
            println!("limit {:.1} MB/s: off by {:.2} %", limit / 1e6, off * 100.0);
            ensure!(off <= RATE_TOLERANCE, "the rate is off by {:.1} %", off * 100.0);
        }
        Ok(())
    }
}

/// Latencies of what was sent at the same moments.
struct Beats {
    heartbeats: Histogram<u64>,
    control: Histogram<u64>,
}

fn print(what: &str, beats: &Beats) -> Result<()> {
    for (name, latencies) in [("heartbeat", &beats.heartbeats), ("control", &beats.control)] {
        println!("{name} {what}: {} of them", latencies.len());
        print_percentiles(&mut std::io::stdout(), &format!("{name} {what}"), &percentiles_us(latencies))?;
    }
    Ok(())
}

/// Two transports, and a plain socket.
struct Stage {
    one: Transport,
    two: Transport,
    cores: Cores,
    folder: SnapshotFolder,
    receiver: Arc<Host>,
    control: TcpStream,
    controlled: Arc<Mutex<Histogram<u64>>>,
    clock: Clock,
}

impl Stage {
    fn start(args: &SnapshotArgs, scratch: &Scratch) -> Result<Self> {
        let clock = Clock::start();
        let folder = SnapshotFolder::open(scratch.0.join("received"))?.with_reserve(1 << 30, 0);
        let mut config = CoresConfig::on(args.cores.clone());
        config.snapshot_bytes_per_second_max = args.rate;
        config.spin = args.spin;
        let cores = Cores::start(&config)?;
        let (sender, receiver) = (Host::new(&folder, clock), Host::new(&folder, clock));
        let one = member(1, &cores, 0, &sender)?;
        let two = member(2, &cores, args.cores.len() - 1, &receiver)?;
        one.add_peer(2, [url(&two)?])?;
        two.add_peer(1, [url(&one)?])?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while one.active_since(2).is_none() || two.active_since(1).is_none() {
            ensure!(Instant::now() < deadline, "the two members do not find each other");
            thread::sleep(TICK);
        }
        let last = args.cores[args.cores.len() - 1];
        let (control, controlled) = start_control(clock, last)?;
        Ok(Self { one, two, cores, folder, receiver, control, controlled, clock })
    }

    /// Sends the database once.
    fn round(&self, file: &Path) -> Result<Round> {
        let began = Instant::now();
        let handle = self.one.send_snapshot(snapshot(), FileSource::open(file)?);
        let (beats, ended) = self.beat(PATIENCE, || handle.outcome().is_some())?;
        let took = ended.duration_since(began);
        handle.outcome().context("the snapshot did not end")?.context("the snapshot failed")?;
        let arrived = self.folder.file(INDEX);
        let bytes = fs::metadata(&arrived).context("it did not arrive")?.len();
        ensure!(bytes == handle.size(), "{bytes} bytes arrived of {}", handle.size());
        // Each round writes a new file.
        fs::remove_file(&arrived).context("it cannot be removed")?;
        Ok(Round { bytes, took, beats })
    }

    /// Heartbeats and stamps until `is_over`, at most for `time`; and when it was.
    fn beat(&self, time: Duration, is_over: impl Fn() -> bool) -> Result<(Beats, Instant)> {
        lock(&self.receiver.latencies).reset();
        lock(&self.controlled).reset();
        let until = Instant::now() + time;
        let mut next = self.clock.now();
        let mut ours_first = false;
        while Instant::now() < until && !is_over() {
            ours_first = !ours_first;
            if ours_first {
                self.one.send([heartbeat(self.clock.now())]);
            }
            (&self.control).write_all(&self.clock.now().to_be_bytes())?;
            if !ours_first {
                self.one.send([heartbeat(self.clock.now())]);
            }
            next = self.clock.now().max(next + TICK.as_nanos() as u64);
            self.clock.sleep_until(next);
        }
        let ended = Instant::now();
        // What is still under way.
        thread::sleep(Duration::from_millis(200));
        let heartbeats = lock(&self.receiver.latencies).clone();
        Ok((Beats { heartbeats, control: lock(&self.controlled).clone() }, ended))
    }

    fn stop(self) -> Result<()> {
        for transport in [&self.one, &self.two] {
            ensure!(transport.stop().wait(Duration::from_secs(10)), "a transport does not stop");
        }
        self.cores.stop();
        Ok(())
    }
}

/// A plain pair of sockets, of which a thread reads one end. It is on the receiver's core, as the other
/// end of the heartbeats' stream is: what else runs there holds up both.
fn start_control(clock: Clock, core: usize) -> Result<(TcpStream, Arc<Mutex<Histogram<u64>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    stream.set_nodelay(true)?;
    let (mut other, _) = listener.accept()?;
    let latencies = Arc::new(Mutex::new(histogram()));
    let of_thread = Arc::clone(&latencies);
    thread::spawn(move || {
        // Refused, it runs anywhere.
        let _ = affinity::pin(core);
        let mut stamp = [0; 8];
        while other.read_exact(&mut stamp).is_ok() {
            let latency = clock.now().saturating_sub(u64::from_be_bytes(stamp));
            lock(&of_thread).saturating_record(latency.max(1));
        }
    });
    Ok((stream, latencies))
}

fn member(id: u64, cores: &Cores, core: usize, host: &Arc<Host>) -> Result<Transport> {
    let mut config = Config::new(id, 0x1a2b);
    config.listen = Listen::Address("127.0.0.1:0".parse()?);
    config.placement = Placement::Core(core);
    Ok(Transport::start(config, cores, Arc::clone(host) as Arc<dyn Raft>)?)
}

fn url(transport: &Transport) -> Result<String> {
    Ok(format!("http://{}", transport.local_addr().context("it does not listen")?))
}

const INDEX: u64 = 1;

fn snapshot() -> Message {
    let metadata = SnapshotMetadata { index: Some(INDEX), term: Some(1), ..SnapshotMetadata::default() };
    let snapshot = Snapshot { metadata: Some(metadata), ..Snapshot::default() };
    let kind = Some(MessageType::MsgSnap as i32);
    let (to, from) = (Some(2), Some(1));
    Message { r#type: kind, to, from, snapshot: Some(Box::new(snapshot)), ..Message::default() }
}

fn heartbeat(stamp: u64) -> Message {
    let context = Some(Bytes::copy_from_slice(&stamp.to_be_bytes()));
    let kind = Some(MessageType::MsgHeartbeat as i32);
    Message { r#type: kind, to: Some(2), from: Some(1), context, ..Message::default() }
}

/// Reads the stamps of heartbeats and saves databases.
struct Host {
    folder: SnapshotFolder,
    clock: Clock,
    latencies: Mutex<Histogram<u64>>,
}

impl Host {
    fn new(folder: &SnapshotFolder, clock: Clock) -> Arc<Self> {
        Arc::new(Self { folder: folder.clone(), clock, latencies: Mutex::new(histogram()) })
    }
}

impl Raft for Host {
    fn process(&self, from: Origin, messages: &mut Vec<Message>) {
        let now = self.clock.now();
        for message in messages.drain(..).filter(|_| from.via != Via::Snapshot) {
            let stamp = message.context.as_deref().and_then(|context| context.try_into().ok());
            if let Some(stamp) = stamp.map(u64::from_be_bytes) {
                lock(&self.latencies).saturating_record(now.saturating_sub(stamp).max(1));
            }
        }
    }

    fn is_id_removed(&self, _: MemberId) -> bool {
        false
    }

    fn report_unreachable(&self, _: MemberId) {}

    fn report_snapshot(&self, _: MemberId, _: SnapshotStatus) {}

    fn snapshot_sink(&self, snapshot: &Message) -> Result<Box<dyn SnapshotSink>, SinkError> {
        Ok(Box::new(self.folder.sink(snapshot.snapshot_index())?))
    }
}

/// A folder that goes with the run.
struct Scratch(PathBuf);

impl Scratch {
    fn new(dir: &Path) -> Result<Self> {
        let path = dir.join(format!("raftring-perf-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Bytes that no disk and no kernel finds shorter.
fn write_database(path: &Path, mebibytes: u64) -> Result<()> {
    let mut file = File::create(path)?;
    let mut block = vec![0; 1 << 20];
    let mut state = 1_u64;
    for _ in 0..mebibytes {
        for word in block.chunks_exact_mut(8) {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            word.copy_from_slice(&state.to_be_bytes());
        }
        file.write_all(&block)?;
    }
    file.sync_all().context("the disk is full or slow")
}

/// Looks at the memory every 10 ms.
struct Peak {
    over: Arc<AtomicBool>,
    peak: Arc<AtomicUsize>,
}

impl Peak {
    fn watch(before: usize) -> Self {
        let (over, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(before)));
        let (of_thread, peak_of_thread) = (Arc::clone(&over), Arc::clone(&peak));
        thread::spawn(move || {
            while !of_thread.load(Ordering::Relaxed) {
                peak_of_thread.fetch_max(resident_bytes().unwrap_or(0), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(10));
            }
        });
        Self { over, peak }
    }

    fn end(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        self.peak.load(Ordering::Relaxed)
    }
}

fn resident_bytes() -> Result<usize> {
    let status = fs::read_to_string("/proc/self/status").context("no /proc")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? << 10)
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
