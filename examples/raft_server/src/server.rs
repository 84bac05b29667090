//! The whole of a member: what is started, and in which order it ends.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use raftring::proto::version::Version;
use raftring::routes::{Answer, Reply, Request};
use raftring::{ClusterId, Config, Cores, CoresConfig, Listen, Transport};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::diary;
use crate::etcd::member::Attributes;
use crate::etcd::peer;
use crate::flags::Flags;
use crate::http::{self, Door};
use crate::identity::Identity;
use crate::inbox::{Ask, Inbox};
use crate::log::Log;
use crate::node::{End, Node, Parts, RELEASE, Settings};
use crate::peers::Peers;
use crate::snapshots::Snapshots;
use crate::state::State;

/// For the transport to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Threads that serve clients: the raft loop and the cores have the work.
const CLIENT_THREADS: usize = 2;

/// Runs a member until it is told to end, or must.
///
/// # Errors
/// What it cannot start with, or go on with.
pub(crate) fn run(flags: &Flags) -> Result<End> {
    flags.check()?;
    let folder = flags.data_dir();
    let _lock = lock(&folder)?;
    let mut log = Log::open(&folder.join("log"))?;
    let identity = Identity::load_or_begin(&mut log, flags)?;
    diary::note(format!(
        "member {:x} ({}) of cluster {:x}, speaking as etcd {RELEASE}",
        identity.id, flags.name, identity.cluster
    ));
    let snapshots = Snapshots::open(&folder)?;
    let state = restore(&log, &snapshots)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CLIENT_THREADS)
        .thread_name("clients")
        .enable_all()
        .build()?;
    let inbox = Arc::<Inbox>::default();
    let peers = Peers::new(Arc::clone(&inbox), snapshots.received());
    let cores = Cores::start(&cores_config(flags, identity.id)).context("the cores do not start")?;
    let config = transport_config(flags, &identity, &inbox, &peers)?;
    let transport = Transport::start(config, &cores, Arc::<Peers>::clone(&peers))
        .with_context(|| flags.listen_peer_urls.clone())?;
    if state.members().next().is_none() {
        for member in identity.members.iter().filter(|member| member.id != identity.id) {
            // The log tells who they are; until it comes they can only be answered.
            transport.add_remote(member.id, &member.peer_urls)?;
        }
    }
    let parts = Parts { log, state, inbox: inbox.clone(), transport: transport.clone(), peers, snapshots };
    let node = Node::new(settings(flags, &identity), parts)?;
    let ended = runtime.block_on(serve(flags, node, inbox, &transport));
    if !transport.stop().wait(STOP_TIMEOUT) {
        diary::warn("the transport has not ended in time");
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// Serves clients beside the raft loop, until that ends.
async fn serve(flags: &Flags, node: Node, inbox: Arc<Inbox>, transport: &Transport) -> Result<End> {
    let places = http::places();
    let router = Door::new(Arc::clone(&inbox), transport.clone()).router(flags.enable_faults);
    for url in flags.listen_client_urls() {
        let listener = http::listen(&url).await?;
        tokio::spawn(http::serve(listener, router.clone(), Arc::clone(&places)));
    }
    let (tell, mut ended) = oneshot::channel();
    std::thread::Builder::new().name("raft".to_owned()).spawn(move || drop(tell.send(node.run())))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            ended = &mut ended => return ended.context("the raft loop has panicked")?,
            _ = terminate.recv() => inbox.stop(),
            _ = interrupt.recv() => inbox.stop(),
        }
    }
}

fn restore(log: &Log, snapshots: &Snapshots) -> Result<State> {
    let index = log.snapshot_metadata().index;
    snapshots.keep_only(index)?;
    if index == 0 { Ok(State::new()) } else { snapshots.load(index) }
}

/// Two processes on one log would destroy it.
fn lock(folder: &Path) -> Result<File> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let file = File::create(folder.join("lock"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => bail!("{} is in use by another process", folder.display()),
        Err(error) => Err(error.into()),
    }
}

/// Members on one machine begin with different CPUs.
fn cores_config(flags: &Flags, id: u64) -> CoresConfig {
    let mut config = CoresConfig::default();
    let count = config.cpus.len().max(1);
    config.cpus.rotate_left(usize::try_from(id % count as u64).unwrap_or_default());
    config.cpus.truncate(flags.cores);
    config.spin = flags.spin;
    config
}

fn transport_config(
    flags: &Flags,
    identity: &Identity,
    inbox: &Arc<Inbox>,
    peers: &Arc<Peers>,
) -> Result<Config> {
    let mut config = Config::new(identity.id, identity.cluster);
    config.name.clone_from(&flags.name);
    config.peer_urls = flags.advertised_peer_urls();
    config.listen = Listen::url(&flags.listen_peer_urls)?;
    config.server_version = Version::parse(RELEASE).context("a release of etcd")?;
    config.dial_timeout = Duration::from_secs(1) + Duration::from_millis(flags.election_timeout);
    config.observer = Arc::<Peers>::clone(peers);
    let inbox = Arc::clone(inbox);
    config.routes = Some(Arc::new(move |request: Request, reply: Reply| answer(&inbox, &request, reply)));
    Ok(config)
}

/// What members ask beside raft is answered by the loop.
fn answer(inbox: &Inbox, request: &Request, reply: Reply) {
    match peer::read(request) {
        Ok(question) => {
            if let Err(Ask::Peer(_, reply)) = inbox.ask(Ask::Peer(question, reply)) {
                let busy = Answer::new(503, "text/plain; charset=utf-8", "too many requests wait already\n");
                reply.answer(busy.unwrap_or_else(|_| Answer::not_found()));
            }
        }
        Err(answer) => reply.answer(answer),
    }
}

fn settings(flags: &Flags, identity: &Identity) -> Settings {
    Settings {
        id: identity.id,
        cluster: ClusterId(identity.cluster),
        attributes: Attributes { name: flags.name.clone(), client_urls: flags.advertised_client_urls() },
        tick: flags.tick(),
        election_ticks: flags.election_ticks(),
        request_timeout: flags.request_timeout(),
        snapshot_count: flags.snapshot_count,
        pre_vote: flags.pre_vote,
        check_quorum: flags.check_quorum,
    }
}
