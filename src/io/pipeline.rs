//! Posting: what the lane of a pipeline holds goes out as `POST /raft`, four at a time. Protocol
//! section 10.1.
//!
//! ```text
//!   letter: the lane has messages --> up to four tasks, each: take one, post it, tell, take the next
//!                                     nothing left: the task ends, its connection is kept for 4 s
//! ```
//!
//! So a peer to which nothing is posted has no task, no connection and no memory here.
//!
//! A message is posted once. One that was written to a connection is lost if that breaks before the
//! answer, as in etcd, for whoever read it may have taken it; raft sends again what it misses. So a kept
//! connection is looked at before it is used: one that was closed meanwhile is replaced before
//! anything was written to it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use super::answer::{Answer, NoAnswer};
use super::conn::{Conn, Shut};
use super::connect::{ConnectError, Stop, connect};
use super::endpoint::{Endpoint, ServedGuard};
use super::faults::INJECTED;
use super::guard::TaskCount;
use super::shared::drain_unposted;
use super::waits::Waits;
use crate::buf::Chain;
use crate::cores::{Lane, Waiting};
use crate::event::{DropReason, Event, PostError};
use crate::id::MemberId;
use crate::metrics::{Follower, PeerMetrics};
use crate::proto::peer_url::PeerUrl;
use crate::proto::pipeline::{
    POST_ANSWER_BYTES_MAX, POST_IDLE_MAX, POSTS_IN_FLIGHT_MAX, judge_post, write_post,
};
use crate::proto::status::{Action, Source};
use crate::raft::SnapshotStatus;
use crate::raftpb::{ClassCounts, Message, MessageClass, MessageType};

/// Who posts: a peer or a remote.
pub(super) trait Poster: 'static {
    fn id(&self) -> MemberId;
    fn endpoint(&self) -> &Rc<Endpoint>;
    /// What waits to be posted, and what is being posted.
    fn lane(&self) -> &Lane<Message>;
    fn pipeline(&self) -> &Pipeline;
    fn url(&self) -> PeerUrl;
    fn url_unreachable(&self, url: &PeerUrl);
    fn tasks(&self) -> &Rc<TaskCount>;
    fn waits(&self) -> &Waits;
    /// Why nothing is posted any more, if so.
    fn halted(&self) -> Option<DropReason>;
    /// True while connections are to fail, for a test of the host.
    fn is_apart(&self) -> bool {
        false
    }
    fn metrics(&self) -> &PeerMetrics;
    /// Where appends are counted; remotes have none.
    fn follower_stats(&self) -> Option<&Follower>;
    fn activate(&self);
    fn deactivate(&self, source: Source, action: Action, reason: &str);
    /// Messages were lost; does not tell the fate of snapshots.
    fn report_lost(&self, lost: ClassCounts, reason: DropReason);
}

/// What a peer or a remote has under way.
#[derive(Default)]
pub(super) struct Pipeline {
    /// Taken from the lane, still counted there.
    queue: RefCell<VecDeque<Message>>,
    posts: RefCell<[Place; POSTS_IN_FLIGHT_MAX]>,
    kept: RefCell<Vec<Kept>>,
}

/// One of the posts that may be in flight.
#[derive(Default)]
enum Place {
    #[default]
    Free,
    /// A task has it; with what ends its connection, while there is one.
    Taken(Option<Rc<Shut>>),
}

/// A connection for the next post.
struct Kept {
    url: PeerUrl,
    conn: Conn,
    since: Instant,
}

impl Pipeline {
    /// A message and a place to post it from.
    fn next(&self) -> Option<(usize, Message)> {
        let mut posts = self.posts.borrow_mut();
        let place = posts.iter().position(|place| matches!(place, Place::Free))?;
        let message = self.queue.borrow_mut().pop_front()?;
        posts[place] = Place::Taken(None);
        Some((place, message))
    }

    fn set_shut(&self, place: usize, shut: Option<Rc<Shut>>) {
        self.posts.borrow_mut()[place] = Place::Taken(shut);
    }

    /// A task ends; the memory of a burst goes with its last.
    fn free(&self, place: usize) {
        let mut posts = self.posts.borrow_mut();
        posts[place] = Place::Free;
        if posts.iter().all(|place| matches!(place, Place::Free)) {
            *self.queue.borrow_mut() = VecDeque::new();
        }
    }

    /// A connection to this URL that is open, silent and not idle for too long.
    fn take_kept(&self, url: &PeerUrl, now: Instant) -> Option<Conn> {
        loop {
            let mut kept = self.kept.borrow_mut();
            let place = kept.iter().rposition(|kept| kept.url == *url && kept.is_fresh(now))?;
            let conn = kept.swap_remove(place).conn;
            if conn.is_open_and_silent() {
                return Some(conn);
            }
        }
    }

