//! A client that is no raftring: sockets, bytes, and what comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::common::CLUSTER;

/// A connection from a loopback address that nobody else uses, for refusals count per address.
pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    static NEXT: AtomicU32 = AtomicU32::new(2);
    let host = NEXT.fetch_add(1, Ordering::Relaxed);
    connect_from(Ipv4Addr::from_bits(0x7f01_0000 + host), to)
}

pub(crate) fn connect_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("all of 127/8 is ours");
    socket.connect(&to.into()).expect("somebody listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(15))).expect("a timeout");
    stream
}

/// Everything until the other end closes, or cuts: a cut is an end, too.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return bytes,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return bytes,
            // A process that was stopped and goes on is told so here.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
}

/// Sends `request` whole and reads until the connection ends.
pub(crate) fn exchange(to: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(to);
    // The other end may refuse before everything is sent.
    let _ = stream.write_all(request);
    String::from_utf8(read_to_end(&mut stream)).expect("text")
}

/// As [`exchange`], without the line that tells the time.
pub(crate) fn answer(to: SocketAddr, request: &str) -> String {
    without_date(&exchange(to, request.as_bytes()))
}

pub(crate) fn without_date(answer: &str) -> String {
    answer.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: ")).collect()
}

/// Reads a head, up to its empty line.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut byte).expect("a head comes");
        assert!(count > 0, "the end after {:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// How long until the other end closes.
pub(crate) fn time_to_close(stream: &mut TcpStream) -> Duration {
    let since = Instant::now();
    read_to_end(stream);
    since.elapsed()
}

/// True if the connection is still open and nothing came.
pub(crate) fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    let open = matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    stream.set_nonblocking(false).expect("a socket");
    open
}

/// A request as members make them, one header of which can be changed.
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Request {
    /// Member 2 dials a stream of member 1.
    pub(crate) fn stream(path: &str) -> Self {
        Self::new("GET", path).header("X-Raft-To", "1")
    }

    /// Member 2 posts to member 1.
    pub(crate) fn post() -> Self {
        Self::new("POST", "/raft")
    }

    fn new(method: &'static str, path: &str) -> Self {
        let headers = vec![
            ("Host", "member-1:2380".to_owned()),
            ("X-Server-From", "2".to_owned()),
            ("X-Server-Version", "3.5.0".to_owned()),
            ("X-Min-Cluster-Version", "3.0.0".to_owned()),
            ("X-Etcd-Cluster-Id", format!("{CLUSTER:x}")),
        ];
        Self { method, path: path.to_owned(), headers, body: String::new() }
    }

    pub(crate) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// Sets a header; an empty value leaves it out.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        if !value.is_empty() {
            self.headers.push((name, value.to_owned()));
        }
        self
    }

    /// Adds a line as it is, whatever is there already.
    pub(crate) fn and(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Vec<u8> {
        self = self.header("Content-Length", &body.len().to_string());
        [self.text().as_bytes(), body].concat()
    }

    pub(crate) fn text(&self) -> String {
        let lines: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{} {} HTTP/1.1\r\n{lines}\r\n{}", self.method, self.path, self.body)
    }
}
