//! What cannot work is refused at once, with a sentence that says what to do.
#![cfg(feature = "io")]

mod common;

use std::collections::BTreeMap;
use std::io;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use common::Host;
use raftring::cores::available_cpus;
use raftring::proto::version::Version;
use raftring::raftpb::{Message, MessageType};
use raftring::snapshot::SnapshotSource;
use raftring::{
    Config, Cores, CoresConfig, Listen, MemberId, PeerError, Placement, SnapshotStatus, Spin, StartError,
    Transport,
};

/// The refusal of a transport with these settings.
fn refused(adjust: impl FnOnce(&mut Config)) -> String {
    let cores = cores();
    let mut config = Config::new(1, 2);
    adjust(&mut config);
    let error = Transport::start(config, &cores, Host::new()).expect_err("it cannot work");
    error.to_string()
}

fn cores() -> Cores {
    Cores::start(&CoresConfig::on([available_cpus()[0]])).expect("one core starts")
}

fn assert_says(sentence: &str, words: &[&str]) {
    for word in words {
        assert!(sentence.contains(word), "{sentence:?} does not say {word:?}");
    }
}

#[test]
fn a_member_without_an_identity_is_refused() {
    assert_says(&refused(|c| c.id = MemberId(0)), &["id", "0 names nobody", "own id"]);
    assert_says(&refused(|c| c.cluster_id = 0.into()), &["cluster_id", "all members share"]);
    assert_says(&refused(|c| c.server_version = Version::new(9, 9, 9)), &["server_version", "3.0.0 to"]);
}

#[test]
fn own_urls_that_nobody_can_dial_are_refused() {
    for (url, words) in [
        ("10.0.0.1:2380", &["begin with http://"][..]),
        ("http://10.0.0.1", &["host and port"]),
        ("http://10.0.0.1:2380/raft", &["http://10.0.0.1:2380/raft"]),
        ("ftp://10.0.0.1:2380", &["ftp://10.0.0.1:2380"]),
    ] {
        let said = refused(|c| c.peer_urls = vec![url.to_owned()]);
        assert_says(&said, words);
        assert_says(&said, &["peer_urls"]);
    }
}

#[test]
fn settings_that_are_out_of_range_are_refused_with_the_range() {
    let ms = Duration::from_millis;
    assert_says(&refused(|c| c.read_timeout = Duration::ZERO), &["read_timeout", "200 ms to 1 h"]);
    assert_says(&refused(|c| c.write_timeout = Duration::MAX), &["write_timeout", "200 ms to 1 h"]);
    assert_says(&refused(|c| c.dial_timeout = ms(1)), &["dial_timeout", "200 ms"]);
    assert_says(
        &refused(|c| c.heartbeat_interval = ms(4_000)),
        &["heartbeat_interval", "half of read_timeout"],
    );
    for frequency in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_says(&refused(|c| c.dial_frequency = frequency), &["dial_frequency", "0.001 to 1,000"]);
    }
    assert_says(&refused(|c| c.lane_messages_max = usize::MAX), &["lane_messages_max", "4,096"]);
    assert_says(&refused(|c| c.lane_bytes_max = 0), &["lane_bytes_max", "at least 1,024"]);
    assert_says(&refused(|c| c.handshakes_max = 0), &["handshakes_max", "256"]);
    assert_says(&refused(|c| c.handshakes_per_address_max = 0), &["handshakes_per_address_max", "32"]);
    assert_says(&refused(|c| c.frames.frame_bytes_max = 0), &["frame_bytes_max", "64 KiB"]);
    assert_says(&refused(|c| c.frames.entries_max = 0), &["entries_max", "2^20"]);
}

#[test]
fn an_address_in_use_is_refused_at_once_and_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound");
    let said = refused(|c| c.listen = Listen::Address(address));
    assert_says(&said, &[&address.to_string(), "in use", "port 0"]);
    let said = refused(|c| c.listen = Listen::Address("192.0.2.1:2380".parse().expect("an address")));
    assert_says(&said, &["192.0.2.1:2380", "address of this machine"]);
}

#[test]
fn a_core_that_does_not_exist_is_refused_and_the_choice_is_told() {
    assert_says(&refused(|c| c.placement = Placement::Core(7)), &["no core 7", "choose from 0 to 0"]);
    let cores = cores();
    assert_says(&cores.stats(3).expect_err("no such core").to_string(), &["no core 3"]);
    assert!(cores.spawn(3, || async {}).is_err());
}

fn cores_refused(config: &CoresConfig) -> String {
    Cores::start(config).expect_err("it cannot work").to_string()
}

