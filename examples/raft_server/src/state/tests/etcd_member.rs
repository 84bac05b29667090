//! Against a real member of etcd: what it wrote into its log makes the same state here, and so does its
//! database.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use prost::Message;
use raft::eraftpb::ConfState;
use serde_json::{Value, json};

use super::wal;
use crate::etcd::internal::{self, EntryRequest};
use crate::etcd::member::{Attributes, Member};
use crate::etcd::request;
use crate::etcd::version::ClusterVersion;
use crate::state::State;

/// One member alone, in a directory of its own.
struct Etcd {
    child: Child,
    dir: tempfile::TempDir,
    client: SocketAddr,
    peer_url: String,
}

/// For a start on a busy machine.
const START: Duration = Duration::from_secs(60);

impl Etcd {
    /// `None`, said where nobody can miss it, if it is not installed and needs not be.
    fn start(name: &str) -> Option<Self> {
        let runs = |program: &str| Command::new(program).arg("--help").output().is_ok();
        if !runs("etcd") || !runs("etcdctl") {
            let required = std::env::var("RAFTRING_REQUIRE_ETCD").is_ok_and(|value| value == "1");
            assert!(!required, "RAFTRING_REQUIRE_ETCD is set, but etcd and etcdctl cannot be started");
            let _ = std::io::stderr().write_all(b"\nSKIPPED: etcd is not installed\n\n");
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let port =
            || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr()).expect("a port");
        let (client, peer) = (port(), port());
        let (client_url, peer_url) = (format!("http://{client}"), format!("http://{peer}"));
        let log = std::fs::File::create(dir.path().join("log")).expect("a log");
        let child = Command::new("etcd")
            .args(["--name", name, "--data-dir"])
            .arg(dir.path().join("data"))
            .args([
                "--initial-cluster",
                &format!("{name}={peer_url}"),
                "--initial-advertise-peer-urls",
                &peer_url,
            ])
            .args(["--listen-peer-urls", &peer_url, "--listen-client-urls", &client_url])
            .args(["--advertise-client-urls", &client_url, "--snapshot-count", "200"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("etcd starts");
        let etcd = Self { child, dir, client, peer_url };
        let began = Instant::now();
        while etcd.etcdctl(&["endpoint", "health"]).is_err() {
            let log = std::fs::read_to_string(etcd.dir.path().join("log"));
            assert!(began.elapsed() < START, "{log:?}");
        }
        Some(etcd)
    }

    fn etcdctl(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.client.to_string(), "--command-timeout", "20s"])
            .args(args)
            .output()
            .expect("etcdctl starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn json(&self, args: &[&str]) -> Value {
        let text = self.etcdctl(&[args, &["-w", "json"]].concat()).expect("etcdctl");
        serde_json::from_str(&text).expect("JSON")
    }

    /// A request to the JSON gateway; whether it was granted.
    fn post(&self, path: &str, body: &Value) -> bool {
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.client).expect("it listens");
        stream.set_read_timeout(Some(START)).expect("a timeout");
        let head = format!("POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.starts_with("HTTP/1.0 200")
    }

    fn member_dir(&self) -> PathBuf {
        self.dir.path().join("data/member")
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.end();
    }
}

/// Random numbers (splitmix64) from a seed that is printed.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let now = std::time::UNIX_EPOCH.elapsed().expect("a clock");
        println!("seed {}", now.as_micros());
        Self(now.as_micros() as u64)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn key(&mut self) -> String {
        format!("key-{}", self.below(12))
    }

    fn lease(&mut self) -> u64 {
        // Mostly none, now and then one that does not exist.
        self.below(12).saturating_sub(6)
    }

    fn put(&mut self) -> Value {
        let mut put = json!({"key": base64(&self.key()), "lease": self.lease()});
        match self.below(10) {
            0 => put["ignore_value"] = true.into(),
            1 => put = json!({"key": put["key"], "value": base64("kept lease"), "ignore_lease": true}),
            _ => put["value"] = base64(&format!("value {}", self.below(4))),
        }
        put
    }

    fn delete(&mut self) -> Value {
        let mut delete = json!({"key": base64(&self.key())});
        match self.below(12) {
            0 => delete["range_end"] = base64("\0"),
            1..=3 => delete["range_end"] = base64(&self.key()),
            _ => {}
        }
        delete
    }

    fn compare(&mut self) -> Value {
        let results = ["EQUAL", "GREATER", "LESS", "NOT_EQUAL"];
        let (target, field, value) = match self.below(5) {
            0 => ("VERSION", "version", self.below(4).into()),
            1 => ("CREATE", "create_revision", self.below(300).into()),
            2 => ("MOD", "mod_revision", self.below(300).into()),
            3 => ("VALUE", "value", base64(&format!("value {}", self.below(4)))),
            _ => ("LEASE", "lease", self.below(6).into()),
        };
        let mut compare = json!({"result": results[self.below(4) as usize], "target": target});
        compare["key"] = base64(&self.key());
        compare[field] = value;
        if self.below(4) == 0 {
            compare["range_end"] = base64(&self.key());
        }
        compare
    }

