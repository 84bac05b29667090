//! A member that is no raftring: it refuses streams, takes what is posted, and answers as it is told.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use prost::Message as _;
use raftring::raftpb::Message;

/// How a post is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These bytes, and then the next request.
    Say(String),
    /// These bytes, and then the end of the connection.
    SayAndClose(String),
    /// 204, once [`Scripted::let_go`] was called.
    Held,
    /// Nothing, until the other end gives up.
    Never,
    /// The end of the connection.
    Close,
    /// A refusal whose body goes on until the other end closes.
    Endless,
}

impl Reply {
    pub fn taken() -> Self {
        Self::Say("HTTP/1.1 204 No Content\r\nX-Etcd-Cluster-Id: 1a2b\r\n\r\n".to_owned())
    }

    /// A status with a body, as Go answers it.
    pub fn status(status: u16, text: &str) -> Self {
        let length = text.len() + 1;
        Self::Say(format!(
            "HTTP/1.1 {status} X\r\nX-Etcd-Cluster-Id: 1a2b\r\nContent-Length: {length}\r\n\r\n{text}\n"
        ))
    }
}

/// A post as it came.
#[derive(Clone, Debug)]
pub struct Post {
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    pub head: String,
    pub body: Vec<u8>,
    pub message: Message,
    pub at: Instant,
}

type Script = Box<dyn Fn(&Message) -> Reply + Send>;

struct Shared {
    posts: Mutex<Vec<Post>>,
    script: Mutex<Script>,
    open: (Mutex<bool>, Condvar),
    connections: Mutex<HashMap<usize, TcpStream>>,
    accepted: AtomicUsize,
    ended: AtomicBool,
    /// Bytes of endless answers that were taken from us.
    endless_bytes: AtomicUsize,
    stream_status: Mutex<&'static str>,
}

pub struct Scripted {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Scripted {
    pub fn start(script: impl Fn(&Message) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            posts: Mutex::default(),
            script: Mutex::new(Box::new(script)),
            open: Default::default(),
            connections: Mutex::default(),
            accepted: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            endless_bytes: AtomicUsize::new(0),
            stream_status: Mutex::new("404 Not Found"),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if of_thread.ended.load(Ordering::SeqCst) {
                    return;
                }
                let of_connection = Arc::clone(&of_thread);
                std::thread::spawn(move || of_connection.serve(stream));
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on.
    pub fn script(&self, script: impl Fn(&Message) -> Reply + Send + 'static) {
        *self.shared.script.lock().expect("no panic") = Box::new(script);
    }

    /// How dials of streams are answered: with a status and its word.
    pub fn refuse_streams_with(&self, status: &'static str) {
        *self.shared.stream_status.lock().expect("no panic") = status;
    }

    pub fn posts(&self) -> Vec<Post> {
        self.shared.posts.lock().expect("no panic").clone()
    }

    pub fn count(&self) -> usize {
        self.shared.posts.lock().expect("no panic").len()
    }

    /// Everything that is held is answered, and whatever will be.
    pub fn let_go(&self) {
        *self.shared.open.0.lock().expect("no panic") = true;
        self.shared.open.1.notify_all();
    }

    /// Ends all connections that posted.
    pub fn cut(&self) {
        for stream in self.shared.connections.lock().expect("no panic").values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn endless_bytes(&self) -> usize {
        self.shared.endless_bytes.load(Ordering::SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.let_go();
        self.cut();
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    /// One connection; whatever goes wrong ends it.
    fn serve(&self, stream: TcpStream) {
        let number = self.accepted.fetch_add(1, Ordering::SeqCst);
        let Ok(mut input) = stream.try_clone().map(BufReader::new) else { return };
        let mut output = stream;
        while let Some(head) = read_head(&mut input) {
            if !head.starts_with("POST /raft HTTP/1.1\r\n") {
                let status = *self.stream_status.lock().expect("no panic");
                let _ = write!(
                    output,
                    "HTTP/1.1 {status}\r\nX-Server-Version: 3.5.0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                return;
            }
            let clone = output.try_clone().expect("a descriptor");
            self.connections.lock().expect("no panic").insert(number, clone);
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let mut body = vec![0; length.expect("it is declared").parse().expect("a number")];
            if input.read_exact(&mut body).is_err() {
                break;
            }
            let message = Message::decode(&body[..]).expect("a message");
            let reply = (self.script.lock().expect("no panic"))(&message);
            let post = Post { connection: number, head, body, message, at: Instant::now() };
            self.posts.lock().expect("no panic").push(post);
            if !self.reply(&reply, &mut output) {
                break;
            }
        }
        let _ = output.shutdown(Shutdown::Both);
        self.connections.lock().expect("no panic").remove(&number);
    }

    /// True if the connection goes on.
    fn reply(&self, reply: &Reply, output: &mut TcpStream) -> bool {
        match reply {
            Reply::Say(bytes) => output.write_all(bytes.as_bytes()).is_ok(),
            Reply::SayAndClose(bytes) => {
                let _ = output.write_all(bytes.as_bytes());
                false
            }
            Reply::Held => {
                let open = self.open.0.lock().expect("no panic");
                drop(self.open.1.wait_while(open, |open| !*open).expect("no panic"));
                self.reply(&Reply::taken(), output)
            }
            Reply::Never => {
                let _ = output.read(&mut [0]);
                false
            }
            Reply::Close => false,
            Reply::Endless => {
                let head = "HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n";
                let mut bytes = head.as_bytes();
                let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
                output.set_write_timeout(Some(Duration::from_secs(30))).expect("a timeout");
                while output.write_all(bytes).is_ok() {
                    self.endless_bytes.fetch_add(bytes.len(), Ordering::SeqCst);
                    bytes = chunk.as_bytes();
                }
                false
            }
        }
    }
}

fn read_head(input: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if input.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}