    fn keep(&self, url: &PeerUrl, conn: Conn) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < POSTS_IN_FLIGHT_MAX {
            kept.push(Kept { url: url.clone(), conn, since: Instant::now() });
        }
    }

    /// Ends every connection: what is in flight is lost, what waits is posted over new ones.
    pub(super) fn break_connections(&self) {
        for place in self.posts.borrow().iter() {
            if let Place::Taken(Some(shut)) = place {
                shut.shutdown();
            }
        }
        self.kept.take();
    }

    /// 100 ms went by.
    pub(super) fn tick(&self, now: Instant) {
        let mut kept = self.kept.borrow_mut();
        if kept.capacity() > 0 {
            kept.retain(|kept| kept.is_fresh(now));
            if kept.is_empty() {
                *kept = Vec::new();
            }
        }
    }
}

impl Kept {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < POST_IDLE_MAX
    }
}

/// The lane has messages: they are posted, as far as there are places.
pub(super) fn look_after<P: Poster>(poster: &Rc<P>) {
    let pipeline = poster.pipeline();
    if poster.halted().is_some() {
        return halt(&**poster);
    }
    let mut came = Waiting::new();
    poster.lane().take(&mut came);
    pipeline.queue.borrow_mut().extend(std::iter::from_fn(|| came.pop()));
    while let Some((place, message)) = pipeline.next() {
        let of_task = Rc::clone(poster);
        let task = async move { work(&of_task, place, message).await };
        poster.endpoint().spawn_among(poster.tasks(), "post", task);
    }
}

/// Nothing is posted any more, for the reason that the poster says: what waits is lost, what is in
/// flight ends, and its tasks tell so.
pub(super) fn halt<P: Poster>(poster: &P) {
    let pipeline = poster.pipeline();
    let mut lost = drain_unposted(poster.lane());
    for message in pipeline.queue.take() {
        poster.lane().release().add(&message);
        lost.add(message.class(), 1);
        poster.endpoint().core.guard(|| drop(message));
    }
    pipeline.break_connections();
    lose(poster, lost, poster.halted().unwrap_or(DropReason::Stopped));
}

/// Messages were lost, snapshots perhaps among them.
fn lose<P: Poster>(poster: &P, lost: ClassCounts, reason: DropReason) {
    poster.report_lost(lost, reason);
    let snapshots = lost.get(MessageClass::Snapshot);
    for _ in 0..snapshots {
        report_snapshot(poster, SnapshotStatus::Failure);
    }
}

fn report_snapshot<P: Poster>(poster: &P, status: SnapshotStatus) {
    let endpoint = poster.endpoint();
    if endpoint.core.guard(|| endpoint.shared.raft.report_snapshot(poster.id(), status)).is_none() {
        endpoint.emit(&Event::Panicked { task: "report_snapshot" });
    }
}

/// Posts one message after another, as long as there are any.
async fn work<P: Poster>(poster: &Rc<P>, place: usize, first: Message) {
    let core = &poster.endpoint().core;
    let mut next = Some(first);
    while let Some(message) = next {
        let (url, began) = (poster.url(), Instant::now());
        let posted = core.guarded(post(poster, place, &url, &message)).await;
        poster.pipeline().set_shut(place, None);
        poster.lane().release().add(&message);
        match posted.unwrap_or(Err(PostError::Panicked)) {
            Ok(size) => succeeded(&**poster, &message, size, began),
            Err(error) => failed(&**poster, &message, &url, error),
        }
        // What is in it is the host's, and may panic when it goes.
        core.guard(|| drop(message));
        next = poster.pipeline().queue.borrow_mut().pop_front();
    }
    poster.pipeline().free(place);
}

fn succeeded<P: Poster>(poster: &P, message: &Message, size: usize, began: Instant) {
    poster.activate();
    poster.metrics().sent_bytes.add(size as u64);
    if message.is(MessageType::MsgApp) {
        let now = Instant::now();
        poster.endpoint().shared.metrics.server.sent().add_at(now, 1, size as u64);
        if let Some(follower) = poster.follower_stats() {
            follower.success(now.saturating_duration_since(began));
        }
    }
    if message.is(MessageType::MsgSnap) {
        report_snapshot(poster, SnapshotStatus::Finish);
    }
}

