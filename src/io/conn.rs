//! One connection on one core.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::TcpStream;
use socket2::{Domain, SockRef, TcpKeepalive};

use super::core::Core;
use super::rent::{Gather, Pieces, ReadSpace, Single};
use super::sys;
use crate::buf::{Block, Chain};

/// A connected socket. Its operations are awaited to their completion by whoever starts them;
/// [`Shut`] makes them complete.
pub(super) struct Conn {
    stream: TcpStream,
    core: Rc<Core>,
    shut: Rc<Shut>,
    pieces: Pieces,
    /// When bytes last came: a socket that has been silent for longer than its core spins is left
    /// to the ring.
    read_at: Instant,
    /// How many came.
    read_bytes: usize,
    delay_acks_at: Instant,
    /// Bytes that were received and are still in the socket.
    peeked: usize,
    run: Run,
    pub(super) remote: SocketAddr,
}

/// Reads in a row that found their bytes at once: nothing else of the core ran in between.
struct Run {
    since: Instant,
    bytes: usize,
}

/// The way to end a connection from outside of its task: rule N3.
#[derive(Debug)]
pub(super) struct Shut {
    /// `None` once the socket is about to be closed: its number may then name another.
    fd: Cell<Option<RawFd>>,
    done: Cell<bool>,
}

impl Shut {
    /// For a socket that stays open until [`Shut::forget`].
    pub(super) const fn new(fd: RawFd) -> Self {
        Self { fd: Cell::new(Some(fd)), done: Cell::new(false) }
    }

    /// The socket is about to be closed.
    pub(super) fn forget(&self) {
        self.fd.set(None);
    }

    /// Shuts the socket down; whatever is pending on it completes. Doing it twice is harmless.
    pub(super) fn shutdown(&self) {
        self.done.set(true);
        if let Some(fd) = self.fd.get() {
            sys::shutdown(fd);
        }
    }

