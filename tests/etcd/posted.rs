//! No stream between the two, in either direction: the pipeline alone.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use raftring::raftpb::MessageType;
use raftring::{Event, Listen, Via};

use super::cluster::{Cluster, LEADER_TIMEOUT, key, value};
use super::kv;
use super::server;

/// Stands in front of a member and refuses the streams that others ask of it; all else passes.
struct NoStreams {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
}

impl NoStreams {
    fn start(address: SocketAddr, member: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("it was free a moment ago");
        let (over, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (of_thread, count) = (Arc::clone(&over), Arc::clone(&refused));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if of_thread.load(Ordering::SeqCst) {
                    return;
                }
                let count = Arc::clone(&count);
                std::thread::spawn(move || drop(pass(stream, member, &count)));
            }
        });
        Self { address, over, refused }
    }
}

impl Drop for NoStreams {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// A member dials streams on connections of their own, so the first bytes tell.
fn pass(mut dialler: TcpStream, member: SocketAddr, refused: &AtomicUsize) -> std::io::Result<()> {
    const STREAM: &[u8] = b"GET /raft/stream/";
    let mut first = vec![0; 4096];
    let count = dialler.read(&mut first)?;
    if first[..count].starts_with(STREAM) {
        refused.fetch_add(1, Ordering::SeqCst);
        return dialler.write_all(
            b"HTTP/1.1 404 Not Found\r\nX-Server-Version: 3.4.0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }
    let mut to = TcpStream::connect(member)?;
    to.write_all(&first[..count])?;
    let (mut from_member, mut to_dialler) = (to.try_clone()?, dialler.try_clone()?);
    let back = std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_member, &mut to_dialler);
        let _ = to_dialler.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut dialler, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    let _ = back.join();
    Ok(())
}

/// Goal: a member of ours that has no stream at all votes, replicates and answers reads by `POST /raft`.
///
/// Method: each member finds the other behind a proxy that answers 404 to dials of streams. A put
/// succeeds only if our acknowledgement reached etcd, and we have nothing but posts for it.
#[test]
fn without_any_stream_posts_do_it_all_in_both_directions() {
    if server::is_missing() {
        return;
    }
    let mut cluster = Cluster::new();
    let listen = server::free_port(cluster.us.listen.ip());
    let before_us = NoStreams::start(cluster.us.listen, listen);
    let before_etcd = NoStreams::start(server::free_port(cluster.us.listen.ip()), cluster.etcd.peer);
    cluster.etcd.start();
    let url = format!("http://{}", before_etcd.address);
    cluster.start_ours_dialling(&url, |config| config.listen = Listen::Address(listen));
    cluster.etcd.put_until_it_works("posted", "put", LEADER_TIMEOUT);
    let took = cluster.put_all(0..100);
    assert_eq!(cluster.etcd.get(&key(50)), Ok(value(50)));
    println!("100 puts took {took:?}");
    cluster.print("by posts alone");

    let follower = cluster.host().follower();
    let tally = follower.tally.clone();
    let arrived = kv::puts(follower.log.iter().filter(|logged| logged.via == Some(Via::Pipeline)));
    drop(follower);
    for n in 0..100 {
        assert!(arrived.get(&key(n)).is_some_and(|got| *got == value(n)), "{}", key(n));
    }
    assert_eq!(tally.entries(Via::Msgapp) + tally.entries(Via::Message), 0);
    assert!(tally.messages(MessageType::MsgHeartbeat, Via::Pipeline) > 0);
    assert!(tally.messages(MessageType::MsgVote, Via::Pipeline) > 0);
    assert_eq!(cluster.host().count(0, |event| matches!(event, Event::StreamUp { .. })), 0);
    let posted = cluster.etcd.metric("etcd_network_peer_received_bytes_total", &cluster.us.id.to_string());
    assert!(posted > 1_000.0, "etcd has read {posted} bytes of ours");
    assert!(before_us.refused.load(Ordering::SeqCst) > 1 && before_etcd.refused.load(Ordering::SeqCst) > 1);
    cluster.finish();
}