#[test]
fn a_cpu_that_does_not_exist_is_refused_and_the_choice_is_told() {
    for cpu in [1_000, 1 << 20, usize::MAX] {
        let said = cores_refused(&CoresConfig::on([cpu]));
        assert_says(&said, &[&format!("CPU {cpu}"), "does not exist", &format!("{:?}", available_cpus())]);
    }
    assert_says(&cores_refused(&CoresConfig::on([])), &["cpus", "name at least one"]);
    let first = available_cpus()[0];
    assert_says(&cores_refused(&CoresConfig::on([first, first])), &["named twice", "one core a CPU"]);
}

#[test]
fn absurd_cores_are_refused() {
    let mut config = CoresConfig::default();
    config.spin = Spin::Always(Duration::from_secs(1));
    assert_says(&cores_refused(&config), &["spin", "50 us"]);
    for name in ["", "a name too long", "a\0b"] {
        let mut config = CoresConfig::default();
        config.name = name.to_owned();
        assert_says(&cores_refused(&config), &["name", "1 to 11 bytes"]);
    }
    for entries in [0, 255, 1 << 20] {
        let mut config = CoresConfig::default();
        config.ring_entries = entries;
        assert_says(&cores_refused(&config), &["ring_entries", "256 to 32,768"]);
    }
    let mut config = CoresConfig::default();
    config.queued_bytes_max = 1 << 10;
    assert_says(&cores_refused(&config), &["queued_bytes_max", "1 MiB at least"]);
}

#[test]
fn threads_are_called_as_they_are_told_and_run_where_they_are_told() {
    let mut config = CoresConfig::first(1);
    config.name = "ours".to_owned();
    let cores = Cores::start(&config).expect("cores start");
    let (sender, receiver) = std::sync::mpsc::channel();
    let tell = move || async move {
        let name = std::thread::current().name().map(str::to_owned);
        let _ = sender.send((name, available_cpus()));
    };
    cores.spawn(0, tell).expect("core 0");
    let (name, cpus) = receiver.recv_timeout(Duration::from_secs(5)).expect("it runs");
    assert_eq!((name.as_deref(), cpus), (Some("ours-0"), config.cpus));
}

#[test]
fn a_transport_on_cores_that_were_stopped_is_refused() {
    let cores = cores();
    cores.stop();
    let error = Transport::start(Config::new(1, 2), &cores, Host::new()).expect_err("nothing would run");
    assert!(matches!(error, StartError::CoresStopped));
    assert_says(&error.to_string(), &["stopped", "start new ones"]);
}

#[test]
fn a_peer_that_cannot_be_is_refused() {
    let cores = cores();
    let transport = Transport::start(Config::new(1, 2), &cores, Host::new()).expect("it starts");
    let refused = |id: u64, url: &str| transport.add_peer(id, [url]).expect_err("a wrong peer").to_string();
    assert_says(&refused(0, "http://10.0.0.2:2380"), &["0 names nobody", "give the member's id"]);
    assert_says(&refused(1, "http://10.0.0.1:2380"), &["this member itself", "leave it out"]);
    assert_says(&refused(2, "10.0.0.2:2380"), &["10.0.0.2:2380", "http://"]);
    assert_says(&refused(2, "http://h\r\nX-Evil: 1:2"), &["\\r\\n", "host and port"]);
    assert_says(&refused(2, "https://10.0.0.2:2380"), &["TLS is not built in yet"]);
    assert_says(&refused(2, "unixs://localhost:1"), &["TLS", "unix://"]);
    let none: [&str; 0] = [];
    assert!(matches!(transport.add_peer(2, none), Err(PeerError::Url(_))));
    assert!(transport.update_peer(2, ["nonsense"]).is_err());
    assert!(transport.stop().wait(Duration::from_secs(5)));
    assert_says(&refused(2, "http://10.0.0.2:2380"), &["stopped"]);
}

#[test]
fn stopping_twice_or_on_stopped_cores_ends_at_once() {
    let cores = cores();
    let transport = Transport::start(Config::new(1, 2), &cores, Host::new()).expect("it starts");
    assert!(transport.stop().wait(Duration::from_secs(5)));
    assert!(transport.stop().wait(Duration::from_secs(5)));
    assert!(transport.remove_peer(9).wait(Duration::from_secs(5)), "one that was never there");
    cores.stop();
    assert!(transport.stop().wait(Duration::from_secs(5)), "nothing is left that could end");
}

