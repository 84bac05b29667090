//! Paths of the host's own, and probes, on the transport's listener, over real sockets.
#![cfg(feature = "io")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Host, Member, wait_until};
use raftring::proto::handshake::Refusal;
use raftring::routes::{Answer, Reply, Request};
use raftring::{Config, Cores, CoresConfig, Event};

/// Answers at once what has no time to lose, and hands everything else to the test.
struct Site {
    cores: Cores,
    member: Member,
    asked: std::sync::mpsc::Receiver<(Request, Reply)>,
}

fn serve(later: &Sender<(Request, Reply)>, request: Request, reply: Reply) {
    match request.path.as_str() {
        "/version" => reply.answer(Answer::version(&request, "3.4.23", "3.4.0")),
        "/echo" => {
            let told = format!(
                "{} {} {:?} {}",
                request.method,
                request.query,
                request.header("x-question"),
                String::from_utf8_lossy(&request.body)
            );
            let answer =
                Answer::new(201, "text/plain", told).and_then(|answer| answer.header("X-More", "yes"));
            reply.answer(answer.expect("a good answer"));
        }
        "/empty" => reply.answer(Answer::new(204, "text/plain", "no body").expect("a good answer")),
        "/panic" => panic!("planted"),
        "/large" => reply.answer(Answer::text(vec![b'x'; 4 << 20])),
        "/forgotten" => drop(reply),
        _ => drop(later.send((request, reply))),
    }
}

impl Site {
    fn start(adjust: impl FnOnce(&mut Config)) -> Self {
        let cores = Cores::start(&CoresConfig::default()).expect("cores start");
        let (later, asked) = channel();
        let later = Mutex::new(later);
        let address = "127.0.0.1:0".parse().expect("an address");
        let member = Member::start(1, &cores, address, |config| {
            config.routes = Some(Arc::new(move |request: Request, reply: Reply| {
                let later = later.lock().expect("no panic").clone();
                serve(&later, request, reply);
            }));
            adjust(config);
        });
        Self { cores, member, asked }
    }

    fn connect(&self) -> Client {
        self.connect_from(1)
    }

    /// From 127.0.0.`host`.
    fn connect_from(&self, host: u8) -> Client {
        let address = self.member.transport().local_addr().expect("it listens");
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, host], 0)).into()).expect("an address of this machine");
        socket.connect(&address.into()).expect("it accepts");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        Client { stream, read: Vec::new() }
    }

    fn host(&self) -> &Host {
        &self.member.host
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        assert!(self.member.transport().stop().wait(Duration::from_secs(5)), "it stops");
    }
}