    /// True if something can be read, be it the end of the connection or an error.
    pub(super) fn is_readable(&self) -> bool {
        let looked = self.fd().and_then(|fd| sys::peek_now(fd, &mut [0]));
        !matches!(looked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Ends a pending write; what the other end has sent can still be read.
    pub(super) fn shutdown_write(&self) {
        if let Some(fd) = self.fd.get() {
            sys::shutdown_write(fd);
        }
    }

    fn fd(&self) -> io::Result<RawFd> {
        self.fd.get().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// See [`sys::delay_acks`].
    fn delay_acks(&self) {
        if let Some(fd) = self.fd.get() {
            sys::delay_acks(fd);
        }
    }

    /// True if it was shut down by us.
    pub(super) fn is_done(&self) -> bool {
        self.done.get()
    }
}

impl Conn {
    /// Takes over a connected, blocking socket (a non-blocking one would make the ring answer
    /// EAGAIN instead of waiting).
    pub(super) fn new(
        core: Rc<Core>,
        stream: std::net::TcpStream,
        remote: SocketAddr,
        shut: Rc<Shut>,
    ) -> io::Result<Self> {
        set_options(&stream)?;
        core.shared.congestion.set(&SockRef::from(&stream), remote);
        let now = Instant::now();
        let stream = TcpStream::from_std(stream)?;
        Ok(Self {
            stream,
            core,
            shut,
            pieces: Pieces::default(),
            read_at: now,
            read_bytes: 0,
            delay_acks_at: now,
            peeked: 0,
            run: Run { since: now, bytes: 0 },
            remote,
        })
    }

    pub(super) fn shut(&self) -> Rc<Shut> {
        Rc::clone(&self.shut)
    }

    /// A second descriptor of the same socket.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub(super) fn duplicate(&self) -> io::Result<std::net::TcpStream> {
        sys::duplicate(self.stream.as_raw_fd())
    }

    /// Waits until there is something to read, be it the end.
    pub(super) async fn wait_for_bytes(&self) -> io::Result<()> {
        self.core.operation(self.stream.readable(true)).await
    }

    /// False if the other end has closed it, or has said something that nobody asked for.
    pub(super) fn is_open_and_silent(&self) -> bool {
        let look = self.shut.fd().and_then(|fd| sys::peek_now(fd, &mut [0]));
        look.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Reads into `range` of `block`; 0 bytes is the end.
    pub(super) async fn read(&mut self, block: Block, range: Range<usize>) -> (io::Result<usize>, Block) {
        let read = self.stream.read(ReadSpace::new(block, range));
        let (result, space) = self.core.operation(read).await;
        (result, space.block)
    }

    /// As [`Conn::read`]; while the core spins the socket is polled by hand first, which finds
    /// bytes sooner than the ring's detour over a poll and a task of the kernel's.
    pub(super) async fn read_spinning(
        &mut self,
        mut block: Block,
        range: Range<usize>,
    ) -> (io::Result<usize>, Block) {
        let core = Rc::clone(&self.core);
        if self.peeked >= PEEKED_BYTES_MAX
            && let Err(error) = self.discard_peeked(&mut block[range.clone()])
        {
            return (Err(error), block);
        }
        self.delay_acks();
        // One of several does not look again at once: the others go first. Nor does one that has had
        // its share: a socket that is never empty would keep the core from its turn for ever.
        let mut looks = if core.polls_one_socket() && !self.had_its_share() { LOOKS_A_ROUND_MAX } else { 0 };
        while let Some(round) = core.next_round(self.read_at) {
            for _ in 0..looks {
                match self.look(&mut block[range.clone()]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => pause(),
                    result => return (self.note_read(result), block),
                }
            }
            round.await;
            self.run = Run { since: core.now(), bytes: 0 };
            looks = if core.polls_one_socket() { LOOKS_A_ROUND_MAX } else { 1 };
        }
        if let Err(error) = self.discard_peeked(&mut block[range.clone()]) {
            return (Err(error), block);
        }
        let (result, block) = self.read(block, range).await;
        self.run = Run { since: Instant::now(), bytes: 0 };
        (self.note_read(result), block)
    }

    /// Receives without waiting. Single messages are only looked at, and left in the socket until some
    /// have gathered: to take one frees its memory and sends an acknowledgement, in the way of its
    /// answer and of the sender's next message. What was looked at before is in front of what is new.
    fn look(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let fd = self.shut.fd()?;
        if self.read_bytes >= SMALL_READ_BYTES {
            debug_assert_eq!(self.peeked, 0, "so much was taken before the next look");
            return sys::receive_now(fd, buffer);
        }
        let count = sys::peek_now(fd, buffer)?;
        if count == self.peeked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer.copy_within(self.peeked..count, 0);
        let new = count - self.peeked;
        self.peeked = count;
        Ok(new)
    }

    /// Takes from the socket what was looked at, which is not copied again.
    fn discard_peeked(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        while self.peeked > 0 {
            let count = self.peeked.min(scratch.len());
            match sys::discard(self.shut.fd()?, &mut scratch[..count])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.peeked -= count,
            }
        }
        Ok(())
    }

    fn had_its_share(&self) -> bool {
        let lasted = self.core.now().saturating_duration_since(self.run.since);
        self.run.bytes >= RUN_BYTES_MAX || lasted >= RUN_TIME_MAX
    }

    fn delay_acks(&mut self) {
        let now = self.core.now();
        if self.read_bytes < SMALL_READ_BYTES && now >= self.delay_acks_at {
            self.delay_acks_at = now + DELAY_ACKS_INTERVAL;
            self.shut.delay_acks();
        }
    }

    fn note_read(&mut self, result: io::Result<usize>) -> io::Result<usize> {
        self.read_at = Instant::now();
        self.read_bytes = *result.as_ref().unwrap_or(&0);
        self.run.bytes += self.read_bytes;
        self.core.note_work_at(self.read_at);
        result
    }

    /// One write of as much of the chain as the kernel takes.
    pub(super) async fn write(&mut self, chain: Chain) -> (io::Result<usize>, Chain) {
        let (result, chain) = if chain.slices().len() == 1 {
            let (result, single) = self.core.operation(self.stream.write(Single(chain))).await;
            (result, single.0)
        } else {
            let gather = Gather::new(chain, std::mem::take(&mut self.pieces));
            let (result, gather) = self.core.operation(self.stream.writev(gather)).await;
            self.pieces = gather.pieces;
            (result, gather.chain)
        };
        match result {
            Ok(0) => (Err(io::ErrorKind::WriteZero.into()), chain),
            other => (other, chain),
        }
    }

    /// What was sent may stay unacknowledged for so long, in place of [`USER_TIMEOUT`].
    pub(super) fn set_user_timeout(&self, timeout: Duration) -> io::Result<()> {
        SockRef::from(&self.duplicate()?).set_tcp_user_timeout(Some(timeout))
    }

    /// Tells the other end that nothing more comes; what it still sends can be read.
    pub(super) fn shutdown_write(&self) {
        sys::shutdown_write(self.stream.as_raw_fd());
    }

    /// Sends a byte if the socket takes one now.
    pub(super) fn send_byte(&self, byte: u8) {
        if let Ok(fd) = self.shut.fd() {
            sys::send_byte(fd, byte);
        }
    }

    /// Writes all of a small piece: a head, a refusal.
    pub(super) async fn write_all(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        let mut chain = Chain::default();
        chain.push_payload(bytes.into());
        while !chain.is_empty() {
            let (result, rest) = self.write(chain).await;
            chain = rest;
            chain.advance(result?);
        }
        Ok(())
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.shut.forget();
    }
}

/// After a read of less than this the link carries single messages, each of which would be
/// acknowledged by a packet of its own; larger reads are acknowledged seldom anyway.
const SMALL_READ_BYTES: usize = 4 << 10;

/// The kernel forgets it when a delayed acknowledgement's timer runs out, which is after 40 ms.
const DELAY_ACKS_INTERVAL: Duration = Duration::from_millis(10);

/// Received bytes that may stay in the socket. Past 536 that it was sent and has not acknowledged, the
/// kernel acknowledges each message by itself: we take ours before that, and so every third or so. A
/// circle over two cores then takes 5.7 us, and 6.9 if each message is taken at once.
const PEEKED_BYTES_MAX: usize = 400;

/// Looks at a lone socket in one round: under two microseconds, which is what everything else then
/// waits at most. A round costs as much as several looks.
const LOOKS_A_ROUND_MAX: usize = 24;

/// What one socket may read before everything else of its core runs once.
const RUN_BYTES_MAX: usize = 256 << 10;

/// The same in time, which includes what the host does with the messages.
const RUN_TIME_MAX: Duration = Duration::from_micros(200);

/// Between two looks at an empty socket: each takes the socket's lock for a moment, and the sender
/// on the other core needs that to deliver.
fn pause() {
    for _ in 0..4 {
        std::hint::spin_loop();
    }
}

/// What a member's death may cost before the kernel tells: with keepalive on an idle connection,
/// with the user timeout on one that has bytes in flight.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(5))
    .with_interval(Duration::from_secs(1))
    .with_retries(3);
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// A unix socket has none of them, and needs none: its peer cannot die without the kernel knowing.
fn set_options(stream: &std::net::TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    if socket.domain()? == Domain::UNIX {
        return Ok(());
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}
