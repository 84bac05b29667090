//! Where members may be: IPv6, unix sockets, several URLs of which some are dead; over real sockets.
#![cfg(feature = "io")]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Member, app, wait_until, wait_within};
use raftring::raftpb::{Message, MessageType};
use raftring::{Config, Cores, CoresConfig, Direction, Event, Listen, StartError, Transport};

const LOOPBACK: &str = "127.0.0.1:0";
const LOOPBACK_V6: &str = "[::1]:0";
const PATIENCE: Duration = Duration::from_secs(10);

fn cores() -> Cores {
    Cores::start(&CoresConfig::default()).expect("cores start")
}

fn start(id: u64, cores: &Cores, listen: Listen) -> Member {
    let anywhere = LOOPBACK.parse().expect("an address");
    Member::start(id, cores, anywhere, |config| config.listen = listen)
}

fn at(address: &str) -> Listen {
    Listen::Address(address.parse().expect("an address"))
}

/// A name for a socket that no other test has, in this process or another; nothing is there.
fn socket_name() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("raftring-{}-{number}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn unix_url(path: &Path) -> String {
    format!("unix://{}", path.display())
}

/// All four streams come up, and a message of each stream arrives either way.
fn talk(one: &Member, two: &Member) {
    for (from, to) in [(one, two), (two, one)] {
        let kinds = [MessageType::MsgApp, MessageType::MsgHeartbeat];
        for (lane, kind) in kinds.into_iter().enumerate() {
            let up = |event: &Event| match event {
                Event::StreamUp { kind, direction: Direction::Writer, .. } => *kind as usize == lane,
                _ => false,
            };
            wait_until("the stream is up", || from.host.saw(up));
            let (r#type, to_id, from_id) = (Some(kind as i32), Some(to.id), Some(from.id));
            let message = Message { r#type, to: to_id, from: from_id, term: Some(1), ..app(1, 1) };
            assert_eq!(from.transport().send([message]).accepted, 1);
            let got = to.host.next(PATIENCE).expect("it arrives");
            assert_eq!((got.origin.peer.0, got.message.kind()), (from.id, Some(kind)));
        }
    }
}

fn stop(member: &Member) {
    assert!(member.transport().stop().wait(PATIENCE), "it stops");
}

#[test]
fn members_talk_over_ipv6() {
    if TcpListener::bind(LOOPBACK_V6).is_err() {
        let _ = std::io::stderr().write_all(b"\nSKIPPED: this machine has no IPv6\n\n");
        return;
    }
    let cores = cores();
    let (one, two) = (start(1, &cores, at(LOOPBACK_V6)), start(2, &cores, at(LOOPBACK_V6)));
    assert!(two.url().starts_with("http://[::1]:"), "{}", two.url());
    one.add(&two);
    two.add(&one);
    talk(&one, &two);
    // One that listens on everything is reached by either family.
    let three = start(3, &cores, at("[::]:0"));
    let port = three.transport().local_addr().expect("it listens").port();
    for (member, host) in [(&one, "[::1]"), (&two, "127.0.0.1")] {
        let url = format!("http://{host}:{port}");
        member.transport().add_peer(3, [url]).expect("a good peer");
        three.add(member);
        let up = |event: &Event| matches!(event, Event::StreamUp { peer, direction: Direction::Reader, .. } if peer.0 == 3);
        wait_until("it is reached", || member.host.saw(up));
    }
    [&one, &two, &three].into_iter().for_each(stop);
}

#[test]
fn members_talk_over_unix_sockets_and_leave_no_file() {
    let cores = cores();
    let names = [socket_name(), socket_name()];
    let [one, two] = [0, 1].map(|n| start(n as u64 + 1, &cores, Listen::Unix(names[n].clone())));
    assert_eq!(one.transport().local_addr(), None, "a socket's name is no address");
    one.transport().add_peer(2, [unix_url(&names[1])]).expect("a good peer");
    two.transport().add_peer(1, [unix_url(&names[0])]).expect("a good peer");
    talk(&one, &two);
    // In bulk too, and through the spinning reader.
    for first in (2..2_002).step_by(100) {
        let sent = one.transport().send((first..first + 100).map(|index| app(index, 1)));
        assert_eq!(sent.accepted, 100);
        for index in first..first + 100 {
            let got = two.host.next(PATIENCE).expect("it arrives");
            assert_eq!(got.message.index(), index - 1);
        }
    }
    [&one, &two].into_iter().for_each(stop);
    assert!(names.iter().all(|name| !name.exists()), "the sockets' files are removed");
}

/// As etcd does: `unix://host:port` names a file in the working directory.
#[test]
fn a_unix_url_with_a_port_is_the_name_of_a_file_of_the_working_directory() {
    let cores = cores();
    let name = format!("raftring-localhost-{}:2380", std::process::id());
    let url = format!("unix://{name}");
    let one = start(1, &cores, Listen::url(&url).expect("a place to listen"));
    let two = start(2, &cores, at(LOOPBACK));
    assert!(Path::new(&name).exists());
    two.transport().add_peer(1, [&url]).expect("a good peer");
    one.add(&two);
    talk(&one, &two);
    [&one, &two].into_iter().for_each(stop);
    assert!(!Path::new(&name).exists());
}

fn try_to_listen(cores: &Cores, path: &Path) -> Result<Transport, StartError> {
    let mut config = Config::new(9, common::CLUSTER);
    config.listen = Listen::Unix(path.to_owned());
    Transport::start(config, cores, common::Host::new())
}

#[test]
fn a_socket_that_was_left_over_is_replaced_and_one_in_use_is_not() {
    let (cores, name) = (cores(), socket_name());
    drop(UnixListener::bind(&name).expect("it binds"));
    assert!(name.exists(), "its file stays");
    let first = try_to_listen(&cores, &name).expect("nobody listens there");
    let error = try_to_listen(&cores, &name).expect_err("somebody listens").to_string();
    assert!(error.contains(&name.display().to_string()) && error.contains("choose a name"), "{error}");
    assert!(UnixStream::connect(&name).is_ok(), "which goes on");
    assert!(first.stop().wait(PATIENCE));
    assert!(!name.exists());

    std::fs::write(&name, "dear").expect("a file");
    assert!(try_to_listen(&cores, &name).is_err());
    assert_eq!(std::fs::read_to_string(&name).expect("it is there still"), "dear");
    std::fs::remove_file(&name).expect("it is ours");
    assert!(try_to_listen(&cores, &PathBuf::from("x".repeat(200))).is_err());

    // A file that took the name meanwhile belongs to somebody else.
    let second = try_to_listen(&cores, &name).expect("a free name");
    std::fs::remove_file(&name).expect("it is there");
    std::fs::write(&name, "new").expect("a file");
    assert!(second.stop().wait(PATIENCE));
    assert!(name.exists());
    std::fs::remove_file(&name).expect("it is ours");
}

#[test]
fn clients_of_a_unix_socket_count_as_one_address() {
    let (cores, name) = (cores(), socket_name());
    let member = start(1, &cores, Listen::Unix(name.clone()));
    // Idle ones: of one address 32 may wait, so the oldest is closed.
    let mut idle: Vec<_> = (0..40).map(|_| UnixStream::connect(&name).expect("it accepts")).collect();
    idle[0].set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert_eq!(idle[0].read(&mut [0]).expect("the end"), 0);
    let mut last = idle.pop().expect("the newest");
    last.write_all(b"GET /raft/probing HTTP/1.1\r\nHost: a\r\n\r\n").expect("it takes a request");
    let mut answer = [0; 15];
    last.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    // Junk: each is told from where, as far as that can be.
    let mut junk = UnixStream::connect(&name).expect("it accepts");
    junk.write_all(b"BREW / HTCPCP/1.0\r\n\r\n").expect("it is sent");
    let told = |event: &Event| match event {
        Event::RequestRefused { from, .. } => from.ip().is_unspecified(),
        _ => false,
    };
    wait_until("it is told", || member.host.saw(told));
    stop(&member);
}

#[test]
fn a_dead_first_url_is_healed_by_the_next() {
    let cores = cores();
    let (one, two) = (start(1, &cores, at(LOOPBACK)), start(2, &cores, at(LOOPBACK)));
    let dead =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address");
    let nowhere = unix_url(&socket_name());
    // Sorted by their text, so the dead ones come first (127.0.0.1 is 127.0.0.1).
    let urls = [format!("http://127.0.0.01:{}", dead.port()), nowhere, two.url()];
    one.transport().add_peer(2, &urls).expect("a good peer");
    two.transport()
        .add_peer(1, [format!(" http://{dead}\t"), one.url()])
        .expect("whitespace is no part of it");
    talk(&one, &two);
    // All at once dead, and then one of them alive.
    let address = two.transport().local_addr().expect("it listens");
    stop(&two);
    let down = |event: &Event| matches!(event, Event::ReaderDown { .. });
    wait_until("the streams are down", || one.host.saw(down));
    let mut two = two;
    two.restart(&cores, address, &[&one]);
    let up_again = |event: &Event| matches!(event, Event::StreamUp { direction: Direction::Reader, .. });
    wait_within(Duration::from_secs(20), "they are up again", || {
        let events = one.host.events.lock().expect("no panic");
        events.iter().filter(|event| up_again(event)).count() >= 4
    });
    [&one, &two].into_iter().for_each(stop);
    drop(TcpStream::connect(dead));
}