/// Where rafthttp panics: nothing does, and a snapshot is told even if no core is left to tell it.
#[test]
fn after_a_stop_everything_may_be_called_and_does_nothing() {
    let cores = cores();
    let host = Host::new();
    let transport = Transport::start(Config::new(1, 2), &cores, Arc::clone(&host) as _).expect("it starts");
    assert!(transport.stop().wait(Duration::from_secs(10)));
    cores.stop();
    assert!(transport.remove_all_peers().wait(Duration::from_secs(10)));
    assert!(transport.remove_peer(2).wait(Duration::from_secs(10)));
    assert!(transport.add_remote(2, ["http://10.0.0.2:2380"]).is_err());
    assert!(transport.move_peer(2, 0).is_err());
    assert!(transport.update_peer(2, ["http://10.0.0.2:2380"]).is_ok(), "nobody is unknown, as before");
    let calls: [fn(&Transport); 4] =
        [Transport::pause, Transport::resume, |t| t.cut_peer(2), |t| t.mend_peer(2)];
    calls.iter().for_each(|call| call(&transport));
    transport.break_connections(2);
    assert_eq!((transport.active_since(2), transport.active_peers(), transport.queued(2)), (None, 0, (0, 0)));
    assert!(transport.peer_stats(2).is_none() && transport.remotes().is_empty());
    assert!(!transport.metrics_text().is_empty());
    let snapshot =
        |to| Message { r#type: Some(MessageType::MsgSnap as i32), to: Some(to), ..Message::default() };
    assert_eq!(transport.send([snapshot(2)]).dropped, 1);
    let handle = transport.send_snapshot(snapshot(3), NoBytes);
    assert!(handle.wait(Duration::from_secs(10)).expect("an outcome").is_err());
    handle.cancel();
    let told = [2, 3].map(|id| (MemberId(id), SnapshotStatus::Failure));
    assert_eq!(host.snapshots.lock().expect("no panic")[..], told);
}

/// A database without bytes.
struct NoBytes;

impl SnapshotSource for NoBytes {
    fn size(&self) -> u64 {
        0
    }

    fn read_at(&mut self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}

// ---- io_uring that is not available -----------------------------------------------------------

/// What a child process is to be refused.
const REFUSE: &str = "RAFTRING_TEST_REFUSE";

/// What `Cores::start` says in a child process that is refused this.
fn said_by_child(refuse: &str) -> String {
    let child = Command::new(std::env::current_exe().expect("our own path"))
        .args(["--exact", "in_a_child_process_cores_say_why_they_do_not_start", "--nocapture"])
        .env(REFUSE, refuse)
        .output()
        .expect("a child runs");
    assert!(child.status.success(), "{child:?}");
    String::from_utf8(child.stdout).expect("text")
}

#[test]
fn in_a_child_process_cores_say_why_they_do_not_start() {
    let Ok(refuse) = std::env::var(REFUSE) else { return };
    match refuse.as_str() {
        "memlock" => limit(rustix::process::Resource::Memlock, 0),
        "nofile" => limit(rustix::process::Resource::Nofile, 5),
        call => forbid(call),
    }
    match Cores::start(&CoresConfig::on([available_cpus()[0]])) {
        Ok(_) => println!("started"),
        Err(error @ StartError::RingUnavailable { .. }) => println!("ring unavailable: {error}"),
        Err(error) => println!("other: {error}"),
    }
}

fn limit(resource: rustix::process::Resource, to: u64) {
    let limit = rustix::process::Rlimit { current: Some(to), maximum: Some(to) };
    rustix::process::setrlimit(resource, limit).expect("a lower limit is always allowed");
}

/// Makes a system call fail in this thread and all that it starts, as a container's filter does.
fn forbid(what: &str) {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
    let (call, errno) = match what {
        "setup EPERM" => (libc::SYS_io_uring_setup, libc::EPERM),
        "setup ENOSYS" => (libc::SYS_io_uring_setup, libc::ENOSYS),
        "enter EPERM" => (libc::SYS_io_uring_enter, libc::EPERM),
        other => panic!("{other}: not known"),
    };
    let filter = SeccompFilter::new(
        BTreeMap::from([(call, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno as u32),
        std::env::consts::ARCH.try_into().expect("an architecture with filters"),
    );
    let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    apply_filter(&program).expect("a filter can always be added");
}

#[test]
fn a_kernel_that_refuses_io_uring_is_told_with_cause_and_cure() {
    for refuse in ["setup EPERM", "setup ENOSYS", "enter EPERM"] {
        let said = said_by_child(refuse);
        assert_says(
            &said,
            &["ring unavailable", "io_uring is not available", "seccomp", "allow", "io_uring_setup"],
        );
    }
}

#[test]
fn without_descriptors_the_limit_is_named() {
    assert_says(&said_by_child("nofile"), &["out of file descriptors", "ulimit -n"]);
}

/// Kernels since 5.12 charge a ring to the memory of its control group instead, so here this limit
/// may refuse nothing; older ones, and some containers, do.
#[test]
fn a_tight_limit_on_locked_memory_is_no_obstacle_or_is_named() {
    let said = said_by_child("memlock");
    assert!(said.contains("started") || said.contains("ulimit -l"), "{said}");
}

#[test]
fn what_is_refused_leaves_nothing_running() {
    let cores = cores();
    for _ in 0..3 {
        let mut config = Config::new(1, 2);
        config.placement = Placement::Core(9);
        assert!(Transport::start(config, &cores, Host::new()).is_err());
    }
    assert_eq!(cores.stats(0).expect("core 0").tasks, 0);
}
