//! The dialling side: pace, picker, request, answer.

use std::time::Duration;

use raftring::StreamKind;
use raftring::proto::handshake::{
    DialRefusal, Established, Identity, judge, needs_body, write_stream_request,
};
use raftring::proto::http::body::{BodyDecoder, Marks};
use raftring::proto::http::head::{HeadSearch, ResponseHead};
use raftring::proto::peer_url::PeerUrl;
use raftring::proto::status::{Action, Source};
use rand::Rng;

use super::conn::{Conn, ConnId, DOWN, UP};
use super::node::{DEAD_PORT, Reading, Slot, member};
use super::plan::ms;
use super::world::{Event, World, note};

/// From connect to the last byte of the answer's head.
pub(super) const DIAL_TIMEOUT: Duration = ms(2_000);

/// A server waits so long for the whole head of a request.
const HEAD_TIMEOUT: Duration = ms(5_000);

/// What became of the bytes of an answer so far.
enum Answer {
    Partial,
    /// With what came behind the head.
    Established(Established, Vec<u8>),
    Refused(DialRefusal),
}

impl World {
    pub(super) fn dial_at(&mut self, slot: Slot, at: Duration) {
        // One of all the world: a restarted node has a new `Incoming`, and old plans are still queued.
        self.tickets += 1;
        let ticket = self.tickets;
        let incoming = self.incoming(slot);
        incoming.ticket = ticket;
        incoming.state = Reading::Waiting;
        self.at(at, Event::Dial(slot, ticket));
    }

    pub(super) fn dial(&mut self, slot: Slot, ticket: u64) {
        if self.incoming(slot).ticket != ticket {
            return; // the node was restarted
        }
        let url = self.peer(slot.node, slot.peer).picker.pick().clone();
        let is_refused =
            url.port() == Some(DEAD_PORT) || !self.is_calm() && self.rng.random_bool(self.plan.refuse);
        if is_refused {
            note!(self, "{slot}: connect to {} refused", url.as_str());
            self.tally.refused_connects += 1;
            return self.dial_failed(slot, &url, None);
        }
        let conn = self.conns.len();
        self.conns.push(Conn::new(slot.node, slot.peer, slot.kind, self.now + HEAD_TIMEOUT));
        self.tally.connections += 1;
        note!(self, "{slot}: conn {conn} to {}", url.as_str());
        if !self.is_calm() {
            self.plan_faults(conn);
            if self.rng.random_bool(self.plan.vanish) {
                self.tally.half_opens += 1;
                self.vanish(conn);
            }
        }
        let request = self.request(conn, slot, &url);
        let (search, bytes) = (HeadSearch::response(), Vec::new());
        self.incoming(slot).state = Reading::Dialling { conn, url, search, bytes };
        self.put(conn, UP, request);
        self.at(self.now + DIAL_TIMEOUT, Event::DialDeadline(slot, conn));
    }

    fn request(&mut self, conn: ConnId, slot: Slot, url: &PeerUrl) -> Vec<u8> {
        let mut request = Vec::new();
        write_stream_request(
            &mut request,
            &self.nodes[slot.node].identity,
            slot.kind,
            member(slot.peer),
            url,
        );
        if self.rng.random_bool(self.plan.http_1_0) {
            // As through an old proxy; the answer's body then has no framing.
            let at = request.windows(10).position(|w| w == b"HTTP/1.1\r\n").expect("the first line");
            request[at + 7] = b'0';
            self.conns[conn].is_http_1_0 = true;
            self.tally.http_1_0 += 1;
        }
        request
    }

    pub(super) fn dial_deadline(&mut self, slot: Slot, conn: ConnId) {
        if let Reading::Dialling { conn: current, url, .. } = &self.incoming(slot).state
            && *current == conn
        {
            let url = url.clone();
            note!(self, "{slot}: conn {conn}: no answer in time");
            self.tally.dial_timeouts += 1;
            self.hang_up(conn, "the dialler gave up");
            self.dial_failed(slot, &url, None);
        }
    }

    /// Bytes, or the end, arrived where answers and frames do.
    pub(super) fn answer_arrives(&mut self, conn: ConnId) {
        let Conn { dialler, server, kind, .. } = self.conns[conn];
        let slot = Slot { node: dialler, peer: server, kind };
        let now = self.now;
        self.conns[conn].pipes[DOWN].arrive(now);
        match &self.incoming(slot).state {
            Reading::Dialling { conn: current, .. } if *current == conn => self.read_answer(slot, conn),
            Reading::Open { conn: current, .. } if *current == conn => self.read_stream(slot, conn),
            _ => {} // hung up
        }
    }