    fn txn(&mut self, depth: u64) -> Value {
        let compare: Vec<Value> = (0..self.below(3)).map(|_| self.compare()).collect();
        let mut side = || -> Vec<Value> {
            (0..1 + self.below(3))
                .map(|_| match self.below(8) {
                    0..=3 => json!({"request_put": self.put()}),
                    4 => json!({"request_range": {"key": base64(&self.key())}}),
                    5 | 6 if depth > 0 => json!({"request_txn": self.txn(depth - 1)}),
                    _ => json!({"request_delete_range": {"key": base64(&self.key())}}),
                })
                .collect()
        };
        let (success, failure) = (side(), side());
        json!({"compare": compare, "success": success, "failure": failure})
    }

    /// Mostly one that ends.
    fn alarm(&mut self) -> Value {
        let action = if self.below(3) == 0 { "ACTIVATE" } else { "DEACTIVATE" };
        json!({"action": action, "memberID": self.below(2), "alarm": "NOSPACE"})
    }

    fn request(&mut self) -> (&'static str, Value) {
        match self.below(16) {
            0..=5 => ("/v3/kv/put", self.put()),
            6 | 7 => ("/v3/kv/deleterange", self.delete()),
            8..=12 => ("/v3/kv/txn", self.txn(2)),
            13 => ("/v3/lease/grant", json!({"TTL": 1_000 + self.below(9), "ID": 1 + self.below(5)})),
            14 => ("/v3/kv/lease/revoke", json!({"ID": 1 + self.below(5)})),
            _ if self.below(3) == 0 => ("/v3/maintenance/alarm", self.alarm()),
            _ => ("/v3/kv/compaction", json!({"revision": 1 + self.below(250)})),
        }
    }
}

fn base64(text: &str) -> Value {
    BASE64.encode(text).into()
}

/// A key's create revision, mod revision, version, lease and value.
type Row = (i64, i64, i64, i64, Vec<u8>);

fn rows_of(state: &State) -> BTreeMap<Vec<u8>, Row> {
    let row = |kv: &crate::etcd::mvccpb::KeyValue| {
        (kv.create_revision, kv.mod_revision, kv.version, kv.lease, kv.value.to_vec())
    };
    state.keys().map(|kv| (kv.key.to_vec(), row(kv))).collect()
}

/// What `etcdctl get --prefix ""` says: all keys, and the revision.
fn rows_of_etcd(etcd: &Etcd) -> (BTreeMap<Vec<u8>, Row>, i64) {
    let got = etcd.json(&["get", "--prefix", ""]);
    let number = |kv: &Value, name: &str| kv[name].as_i64().unwrap_or_default();
    let bytes =
        |kv: &Value, name: &str| BASE64.decode(kv[name].as_str().unwrap_or_default()).expect("base64");
    let row = |kv: &Value| {
        let (created, modified) = (number(kv, "create_revision"), number(kv, "mod_revision"));
        (
            bytes(kv, "key"),
            (created, modified, number(kv, "version"), number(kv, "lease"), bytes(kv, "value")),
        )
    };
    let rows = got["kvs"].as_array().map(|kvs| kvs.iter().map(row).collect()).unwrap_or_default();
    (rows, got["header"]["revision"].as_i64().expect("a revision"))
}

/// What it says of its leases: granted seconds and keys.
fn leases_of_etcd(etcd: &Etcd) -> BTreeMap<i64, (i64, Vec<Vec<u8>>)> {
    let mut leases = BTreeMap::new();
    for id in 1..=5_i64 {
        let lease = etcd.json(&["lease", "timetolive", "--keys", &format!("{id:x}")]);
        if lease["ttl"].as_i64() == Some(-1) {
            continue;
        }
        let keys = lease["keys"].as_array().cloned().unwrap_or_default();
        let keys = keys.iter().map(|key| BASE64.decode(key.as_str().expect("text")).expect("base64"));
        let mut keys: Vec<_> = keys.collect();
        keys.sort();
        leases.insert(id, (lease["granted-ttl"].as_i64().expect("seconds"), keys));
    }
    leases
}

fn leases_of(state: &State) -> BTreeMap<i64, (i64, Vec<Vec<u8>>)> {
    let keys = |lease: &crate::state::Lease| lease.keys.iter().map(|key| key.to_vec()).collect();
    state.leases().map(|(id, lease)| (id, (lease.ttl_s, keys(lease)))).collect()
}

