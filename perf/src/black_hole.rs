//! A follower that is there and takes nothing: it dials both streams and never reads them, and whoever
//! dials it is never accepted.
//!
//! That is how a member looks whose process is stopped, or whose link drops everything one way.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use raftring::Transport;

use crate::message::member_id;
use crate::meter::Meter;

/// Longer than it takes until a writer gives up a connection that does not move (5 s): then it is
/// dialled anew, as by a member that does not know that anything is wrong.
const HOLD: Duration = Duration::from_millis(5_500);

/// How often it looks whether the run is over, and how much waits for it.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Heads are small and there at once.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// A follower that takes nothing; ends when it is dropped.
pub struct BlackHole {
    /// Its member id.
    pub id: u64,
    /// Never accepted from.
    listener: TcpListener,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl BlackHole {
    /// As member `number` of `cluster`, hanging on the leader, who does not know it yet.
    pub fn open(number: usize) -> Result<Self> {
        Ok(Self {
            id: member_id(number),
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on loopback")?,
            over: Arc::default(),
            thread: None,
        })
    }

    /// Where it would be dialled.
    pub fn url(&self) -> Result<String> {
        Ok(format!("http://{}", self.listener.local_addr()?))
    }

    /// Dials the leader, which knows it by now, and hangs on; returns when both streams are up.
    pub fn swallow(&mut self, leader: &Transport, cluster: u64, meter: &Arc<Meter>) -> Result<()> {
        let address = leader.local_addr().context("the leader does not listen")?;
        let (id, to) = (self.id, leader.id().0);
        let streams = dial(address, cluster, id, to)?;
        let (over, meter, leader) = (Arc::clone(&self.over), Arc::clone(meter), leader.clone());
        self.thread = Some(thread::spawn(move || {
            let mut held = Some((streams, Instant::now()));
            while !over.load(Ordering::Relaxed) {
                meter.hole_queued(leader.queued(id).1);
                if held.as_ref().is_none_or(|(_, since)| since.elapsed() > HOLD) {
                    held = dial(address, cluster, id, to).ok().map(|streams| (streams, Instant::now()));
                }
                thread::sleep(LOOK_INTERVAL);
            }
        }));
        Ok(())
    }
}

impl Drop for BlackHole {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Both streams, up to the end of their response heads.
fn dial(leader: SocketAddr, cluster: u64, id: u64, to: u64) -> Result<[TcpStream; 2]> {
    Ok([dial_one(leader, cluster, id, to, "msgapp")?, dial_one(leader, cluster, id, to, "message")?])
}

fn dial_one(leader: SocketAddr, cluster: u64, id: u64, to: u64, kind: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(leader)?;
    stream.set_read_timeout(Some(HOLD))?;
    write!(
        stream,
        "GET /raft/stream/{kind}/{id:x} HTTP/1.1\r\nHost: {leader}\r\nX-Etcd-Cluster-Id: {cluster:x}\r\n\
         X-Min-Cluster-Version: 3.0.0\r\nX-Raft-To: {to:x}\r\nX-Server-From: {id:x}\r\n\
         X-Server-Version: 3.5.0\r\n\r\n"
    )?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < HEAD_BYTES_MAX, "the leader answers without end");
        stream.read_exact(&mut byte).context("the leader does not answer")?;
        head.push(byte[0]);
    }
    if !head.starts_with(b"HTTP/1.1 200") {
        bail!("the leader refuses the black hole: {}", String::from_utf8_lossy(&head));
    }
    Ok(stream)
}

/// The most memory that this process has had resident, in bytes.
#[must_use]
pub fn resident_bytes_max() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap_or(0) << 10
}
