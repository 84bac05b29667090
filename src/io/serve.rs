//! What comes in on the listener: stream requests, `POST /raft`, and refusals. Protocol 5.2, 10.2.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::conn::{Conn, Shut};
use super::endpoint::{Endpoint, ServedGuard};
use super::faults::{INJECTED, Way};
use super::handover::Handover;
use super::input::{Input, NoHead};
use super::shared::PeerShared;
use crate::event::{Event, RejectReason};
use crate::id::MemberId;
use crate::proto::codec::{StreamKind, decode_bare_message, screen};
use crate::proto::fault::Side;
use crate::proto::handshake::{
    Accepted, Endpoint as Route, Membership, Refusal, Refused, accept, write_no_content, write_refused,
};
use crate::proto::http::head::{HeadSearch, RequestHead};
use crate::proto::limiter::PostSender;
use crate::proto::pipeline::{BodyOutcome, MessageBody};
use crate::proto::probe::WallTime;
use crate::raft::{Origin, Via};
use crate::raftpb::{ClassCounts, Message, MessageType};

/// From accept to the first byte.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);

/// From a head's first byte to its last, in total and not per read.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// An idle kept-alive connection, as in etcd.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a refused client may still send before we close: closing on unread bytes would reset the
/// connection and could take the answer with it.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// How much of it is read.
const LINGER_BYTES_MAX: usize = 64 << 10;

/// Serves a connection that was accepted.
pub(super) fn start(endpoint: &Rc<Endpoint>, stream: TcpStream, remote: SocketAddr) {
    let of_task = Rc::clone(endpoint);
    endpoint.spawn("served connection", async move {
        let dropped = match serve(&of_task, stream, remote).await {
            Ok(()) => return,
            Err(error) => error,
        };
        if !of_task.is_stopping() {
            of_task.emit(&Event::ConnectionDropped { from: remote, reason: dropped });
        }
    });
}

/// One connection, on its way to become a stream or to end.
pub(super) struct Served<'a> {
    pub(super) endpoint: &'a Rc<Endpoint>,
    pub(super) conn: Conn,
    pub(super) input: Input,
    pub(super) guard: ServedGuard,
    /// It waits for more requests of the kind that anybody may make: seconds, mostly.
    pub(super) is_kept: bool,
}

/// What to do with the connection after a request.
pub(super) enum Next {
    Request,
    Close,
}

async fn serve(endpoint: &Rc<Endpoint>, stream: TcpStream, remote: SocketAddr) -> Result<(), &'static str> {
    let shut = Rc::new(Shut::new(stream.as_raw_fd()));
    let conn =
        Conn::new(Rc::clone(&endpoint.core), stream, remote, shut).map_err(|_| "out of descriptors")?;
    let guard = endpoint.watch(conn.shut(), Instant::now() + FIRST_BYTE_TIMEOUT);
    endpoint.enter_waiting(remote.ip(), &guard);
    let input = Input::new(&endpoint.core.pool);
    let mut served = Served { endpoint, conn, input, guard, is_kept: false };
    loop {
        let head = match served.read_head().await {
            Ok(head) => head,
            Err(NoHead::Closed) => return Ok(()),
            Err(NoHead::Broken(_)) => return Err("the request did not arrive whole or in time"),
            Err(NoHead::Bad(error)) => {
                Box::pin(served.refuse(&Refused::bad_head(error), None)).await;
                return Ok(());
            }
        };
        let Ok(Some(whole)) = HeadSearch::request().find(&head) else {
            return Err("the request changed its mind");
        };
        let request = match RequestHead::parse(whole) {
            Ok(request) => request,
            Err(error) => {
                Box::pin(served.refuse(&Refused::bad_head(error), None)).await;
                return Ok(());
            }
        };
        if let Some(routes) = served.routes(&request) {
            match Box::pin(served.route(routes, whole, &request)).await {
                Next::Request => continue,
                Next::Close => return Ok(()),
            }
        }
        match accept(&request, &endpoint.shared.own, &**endpoint) {
            Err(refused) => {
                if refused.endpoint == Some(Route::Snapshot) {
                    endpoint.shared.metrics.unknown_sender().snapshot_receive_failures.add(1);
                }
                endpoint.introduce(refused.introduction.clone(), remote);
                Box::pin(served.refuse(&refused, member_of(&request))).await;
                return Ok(());
            }
            // As if no listener were there.
            Ok(Accepted::Stream { peer, .. }) if served.is_apart(Some(peer), Side::Sending) => {
                return Err(INJECTED);
            }
            Ok(Accepted::Pipeline(_) | Accepted::Snapshot(_) | Accepted::SnapshotPartial)
                if served.is_apart(member_of(&request), Side::Receiving) =>
            {
                return Err(INJECTED);
            }
            Ok(Accepted::Stream { kind, peer, echoes }) => {
                return served.become_stream(kind, peer, request.version_minor, echoes);
            }
            // Boxed, here and below: no connection should keep room for what it is not, and those that are
            // kept for a next request are many.
            Ok(Accepted::Pipeline(introduction)) => {
                endpoint.introduce(introduction, remote);
                match Box::pin(served.message(&request)).await {
                    Next::Request => {}
                    Next::Close => return Ok(()),
                }
            }
            Ok(Accepted::Snapshot(introduction)) => {
                endpoint.introduce(introduction, remote);
                Box::pin(served.snapshot(&request)).await;
                return Ok(());
            }
            Ok(Accepted::SnapshotPartial) => {
                Box::pin(served.tell_partial(&request)).await;
                return Ok(());
            }
            Ok(Accepted::Probing) => match Box::pin(served.probe(&request)).await {
                Next::Request => {}
                Next::Close => return Ok(()),
            },
        }
    }
}

