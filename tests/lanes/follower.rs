//! A follower that reads only what it is told to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use raftring::raftpb::{Entry, Message};
use raftring::{Config, Cores, Event, MemberId};

use crate::client::{Request, connect, read_head};
use crate::common::{Member, app, wait_until};

/// A leader who waits long for a follower that reads nothing.
pub(crate) fn start_leader(cores: &Cores) -> Member {
    let patient = |config: &mut Config| config.write_timeout = Duration::from_secs(60);
    Member::start(1, cores, "127.0.0.1:0".parse().expect("an address"), patient)
}

/// The other end of a leader's stream.
pub(crate) struct Follower {
    pub(crate) id: u64,
    pub(crate) stream: TcpStream,
}

impl Follower {
    /// Dials the `msgapp` stream of a leader that cannot dial back.
    pub(crate) fn of(leader: &Member, id: u64) -> Self {
        Self::on("msgapp", leader, id)
    }

    /// Dials this stream of it.
    pub(crate) fn on(kind: &str, leader: &Member, id: u64) -> Self {
        leader.transport().add_peer(id, ["http://127.0.0.1:1"]).expect("a good peer");
        let mut stream = connect(leader.transport().local_addr().expect("it listens"));
        let path = format!("/raft/stream/{kind}/{id:x}");
        let request = Request::stream(&path).header("X-Server-From", &format!("{id:x}"));
        stream.write_all(request.text().as_bytes()).expect("sent");
        let head = read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let is_up = |event: &Event| matches!(event, Event::StreamUp { peer: MemberId(up), .. } if *up == id);
        wait_until("the stream is up", || leader.host.saw(is_up));
        Self { id, stream }
    }

    /// Reads until nothing waits at the leader any more.
    pub(crate) fn drain(&mut self, leader: &Member) {
        self.stream.set_nonblocking(true).expect("a socket");
        let mut bytes = vec![0; 1 << 20];
        wait_until("everything is read", || {
            while self.stream.read(&mut bytes).is_ok() {}
            leader.transport().queued(self.id).0 == 0
        });
    }
}

/// An entry of so many bytes, as a leader's log has it.
pub(crate) fn entry(bytes: usize) -> Entry {
    Entry { data: Some(vec![7; bytes].into()), ..Entry::default() }
}

/// A message with this entry, whose memory it shares.
pub(crate) fn message(to: u64, entry: &Entry) -> Message {
    Message { to: Some(to), entries: vec![entry.clone()], ..app(1, 1) }
}
