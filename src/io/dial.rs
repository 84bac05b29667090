//! One dial: connection, request, answer. Protocol section 5.3.

use std::rc::Rc;
use std::time::Instant;

use super::answer::{Answer, NoAnswer};
use super::conn::Conn;
use super::connect::{Stop, connect};
use super::faults::INJECTED;
use super::peer::Peer;
use super::shared::lane_of;
use crate::event::DialError;
use crate::proto::codec::StreamKind;
use crate::proto::fault::Side;
use crate::proto::handshake::{DIAL_BODY_BYTES_MAX, judge, needs_body, write_stream_request};
use crate::proto::http::body::BodyDecoder;
use crate::proto::peer_url::PeerUrl;
use crate::proto::stream::Echo;

/// A stream that is up, its body not yet looked at.
pub(super) struct Established {
    pub(super) conn: Conn,
    pub(super) body: BodyDecoder,
    /// Bytes behind the response head.
    pub(super) rest: Vec<u8>,
    /// Where the writer wants its link heartbeats echoed.
    pub(super) echo: Option<Echo>,
}

/// Dials one stream of a peer at one URL.
pub(super) async fn stream(
    peer: &Rc<Peer>,
    kind: StreamKind,
    url: &PeerUrl,
) -> Result<Established, DialError> {
    if peer.shared.faults.is_apart(Side::Receiving) {
        return Err(DialError::Connect(INJECTED.to_owned()));
    }
    let stop = Stop {
        waits: &peer.waits,
        is_stopping: &|| peer.is_stopping(),
        keep: &|shut| peer.readers[lane_of(kind)].set_shut(Some(shut)),
    };
    let timeout = peer.endpoint.shared.config.dial_timeout;
    let (conn, deadline) = connect(&peer.endpoint, &stop, url, timeout).await?;
    request(peer, kind, url, conn, deadline).await
}

async fn request(
    peer: &Rc<Peer>,
    kind: StreamKind,
    url: &PeerUrl,
    mut conn: Conn,
    deadline: Instant,
) -> Result<Established, DialError> {
    let own = &peer.endpoint.shared.own;
    let guard = peer.endpoint.watch(conn.shut(), deadline);
    let mut request = Vec::with_capacity(512);
    write_stream_request(&mut request, own, kind, peer.shared.id, url);
    let written = conn.write_all(request).await;
    written.map_err(|error| NoAnswer::of_write(&conn, error))?;
    let answer = Answer::read(&mut conn, &peer.endpoint.core.pool).await?;
    let head = answer.head()?;
    let mut text = Vec::new();
    if needs_body(&head) {
        text = answer.body(&mut conn, head.framing, DIAL_BODY_BYTES_MAX, &guard, deadline).await.text;
    }
    let established = judge(&head, &text, own).map_err(DialError::Refused)?;
    drop(guard);
    if conn.shut().is_done() {
        return Err(DialError::Timeout);
    }
    let (body, rest) = (BodyDecoder::new(established.framing), answer.rest().to_vec());
    Ok(Established { conn, body, rest, echo: established.echoes.then(Echo::default) })
}
