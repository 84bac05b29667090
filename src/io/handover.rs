//! Handing an accepted connection to the core that owns its peer.
//!
//! ```text
//!   home core: accept, read the head, check        the peer's core: attach, write the answer
//!              whose is it? -- descriptor, bytes behind the head -->
//! ```
//!
//! No operation is in flight then, and nothing of monoio's crosses: a second descriptor of the socket
//! does, and the first is closed.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;

use super::conn::{Conn, Shut};
use super::core::Core;
use super::echo::FarEnd;
use super::endpoint::Endpoint;
use super::shared::{PeerShared, TransportShared};
use super::writer;
use crate::event::Event;
use crate::proto::codec::StreamKind;
use crate::proto::handshake::write_stream_accepted;
use crate::proto::stream::BodyFraming;

/// A connection whose request for a stream was accepted.
pub(super) struct Handover {
    pub(super) stream: TcpStream,
    pub(super) remote: SocketAddr,
    pub(super) kind: StreamKind,
    pub(super) version_minor: u8,
    pub(super) echoes: bool,
    /// What the client sent behind its request.
    pub(super) rest: Vec<u8>,
}

impl Handover {
    /// Attaches the connection on the core that owns the peer, which is this one or another.
    pub(super) fn deliver(self, here: &Rc<Endpoint>, peer: Arc<PeerShared>) {
        let shared = Arc::clone(&here.shared);
        if Arc::ptr_eq(&peer.core, &here.core.shared) {
            return self.arrive(&here.core, &shared, &peer);
        }
        // If the core has ended, the letter is dropped, and with it the connection.
        Arc::clone(&peer.core).run(move |core| self.arrive(core, &shared, &peer));
    }

    fn arrive(self, core: &Rc<Core>, shared: &Arc<TransportShared>, peer: &Arc<PeerShared>) {
        let Some(endpoint) = Endpoint::on(core, shared) else { return };
        let of_task = Rc::clone(&endpoint);
        let (peer, remote) = (Arc::clone(peer), self.remote);
        endpoint.spawn("served stream", async move {
            if let Err(reason) = self.attach(&of_task, &peer).await
                && !of_task.is_stopping()
            {
                of_task.emit(&Event::ConnectionDropped { from: remote, reason });
            }
        });
    }

    async fn attach(self, endpoint: &Rc<Endpoint>, peer: &Arc<PeerShared>) -> Result<(), &'static str> {
        let found = endpoint.peer(peer.id).filter(|found| Arc::ptr_eq(&found.shared, peer));
        let Some(peer) = found else { return Err("the peer was removed meanwhile") };
        if !self.rest.is_empty() {
            return Err("bytes behind a stream request");
        }
        let no_descriptor = |_: std::io::Error| "out of descriptors";
        let watch =
            self.stream.try_clone().and_then(monoio::net::TcpStream::from_std).map_err(no_descriptor)?;
        let shut = Rc::new(Shut::new(self.stream.as_raw_fd()));
        let conn =
            Conn::new(Rc::clone(&endpoint.core), self.stream, self.remote, shut).map_err(no_descriptor)?;
        let mut head = Vec::with_capacity(256);
        write_stream_accepted(
            &mut head,
            &endpoint.shared.own,
            self.version_minor,
            self.echoes,
            super::serve::now_unix_s(),
        );
        let framing = if self.version_minor == 0 { BodyFraming::UntilClose } else { BodyFraming::Chunked };
        let end = FarEnd { watch, echoes: self.echoes };
        writer::attach(&peer, self.kind, conn, end, head, framing).await;
        Ok(())
    }
}
