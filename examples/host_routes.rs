//! A member whose host serves paths of its own on the transport's listener: its version, its metrics,
//! and one that takes a while.
//!
//! ```sh
//! cargo run --example host_routes -- 127.0.0.1:2380
//! curl http://127.0.0.1:2380/metrics
//! curl http://127.0.0.1:2380/version
//! ```
//!
//! Its one peer is another member in the same process, so that there is something to count. It runs
//! until its standard input ends.

use std::error::Error;
use std::io::{Read, stdin};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use raftring::raftpb::{Message, MessageType};
use raftring::routes::{Answer, Reply, Request};
use raftring::{Config, Cores, CoresConfig, Listen, MemberId, Origin, Raft, SnapshotStatus, Transport};

/// Takes what comes.
struct Host;

impl Raft for Host {
    fn process(&self, _origin: Origin, messages: &mut Vec<Message>) {
        messages.clear();
    }

    fn is_id_removed(&self, _id: MemberId) -> bool {
        false
    }

    fn report_unreachable(&self, _id: MemberId) {}

    fn report_snapshot(&self, _id: MemberId, _status: SnapshotStatus) {}
}

/// Runs on a core: what takes time is answered by another thread.
fn serve(transport: &OnceLock<Transport>, request: Request, reply: Reply) {
    match (request.path.as_str(), transport.get()) {
        ("/version", _) => reply.answer(Answer::version(&request, "3.5.0", "3.5.0")),
        ("/metrics", Some(transport)) => reply.answer(Answer::text(transport.metrics_text())),
        ("/slow", _) => {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(100));
                reply.answer(Answer::text("worth the wait\n"));
            });
        }
        _ => reply.answer(Answer::not_found()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let cores = Cores::start(&CoresConfig::first(1))?;
    // The routes are given before the transport is there whose metrics they serve.
    let served: Arc<OnceLock<Transport>> = Arc::default();
    let of_routes = Arc::clone(&served);
    let mut config = Config::new(1, 0x1000);
    config.listen = Listen::Address(address.parse()?);
    config.routes = Some(Arc::new(move |request: Request, reply: Reply| serve(&of_routes, request, reply)));
    let one = Transport::start(config, &cores, Arc::new(Host))?;
    let _ = served.set(one.clone());

    let mut config = Config::new(2, 0x1000);
    config.listen = Listen::Address("127.0.0.1:0".parse()?);
    let two = Transport::start(config, &cores, Arc::new(Host))?;
    let url = |transport: &Transport| format!("http://{}", transport.local_addr().expect("it listens"));
    one.add_peer(2, [url(&two)])?;
    two.add_peer(1, [url(&one)])?;
    let r#type = Some(MessageType::MsgHeartbeat as i32);
    one.send([Message { r#type, to: Some(2), from: Some(1), term: Some(1), ..Message::default() }]);

    println!("serving {}/metrics, /version and /slow; ends with the input", url(&one));
    stdin().read_to_end(&mut Vec::new())?;
    for transport in [one, two] {
        assert!(transport.stop().wait(Duration::from_secs(5)), "every task has ended");
    }
    Ok(())
}
