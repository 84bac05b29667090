//! Probing, over real sockets: members that answer, and servers that do not, or not well.
#![cfg(feature = "io")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Member, Pair, wait_until, wait_within};
use raftring::proto::probe::Warning;
use raftring::{Config, Cores, CoresConfig, Event, Fault, Injection, ProbeStats, RoundTripper};

const INTERVAL: Duration = Duration::from_millis(200);

fn stats(member: &Member, id: u64, prober: RoundTripper) -> ProbeStats {
    member.transport().probe(id, prober).expect("a peer")
}

/// What a server does with a probe.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Answers, its clock off by so many seconds, and keeps the connection.
    Answer(i64),
    /// The same, but closes the connection after each answer without having said so.
    CloseAfter,
    /// The same, and this a little later.
    StrayAfter(&'static str),
    /// Says this.
    Say(&'static str),
    /// Accepts, and says nothing.
    Nothing,
}

/// Answers probes, and nothing else, each of its connections on a thread of its own.
struct Server {
    address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    /// Probes of each connection that made any.
    served: Arc<Mutex<Vec<usize>>>,
}

impl Server {
    fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("it binds");
        let address = listener.local_addr().expect("it is bound");
        let server = Self { address, manner: Arc::new(Mutex::new(manner)), served: Arc::default() };
        let (manner, served) = (Arc::clone(&server.manner), Arc::clone(&server.served));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (manner, served) = (Arc::clone(&manner), Arc::clone(&served));
                std::thread::spawn(move || serve(stream, &manner, &served));
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn behave(&self, manner: Manner) {
        *self.manner.lock().expect("no panic") = manner;
    }

    fn served(&self) -> Vec<usize> {
        self.served.lock().expect("no panic").clone()
    }
}

fn serve(mut stream: TcpStream, manner: &Mutex<Manner>, served: &Mutex<Vec<usize>>) {
    let mut number = None;
    while let Some(head) = read_head(&mut stream) {
        if !head.starts_with("GET /raft/probing HTTP/1.1\r\n") {
            let _ =
                stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return;
        }
        let number = *number.get_or_insert_with(|| {
            let mut served = served.lock().expect("no panic");
            served.push(0);
            served.len() - 1
        });
        served.lock().expect("no panic")[number] += 1;
        let manner = *manner.lock().expect("no panic");
        let written = match manner {
            Manner::Answer(off) => stream.write_all(answer(off).as_bytes()),
            Manner::CloseAfter => return drop(stream.write_all(answer(0).as_bytes())),
            Manner::StrayAfter(text) => {
                let written = stream.write_all(answer(0).as_bytes());
                std::thread::sleep(INTERVAL / 4);
                written.and_then(|()| stream.write_all(text.as_bytes()))
            }
            Manner::Say(text) => stream.write_all(text.as_bytes()),
            Manner::Nothing => Ok(()),
        };
        if written.is_err() {
            return;
        }
    }
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

fn answer(seconds_off: i64) -> String {
    let mut out = Vec::new();
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as i128;
    let now = raftring::proto::probe::WallTime { unix_ns: now + i128::from(seconds_off) * 1_000_000_000 };
    raftring::proto::probe::write_probe_answer(&mut out, now, 1, true, false);
    String::from_utf8(out).expect("ASCII")
}

/// A member that probes quickly.
struct Prober {
    _cores: Cores,
    member: Member,
}

impl Prober {
    fn start(adjust: impl FnOnce(&mut Config)) -> Self {
        let cores = Cores::start(&CoresConfig::default()).expect("cores start");
        let address = "127.0.0.1:0".parse().expect("an address");
        let member = Member::start(1, &cores, address, |config| {
            config.probe_interval = Some(INTERVAL);
            adjust(config);
        });
        Self { _cores: cores, member }
    }

    fn add<S: AsRef<str>>(&self, urls: impl IntoIterator<Item = S>) {
        self.member.transport().add_peer(2, urls).expect("a good peer");
    }

    fn wait(&self, what: &str, is_so: impl Fn(&ProbeStats) -> bool) {
        wait_until(what, || RoundTripper::ALL.iter().all(|&prober| is_so(&stats(&self.member, 2, prober))));
    }

    fn saw(&self, what: impl Fn(&Event) -> bool) -> bool {
        self.member.host.saw(what)
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        let began = Instant::now();
        assert!(self.member.transport().stop().wait(Duration::from_secs(5)), "it stops");
        println!("stopped within {:?}", began.elapsed());
    }
}

#[test]
fn members_find_each_other_healthy_near_and_with_the_same_clock() {
    let pair = Pair::start_with(|config| config.probe_interval = Some(INTERVAL));
    let members = [(&pair.one, 2), (&pair.two, 1)];
    for (member, peer) in members {
        for prober in RoundTripper::ALL {
            wait_until("some probes have ended", || stats(member, peer, prober).total >= 5);
            let found = stats(member, peer, prober);
            println!("{prober}: {found:?}");
            assert_eq!((found.healthy, found.lost, found.last_error), (Some(true), 0, None));
            assert!(found.round_trip > Duration::ZERO && found.round_trip < Duration::from_secs(1));
            assert!(found.clock_difference_ns.abs() < 1_000_000_000, "{}", found.clock_difference_ns);
            let healthy = |event: &Event| match event {
                Event::ProbeHealth { peer: of, prober: by, healthy } => {
                    of.0 == peer && *by == prober && *healthy
                }
                _ => false,
            };
            assert!(member.host.saw(healthy));
        }
        assert!(!member.host.saw(|event| matches!(event, Event::ProbeHealth { healthy: false, .. })));
        assert_eq!(member.transport().probe(9, RoundTripper::Snapshot), None, "no peer");
    }
}

#[test]
fn members_that_are_kept_apart_on_purpose_find_each_other_unhealthy() {
    let pair = Pair::start_with(|config| config.probe_interval = Some(INTERVAL));
    let one = pair.one.transport();
    wait_until("it is healthy", || {
        RoundTripper::ALL.iter().all(|prober| stats(&pair.one, 2, *prober).healthy == Some(true))
    });
    let apart = one.inject(Injection::new(Fault::Disconnect).peer(2)).expect("it can be");
    for prober in RoundTripper::ALL {
        wait_until("it is not", || stats(&pair.one, 2, prober).healthy == Some(false));
        let why = stats(&pair.one, 2, prober).last_error.expect("a reason");
        assert!(why.contains("injected"), "{why}");
    }
    assert!(one.mend(apart));
    for prober in RoundTripper::ALL {
        wait_until("it is again", || stats(&pair.one, 2, prober).healthy == Some(true));
    }
}

#[test]
fn one_prober_keeps_its_connection_and_the_other_makes_a_new_one_each_time() {
    let (prober, server) = (Prober::start(|_| ()), Server::start(Manner::Answer(0)));
    prober.add([server.url()]);
    prober.wait("ten probes", |found| found.total >= 10);
    let served = server.served();
    let kept: Vec<_> = served.iter().filter(|&&probes| probes > 1).collect();
    assert_eq!(kept.len(), 1, "{served:?}");
    assert!(*kept[0] >= 10, "{served:?}");
    assert!(served.len() >= 11, "{served:?}");
    prober.wait("none was lost", |found| found.lost == 0);
}

#[test]
fn a_kept_connection_that_was_closed_is_no_failure() {
    let (prober, server) = (Prober::start(|_| ()), Server::start(Manner::CloseAfter));
    prober.add([server.url()]);
    prober.wait("five probes", |found| found.total >= 5);
    prober.wait("none was lost", |found| found.lost == 0 && found.healthy == Some(true));
}

/// As servers do that are about to close it.
#[test]
fn what_comes_unasked_on_a_kept_connection_is_no_answer() {
    const STRAY: &str = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
    let (prober, server) = (Prober::start(|_| ()), Server::start(Manner::StrayAfter(STRAY)));
    prober.add([server.url()]);
    prober.wait("five probes", |found| found.total >= 5);
    prober.wait("none was lost", |found| found.lost == 0 && found.healthy == Some(true));
}

/// Sharp edge 17 of the protocol: etcd's prober waits for ever.
#[test]
fn a_target_that_never_answers_does_not_stop_its_prober() {
    let (prober, server) = (Prober::start(|_| ()), Server::start(Manner::Nothing));
    prober.add([server.url()]);
    prober.wait("three probes were given up", |found| found.lost >= 3);
    for by in RoundTripper::ALL {
        let found = stats(&prober.member, 2, by);
        assert_eq!((found.healthy, found.lost), (Some(false), found.total));
        assert_eq!(found.last_error.as_deref(), Some("no answer in time"));
    }
    assert!(prober.saw(|event| matches!(event, Event::ProbeHealth { healthy: false, .. })));
    server.behave(Manner::Answer(0));
    prober.wait("it answers at last", |found| found.healthy == Some(true));
    assert!(prober.saw(|event| matches!(event, Event::ProbeHealth { healthy: true, .. })));
    // Nor does one keep a peer from being removed, or the transport from being stopped.
    server.behave(Manner::Nothing);
    prober.wait("it is silent again", |found| found.healthy == Some(false));
    let began = Instant::now();
    assert!(prober.member.transport().remove_peer(2).wait(Duration::from_secs(5)));
    println!("removed within {:?}", began.elapsed());
    prober.add([server.url()]);
    wait_until("it is probed again", || server.served().len() > 12);
}

#[test]
fn what_is_no_answer_is_a_failure_that_says_why() {
    const LARGE: &str =
        "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{\"OK\":true,\"Now\":\"2026-01-01T00:00:00Z\"}";
    let cases = [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "unexpected http status 404"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes", "not a JSON object"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"OK\":false}", "not well"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"OK\":true}", "Now is not a time"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "malformed answer"),
        ("\x16\x03\x01 something else", "malformed answer"),
    ];
    let (prober, server) = (Prober::start(|_| ()), Server::start(Manner::Answer(0)));
    prober.add([server.url()]);
    for (said, wanted) in cases {
        server.behave(Manner::Say(said));
        prober.wait(wanted, |found| found.last_error.as_ref().is_some_and(|error| error.contains(wanted)));
    }
    // More than an answer has: what of it matters is there, and no more is read.
    server.behave(Manner::Say(LARGE));
    prober.wait("not all of it is waited for", |found| found.last_error.is_none());
}

#[test]
fn the_next_url_follows_a_failure_and_new_urls_are_probed_instead() {
    let server = Server::start(Manner::Answer(0));
    let dead = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("one");
    let prober = Prober::start(|_| ());
    // The dead one is first by its text. Whitespace is what panics etcd's prober (sharp edge 14).
    prober.add([format!("\t http://127.0.0.001:{} ", dead.port()), format!(" {}\n", server.url())]);
    prober.wait("the second URL works", |found| found.healthy == Some(true) && found.lost >= 1);

    let other = Server::start(Manner::Answer(0));
    prober.member.transport().update_peer(2, [other.url()]).expect("a good URL");
    prober.wait("the new URL is probed", |found| found.lost == 0 && found.total >= 2);
    let before = server.served().iter().sum::<usize>();
    prober.wait("and none but it", |found| found.total >= 5);
    assert_eq!(server.served().iter().sum::<usize>(), before);
    assert!(other.served().iter().sum::<usize>() >= 10);
}

#[test]
fn the_monitor_warns_of_clocks_that_are_ahead_or_behind_and_of_silence() {
    let servers = [Server::start(Manner::Answer(3)), Server::start(Manner::Answer(-3))];
    let probers = [Prober::start(|_| ()), Prober::start(|_| ())];
    let silent = (Prober::start(|_| ()), Server::start(Manner::Nothing));
    let warned = |prober: &Prober, what: &dyn Fn(&Warning) -> bool| {
        wait_within(Duration::from_secs(20), "it is told", || {
            prober.saw(|event| matches!(event, Event::ProbeWarning { warning, .. } if what(warning)))
        });
    };
    silent.0.add([silent.1.url()]);
    for (prober, server) in probers.iter().zip(&servers) {
        prober.add([server.url()]);
    }
    let differs = |by: i64| {
        move |warning: &Warning| match warning {
            Warning::ClockDifference { clock_difference_ns: ns } => {
                (ns - by * 1_000_000_000).abs() < 1_000_000_000
            }
            _ => false,
        }
    };
    warned(&probers[0], &differs(-3));
    warned(&probers[1], &differs(3));
    warned(
        &silent.0,
        &|warning| matches!(warning, Warning::Unhealthy { error } if error == "no answer in time"),
    );
    let count = |prober: &Prober| {
        let events = prober.member.host.events.lock().expect("no panic");
        events.iter().filter(|event| matches!(event, Event::ProbeWarning { .. })).count()
    };
    wait_until("both probers have looked", || count(&probers[0]) == 2);
    let text = probers[0].member.transport().metrics_text();
    let observed = "etcd_network_peer_round_trip_time_seconds_count{To=\"2\"} 2";
    assert!(text.contains(observed), "each look observes once: {text}");
}

#[test]
fn probing_can_be_switched_off_and_is_answered_all_the_same() {
    let server = Server::start(Manner::Answer(0));
    let off = Prober::start(|config| config.probe_interval = None);
    off.add([server.url()]);
    let on = Prober::start(|_| ());
    on.add([off.member.url()]);
    on.wait("it answers", |found| found.total >= 5 && found.healthy == Some(true));
    assert_eq!(stats(&off.member, 2, RoundTripper::Snapshot), ProbeStats::default());
    assert_eq!(server.served(), Vec::<usize>::new());
}