/// A connection of HTTP/1.1.
struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    fn send(&mut self, request: &str) {
        self.stream.write_all(request.as_bytes()).expect("it takes a request");
    }

    fn ask(&mut self, request: &str) -> (String, String) {
        self.send(request);
        self.answer()
    }

    /// Head and body of the next answer, which has a `Content-Length` or no body.
    fn answer(&mut self) -> (String, String) {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.fill(), "the connection ended: {}", self.read.escape_ascii());
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).expect("ASCII");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.map_or(0, |length| length.parse().expect("a number"));
        while self.read.len() < length {
            assert!(self.fill(), "the connection ended within a body");
        }
        let body = String::from_utf8(self.read.drain(..length).collect()).expect("text");
        (head, body)
    }

    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 << 10];
        let count = self.stream.read(&mut buffer).unwrap_or(0);
        self.read.extend_from_slice(&buffer[..count]);
        count > 0
    }

    fn is_closed(&mut self) -> bool {
        !self.fill()
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn a_path_of_the_host_is_the_hosts_and_the_connection_goes_on() {
    let site = Site::start(|_| ());
    let mut client = site.connect();
    let (head, body) = client.ask(&get("/version"));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: "), "{head}");
    assert_eq!(body, r#"{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}"#);

    let question = "POST /echo?a=b HTTP/1.1\r\nHost: a\r\nX-Question: why\r\nContent-Length: 4\r\n\r\nbody";
    let (head, body) = client.ask(question);
    assert!(head.starts_with("HTTP/1.1 201 ") && head.contains("\r\nX-More: yes\r\n"), "{head}");
    assert_eq!(body, r#"POST a=b Some("why") body"#);
    let chunked =
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n";
    assert_eq!(client.ask(chunked).1, "POST  None body");

    let (head, body) = client.ask(&get("/empty"));
    assert!(head.starts_with("HTTP/1.1 204 ") && !head.contains("Content-Length"), "{head}");
    assert_eq!(body, "");
    // Several at once are answered in their order.
    client.send(&format!("{}{}", get("/version"), get("/echo?2")));
    assert!(client.answer().1.contains("etcdserver"));
    assert_eq!(client.answer().1, "GET 2 None ");
}

#[test]
fn a_head_is_answered_without_a_body_and_http_1_0_with_the_end() {
    let site = Site::start(|_| ());
    let mut client = site.connect();
    client.send("HEAD /version HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(&get("/empty"));
    let mut both = String::new();
    while !both.contains(" 204 ") {
        assert!(client.fill(), "two answers");
        both = String::from_utf8(client.read.clone()).expect("text");
    }
    assert!(both.starts_with("HTTP/1.1 405 ") && both.contains("Content-Length: 19\r\n"), "{both}");
    assert!(!both.contains("Not Allowed\n"), "{both}");

    let mut client = site.connect();
    let (head, _) = client.ask("GET /version HTTP/1.0\r\n\r\n");
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n") && head.contains("Connection: close\r\n"), "{head}");
    assert!(client.is_closed());
}

#[test]
fn the_host_may_answer_later_from_any_thread_while_everything_else_goes_on() {
    let site = Site::start(|_| ());
    let mut waits = site.connect();
    waits.send(&get("/later"));
    let (request, reply) = site.asked.recv_timeout(Duration::from_secs(10)).expect("it is asked");
    assert_eq!(request.path, "/later");
    assert_eq!(site.connect().ask(&get("/echo")).1, "GET  None ");
    let thread = std::thread::spawn(move || reply.answer(Answer::text("at last")));
    assert_eq!(waits.answer().1, "at last");
    thread.join().expect("no panic");
    assert_eq!(waits.ask(&get("/echo")).1, "GET  None ", "the connection lives on");
}

#[test]
fn a_host_that_does_not_answer_costs_its_client_a_503_or_a_500() {
    let site = Site::start(|config| config.route_timeout = Duration::from_millis(300));
    let began = Instant::now();
    let mut waits = site.connect();
    let (head, _) = waits.ask(&get("/later"));
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(began.elapsed() >= Duration::from_millis(300));
    let (_, reply) = site.asked.recv_timeout(Duration::from_secs(10)).expect("it was asked");
    reply.answer(Answer::text("too late"));
    assert!(waits.is_closed());

    let (head, _) = site.connect().ask(&get("/forgotten"));
    assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
    let silent = |event: &Event| matches!(event, Event::RequestRefused { refusal: Refusal::HostSilent, .. });
    wait_until("it is told", || site.host().saw(silent));

    assert!(site.connect().stream.write_all(get("/panic").as_bytes()).is_ok());
    wait_until("a panic is told", || site.host().saw(|event| matches!(event, Event::Panicked { .. })));
    assert_eq!(site.connect().ask(&get("/echo")).1, "GET  None ", "and costs nothing else");
}

#[test]
fn a_stop_does_not_wait_for_the_host() {
    let site = Site::start(|config| config.route_timeout = Duration::from_secs(60));
    let mut client = site.connect();
    client.send(&get("/later"));
    let (_, reply) = site.asked.recv_timeout(Duration::from_secs(10)).expect("it is asked");
    let cores = site.cores.clone();
    drop(site); // which waits for 5 s at most
    reply.answer(Answer::text("nobody hears it"));
    assert!((0..cores.count()).all(|core| cores.stats(core).expect("a core").tasks == 0));
}

#[test]
fn bodies_and_requests_are_bounded() {
    let site = Site::start(|config| config.route_body_bytes_max = 100);
    let post = |length: usize| {
        format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length))
    };
    assert!(site.connect().ask(&post(100)).0.starts_with("HTTP/1.1 201 "));
    assert!(site.connect().ask(&post(101)).0.starts_with("HTTP/1.1 413 "));
    let mut chunks = site.connect();
    chunks.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    chunks.send(&format!("60\r\n{}\r\n", "x".repeat(96)).repeat(2));
    assert!(chunks.answer().0.starts_with("HTTP/1.1 413 "));

    // More than the host is asked at once, by one address and by all: the rest is told so.
    let (mut clients, mut asked) = (Vec::new(), Vec::new());
    for address in 1..=4 {
        for _ in 0..16 {
            let mut client = site.connect_from(address);
            client.send(&get("/later"));
            asked.push(site.asked.recv_timeout(Duration::from_secs(10)).expect("it is asked"));
            clients.push(client);
        }
        let (head, _) = site.connect_from(address).ask(&get("/later"));
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    }
    let (head, _) = site.connect_from(5).ask(&get("/later"));
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    asked.drain(..).for_each(|(_, reply)| reply.answer(Answer::text("")));
    assert!(clients.iter_mut().all(|client| client.answer().0.starts_with("HTTP/1.1 200 ")));
    assert!(site.connect().ask(&get("/echo")).0.starts_with("HTTP/1.1 201 "));
}

#[test]
fn a_large_answer_arrives_whole() {
    let site = Site::start(|_| ());
    let mut client = site.connect();
    assert_eq!(client.ask(&get("/large")).1.len(), 4 << 20);
    assert_eq!(client.ask(&get("/echo")).1, "GET  None ");
}

#[test]
fn what_is_below_raft_never_reaches_the_host_and_without_routes_nothing_does() {
    let site = Site::start(|_| ());
    for path in ["/raft/", "/raft/x", "/raft/stream"] {
        let (head, body) = site.connect().ask(&get(path));
        assert!(head.starts_with("HTTP/1.1 404 "), "{path}: {head}");
        assert_eq!(body, "404 page not found\n");
    }
    assert!(site.connect().ask(&get("/raft")).0.starts_with("HTTP/1.1 405 "));
    assert!(site.asked.try_recv().is_err());
    drop(site);
    let site = Site::start(|config| config.routes = None);
    let (head, body) = site.connect().ask(&get("/version"));
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    assert_eq!(body, "404 page not found\n");
}

/// Protocol section 12.1.
#[test]
fn a_probe_is_answered_whatever_its_method() {
    let site = Site::start(|_| ());
    let mut client = site.connect();
    for method in ["GET", "POST", "PUT", "BREW"] {
        let (head, body) = client.ask(&format!("{method} /raft/probing HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{head}");
        assert!(body.starts_with("{\"OK\":true,\"Now\":\"2") && body.ends_with("Z\"}\n"), "{body}");
    }
    let with_body = "POST /raft/probing HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    assert!(client.ask(with_body).0.starts_with("HTTP/1.1 200 "));
    client.send("HEAD /raft/probing HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(&get("/echo"));
    let mut read = String::new();
    while !read.contains(" 201 ") {
        assert!(client.fill(), "two answers");
        read = String::from_utf8_lossy(&client.read).into_owned();
    }
    assert!(read.starts_with("HTTP/1.1 200 OK\r\n") && !read.contains("\"OK\""), "{read}");

    let mut client = site.connect();
    let large = "POST /raft/probing HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n";
    assert!(client.ask(large).0.starts_with("HTTP/1.1 413 "));
}

#[test]
fn strangers_who_probe_and_stay_do_not_fill_the_process() {
    let site = Site::start(|_| ());
    // More than may be kept of one address: the oldest are closed, and everyone is answered.
    let mut clients: Vec<_> = (0..300)
        .map(|_| {
            let mut client = site.connect();
            assert!(client.ask(&get("/raft/probing")).0.starts_with("HTTP/1.1 200 "));
            client
        })
        .collect();
    let kept = || site.cores.stats(0).expect("a core").tasks;
    assert!(kept() <= 256 + 8, "{} are kept", kept());
    assert!(clients[0].is_closed());
    assert!(clients[299].ask(&get("/raft/probing")).0.starts_with("HTTP/1.1 200 "));
}

/// It was served before, and is in the middle of something now.
#[test]
fn a_kept_connection_whose_request_is_under_way_gives_way_to_nobody() {
    let site = Site::start(|_| ());
    let mut waiting = site.connect();
    assert!(waiting.ask(&get("/version")).0.starts_with("HTTP/1.1 200 "));
    waiting.send(&get("/later"));
    let (_, reply) = site.asked.recv_timeout(Duration::from_secs(10)).expect("the host is asked");
    let _kept: Vec<_> = (0..300)
        .map(|_| {
            let mut client = site.connect();
            assert!(client.ask(&get("/version")).0.starts_with("HTTP/1.1 200 "));
            client
        })
        .collect();
    reply.answer(Answer::text("late"));
    assert_eq!(waiting.answer().1, "late");
}

#[test]
fn who_probes_without_pause_is_shut_out() {
    let site = Site::start(|_| ());
    let probes = get("/raft/probing").repeat(100);
    let busy = |event: &Event| matches!(event, Event::RequestRefused { refusal: Refusal::Busy, .. });
    let deadline = Instant::now() + Duration::from_secs(10);
    while !site.host().saw(busy) {
        assert!(Instant::now() < deadline, "nobody was told to wait");
        let mut client = site.connect();
        let _ = client.stream.write_all(probes.repeat(20).as_bytes());
        let mut answers = Vec::new();
        let _ = client.stream.read_to_end(&mut answers);
    }
}
