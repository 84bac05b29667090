//! A member whose host serves paths of its own on the transport's listener.
//!
//! ```sh
//! cargo run --example host_routes -- --stay
//! curl http://127.0.0.1:PORT/version     # with the port that it prints, while it waits
//! ```

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use raftring::raftpb::Message;
use raftring::routes::{Answer, Reply, Request};
use raftring::{Config, Cores, CoresConfig, Listen, MemberId, Origin, Raft, SnapshotStatus, Transport};

/// A raft server would step its state machine; this one has none.
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

fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn main() -> Result<(), Box<dyn Error>> {
    let cores = Cores::start(&CoresConfig::default())?;
    let transport = Arc::new(OnceLock::new());
    let mut config = Config::new(1, 0x1000);
    config.listen = Listen::Address("127.0.0.1:0".parse()?);
    let of_routes = Arc::clone(&transport);
    config.routes = Some(Arc::new(move |request: Request, reply: Reply| serve(&of_routes, request, reply)));
    let started = Transport::start(config, &cores, Arc::new(Host))?;
    let address = started.local_addr().ok_or("it listens")?;
    let _ = transport.set(started.clone());

    println!("curl http://{address}/version");
    for path in ["/version", "/slow", "/metrics", "/elsewhere", "/raft/probing"] {
        let answer = get(address, path)?;
        println!("{path}: {}", answer.lines().next().unwrap_or_default());
    }
    if std::env::args().any(|argument| argument == "--stay") {
        std::thread::sleep(Duration::from_secs(600));
    }
    assert!(started.stop().wait(Duration::from_secs(5)), "every task has ended");
    Ok(())
}