pub(super) fn member_of(request: &RequestHead<'_>) -> Option<MemberId> {
    request.headers.server_from?.parse().ok()
}

impl Membership for Endpoint {
    fn is_id_removed(&self, id: MemberId) -> bool {
        self.shared.raft.is_id_removed(id)
    }

    fn is_known_peer(&self, id: MemberId) -> bool {
        self.shared.peer(id).is_some()
    }
}

impl Served<'_> {
    /// The next head, copied out: the body is read into the same buffer.
    async fn read_head(&mut self) -> Result<Vec<u8>, NoHead> {
        if self.is_kept && self.input.bytes().is_empty() {
            self.input.rest(&self.conn).await.map_err(NoHead::Broken)?;
        }
        if !self.input.bytes().is_empty() {
            self.guard.set_deadline(Instant::now() + HEAD_TIMEOUT);
        }
        let guard = &self.guard;
        let first_byte = || guard.set_deadline(Instant::now() + HEAD_TIMEOUT);
        let len = self.input.read_head(&mut self.conn, HeadSearch::request(), first_byte).await?;
        let head = self.input.bytes()[..len].to_vec();
        self.input.consume(len);
        Ok(head)
    }

    /// True while connections of this member are to fail.
    fn is_apart(&self, member: Option<MemberId>, side: Side) -> bool {
        let peer = member.and_then(|id| self.endpoint.shared.peer(id));
        peer.is_some_and(|peer| peer.faults.is_apart(side))
    }

    /// The connection goes on as a stream on the core of its peer.
    fn become_stream(
        self,
        kind: StreamKind,
        peer: MemberId,
        version_minor: u8,
        echoes: bool,
    ) -> Result<(), &'static str> {
        let Self { endpoint, conn, input, guard: _guard, is_kept: _ } = self;
        let Some(peer) = endpoint.shared.peer(peer) else { return Err("the peer was removed meanwhile") };
        let stream = conn.duplicate().map_err(|_| "out of descriptors")?;
        let rest = input.bytes().to_vec();
        Handover { stream, remote: conn.remote, kind, version_minor, echoes, rest }.deliver(endpoint, peer);
        Ok(())
    }

    /// One message of `POST /raft`.
    async fn message(&mut self, request: &RequestHead<'_>) -> Next {
        let sender = self.post_sender(request);
        let outcome = match self.endpoint.begin_post(sender, &self.guard) {
            Some(_post) => self.take_message(request).await,
            None => Err(Refusal::Busy),
        };
        match outcome {
            Ok(()) => {
                let keep_alive = request.keep_alive && !self.endpoint.is_stopping();
                let mut answer = Vec::with_capacity(256);
                let own = &self.endpoint.shared.own;
                write_no_content(&mut answer, own, request.version_minor, keep_alive, now_unix_s());
                self.guard.set_deadline(Instant::now() + IDLE_TIMEOUT);
                let written = self.conn.write_all(answer).await.is_ok();
                if written && keep_alive {
                    self.endpoint.keep(self.conn.remote.ip(), &self.guard);
                    Next::Request
                } else {
                    Next::Close
                }
            }
            Err(refusal) => {
                let refused = Refused::later(refusal, Route::Pipeline, request.version_minor);
                self.refuse(&refused, member_of(request)).await;
                Next::Close
            }
        }
    }

    /// Members have a share of their own, also where many have one address.
    fn post_sender(&self, request: &RequestHead<'_>) -> PostSender {
        let shared = &self.endpoint.shared;
        let is_known = |&id: &MemberId| shared.peer(id).is_some() || shared.remotes().get(id).is_some();
        match member_of(request).filter(is_known) {
            Some(member) => PostSender::Member(member),
            None => PostSender::Address(self.conn.remote.ip()),
        }
    }

    async fn take_message(&mut self, request: &RequestHead<'_>) -> Result<(), Refusal> {
        let limits = self.endpoint.shared.config.frames;
        let body = self.collect_body(request, limits.frame_bytes_max).await;
        let whole = body.and_then(|body| {
            let message = decode_bare_message(&body, &limits).map_err(|_| Refusal::UnmarshalMessage)?;
            Ok((message, body.len() as u64))
        });
        // Of what is no message nothing is known but the address that it came from.
        let (message, bytes) = whole.inspect_err(|_| {
            self.endpoint.shared.metrics.address().received_failures.add(1);
        })?;
        self.endpoint.count_posted(&message, bytes);
        self.endpoint.take_posted(message)
    }

    /// The body behind a head, up to so many bytes; memory follows what arrives.
    pub(super) async fn collect_body(
        &mut self,
        request: &RequestHead<'_>,
        bytes_max: usize,
    ) -> Result<Bytes, Refusal> {
        let pool = self.endpoint.core.pool.clone();
        let rest = self.input.bytes().to_vec();
        self.input.consume(rest.len());
        let mut body = MessageBody::new(request.framing, &rest, bytes_max, pool, Instant::now())?;
        loop {
            self.guard.set_deadline(body.deadline());
            match body.poll(Instant::now())? {
                BodyOutcome::Whole { message, rest } => {
                    self.input.put_back(&rest);
                    return Ok(message);
                }
                BodyOutcome::NeedsMore => {}
            }
            let (block, range) = body.lend();
            let (result, block) = self.conn.read(block, range).await;
            body.handle_read(block, result.unwrap_or(0));
        }
    }

    pub(super) async fn refuse(&mut self, refused: &Refused, member: Option<MemberId>) {
        let endpoint = self.endpoint;
        let remote = self.conn.remote;
        let known = member.filter(|&id| endpoint.shared.peer(id).is_some());
        if refused.refusal.is_clients_fault() {
            endpoint.limiter.borrow_mut().charge(remote.ip(), known, Instant::now());
        }
        if refused.refusal.is_silent() {
            let reason = "not HTTP";
            return endpoint.emit(&Event::ConnectionDropped { from: remote, reason });
        }
        endpoint.emit(&Event::RequestRefused { from: remote, refusal: refused.refusal.clone() });
        let mut answer = Vec::with_capacity(512);
        write_refused(&mut answer, refused, &endpoint.shared.own, now_unix_s());
        self.answer_and_close(answer).await;
    }

    /// Sends the last answer of this connection.
    pub(super) async fn answer_and_close(&mut self, answer: Vec<u8>) {
        self.guard.set_deadline(Instant::now() + LINGER_TIMEOUT);
        if self.conn.write_all(answer).await.is_ok() {
            self.linger().await;
        }
    }

    /// Reads what the client still sends, so that closing does not reset what it should read.
    async fn linger(&mut self) {
        self.conn.shutdown_write();
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            let held = self.input.bytes().len();
            self.input.consume(held);
            match self.input.read(&mut self.conn).await {
                Ok(count) if count > 0 => left = left.saturating_sub(count),
                _ => return,
            }
        }
    }
}

