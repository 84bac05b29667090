//! Requests that anybody may make: probes, and paths of the host's own.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::requests::Routed;
use super::serve::{IDLE_TIMEOUT, Next, Served, now_unix_s, wall_time};
use super::signal::Signal;
use crate::buf::Chain;
use crate::proto::handshake::{Endpoint as Route, Refusal, Refused};
use crate::proto::http::date::HttpDate;
use crate::proto::http::head::{Framing, HeadWriter, RequestHead, WholeHead, name};
use crate::proto::probe::write_probe_answer;
use crate::routes::{Answer, Reply, Request, Routes};

/// What a probe may bring along: Go's handler ignores it, and so do we, but not without end.
const PROBE_BODY_BYTES_MAX: usize = 64 << 10;

/// Between two writes of an answer that move something: etcd's write deadline.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// An answer may take this long to leave, and as much longer as 1 KiB/s allows for what it holds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the host leaves its answer; `Some(None)` if it gave none.
type Place = Arc<Mutex<Option<Option<Answer>>>>;

impl Served<'_> {
    /// Answers a probe: whatever its method, without a look at its headers (protocol section 12.1).
    pub(super) async fn probe(&mut self, request: &RequestHead<'_>) -> Next {
        let refusal = if self.endpoint.requests.admits_probe(Instant::now()) {
            self.read_body(request, PROBE_BODY_BYTES_MAX).await.err()
        } else {
            Some(Refusal::Busy)
        };
        if let Some(refusal) = refusal {
            let refused = Refused::later(of_body(refusal), Route::Probing, request.version_minor);
            self.refuse(&refused, None).await;
            return Next::Close;
        }
        let keep_alive = self.may_keep_alive(request);
        let mut answer = Vec::with_capacity(256);
        let is_head = request.method == "HEAD";
        write_probe_answer(&mut answer, wall_time(), request.version_minor, keep_alive, is_head);
        self.finish(answer, Bytes::new(), keep_alive).await
    }

    /// The host's routes, if this request is for them.
    pub(super) fn routes(&self, request: &RequestHead<'_>) -> Option<Arc<dyn Routes>> {
        let routes = self.endpoint.shared.config.routes.as_ref()?;
        (!Route::is_below_raft(request.path)).then(|| Arc::clone(routes))
    }

    /// Lets the host answer.
    pub(super) async fn route(
        &mut self,
        routes: Arc<dyn Routes>,
        head: WholeHead<'_>,
        request: &RequestHead<'_>,
    ) -> Next {
        let outcome = match Routed::begin(self.endpoint, &self.guard, self.conn.remote.ip()) {
            Some(routed) => self.ask_host(routes, head, request).await.map(|answer| (answer, routed)),
            None => Err(Refusal::Busy),
        };
        match outcome {
            Ok((answer, _routed)) => {
                let keep_alive = self.may_keep_alive(request);
                let (head, body) = written(&answer, request, keep_alive);
                self.finish(head, body, keep_alive).await
            }
            Err(refusal) => {
                let version_minor = request.version_minor;
                let refused = Refused { refusal, endpoint: None, version_minor, introduction: None };
                self.refuse(&refused, None).await;
                Next::Close
            }
        }
    }

    async fn ask_host(
        &mut self,
        routes: Arc<dyn Routes>,
        head: WholeHead<'_>,
        request: &RequestHead<'_>,
    ) -> Result<Answer, Refusal> {
        let bytes_max = self.endpoint.shared.config.route_body_bytes_max;
        let body = self.read_body(request, bytes_max).await.map_err(of_body)?;
        let (place, done) = (Place::default(), Signal::new());
        let (of_reply, of_done) = (Arc::clone(&place), done.clone());
        let reply = Reply::new(move |answer| {
            *of_reply.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
            of_done.raise();
        });
        let deadline = Instant::now() + self.endpoint.shared.config.route_timeout;
        self.guard.set_deadline(deadline + WRITE_TIMEOUT);
        routes.serve(
            Request {
                method: request.method.to_owned(),
                path: request.path.to_owned(),
                query: head.query().to_owned(),
                headers: head.fields(),
                body,
                from: self.conn.remote,
            },
            reply,
        );
        let over = || self.endpoint.is_stopping() || Instant::now() >= deadline;
        if self.endpoint.waits.unless(over, done.raised()).await.is_none() {
            return Err(Refusal::HostTimeout);
        }
        let answer = place.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.flatten().ok_or(Refusal::HostSilent)
    }

    /// The body behind a head, up to so many bytes.
    async fn read_body(&mut self, request: &RequestHead<'_>, bytes_max: usize) -> Result<Bytes, Refusal> {
        if matches!(request.framing, Framing::None | Framing::Length(0)) {
            return Ok(Bytes::new());
        }
        // Boxed: hardly any request has one, and each connection would keep room for it.
        Box::pin(self.collect_body(request, bytes_max)).await
    }

    fn may_keep_alive(&self, request: &RequestHead<'_>) -> bool {
        request.keep_alive && !self.endpoint.is_stopping()
    }

    /// Writes an answer; the connection then waits for the next request, among those that are kept.
    async fn finish(&mut self, head: Vec<u8>, body: Bytes, keep_alive: bool) -> Next {
        if self.write_answer(head, body).await.is_err() || !keep_alive {
            return Next::Close;
        }
        self.endpoint.keep(self.conn.remote.ip(), &self.guard);
        self.is_kept = true;
        self.guard.set_deadline(Instant::now() + IDLE_TIMEOUT);
        Next::Request
    }

    async fn write_answer(&mut self, head: Vec<u8>, body: Bytes) -> io::Result<()> {
        let earned = Duration::from_secs((body.len() >> 10) as u64);
        let give_up = Instant::now() + ANSWER_TIMEOUT + earned;
        let mut chain = Chain::default();
        chain.push_payload(head.into());
        if !body.is_empty() {
            chain.push_payload(body);
        }
        while !chain.is_empty() {
            self.guard.set_deadline(give_up.min(Instant::now() + WRITE_TIMEOUT));
            let (result, rest) = self.conn.write(chain).await;
            chain = rest;
            chain.advance(result?);
        }
        Ok(())
    }
}

/// What is wrong with a body that is no raft message.
fn of_body(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::MessageTooLarge => Refusal::BodyTooLarge,
        Refusal::ReadMessage => Refusal::ReadBody,
        other => other,
    }
}

/// The head of the host's answer, and the body that follows it.
fn written(answer: &Answer, request: &RequestHead<'_>, keep_alive: bool) -> (Vec<u8>, Bytes) {
    let has_body = !matches!(answer.status(), 204 | 304);
    let mut out = Vec::with_capacity(256);
    let mut head = HeadWriter::response(&mut out, request.version_minor, answer.status());
    for (name, value) in answer.headers() {
        head = head.header(name, value);
    }
    head.header(name::DATE, HttpDate(now_unix_s()))
        .header_if(name::CONTENT_LENGTH, has_body.then_some(answer.body().len()))
        .header_if(name::CONNECTION, (!keep_alive).then_some("close"))
        .end();
    let body = if has_body && request.method != "HEAD" { answer.body().clone() } else { Bytes::new() };
    (out, body)
}
