//! Three members of raft-rs in one process, over sockets: writes, kills the leader, writes on.
//!
//!     cargo run --example three_nodes --features raft-rs

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use std::{error::Error, mem::take, net::TcpListener, sync::Arc, thread};

use raft::{RawNode, eraftpb, storage::MemStorage};
use raftring::raft_rs::{from_raft_rs, step};
use raftring::{Config, Cores, CoresConfig, Listen, MemberId, Origin, Raft, SnapshotStatus, Transport};

type Task = Box<dyn FnOnce(&mut RawNode<MemStorage>) + Send>; // for a member's thread, which owns its raft
struct Host(Sender<Task>); // what the transport calls, on its cores: nothing here may wait

impl Raft for Host {
    fn process(&self, _: Origin, messages: &mut Vec<raftring::raftpb::Message>) {
        let batch = take(messages);
        let _ = self.0.send(Box::new(|node| batch.into_iter().for_each(|m| drop(step(node, m)))));
    }
    fn report_unreachable(&self, id: MemberId) {
        let _ = self.0.send(Box::new(move |node| node.report_unreachable(id.0)));
    }
    fn report_snapshot(&self, _: MemberId, _: SnapshotStatus) {} // none is sent here
    fn is_id_removed(&self, _: MemberId) -> bool {
        false
    }
}

/// A member's thread. Tells its id, its leader's and what it applies; `MemStorage` stands for a disk.
fn run(id: u64, tasks: &Receiver<Task>, transport: &Transport, applied: &Sender<(u64, u64, Vec<u8>)>) {
    let config = raft::Config { check_quorum: true, pre_vote: true, ..raft::Config::new(id) };
    let disk = MemStorage::new_with_conf_state((vec![1, 2, 3], vec![]));
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    let mut node = RawNode::new(&config, disk.clone(), &logger).expect("a valid configuration");
    let ours = |theirs: Vec<eraftpb::Message>| theirs.into_iter().filter_map(|m| from_raft_rs(m).ok());
    let mut ticked = Instant::now();
    while !transport.is_stopped() {
        let first = tasks.recv_timeout(Duration::from_millis(10));
        first.into_iter().chain(tasks.try_iter()).for_each(|task| task(&mut node));
        if ticked.elapsed() >= Duration::from_millis(10) {
            ticked = Instant::now();
            node.tick();
        }
        while node.has_ready() {
            let mut ready = node.ready();
            transport.send(ours(ready.take_messages())); // a leader's: they promise nothing
            disk.wl().append(ready.entries()).expect("raft-rs leaves no gap");
            disk.wl().set_hardstate(node.raft.hard_state());
            transport.send(ours(ready.take_persisted_messages())); // acks and votes: it is on the disk now
            let committed = ready.take_committed_entries();
            let mut light = node.advance(ready);
            transport.send(ours(light.take_messages()));
            for entry in committed.into_iter().chain(light.take_committed_entries()) {
                let _ = applied.send((id, node.raft.leader_id, entry.data));
            }
            node.advance_apply();
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let cores = Cores::start(&CoresConfig::default())?;
    let listeners: [_; 3] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let urls = listeners.each_ref().map(|it| format!("http://{}", it.local_addr().expect("it is bound")));
    let ((applies, applied), mut members) = (channel(), Vec::new());
    for (id, listener) in (1..).zip(listeners) {
        let ((tasks, inbox), applies) = (channel(), applies.clone());
        let mut config = Config::new(id, 0x1000);
        config.listen = Listen::Listener(listener);
        let transport = Transport::start(config, &cores, Arc::new(Host(tasks.clone())))?;
        let mut others = (1..).zip(&urls).filter(|(peer, _)| *peer != id);
        others.try_for_each(|(peer, url)| transport.add_peer(peer, [url]))?;
        members.push((id, transport.clone(), tasks));
        thread::spawn(move || run(id, &inbox, &transport, &applies));
    }
    let (mut seen, began) = (Vec::new(), Instant::now());
    for number in 1..=600 {
        let (text, asked) = (format!("write {number}").into_bytes(), &members[number % members.len()].2);
        let write = |data| asked.send(Box::new(|node| drop(node.propose(vec![], data)))); // or passes it on
        write(text.clone())?;
        while !members.iter().all(|(id, ..)| seen.iter().any(|(by, _, found)| by == id && *found == text)) {
            match applied.recv_timeout(Duration::from_millis(300)) {
                Ok(one) => seen.push(one),
                Err(_) if began.elapsed() < Duration::from_secs(60) => write(text.clone())?, // it was lost
                Err(error) => return Err(error.into()),
            }
        }
        if number == 300 {
            let (_, leader, _) = seen.iter().rfind(|(_, leader, _)| *leader > 0).expect("somebody leads");
            assert!(members.remove(*leader as usize - 1).1.stop().wait(Duration::from_secs(5)));
            println!("300 writes on three members; then {leader}, which led, was killed");
        }
    }
    let log = |id| seen.iter().filter(move |(by, ..)| *by == id).map(|(.., entry)| entry);
    assert!(log(members[0].0).zip(log(members[1].0)).all(|(one, other)| one == other), "the same order");
    println!("300 more on the two others, and both have the same: {:?} in all", began.elapsed());
    Ok(())
}