impl Endpoint {
    /// A message of `POST /raft` comes, by the faults of its peer if there are any.
    fn take_posted(&self, message: Message) -> Result<(), Refusal> {
        let peer = self.shared.peer(MemberId(message.from()));
        match peer.filter(|peer| peer.faults.held().has_faults(Way::Posted)) {
            Some(peer) => self.take_posted_by_faults(&peer, message),
            None => self.process_posted(message),
        }
    }

    /// What faults lose or hold back has arrived, as far as its sender can tell.
    #[cold]
    fn take_posted_by_faults(&self, peer: &Arc<PeerShared>, message: Message) -> Result<(), Refusal> {
        let mut result = Ok(());
        let visited = peer.faults.visit(Way::Posted, Instant::now(), [message], |messages| {
            messages.into_iter().for_each(|message| result = self.process_posted(message));
        });
        if visited.core_is_due {
            peer.post_faults();
        }
        let mut lost: ClassCounts = visited.dropped.iter().collect();
        if peer.stopped.load(Ordering::Acquire) {
            // Its core may have looked for the last time.
            lost += peer.faults.drain_posted().iter().collect();
        }
        for (class, messages) in lost.iter() {
            let reason = RejectReason::Injected;
            self.reject_posted(peer.id, class, messages, reason);
        }
        result
    }

    /// Hands a message of `POST /raft` to the host.
    pub(super) fn process_posted(&self, message: Message) -> Result<(), Refusal> {
        let from = MemberId(message.from());
        if let Err(implausible) = screen(&message, self.shared.config.id, from) {
            let reason = RejectReason::Implausible(implausible);
            self.reject_posted(from, message.class(), 1, reason);
            return Err(Refusal::ProcessMessage);
        }
        let proposals = message.is(MessageType::MsgProp);
        let mut batch = vec![message];
        self.shared.raft.process(Origin { peer: from, via: Via::Pipeline, proposals }, &mut batch);
        if batch.is_empty() { Ok(()) } else { Err(Refusal::ProcessMessage) }
    }
}

pub(super) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(crate) fn wall_time() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let unix_ns = match since {
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    };
    WallTime { unix_ns }
}
