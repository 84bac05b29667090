//! What stands between two members: it passes bytes on, holds them up, and cuts connections in the
//! middle of them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

/// How soon a silent connection notices that it was cut.
const LOOK_UP: Duration = Duration::from_millis(100);

/// How soon a link that was held up goes on.
const HOLD: Duration = Duration::from_millis(10);

/// Little, so that a link that is held up holds up its member soon.
const RECEIVE_BUFFER_BYTES: usize = 64 << 10;

/// One connection: to who dialled, and to the member.
struct Link {
    ends: [TcpStream; 2],
    cut: AtomicBool,
    held: AtomicBool,
}

impl Link {
    fn new(ends: [TcpStream; 2]) -> io::Result<Arc<Self>> {
        for end in &ends {
            end.set_nodelay(true)?;
            end.set_read_timeout(Some(LOOK_UP))?;
            // Closing resets: nobody learns how much of what was sent has come.
            SockRef::from(end).set_linger(Some(Duration::ZERO))?;
            SockRef::from(end).set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        }
        Ok(Arc::new(Self { ends, cut: AtomicBool::new(false), held: AtomicBool::new(false) }))
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Passes on what one end sends, until that ends or the link is cut.
    fn pass(&self, from: usize) {
        let (mut from, mut to) = (&self.ends[from], &self.ends[1 - from]);
        let mut piece = vec![0; 16 << 10];
        while !self.is_cut() {
            if self.held.load(Ordering::Relaxed) {
                std::thread::sleep(HOLD);
                continue;
            }
            let passed = match from.read(&mut piece) {
                Ok(0) => return drop(to.shutdown(Shutdown::Write)),
                // Cut meanwhile: half of it arrives.
                Ok(count) if self.is_cut() => to.write_all(&piece[..count / 2]),
                Ok(count) => to.write_all(&piece[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if passed.is_err() {
                self.cut.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// A proxy in front of one member.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    acceptor: Option<JoinHandle<()>>,
}

struct State {
    member: SocketAddr,
    over: AtomicBool,
    links: Mutex<Vec<Weak<Link>>>,
}

impl Proxy {
    pub(crate) fn start(member: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State { member, over: AtomicBool::new(false), links: Mutex::default() });
        let of_thread = Arc::clone(&state);
        let acceptor = Some(std::thread::spawn(move || of_thread.accept(&listener)));
        Self { address, state, acceptor }
    }

    /// Cuts one of its connections, the `choice`th, if it has any.
    pub(crate) fn cut(&self, choice: usize) {
        let links = self.state.live_links();
        if !links.is_empty() {
            links[choice % links.len()].cut.store(true, Ordering::Relaxed);
        }
    }

    /// Holds up all its connections, or lets them go on.
    pub(crate) fn hold(&self, held: bool) {
        self.state.live_links().iter().for_each(|link| link.held.store(held, Ordering::Relaxed));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address)); // wakes the acceptor
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl State {
    fn live_links(&self) -> Vec<Arc<Link>> {
        self.links.lock().expect("no panic").iter().filter_map(Weak::upgrade).collect()
    }

    /// Until the proxy is dropped; then its connections are cut and awaited.
    fn accept(&self, listener: &TcpListener) {
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        for client in listener.incoming() {
            if self.over.load(Ordering::Relaxed) {
                break;
            }
            // A member that is down refuses: so does the proxy, by closing.
            let link = client.and_then(|client| Link::new([client, TcpStream::connect(self.member)?]));
            threads.retain(|thread| !thread.is_finished());
            if let Ok(link) = link {
                let mut links = self.links.lock().expect("no panic");
                links.retain(|link| link.strong_count() > 0);
                links.push(Arc::downgrade(&link));
                threads.extend([0, 1].map(|from| {
                    let link = Arc::clone(&link);
                    std::thread::spawn(move || link.pass(from))
                }));
            }
        }
        for link in self.live_links() {
            link.cut.store(true, Ordering::Relaxed);
        }
        for thread in threads {
            let _ = thread.join();
        }
    }
}