/// The newest of the files in which etcd keeps the second version's store: its index, and the store.
fn newest_v2_store(member_dir: &Path) -> (u64, Vec<u8>) {
    #[derive(Clone, PartialEq, Message)]
    struct File {
        #[prost(bytes = "vec", tag = "2")]
        data: Vec<u8>,
    }
    let files = std::fs::read_dir(member_dir.join("snap")).expect("a folder");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "snap"));
    files.sort();
    let bytes = std::fs::read(files.last().expect("more entries than --snapshot-count")).expect("readable");
    let file = File::decode(&bytes[..]).expect("a file of etcd's");
    let snapshot = raftring::raftpb::Snapshot::decode(&file.data[..]).expect("a snapshot");
    let index = snapshot.metadata.as_ref().map_or(0, |metadata| metadata.index());
    (index, snapshot.data.unwrap_or_default().to_vec())
}

/// Its own members, version and digest apart, two states are the same.
fn assert_same(one: &State, other: &State) {
    assert_eq!(rows_of(one), rows_of(other));
    assert_eq!(leases_of(one), leases_of(other));
    assert_eq!((one.revision(), one.kv_digest()), (other.revision(), other.kv_digest()));
    assert_eq!(one.store, other.store);
    assert_eq!(one.alarms, other.alarms);
    assert_eq!(one.membership, other.membership);
}

#[test]
fn a_member_of_etcd_and_the_state_agree_on_every_key() {
    let Some(mut etcd) = Etcd::start("one") else { return };
    let mut dice = Dice::new();
    let (mut granted, mut refused) = (0, 0);
    for _ in 0..600 {
        let (path, body) = dice.request();
        if etcd.post(path, &body) { granted += 1 } else { refused += 1 }
    }
    for member in 0..2 {
        let end = json!({"action": "DEACTIVATE", "memberID": member, "alarm": "NOSPACE"});
        assert!(etcd.post("/v3/maintenance/alarm", &end));
    }
    // Longer than a page of its database.
    for length in [5_000, 40_000, 300_000] {
        let body = json!({"key": base64(&format!("long {length}")), "value": base64(&"x".repeat(length))});
        assert!(etcd.post("/v3/kv/put", &body));
    }
    for number in 0..20 {
        etcd.etcdctl(&["put", &dice.key(), &format!("by etcdctl {number}")]).expect("a put");
    }
    let saved = etcd.dir.path().join("saved.db");
    etcd.etcdctl(&["snapshot", "save", saved.to_str().expect("text")]).expect("a snapshot");
    let (rows, revision) = rows_of_etcd(&etcd);
    let leases = leases_of_etcd(&etcd);
    etcd.end();

    let entries = wal::entries(&etcd.member_dir());
    let mut state = State::new();
    entries.iter().for_each(|entry| assert_eq!(state.apply(entry).warning, None));
    println!(
        "{granted} granted, {refused} refused; {} entries, {} keys, revision {revision}",
        entries.len(),
        rows.len()
    );
    assert_eq!((rows_of(&state), state.revision()), (rows, revision), "from the log");
    assert_eq!(leases_of(&state), leases);
    assert_eq!((state.log_digest().from, state.log_digest().to), (1, entries.len() as u64));

    let conf_state =
        ConfState { voters: state.members().map(|member| member.id).collect(), ..ConfState::default() };
    let index = state.applied();
    let loaded = State::load_etcd(b"", &saved, index, 2, &conf_state).expect("etcdctl's snapshot");
    assert_same(&loaded, &state);
    assert_eq!((loaded.applied(), loaded.log_digest().from), (index, index + 1));
    let database = etcd.member_dir().join("snap/db");
    let (v2_index, v2_store) = newest_v2_store(&etcd.member_dir());
    assert!(v2_index > 200);
    let loaded = State::load_etcd(&v2_store, &database, index, 2, &conf_state).expect("its own database");
    assert_same(&loaded, &state);
    assert!(State::load_etcd(&v2_store, &database, 5, 2, &conf_state).is_err(), "it is of later");
    let (mut loaded, mut refused) = (0, 0);
    let sound = std::fs::read(&saved).expect("readable");
    for _ in 0..200 {
        let mut damaged = sound.clone();
        for _ in 0..1 + dice.below(40) {
            // What stands at the front of a page: heads, elements, and the first keys.
            let at = dice.below(sound.len() as u64 / 4_096) * 4_096 + dice.below(400);
            damaged[at as usize] = dice.below(256) as u8;
        }
        std::fs::write(&saved, damaged).expect("written");
        match State::load_etcd(b"", &saved, index, 2, &conf_state) {
            Ok(_) => loaded += 1,
            Err(_) => refused += 1,
        }
    }
    println!("of damaged databases {loaded} were read, {refused} refused");
    let strangers = ConfState { voters: vec![1], ..ConfState::default() };
    assert!(State::load_etcd(&v2_store, &database, index, 2, &strangers).is_err(), "it is of others");
}