fn failed<P: Poster>(poster: &P, message: &Message, url: &PeerUrl, error: PostError) {
    let lost = ClassCounts::of(message.class(), 1);
    // What was in flight when it ended by our own doing says nothing about the other side.
    if let Some(reason) = poster.halted() {
        return lose(poster, lost, reason);
    }
    poster.url_unreachable(url);
    poster.deactivate(Source::Pipeline, Action::Write, &error.to_string());
    poster.metrics().sent_failures.add(1);
    if message.is(MessageType::MsgApp)
        && let Some(follower) = poster.follower_stats()
    {
        follower.fail();
    }
    let (peer, endpoint) = (poster.id(), poster.endpoint());
    if matches!(&error, PostError::Refused(refusal) if refusal.reports_removed()) {
        endpoint.emit(&Event::MemberRemoved { by: peer });
    }
    endpoint.emit(&Event::PostFailed { peer, error });
    lose(poster, lost, DropReason::PostFailed);
}

/// One message over one connection; the size that statistics count.
async fn post<P: Poster>(
    poster: &Rc<P>,
    place: usize,
    url: &PeerUrl,
    message: &Message,
) -> Result<usize, PostError> {
    let endpoint = poster.endpoint();
    let (config, own, pool) = (&endpoint.shared.config, &endpoint.shared.own, &endpoint.core.pool);
    let mut conn = connection(poster, place, url).await?;
    let guard = endpoint.watch(conn.shut(), Instant::now() + config.write_timeout);
    let (request, size) = write_post(own, url, message, config.dialect, pool);
    let written =
        write(&mut conn, request, || guard.set_deadline(Instant::now() + config.write_timeout)).await;
    let deadline = Instant::now() + config.post_timeout;
    guard.set_deadline(deadline);
    if let Err(error) = written {
        return Err(refused_early(endpoint, conn, &guard, deadline, error).await);
    }
    let answer = Answer::read(&mut conn, pool).await?;
    let head = answer.head()?;
    let body = answer.body(&mut conn, head.framing, POST_ANSWER_BYTES_MAX, &guard, deadline).await;
    judge_post(&head, &body.text, own).map_err(PostError::Refused)?;
    drop(guard);
    if head.keep_alive && body.is_whole && !conn.shut().is_done() && poster.halted().is_none() {
        poster.pipeline().keep(url, conn);
    }
    Ok(size)
}

/// A kept connection, or a new one.
async fn connection<P: Poster>(poster: &Rc<P>, place: usize, url: &PeerUrl) -> Result<Conn, PostError> {
    if poster.is_apart() {
        return Err(PostError::Connection(INJECTED.to_owned()));
    }
    let pipeline = poster.pipeline();
    if let Some(conn) = pipeline.take_kept(url, Instant::now()) {
        pipeline.set_shut(place, Some(conn.shut()));
        return Ok(conn);
    }
    let stop = Stop {
        waits: poster.waits(),
        is_stopping: &|| poster.halted().is_some(),
        keep: &|shut| pipeline.set_shut(place, Some(shut)),
    };
    let endpoint = poster.endpoint();
    let (conn, _) = connect(endpoint, &stop, url, endpoint.shared.config.dial_timeout).await?;
    Ok(conn)
}

async fn write(conn: &mut Conn, mut request: Chain, moved: impl Fn()) -> io::Result<()> {
    while !request.is_empty() {
        let (result, rest) = conn.write(request).await;
        request = rest;
        request.advance(result?);
        moved();
    }
    Ok(())
}

/// The other side has closed before it had read all: who refuses a large body says why, perhaps, and
/// does not read the rest.
async fn refused_early(
    endpoint: &Rc<Endpoint>,
    mut conn: Conn,
    guard: &ServedGuard,
    deadline: Instant,
    error: io::Error,
) -> PostError {
    let broken = PostError::from(NoAnswer::of_write(&conn, error));
    if broken == PostError::Timeout {
        return broken;
    }
    let Ok(answer) = Answer::read(&mut conn, &endpoint.core.pool).await else { return broken };
    let Ok(head) = answer.head() else { return broken };
    let body = answer.body(&mut conn, head.framing, POST_ANSWER_BYTES_MAX, guard, deadline).await;
    match judge_post(&head, &body.text, &endpoint.shared.own) {
        Err(refusal) => PostError::Refused(refusal),
        // It cannot have taken what it has not read.
        Ok(()) => broken,
    }
}

impl From<ConnectError> for PostError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Resolve(error) => Self::Resolve(error),
            ConnectError::Connect(error) => Self::Connection(error),
            ConnectError::Timeout => Self::Timeout,
        }
    }
}

impl From<NoAnswer> for PostError {
    fn from(error: NoAnswer) -> Self {
        match error {
            NoAnswer::Timeout => Self::Timeout,
            NoAnswer::Malformed(error) => Self::Malformed(error.to_string()),
            error => Self::Connection(error.to_string()),
        }
    }
}