    fn read_answer(&mut self, slot: Slot, conn: ConnId) {
        let pipe = &mut self.conns[conn].pipes[DOWN];
        let more = pipe.take(usize::MAX).to_vec();
        let is_over = pipe.is_at_end() || self.conns[conn].reset;
        let own = self.nodes[slot.node].identity.clone();
        let Reading::Dialling { url, search, bytes, .. } = &mut self.incoming(slot).state else { return };
        bytes.extend_from_slice(&more);
        let answer = answer(search, bytes, is_over, &own);
        let url = url.clone();
        match answer {
            Answer::Partial if is_over => {
                note!(self, "{slot}: conn {conn} ended before the answer");
                self.hang_up(conn, "cut in the answer");
                self.dial_failed(slot, &url, None);
            }
            Answer::Partial => {}
            Answer::Established(established, rest) => self.open(slot, conn, established, &rest),
            Answer::Refused(refusal) => {
                note!(self, "{slot}: conn {conn}: {refusal}");
                self.check_refusal(conn, &refusal);
                self.hang_up(conn, "refused");
                self.dial_failed(slot, &url, Some(&refusal));
            }
        }
    }

    /// Only one refusal is called for here; any other takes a flipped bit.
    fn check_refusal(&mut self, conn: ConnId, refusal: &DialRefusal) {
        if *refusal != DialRefusal::PeerDoesNotKnowUs && !self.conns[conn].transcript.is_tainted() {
            self.fail(format!("conn {conn}: refused without a reason: {refusal}"));
        }
    }

    fn dial_failed(&mut self, slot: Slot, url: &PeerUrl, refusal: Option<&DialRefusal>) {
        let instant = self.instant();
        let peer = self.peer(slot.node, slot.peer);
        peer.picker.unreachable(url);
        if refusal.is_none_or(DialRefusal::deactivates) {
            let _ = peer.status.deactivate(Source::Stream(slot.kind), Action::Dial);
        }
        if let Some(pause) = refusal.and_then(DialRefusal::back_off) {
            peer.incoming[slot.kind as usize].pace.hold(instant, pause);
            self.is_held_back = true;
        }
        self.dial_again(slot);
    }

    pub(super) fn dial_again(&mut self, slot: Slot) {
        let instant = self.instant();
        let wait = self.incoming(slot).pace.next_dial(instant) - instant;
        self.dial_at(slot, self.now + wait);
    }

    /// The dialler closes; the server reads the end behind the request.
    pub(super) fn hang_up(&mut self, conn: ConnId, why: &'static str) {
        self.conns[conn].excuse(why);
        self.close(conn, UP);
    }
}

/// Reads an answer as far as it has come.
fn answer(search: &mut HeadSearch, bytes: &[u8], is_over: bool, own: &Identity) -> Answer {
    let head = match search.find(bytes) {
        Ok(None) => return Answer::Partial,
        Ok(Some(whole)) => ResponseHead::parse(whole).map(|head| (head, &bytes[whole.len()..])),
        Err(error) => Err(error),
    };
    let (head, rest) = match head {
        Ok(found) => found,
        Err(error) => return Answer::Refused(DialRefusal::BadHead(error)),
    };
    if needs_body(&head) && !is_over {
        *search = HeadSearch::response(); // again, when the body is there
        return Answer::Partial;
    }
    let payload = if needs_body(&head) { payload(&head, rest) } else { Vec::new() };
    match judge(&head, &payload, own) {
        Ok(established) => Answer::Established(established, rest.to_vec()),
        Err(refusal) => Answer::Refused(refusal),
    }
}

fn payload(head: &ResponseHead<'_>, rest: &[u8]) -> Vec<u8> {
    let mut payload = rest.to_vec();
    let mut marks = Marks { filled: payload.len(), ..Marks::default() };
    let _ = BodyDecoder::new(head.framing).advance(&mut payload, &mut marks);
    payload[marks.start..marks.end].to_vec()
}

/// The stream's name for logs.
impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.kind == StreamKind::Msgapp { "msgapp" } else { "message" };
        write!(f, "{}<-{} {kind}", self.node, self.peer)
    }
}
