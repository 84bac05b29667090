//! What comes back on a stream's connection, against its direction: the end, or echoes.

use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Instant;

use monoio::net::TcpStream;

use super::conn::Conn;
use super::peer::Peer;
use super::shared::lane_of;
use super::sys;
use crate::proto::codec::StreamKind;
use crate::proto::status::Action;
use crate::proto::stream::{Echo, Echoes};

/// Echoes taken at once; there is one a heartbeat.
const ECHOES_A_READ_MAX: usize = 64;

/// The reader at the other end of a stream that we write.
pub(super) struct FarEnd {
    /// A second descriptor of the connection, to wait with.
    pub(super) watch: TcpStream,
    /// It echoes link heartbeats.
    pub(super) echoes: bool,
}

impl FarEnd {
    /// Waits for the other end to close the connection, which is found at once and not at the next write
    /// that fails. A client sends nothing after its request, unless it echoes.
    pub(super) fn watch(self, peer: &Rc<Peer>, kind: StreamKind, generation: u64, conn: &Conn) {
        let shut = conn.shut();
        let of_task = Rc::clone(peer);
        peer.endpoint.spawn_for(peer, "stream watch", async move {
            let reason = loop {
                let _ = of_task.endpoint.core.operation(self.watch.readable(true)).await;
                if let Some(reason) = self.take_echoes(&of_task, kind, generation) {
                    break reason;
                }
            };
            of_task.writer_failed(kind, generation, Action::Write, reason);
            shut.shutdown();
        });
    }

    /// Why the connection is over, if it is.
    fn take_echoes(&self, peer: &Peer, kind: StreamKind, generation: u64) -> Option<&'static str> {
        const CLOSED: Option<&str> = Some("the peer closed the connection");
        if !self.echoes {
            return CLOSED;
        }
        let mut bytes = [0; ECHOES_A_READ_MAX];
        match sys::receive_now(self.watch.as_raw_fd(), &mut bytes) {
            Ok(0) => CLOSED,
            Ok(count) => peer.handle_echoes(kind, generation, &bytes[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(_) => CLOSED,
        }
    }
}

impl Peer {
    fn handle_echoes(&self, kind: StreamKind, generation: u64, bytes: &[u8]) -> Option<&'static str> {
        let now = Instant::now();
        let mut slot = self.writers[lane_of(kind)].borrow_mut();
        let is_current = slot.generation == generation;
        let Some(echoes) = slot.echoes.as_mut().filter(|_| is_current) else {
            return Some("bytes on a connection that no stream is attached to");
        };
        for &byte in bytes {
            match echoes.handle_echo(byte, now) {
                Ok(round_trips) => round_trips.for_each(|round_trip| self.note_round_trip(round_trip)),
                Err(_) => return Some("the peer sent what is no echo"),
            }
        }
        None
    }

    /// The writer of this lane has encoded so many heartbeats; the last may have just begun its way.
    pub(super) fn note_heartbeats(&self, lane: usize, heartbeats: u64) {
        let mut slot = self.writers[lane].borrow_mut();
        if let Some(echoes) = slot.echoes.as_mut().filter(|echoes| echoes.is_behind(heartbeats)) {
            echoes.handle_heartbeats(heartbeats, Instant::now());
        }
    }

    /// A connection is attached whose reader echoes, or does not.
    pub(super) fn await_echoes(&self, lane: usize, echoes: bool) {
        let heartbeats = self.shared.links[lane].clear_desk().machine.counters().heartbeats;
        self.writers[lane].borrow_mut().echoes = echoes.then(|| Echoes::new(heartbeats));
    }
}

/// Echoes what has come of link heartbeats. A socket that takes no byte now gets none: that round trip
/// is told by the next one.
pub(super) fn send(conn: &Conn, echo: &mut Echo, heartbeats: u64) {
    if let Some(byte) = echo.poll(heartbeats) {
        conn.send_byte(byte);
    }
}
