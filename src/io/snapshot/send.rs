//! Snapshots, sent: one task each, from the source through a helper to the peer (protocol 11.2).

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::handle::{Sending, Verdict};
use super::patience::{Ended, Patience};
use super::read_ahead::{NoBlock, ReadAhead};
pub(in crate::io) use super::upload::Uploads;
use super::upload::{Exchange, Upload, ask_offset};
use super::{Slot, Snapshots, Way, transport_key};
use crate::event::{Event, SnapshotError};
use crate::id::MemberId;
use crate::io::core::Core;
use crate::io::endpoint::Endpoint;
use crate::io::peer::Peer;
use crate::io::shared::{PeerShared, TransportShared};
use crate::proto::codec::{VecSink, encode_message};
use crate::proto::handshake::{SnapshotPart, write_snapshot_request};
use crate::proto::peer_url::PeerUrl;
use crate::proto::snapshot::{
    ENVELOPE_BYTES_MAX, SnapshotAnswer, SnapshotIdentity, SnapshotSender, Stall, answer_timeout,
};
use crate::proto::status::{Action, Source};
use crate::raftpb::Message;
use crate::snapshot::SnapshotSource;

/// The length before the message, which receivers do not count as its size.
const LENGTH_BYTES: usize = 8;

/// After a transfer that broke, the answer that the peer may have sent before.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);

/// Less than that, sent before a cut, is not worth a question.
const CUT_BYTES_MIN: u64 = 1 << 20;

/// While our own disk or the rate limit is waited for, the connection's deadline is this far away.
const OWN_WAIT: Duration = Duration::from_secs(24 * 3600);

/// What is to be sent.
pub(crate) struct SnapshotJob {
    pub(crate) message: Message,
    pub(crate) source: Box<dyn SnapshotSource>,
    /// What the source said of its bytes.
    pub(crate) tag: Option<Vec<u8>>,
    pub(crate) verdict: Verdict,
}

/// Begins a transfer on the core of its peer.
pub(crate) fn begin(
    core: &Rc<Core>,
    transport: &Arc<TransportShared>,
    peer: &Arc<PeerShared>,
    job: SnapshotJob,
) {
    let found = Endpoint::on(core, transport).and_then(|endpoint| endpoint.peer(peer.id));
    let found = found.filter(|found| Arc::ptr_eq(&found.shared, peer) && !found.is_stopping());
    let Some(peer) = found else { return job.refuse(SnapshotError::Stopped) };
    if peer.is_paused() {
        return job.refuse(SnapshotError::Paused);
    }
    if job.verdict.sending.is_cancelled() {
        return job.refuse(SnapshotError::Cancelled);
    }
    match peer.endpoint.cores.snapshots().enter(Way::Send, transport_key(transport), peer.shared.id) {
        Ok(slot) => start(&peer, slot, job),
        Err(no_slot) => job.refuse(SnapshotError::Busy(no_slot)),
    }
}

/// Ends a transfer that its host cancelled.
pub(super) fn end(core: &Rc<Core>, transport: &Arc<TransportShared>, peer: MemberId, sending: &Arc<Sending>) {
    if let Some(peer) = Endpoint::on(core, transport).and_then(|endpoint| endpoint.peer(peer)) {
        peer.uploads.end(sending);
        peer.waits.look_again();
    }
}

impl SnapshotJob {
    /// It never begins.
    fn refuse(self, error: SnapshotError) {
        drop(self.source);
        self.verdict.tell(Err(error));
    }
}

fn start(peer: &Rc<Peer>, slot: Slot, job: SnapshotJob) {
    let SnapshotJob { message, source, tag, verdict } = job;
    let upload = peer.uploads.begin(&verdict.sending);
    let of_task = Rc::clone(peer);
    peer.endpoint.spawn_for(peer, "snapshot sender", async move {
        let began = Instant::now();
        let transfer = Transfer::begin(&of_task, &upload);
        let outcome = transfer.run(message, source, tag).await.map_err(|error| match error {
            SnapshotError::Stopped if upload.sending.is_cancelled() => SnapshotError::Cancelled,
            error => error,
        });
        transfer.conclude(began, &outcome);
        drop(transfer);
        // Whoever is told may send the next.
        drop(slot);
        verdict.tell(outcome.map(drop));
    });
}

/// One transfer, within its task.
struct Transfer<'a> {
    peer: &'a Rc<Peer>,
    upload: &'a Rc<Upload>,
    url: PeerUrl,
}

impl<'a> Transfer<'a> {
    fn begin(peer: &'a Rc<Peer>, upload: &'a Rc<Upload>) -> Self {
        peer.shared.metrics.snapshot_send_inflights.add(1);
        Self { peer, upload, url: peer.url() }
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        self.peer.shared.metrics.snapshot_send_inflights.add(-1);
        self.peer.uploads.remove(self.upload);
    }
}

/// How one request ended that was not refused.
enum Posted {
    /// The peer has the snapshot, so many bytes of which were sent.
    Taken(u64),
    /// It no longer has the part before.
    NoSuchPart(Box<dyn SnapshotSource>),
}

