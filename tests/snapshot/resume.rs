//! Going on where a transfer was cut: a proxy between two transports cuts it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use raftring::{CoresConfig, Event, SnapshotError, SnapshotStatus};

use crate::common::wait_until;
use crate::host::{Bits, Two};
use crate::send::PATIENCE;

/// Forwards connections; cuts one after it brought so many bytes.
struct Proxy {
    url: String,
    cut_after: Arc<AtomicU64>,
    /// Bytes that all connections brought.
    brought: Arc<AtomicU64>,
}

impl Proxy {
    fn start(to: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (cut_after, brought) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::new(AtomicU64::new(0)));
        let of_thread = (Arc::clone(&cut_after), Arc::clone(&brought));
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let Ok(server) = TcpStream::connect(to) else { continue };
                let (mut up, mut down) =
                    (client.try_clone().expect("a copy"), server.try_clone().expect("a copy"));
                let (cut_after, brought) = (of_thread.0.load(Ordering::SeqCst), Arc::clone(&of_thread.1));
                std::thread::spawn(move || drop(std::io::copy(&mut down, &mut up)));
                std::thread::spawn(move || forward(client, server, cut_after, &brought));
            }
        });
        Self { url, cut_after, brought }
    }
}

fn forward(mut client: TcpStream, mut server: TcpStream, cut_after: u64, brought: &AtomicU64) {
    let mut piece = [0; 65_536];
    let mut sum = 0;
    while let Ok(count) = client.read(&mut piece) {
        sum += count as u64;
        brought.fetch_add(count as u64, Ordering::SeqCst);
        if count == 0 || server.write_all(&piece[..count]).is_err() || sum >= cut_after {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

/// Member 1 reaches member 2 through the proxy.
fn behind_a_proxy(resume_time: Duration) -> (Two, Proxy) {
    let two = Two::start_with(&CoresConfig::default(), |config| config.snapshot_resume_time = resume_time);
    let proxy = Proxy::start(two.two.transport().local_addr().expect("it listens"));
    two.one.transport().update_peer(2, [&proxy.url]).expect("a good URL");
    (two, proxy)
}

const LEN: usize = 20 << 20;
const CUT: u64 = 12 << 20;

fn cut_once(two: &Two, proxy: &Proxy, bits: &Bits) {
    proxy.cut_after.store(CUT, Ordering::SeqCst);
    let error = two.send(1, bits.clone()).wait(PATIENCE).expect("an outcome").expect_err("it is cut");
    assert!(matches!(error, SnapshotError::Connection(_) | SnapshotError::Refused(_)), "{error:?}");
    wait_until("the receiver has noticed", || {
        two.receiver.count(|event| matches!(event, Event::SnapshotReceiveEnded { refusal: Some(_), .. })) == 1
            && two.two.transport().receiving_snapshots().is_empty()
    });
    proxy.cut_after.store(u64::MAX, Ordering::SeqCst);
    proxy.brought.store(0, Ordering::SeqCst);
    bits.read.store(0, Ordering::SeqCst);
}

fn offset_of_second(two: &Two) -> u64 {
    let offsets: Vec<_> = two
        .receiver
        .events()
        .iter()
        .filter_map(|event| match event {
            Event::SnapshotReceiveBegan { offset, .. } => Some(*offset),
            _ => None,
        })
        .collect();
    *offsets.last().expect("it began")
}

#[test]
fn a_snapshot_that_was_cut_goes_on_where_it_was() {
    let (two, proxy) = behind_a_proxy(Duration::from_secs(60));
    let bits = Bits::tagged(LEN);
    cut_once(&two, &proxy, &bits);
    assert_eq!(two.receiver.files(), 1, "a part is kept");
    assert_eq!(two.send(1, bits.clone()).wait(PATIENCE), Some(Ok(())));
    two.assert_arrived(1, &bits.bytes);
    let offset = offset_of_second(&two);
    assert!(offset > CUT / 2, "{offset}");
    let (brought, read) = (proxy.brought.load(Ordering::SeqCst), bits.read.load(Ordering::SeqCst));
    assert!(brought < LEN as u64 - offset + (1 << 20), "{brought} bytes were sent the second time");
    assert!(read <= LEN as u64 - offset, "and {read} read");
    two.assert_over(1, &[SnapshotStatus::Failure, SnapshotStatus::Finish]);
}

#[test]
fn what_is_not_the_same_snapshot_begins_anew() {
    for other in [
        Bits { tag: Some(b"other bytes".to_vec()), ..Bits::new(LEN) },
        Bits { tag: None, ..Bits::new(LEN) },
        Bits::tagged(LEN - 1),
    ] {
        let (two, proxy) = behind_a_proxy(Duration::from_secs(60));
        cut_once(&two, &proxy, &Bits::tagged(LEN));
        assert_eq!(two.send(1, other.clone()).wait(PATIENCE), Some(Ok(())));
        two.assert_arrived(1, &other.bytes);
        assert_eq!(offset_of_second(&two), 0);
        two.assert_over(1, &[SnapshotStatus::Failure, SnapshotStatus::Finish]);
    }
}

#[test]
fn a_part_is_kept_for_a_while_and_not_for_ever() {
    let (two, proxy) = behind_a_proxy(Duration::from_millis(300));
    let bits = Bits::tagged(LEN);
    cut_once(&two, &proxy, &bits);
    wait_until("it is forgotten", || two.receiver.files() == 0);
    assert_eq!(two.send(1, bits.clone()).wait(PATIENCE), Some(Ok(())));
    two.assert_arrived(1, &bits.bytes);
    assert_eq!(offset_of_second(&two), 0);

    let (two, proxy) = behind_a_proxy(Duration::ZERO);
    cut_once(&two, &proxy, &bits);
    wait_until("nothing is kept", || two.receiver.files() == 0);
}

/// The receiver says that it has a part and then no longer has it: 409, and all of it from the start.
#[test]
fn a_part_that_is_gone_when_it_is_needed_costs_a_second_request() {
    let (two, proxy) = behind_a_proxy(Duration::from_secs(60));
    let bits = Bits::tagged(LEN);
    cut_once(&two, &proxy, &bits);
    // A liar in front of the receiver: it tells of a part one byte longer.
    let to = two.two.transport().local_addr().expect("it listens");
    let liar = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", liar.local_addr().expect("bound"));
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = liar.accept() {
            let mut first = [0; 4096];
            let Ok(count) = client.read(&mut first) else { continue };
            if first.starts_with(b"GET /raft/snapshot/partial") {
                let _ =
                    client.write_all(b"HTTP/1.1 204 No Content\r\nX-Raftring-Snapshot-Offset: 4242\r\n\r\n");
                continue;
            }
            let Ok(mut server) = TcpStream::connect(to) else { continue };
            let _ = server.write_all(&first[..count]);
            let (mut up, mut down) =
                (client.try_clone().expect("a copy"), server.try_clone().expect("a copy"));
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut down, &mut up);
                let _ = up.shutdown(Shutdown::Write);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut client, &mut server);
                let _ = server.shutdown(Shutdown::Write);
                // The receiver has closed: what is still sent must not hide its answer.
                let _ = std::io::copy(&mut client, &mut std::io::sink());
            });
        }
    });
    two.one.transport().update_peer(2, [url]).expect("a good URL");
    assert_eq!(two.send(1, bits.clone()).wait(PATIENCE), Some(Ok(())));
    two.assert_arrived(1, &bits.bytes);
    assert_eq!(offset_of_second(&two), 0);
    two.assert_over(1, &[SnapshotStatus::Failure, SnapshotStatus::Finish]);
}

#[test]
fn a_part_goes_with_its_transport() {
    let (two, proxy) = behind_a_proxy(Duration::from_secs(60));
    cut_once(&two, &proxy, &Bits::tagged(LEN));
    assert_eq!(two.receiver.files(), 1);
    assert!(two.two.transport().stop().wait(PATIENCE));
    wait_until("it is removed", || two.receiver.files() == 0);
}