#[test]
fn what_is_proposed_is_what_a_member_of_etcd_proposes() {
    let Some(mut etcd) = Etcd::start("na<me") else { return };
    etcd.etcdctl(&["put", "key", "value"]).expect("a put");
    etcd.etcdctl(&["put", "empty", ""]).expect("a put");
    etcd.etcdctl(&["del", "key"]).expect("a deletion");
    etcd.etcdctl(&["del", "a", "--prefix"]).expect("a deletion");
    assert!(etcd.post("/v3/lease/grant", &json!({"TTL": 300, "ID": 77})));
    assert!(etcd.post("/v3/kv/lease/revoke", &json!({"ID": 77})));
    let learner_url = "http://127.0.0.1:1".to_owned();
    etcd.etcdctl(&["member", "add", "later", "--learner", "--peer-urls", &learner_url]).expect("a member");
    let members = etcd.json(&["member", "list"]);
    let learner =
        members["members"].as_array().expect("members").iter().find(|member| member["name"].is_null());
    let learner_id = learner.and_then(|member| member["ID"].as_u64()).expect("the learner");
    let other_url = "http://127.0.0.1:2".to_owned();
    let hex = format!("{learner_id:x}");
    etcd.etcdctl(&["member", "update", &hex, "--peer-urls", &other_url]).expect("an update");
    // Refused when it is proposed, for the learner is not in step: the form of a promotion is seen elsewhere.
    assert!(etcd.etcdctl(&["member", "promote", &hex]).is_err());
    etcd.etcdctl(&["member", "remove", &hex]).expect("a removal");
    let saved = etcd.dir.path().join("saved.db");
    etcd.etcdctl(&["snapshot", "save", saved.to_str().expect("text")]).expect("a snapshot");
    etcd.end();

    let entries = wal::entries(&etcd.member_dir());
    let mut requests = entries.iter().filter(|entry| entry.entry_type == 0 && !entry.data.is_empty());
    let mut next = |ours: &dyn Fn(u64) -> Vec<u8>| {
        let theirs = &requests.next().expect("as many entries as requests").data;
        let id = match internal::read(theirs).expect("readable") {
            EntryRequest::V3(request) => request.request_id(),
            EntryRequest::V2(request) => request.id.unwrap_or_default(),
            EntryRequest::Empty => 0,
        };
        assert_ne!(id, 0);
        assert_eq!(String::from_utf8_lossy(&ours(id)), String::from_utf8_lossy(theirs));
        assert_eq!(&ours(id), theirs);
    };
    let this = Member::initial("na<me", std::slice::from_ref(&etcd.peer_url), "etcd-cluster");
    let attributes =
        Attributes { name: "na<me".to_owned(), client_urls: vec![format!("http://{}", etcd.client)] };
    next(&|id| request::publish(id, this.id, &attributes, None));
    next(&|id| request::cluster_version(id, ClusterVersion::new(3, 4), None));
    next(&|id| request::put(id, "key".into(), "value".into()));
    next(&|id| request::put(id, "empty".into(), "".into()));
    next(&|id| request::delete_range(id, "key".into(), "".into()));
    next(&|id| request::delete_range(id, "a".into(), "b".into()));
    next(&|id| request::lease_grant(id, 77, 300));
    next(&|id| request::lease_revoke(id, 77));

    let (_, bootstrap) = State::bootstrap(std::slice::from_ref(&this));
    assert_eq!(bootstrap[0], entries[0]);
    let changes: Vec<_> = entries.iter().skip(1).filter(|entry| entry.entry_type == 1).collect();
    let id = |data: &[u8]| raftring::raftpb::ConfChange::decode(data).expect("a conf change").id();
    let learner =
        Member { id: learner_id, peer_urls: vec![learner_url], is_learner: true, ..Member::default() };
    let ours = [
        request::add_member(id(&changes[0].data), &learner),
        request::update_member(id(&changes[1].data), learner_id, &[other_url]),
        request::remove_member(id(&changes[2].data), learner_id),
    ];
    for (ours, theirs) in ours.iter().zip(&changes) {
        assert_eq!(String::from_utf8_lossy(&ours.encode_to_vec()), String::from_utf8_lossy(&theirs.data));
    }
    assert_eq!(changes.len(), 3);

    let mut state = State::new();
    entries.iter().for_each(|entry| assert_eq!(state.apply(entry).warning, None));
    assert!(state.is_removed(learner_id));
    let loaded = State::load_etcd(b"", &saved, state.applied(), 2, &ConfState::default());
    assert_same(&loaded.expect("its database"), &state);
}