impl Transfer<'_> {
    /// How many bytes were sent, message and database.
    async fn run(
        &self,
        message: Message,
        source: Box<dyn SnapshotSource>,
        tag: Option<Vec<u8>>,
    ) -> Result<u64, SnapshotError> {
        let shared = &self.peer.endpoint.shared;
        let mut sink = VecSink::default();
        let bytes = encode_message(&message, shared.config.dialect, &mut sink);
        drop(message);
        if bytes > ENVELOPE_BYTES_MAX {
            return Err(SnapshotError::MessageTooLarge { bytes });
        }
        let envelope = Bytes::from(sink.bytes);
        let sending = &self.upload.sending;
        let identity = tag.map(|tag| SnapshotIdentity::new(sending.size, &tag, &envelope));
        let offset = self.offset(identity).await;
        let sent = match self.post(envelope.clone(), source, identity, offset).await {
            Ok(Posted::NoSuchPart(source)) => self.post(envelope.clone(), source, identity, 0).await,
            posted => posted,
        };
        match sent {
            Ok(Posted::Taken(database)) => Ok(database + (envelope.len() - LENGTH_BYTES) as u64),
            Ok(Posted::NoSuchPart(_)) => {
                Err(SnapshotError::Refused("it misses what was not left out".into()))
            }
            Err(error) => {
                let is_cut = matches!(error, SnapshotError::Connection(_) | SnapshotError::Stalled);
                if let Some(identity) = identity.filter(|_| is_cut && self.sent() >= CUT_BYTES_MIN) {
                    shared.outgoing.note_cut(self.peer.shared.id, identity);
                }
                Err(error)
            }
        }
    }

    /// Where to begin: if the last transfer of this snapshot was cut, the peer is asked.
    async fn offset(&self, identity: Option<SnapshotIdentity>) -> u64 {
        let outgoing = &self.peer.endpoint.shared.outgoing;
        match identity.filter(|&identity| outgoing.take_cut(self.peer.shared.id, identity)) {
            Some(identity) => ask_offset(self.peer, self.upload, &self.url, identity).await,
            None => 0,
        }
    }

    /// One `POST /raft/snapshot`.
    async fn post(
        &self,
        envelope: Bytes,
        source: Box<dyn SnapshotSource>,
        identity: Option<SnapshotIdentity>,
        offset: u64,
    ) -> Result<Posted, SnapshotError> {
        let endpoint = &self.peer.endpoint;
        let sending = &self.upload.sending;
        sending.sent.store(offset, Ordering::Relaxed);
        endpoint.emit(&Event::SnapshotSendBegan {
            peer: sending.peer,
            index: sending.index,
            bytes: sending.size,
            offset,
        });
        // From here on the source is a helper's.
        let ahead = ReadAhead::start(self.snapshots(), endpoint.core.pool.clone(), source, offset);
        let mut exchange = Exchange::open(self.peer, self.upload, &self.url).await?;
        let mut sender = SnapshotSender::new(sending.size, offset);
        let mut head = Vec::with_capacity(512);
        write_snapshot_request(&mut head, &endpoint.shared.own, &self.url, SnapshotPart { identity, offset });
        let mut stall = Stall::new(endpoint.shared.config.snapshot_stall_timeout, Instant::now());
        let begin = sender.begin(head, envelope, &endpoint.core.pool);
        let written = match exchange.write(begin, &mut stall).await {
            Ok(()) => self.stream(&mut exchange, &mut sender, &ahead, &mut stall).await,
            Err(error) => Err(exchange.broken(&error)),
        };
        let answer = self.answer(exchange, written).await?;
        match answer {
            SnapshotAnswer::Taken { .. } => Ok(Posted::Taken(sending.size - offset)),
            SnapshotAnswer::NoSuchPart if offset > 0 => {
                let source = ahead.reclaim(&self.patience(&|| self.upload.is_over())).await;
                source.map(Posted::NoSuchPart).map_err(|no_block| self.source_error(no_block))
            }
            SnapshotAnswer::NoSuchPart => Err(SnapshotError::Refused("unexpected http status 409".into())),
            SnapshotAnswer::MemberRemoved => Err(SnapshotError::MemberRemoved),
            SnapshotAnswer::Refused(words) => Err(SnapshotError::Refused(words)),
        }
    }

    /// The answer, which may come before everything was written: it says more than a broken connection.
    async fn answer(
        &self,
        exchange: Exchange<'_>,
        written: Result<Written, SnapshotError>,
    ) -> Result<SnapshotAnswer, SnapshotError> {
        let config = &self.peer.endpoint.shared.config;
        match written {
            Ok(Written::All) => {
                exchange.answer(answer_timeout(config.snapshot_stall_timeout, self.upload.sending.size)).await
            }
            Ok(Written::Interrupted) => match exchange.answer(LAST_WORDS_TIMEOUT).await? {
                SnapshotAnswer::Taken { .. } => {
                    Err(SnapshotError::Refused("204 before the whole snapshot was sent".to_owned()))
                }
                answer => Ok(answer),
            },
            Err(error @ SnapshotError::Connection(_)) => match exchange.answer(LAST_WORDS_TIMEOUT).await {
                Ok(answer @ (SnapshotAnswer::Refused(_) | SnapshotAnswer::NoSuchPart)) => Ok(answer),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// The database, block by block.
    async fn stream(
        &self,
        exchange: &mut Exchange<'_>,
        sender: &mut SnapshotSender,
        ahead: &ReadAhead,
        stall: &mut Stall,
    ) -> Result<Written, SnapshotError> {
        let over = || self.upload.is_over();
        let patience = self.patience(&over);
        let pool = &self.peer.endpoint.core.pool;
        let piece_bytes_max = self.snapshots().piece_bytes_max();
        let mut written_at = Instant::now();
        loop {
            exchange.set_deadline(Instant::now() + OWN_WAIT);
            let mut block = match ahead.next(&patience).await {
                Ok(block) => block,
                Err(NoBlock::End) => break,
                Err(no_block) => return Err(self.source_error(no_block)),
            };
            while !block.is_empty() {
                let piece = block.split_to(block.len().min(piece_bytes_max));
                let bytes = piece.len();
                exchange.set_deadline(Instant::now() + OWN_WAIT);
                let at = self.snapshots().may_send_at(bytes, Instant::now());
                patience.sleep_until(at).await.map_err(|_| SnapshotError::Stopped)?;
                // What we waited for ourselves is no stall of the peer's.
                stall.skip(written_at.elapsed());
                if exchange.is_answered() {
                    return Ok(Written::Interrupted);
                }
                let chain = sender.put(piece, pool).map_err(SnapshotError::Size)?;
                exchange.write(chain, stall).await.map_err(|error| exchange.broken(&error))?;
                written_at = Instant::now();
                self.upload.sending.sent.fetch_add(bytes as u64, Ordering::Relaxed);
            }
        }
        let end = sender.finish().map_err(SnapshotError::Size)?;
        stall.skip(written_at.elapsed());
        exchange.write(end, stall).await.map_err(|error| exchange.broken(&error))?;
        Ok(Written::All)
    }

    fn snapshots(&self) -> &Arc<Snapshots> {
        self.peer.endpoint.cores.snapshots()
    }

    fn sent(&self) -> u64 {
        self.upload.sending.sent.load(Ordering::Relaxed)
    }

    fn patience<'b>(&'b self, over: &'b dyn Fn() -> bool) -> Patience<'b> {
        Patience {
            core: &self.peer.endpoint.core,
            waits: &self.peer.waits,
            over,
            stall_timeout: self.peer.endpoint.shared.config.snapshot_stall_timeout,
        }
    }

    fn source_error(&self, no_block: NoBlock) -> SnapshotError {
        match no_block {
            NoBlock::End => SnapshotError::Source("it ended".to_owned()),
            NoBlock::Failed(error) => SnapshotError::Source(error.to_string()),
            NoBlock::Ended(Ended::Stalled) => SnapshotError::Source("it makes no progress".to_owned()),
            NoBlock::Ended(Ended::Over) => SnapshotError::Stopped,
        }
    }

    /// Counts and tells what became of it; raft hears of the snapshot itself last.
    fn conclude(&self, began: Instant, outcome: &Result<u64, SnapshotError>) {
        let (peer, sending) = (self.peer, &self.upload.sending);
        let metrics = &peer.shared.metrics;
        match outcome {
            Ok(bytes) => {
                peer.activate();
                metrics.sent_bytes.add(*bytes);
                metrics.snapshot_send_success.add(1);
                metrics.snapshot_send_seconds.observe(began.elapsed());
            }
            Err(error) => {
                metrics.sent_failures.add(1);
                metrics.snapshot_send_failures.add(1);
                self.blame(error);
                if !peer.is_stopping() {
                    peer.report_unreachable();
                }
            }
        }
        peer.endpoint.emit(&Event::SnapshotSendEnded {
            peer: sending.peer,
            index: sending.index,
            bytes: sending.sent.load(Ordering::Relaxed),
            error: outcome.as_ref().err().cloned(),
        });
    }

    /// The peer's status and URLs suffer for what the peer or the way to it did; in etcd also for what
    /// a source of our own did.
    fn blame(&self, error: &SnapshotError) {
        if *error == SnapshotError::MemberRemoved {
            self.peer.endpoint.emit(&Event::MemberRemoved { by: self.peer.shared.id });
        }
        if let SnapshotError::Connection(_)
        | SnapshotError::Stalled
        | SnapshotError::Refused(_)
        | SnapshotError::MemberRemoved = error
        {
            self.peer.url_unreachable(&self.url);
            self.peer.deactivate(Source::Snapshot, Action::Post, &error.to_string());
        }
    }
}

/// How far the request was written.
enum Written {
    All,
    /// The peer answered before.
    Interrupted,
}
