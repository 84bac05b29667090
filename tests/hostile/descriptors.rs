//! A process that is out of descriptors, in a child of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use raftring::{Config, Cores, CoresConfig, Event, Listen, Transport};

use crate::client::{connect, exchange, read_to_end};
use crate::common::{CLUSTER, Host, Member, descriptors, wait_until};

/// Set in the child.
const CHILD: &str = "RAFTRING_TEST_FEW_DESCRIPTORS";

/// What a transport at rest needs, and room for some twenty connections.
const DESCRIPTORS: u64 = 64;

#[test]
fn in_a_child_process_a_member_has_few_descriptors() {
    if std::env::var(CHILD).is_err() {
        return;
    }
    limit_descriptors();
    let cpu = raftring::cores::available_cpus()[0];
    let cores = Cores::start(&CoresConfig::on([cpu])).expect("cores start");
    let at_rest = descriptors();
    let member = Member::start(1, &cores, "127.0.0.1:0".parse().expect("an address"), |_| ());
    println!("address {}", member.transport().local_addr().expect("it listens"));
    let _ = std::io::stdin().read(&mut [0]);
    assert!(member.transport().stop().wait(Duration::from_secs(5)), "it stops");
    let failed = member.host.saw(|event| matches!(event, Event::ListenerFailed { .. }));
    wait_until("every descriptor is closed", || descriptors() == at_rest);
    println!("failed {failed}");
}

fn limit_descriptors() {
    let limit = rustix::process::Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).expect("a lower limit");
}

struct FewDescriptors {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    address: SocketAddr,
}

impl FewDescriptors {
    fn start() -> Self {
        let test = "descriptors::in_a_child_process_a_member_has_few_descriptors";
        let mut child = Command::new(std::env::current_exe().expect("our own path"))
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child runs");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let address = find(&mut output, "address ").parse().expect("an address");
        Self { child, output, address }
    }

    /// CPU time that it has used, in clock ticks of 10 ms.
    fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it lives");
        let fields: Vec<_> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
        fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    }

    /// Ends it; what it says at last.
    fn end(mut self) -> String {
        self.child.stdin.take().expect("piped").write_all(b"x").expect("it waits for that");
        let said = find(&mut self.output, "failed ");
        assert!(self.child.wait().expect("it ends").success());
        said
    }
}

fn find(output: &mut impl BufRead, word: &str) -> String {
    output
        .lines()
        .map(|line| line.expect("text"))
        .find_map(|line| line.split_once(word).map(|(_, rest)| rest.to_owned()))
        .expect("it says so")
}

#[test]
fn out_of_descriptors_it_neither_spins_nor_stays_deaf() {
    let member = FewDescriptors::start();
    // Each from an address of its own, so that nothing else bounds them.
    let flood: Vec<_> = (0..150).map(|_| connect(member.address)).collect();
    std::thread::sleep(Duration::from_millis(300));
    let (before, began) = (member.ticks(), Instant::now());
    std::thread::sleep(Duration::from_secs(1));
    let share = (member.ticks() - before) as f64 / (began.elapsed().as_millis() as f64 / 10.0);
    assert!(share < 0.5, "{share} of a CPU");
    drop(flood);
    let began = Instant::now();
    while !exchange(member.address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 404") {
        assert!(began.elapsed() < Duration::from_secs(3), "it answers again");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut last = connect(member.address);
    last.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    assert!(!read_to_end(&mut last).is_empty());
    let said = member.end();
    assert!(said == "true", "the limit was reached and told: {said}");
}

/// Set in the child.
const CHILD_WITHOUT: &str = "RAFTRING_TEST_NO_DESCRIPTORS";

#[test]
fn in_a_child_process_no_descriptor_is_left() {
    if std::env::var(CHILD_WITHOUT).is_err() {
        return;
    }
    limit_descriptors();
    let cores = Cores::start(&CoresConfig::on([raftring::cores::available_cpus()[0]])).expect("cores start");
    let any = "127.0.0.1:0".parse().expect("an address");
    let one = Member::start(1, &cores, any, |_| ());
    let bound = TcpListener::bind(any).expect("a free port");
    let all_others: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();

    let mut config = Config::new(2, CLUSTER);
    config.listen = Listen::Address(any);
    let refused = Transport::start(config, &cores, Host::new()).expect_err("no socket is to be had");
    assert!(refused.to_string().contains("cannot listen"), "{refused}");
    assert!(refused.to_string().contains(CURE), "{refused}");
    let two = Member::start(2, &cores, any, |config| config.listen = Listen::Listener(bound));
    two.add(&one);
    one.add(&two);
    for (what, is_told) in
        [("the deaf listener", listener_failed as fn(&Event) -> bool), ("the dial", dial_failed)]
    {
        wait_until(what, || two.host.saw(is_told));
    }

    drop(all_others);
    for member in [&one, &two] {
        wait_until("everything comes up by itself", || streams_up(member) >= 4);
    }
    for member in [&one, &two] {
        assert!(member.transport().stop().wait(Duration::from_secs(5)), "it stops");
    }
}

/// What to do when descriptors are out, as it is told everywhere.
const CURE: &str = "raise the limit (ulimit -n";

fn listener_failed(event: &Event) -> bool {
    matches!(event, Event::ListenerFailed { error } if error.contains(CURE))
}

fn dial_failed(event: &Event) -> bool {
    matches!(event, Event::DialFailed { error, .. } if error.to_string().contains(CURE))
}

fn streams_up(member: &Member) -> usize {
    let events = member.host.events.lock().expect("no panic");
    events.iter().filter(|event| matches!(event, Event::StreamUp { .. })).count()
}

#[test]
fn without_a_descriptor_everything_says_so_and_heals() {
    let child = Command::new(std::env::current_exe().expect("our own path"))
        .args(["--exact", "descriptors::in_a_child_process_no_descriptor_is_left", "--nocapture"])
        .env(CHILD_WITHOUT, "1")
        .output()
        .expect("a child runs");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}
