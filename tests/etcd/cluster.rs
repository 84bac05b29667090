//! Two members of one cluster: a real etcd, and ours.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use raftring::raftpb::{Message, MessageType};
use raftring::{ClusterId, Config, MemberId, Via};

use super::follower::Follower;
use super::kv;
use super::member::{Host, Member, Who, wait_until};
use super::server::{self, Etcd};

/// `--initial-cluster-token` of an etcd that was told none.
const TOKEN: &str = "etcd-cluster";

/// From both processes started to four streams; etcd alone needs some 100 ms to listen.
pub const STREAMS_TIMEOUT: Duration = Duration::from_secs(5);

/// To the first put that works: two election timeouts at worst, and a second try.
pub const LEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// An etcd and what our member of its cluster needs. `member` is `None` while ours is down.
pub struct Cluster {
    pub etcd: Etcd,
    pub etcd_id: MemberId,
    pub us: Who,
    pub follower: Arc<Mutex<Follower>>,
    member: Option<Member>,
}

impl Cluster {
    /// Nobody is started yet.
    pub fn new() -> Self {
        let address = server::own_address();
        let listen = server::free_port(address);
        let own_url = format!("http://{listen}");
        let etcd = Etcd::new(address, &own_url);
        let id = MemberId::compute(&[own_url], TOKEN, None);
        let etcd_id = MemberId::compute(&[etcd.url()], TOKEN, None);
        let us = Who { id, cluster: ClusterId::compute(&[id, etcd_id]), listen };
        let follower = Arc::new(Mutex::new(Follower::new(id.0)));
        Self { etcd, etcd_id, us, follower, member: None }
    }

    /// All four streams are up since a mark; the moment of the last.
    pub fn wait_for_streams(&self, mark: usize) -> Instant {
        wait_until("four streams", STREAMS_TIMEOUT, || self.host().all_streams_up(mark).is_some());
        self.host().all_streams_up(mark).expect("just seen")
    }

    /// Both are started, all four streams are up and etcd leads.
    pub fn start(adjust: impl FnOnce(&mut Config)) -> Self {
        let mut cluster = Self::new();
        cluster.etcd.start();
        cluster.start_ours(adjust);
        cluster.wait_for_streams(0);
        cluster.etcd.put_until_it_works("first", "put", LEADER_TIMEOUT);
        cluster
    }

    pub fn start_ours(&mut self, adjust: impl FnOnce(&mut Config)) {
        self.start_ours_dialling(&self.etcd.url(), adjust);
    }

    /// Ours takes etcd to be at this URL.
    pub fn start_ours_dialling(&mut self, url: &str, adjust: impl FnOnce(&mut Config)) {
        let member = Member::start(&self.us, &self.follower, adjust);
        member.transport().add_peer(self.etcd_id, [url]).expect("a good peer");
        self.member = Some(member);
    }

    pub fn stop_ours(&mut self) -> Arc<Host> {
        self.member.take().expect("it runs").stop()
    }

    /// The end of a test: etcd lives, and ours ends without anything left.
    pub fn finish(mut self) {
        assert!(self.etcd.is_running());
        self.stop_ours();
    }

    /// Our member loses everything it knew; only while it is stopped.
    pub fn forget(&mut self) {
        assert!(self.member.is_none());
        self.follower = Arc::new(Mutex::new(Follower::new(self.us.id.0)));
    }

    pub fn member(&self) -> &Member {
        self.member.as_ref().expect("it runs")
    }

    pub fn host(&self) -> &Host {
        &self.member().host
    }

    /// Puts each key, which must succeed; how long all took.
    pub fn put_all(&self, keys: Range<usize>) -> Duration {
        let began = Instant::now();
        for (n, outcome) in self.try_all(keys, Duration::from_secs(5)) {
            assert_eq!(outcome, Ok(()), "{}", key(n));
        }
        began.elapsed()
    }

    /// One process of etcdctl for each key, by four threads, each until its first failure;
    /// what became of each key that was tried.
    pub fn try_all(&self, keys: Range<usize>, timeout: Duration) -> Vec<(usize, Result<(), String>)> {
        let (next, outcomes) = (AtomicUsize::new(keys.start), Mutex::new(Vec::new()));
        let put_one = || {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if !keys.contains(&n) {
                return false;
            }
            let outcome = self.etcd.put(&key(n), &value(n), timeout);
            let succeeded = outcome.is_ok();
            outcomes.lock().expect("no panic").push((n, outcome));
            succeeded
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| while put_one() {});
            }
        });
        outcomes.into_inner().expect("no panic")
    }

    /// Every key is in an entry that came by the msgapp stream, with its value, and is committed:
    /// etcd tells us so with its next message.
    pub fn assert_arrived(&self, keys: impl IntoIterator<Item = usize>) {
        wait_until("we know that everything is committed", Duration::from_secs(2), || {
            let follower = self.host().follower();
            follower.commit == follower.last_index()
        });
        let arrived = self.arrived_by_msgapp();
        for n in keys {
            let got = arrived.get(&key(n));
            assert!(got.is_some_and(|got| *got == value(n)), "{} with its value: {got:?}", key(n));
        }
    }

    fn arrived_by_msgapp(&self) -> HashMap<String, Bytes> {
        kv::puts(self.host().follower().log.iter().filter(|logged| logged.via == Some(Via::Msgapp)))
    }

    /// A message to etcd that changes nothing when it arrives: an old answer.
    pub fn stale_answer(&self) -> Message {
        Message {
            r#type: Some(MessageType::MsgHeartbeatResp as i32),
            to: Some(self.etcd_id.0),
            from: Some(self.us.id.0),
            term: Some(1),
            ..Message::default()
        }
    }

    pub fn print(&self, what: &str) {
        let follower = self.host().follower();
        println!(
            "{what}: {} in the log, commit {}; {}",
            follower.last_index(),
            follower.commit,
            follower.tally
        );
    }
}

pub fn key(n: usize) -> String {
    format!("key-{n:05}")
}

/// Of every length up to 3 KiB, and now and then one that fills several reads.
pub fn value(n: usize) -> String {
    let len = if n % 100 == 99 { 100_000 } else { n * 37 % 3_000 };
    format!("value of {n} {}", "x".repeat(len))
}
