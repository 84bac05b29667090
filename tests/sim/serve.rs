//! The serving side, up to the attach.

use raftring::proto::handshake::{Accepted, Refused, accept, write_refused, write_stream_accepted};
use raftring::proto::http::head::{HeadError, RequestHead};
use raftring::proto::stream::BodyFraming;

use super::conn::{ConnId, DOWN, Serving, UP};
use super::node::{KnownAt, Node, Slot};
use super::world::{World, note};

/// The date of all answers; nobody reads it.
const DATE_UNIX_S: u64 = 784_111_777;

impl World {
    /// Bytes, or the end, arrived where requests do.
    pub(super) fn request_arrives(&mut self, conn: ConnId) {
        let now = self.now;
        let it = &mut self.conns[conn];
        it.pipes[UP].arrive(now);
        let is_over = it.reset || it.pipes[UP].is_closed() && it.pipes[UP].unread() == 0;
        match &mut it.serving {
            Serving::Head { bytes, search, .. } => {
                bytes.extend_from_slice(it.pipes[UP].take(usize::MAX));
                let bytes = std::mem::take(bytes);
                match search.find(&bytes) {
                    Ok(Some(whole)) => self.serve(conn, RequestHead::parse(whole)),
                    Err(error) => self.serve(conn, Err(error)),
                    Ok(None) if is_over => it.serving = Serving::Closed,
                    Ok(None) => {
                        if let Serving::Head { bytes: kept, .. } = &mut self.conns[conn].serving {
                            *kept = bytes;
                        }
                    }
                }
            }
            // Peers say nothing behind their request, so only its end can be news.
            Serving::Stream if is_over => self.attached_is_gone(conn),
            Serving::Stream | Serving::Closed => {}
        }
    }

    fn serve(&mut self, conn: ConnId, head: Result<RequestHead<'_>, HeadError>) {
        let server = self.conns[conn].server;
        let node = &self.nodes[server];
        let accepted = head.map_err(Refused::bad_head).and_then(|head| {
            let accepted = accept(&head, &node.identity, &KnownAt(node, self.now))?;
            Ok((accepted, head.version_minor))
        });
        match accepted {
            Ok((Accepted::Stream { kind, peer, .. }, minor)) => {
                let peer = Node::peer_of(peer).expect("a known one");
                self.attach(Slot { node: server, peer, kind }, conn, minor);
            }
            Ok((other, _)) => {
                note!(self, "conn {conn}: asked for {other:?}");
                self.end_service(conn, Some("asked for something else"));
            }
            Err(refused) => {
                let mut answer = Vec::new();
                write_refused(&mut answer, &refused, &self.nodes[server].identity, DATE_UNIX_S);
                note!(self, "conn {conn}: {:?}", refused.refusal);
                self.tally.refused_requests += 1;
                self.put(conn, DOWN, answer);
                self.end_service(conn, Some("refused"));
            }
        }
    }

    /// The old connection is closed before the new one carries its first byte.
    fn attach(&mut self, slot: Slot, conn: ConnId, version_minor: u8) {
        if self.outgoing(slot).conn.is_some() {
            self.tally.replaced_attaches += 1;
            self.detach(slot, "replaced");
        }
        let mut head = Vec::new();
        write_stream_accepted(&mut head, &self.nodes[slot.node].identity, version_minor, false, DATE_UNIX_S);
        self.conns[conn].serving = Serving::Stream;
        self.conns[conn].attached_at = self.now;
        note!(self, "conn {conn}: attached to {}'s {} for {}", slot.node, slot.kind, slot.peer);
        self.put(conn, DOWN, head);
        let instant = self.instant();
        let outgoing = self.outgoing(slot);
        outgoing.conn = Some(conn);
        outgoing.machine.attach(if version_minor > 0 {
            BodyFraming::Chunked
        } else {
            BodyFraming::UntilClose
        });
        let _ = self.peer(slot.node, slot.peer).status.activate(instant);
        self.pump(slot);
    }

    fn attached_is_gone(&mut self, conn: ConnId) {
        let server = self.conns[conn].server;
        for peer in (0..self.plan.nodes).filter(|&peer| peer != server) {
            for kind in raftring::StreamKind::ALL {
                let slot = Slot { node: server, peer, kind };
                if self.outgoing(slot).conn == Some(conn) {
                    self.writer_failed(slot, "the peer closed the connection");
                }
            }
        }
    }

    /// The server closes; the dialler reads the end behind the last byte.
    pub(super) fn end_service(&mut self, conn: ConnId, excuse: Option<&'static str>) {
        if let Some(why) = excuse {
            self.conns[conn].excuse(why);
        }
        self.conns[conn].serving = Serving::Closed;
        self.close(conn, DOWN);
    }

    /// Heads that never become whole.
    pub(super) fn tick_heads(&mut self) {
        for conn in 0..self.conns.len() {
            if let Serving::Head { deadline, .. } = self.conns[conn].serving
                && self.now >= deadline
            {
                self.end_service(conn, Some("no head in time"));
            }
        }
    }
}
