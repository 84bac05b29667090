//! Two members of one cluster in one process: each sends the other a heartbeat and prints what it
//! receives.
//!
//! ```sh
//! cargo run --example two_members
//! ```

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use raftring::raftpb::{Message, MessageType};
use raftring::{
    Config, Cores, CoresConfig, Event, Listen, MemberId, Origin, Raft, SnapshotStatus, Transport,
};

const CLUSTER: u64 = 0x1000;
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a raft server would step its state machine, this one passes every message on.
struct Host(Sender<(Origin, Message)>);

impl Raft for Host {
    fn process(&self, origin: Origin, messages: &mut Vec<Message>) {
        for message in messages.drain(..) {
            let _ = self.0.send((origin, message));
        }
    }

    fn is_id_removed(&self, _id: MemberId) -> bool {
        false
    }

    fn report_unreachable(&self, id: MemberId) {
        println!("messages to {id} were lost");
    }

    fn report_snapshot(&self, _id: MemberId, _status: SnapshotStatus) {}
}

/// A transport, what arrives at it, and which of its outgoing streams are up.
struct Member {
    transport: Transport,
    arrived: Receiver<(Origin, Message)>,
    up: Receiver<()>,
}

fn start(id: u64, cores: &Cores) -> Result<Member, Box<dyn Error>> {
    let (arrives, arrived) = channel();
    let (comes_up, up) = channel();
    let mut config = Config::new(id, CLUSTER);
    config.listen = Listen::Address("127.0.0.1:0".parse()?);
    let comes_up = std::sync::Mutex::new(comes_up);
    config.observer = Arc::new(move |event: &Event| {
        println!("member {id}: {event:?}");
        if let (Event::StreamUp { .. }, Ok(comes_up)) = (event, comes_up.lock()) {
            let _ = comes_up.send(());
        }
    });
    let transport = Transport::start(config, cores, Arc::new(Host(arrives)))?;
    Ok(Member { transport, arrived, up })
}

fn main() -> Result<(), Box<dyn Error>> {
    let cores = Cores::start(&CoresConfig::default())?;
    let (one, two) = (start(1, &cores)?, start(2, &cores)?);
    let url = |member: &Member| format!("http://{}", member.transport.local_addr().expect("it listens"));
    one.transport.add_peer(2, [url(&two)])?;
    two.transport.add_peer(1, [url(&one)])?;

    for (from, to, sender, receiver) in [(1, 2, &one, &two), (2, 1, &two, &one)] {
        // Two streams each way; before they are up, what is sent is dropped and reported.
        for _ in 0..4 {
            sender.up.recv_timeout(PATIENCE)?;
        }
        let r#type = Some(MessageType::MsgHeartbeat as i32);
        let (from, to) = (Some(from), Some(to));
        sender.transport.send([Message { r#type, from, to, term: Some(1), ..Message::default() }]);
        let (origin, message) = receiver.arrived.recv_timeout(PATIENCE)?;
        println!(
            "{:?} of term {} from {} by {:?}",
            message.r#type(),
            message.term(),
            origin.peer,
            origin.via
        );
    }

    for member in [&one, &two] {
        assert!(member.transport.stop().wait(PATIENCE), "every task has ended");
    }
    Ok(())
}
