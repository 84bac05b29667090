//! `POST /raft/snapshot`, received: the message, then the database into the host's sink, then raft
//! (protocol section 11.3).

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::incoming::{Incoming, Part, Receiving};
use super::patience::{Ended, Patience};
use super::write_behind::{NotSaved, WriteBehind};
use super::{Way, transport_key};
use crate::event::{Event, RejectReason};
use crate::id::MemberId;
use crate::io::endpoint::Endpoint;
use crate::io::serve::{Served, member_of, now_unix_s};
use crate::metrics::PeerMetrics;
use crate::proto::codec::screen;
use crate::proto::handshake::{Endpoint as Route, Refusal, Refused, write_no_content, write_snapshot_offset};
use crate::proto::http::head::RequestHead;
use crate::proto::snapshot::{SnapshotIdentity, SnapshotReceiver, SnapshotStep, parse_offset};
use crate::raft::{Origin, Via};
use crate::raftpb::Message;
use crate::snapshot::SinkError;

/// Less than that is not worth a file that waits.
const PART_BYTES_MIN: u64 = 1 << 20;

/// While our own disk is waited for, the connection's deadline is this far away: the disk has its own.
const OWN_WAIT: Duration = Duration::from_secs(24 * 3600);

impl Served<'_> {
    /// Receives one snapshot; the connection ends with it.
    pub(in crate::io) async fn snapshot(&mut self, request: &RequestHead<'_>) {
        self.endpoint.leave_waiting(&self.guard);
        match self.take_snapshot(request).await {
            Ok(()) => {
                let mut answer = Vec::with_capacity(256);
                let own = &self.endpoint.shared.own;
                write_no_content(&mut answer, own, request.version_minor, false, now_unix_s());
                self.answer_and_close(answer).await;
            }
            Err(refusal) => {
                let refused = Refused::later(refusal, Route::Snapshot, request.version_minor);
                self.refuse(&refused, member_of(request)).await;
            }
        }
    }

    /// Tells how much of a snapshot is here.
    pub(in crate::io) async fn tell_partial(&mut self, request: &RequestHead<'_>) {
        let identity = request.headers.snapshot.and_then(SnapshotIdentity::parse);
        let Some((from, identity)) = member_of(request).zip(identity) else {
            let refused = Refused::later(Refusal::NotFound, Route::SnapshotPartial, request.version_minor);
            return self.refuse(&refused, member_of(request)).await;
        };
        let shared = &self.endpoint.shared;
        let offset = shared.incoming.offset_of(from, identity);
        let mut answer = Vec::with_capacity(256);
        write_snapshot_offset(&mut answer, &shared.own, request.version_minor, offset, now_unix_s());
        self.answer_and_close(answer).await;
    }

    async fn take_snapshot(&mut self, request: &RequestHead<'_>) -> Result<(), Refusal> {
        let began = Instant::now();
        let endpoint = Rc::clone(self.endpoint);
        let config = &endpoint.shared.config;
        let admitted = Wanted::of(request, config.snapshot_bytes_max).and_then(|part| {
            let sender = member_of(request).unwrap_or(MemberId(0));
            let snapshots = endpoint.cores.snapshots();
            let slot = snapshots.enter(Way::Receive, transport_key(&endpoint.shared), sender);
            Ok((part, slot.map_err(|_| Refusal::Busy)?))
        });
        let (part, _slot) = admitted.inspect_err(|_| {
            // Nothing was read that says whose it is.
            endpoint.shared.metrics.unknown_sender().snapshot_receive_failures.add(1);
        })?;
        let rest = self.input.bytes().to_vec();
        self.input.consume(rest.len());
        let mut receiver = SnapshotReceiver::new(
            request.framing,
            &rest,
            config.snapshot_bytes_max - part.offset,
            config.snapshot_stall_timeout,
            endpoint.core.pool.clone(),
            began,
        );
        let (message, bytes) = match self.next_step(&mut receiver).await {
            Ok(SnapshotStep::Message { message, bytes }) => (*message, bytes),
            // The message comes before everything else.
            Ok(_) => return Err(Refusal::SnapshotType),
            Err(refusal) => {
                if matches!(refusal, Refusal::SnapshotMessage(_)) {
                    endpoint.shared.metrics.address().received_failures.add(1);
                }
                let metrics = endpoint.shared.metrics.of(receiver.from());
                metrics.received_bytes.add(receiver.message_bytes() as u64);
                metrics.snapshot_receive_failures.add(1);
                return Err(refusal);
            }
        };
        let receipt = Receipt::begin(&endpoint, &message, part, bytes);
        let result = self.take_database(&mut receiver, &receipt, message).await;
        receipt.end(began, &result);
        result
    }

    async fn take_database(
        &mut self,
        receiver: &mut SnapshotReceiver,
        receipt: &Receipt,
        message: Message,
    ) -> Result<(), Refusal> {
        let endpoint = Rc::clone(self.endpoint);
        let from = MemberId(message.from());
        if let Err(implausible) = screen(&message, endpoint.shared.config.id, from) {
            // As the raft of etcd would say in the end; but before gigabytes are written.
            let reason = RejectReason::Implausible(implausible);
            endpoint.reject_posted(from, message.class(), 1, reason);
            return Err(Refusal::SnapshotProcess(implausible.to_string()));
        }
        let over = || endpoint.is_stopping();
        let patience = Patience {
            core: &endpoint.core,
            waits: &endpoint.waits,
            over: &over,
            stall_timeout: endpoint.shared.config.snapshot_stall_timeout,
        };
        self.hold();
        let behind = receipt.open(&message, &patience).await?;
        receiver.handle_own_wait(Instant::now());
        match self.fill(receiver, receipt, &behind, &patience).await {
            Ok(()) => {
                self.hold();
                behind.commit(&patience).await.map_err(refusal_of)?;
            }
            Err(refusal) => {
                if receiver.is_cut() && !over() {
                    receipt.keep(behind, &message, &patience).await;
                }
                return Err(refusal);
            }
        }
        receipt.count_file();
        let origin = Origin { peer: from, via: Via::Snapshot, proposals: false };
        let mut batch = vec![message];
        endpoint.shared.raft.process(origin, &mut batch);
        if batch.is_empty() {
            Ok(())
        } else {
            Err(Refusal::SnapshotProcess("the host did not take it".to_owned()))
        }
    }

    /// The database, as fast as the slower of the socket and the sink.
    async fn fill(
        &mut self,
        receiver: &mut SnapshotReceiver,
        receipt: &Receipt,
        behind: &WriteBehind,
        patience: &Patience<'_>,
    ) -> Result<(), Refusal> {
        loop {
            match self.next_step(receiver).await? {
                SnapshotStep::Piece(piece) => {
                    receipt.receiving.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
                    self.hold();
                    if behind.put(piece, patience).await.map_err(refusal_of)? {
                        receiver.handle_own_wait(Instant::now());
                    }
                }
                SnapshotStep::End => return receipt.check_size(),
                SnapshotStep::Message { .. } | SnapshotStep::NeedsMore => {}
            }
        }
    }

    /// Reads until there is something.
    async fn next_step(&mut self, receiver: &mut SnapshotReceiver) -> Result<SnapshotStep, Refusal> {
        loop {
            match receiver.poll()? {
                SnapshotStep::NeedsMore => {}
                step => return Ok(step),
            }
            self.guard.set_deadline(receiver.deadline());
            let (block, range) = receiver.lend();
            let (result, block) = self.conn.read(block, range).await;
            receiver.handle_read(block, result.unwrap_or(0), Instant::now());
        }
    }

    /// Nobody is to blame for the silence that follows but our own disk.
    fn hold(&self) {
        self.guard.set_deadline(Instant::now() + OWN_WAIT);
    }
}

/// Which part of which snapshot the sender says that it brings.
#[derive(Clone, Copy)]
struct Wanted {
    identity: Option<SnapshotIdentity>,
    offset: u64,
}

impl Wanted {
    fn of(request: &RequestHead<'_>, bytes_max: u64) -> Result<Self, Refusal> {
        let identity = request.headers.snapshot.and_then(SnapshotIdentity::parse);
        if identity.is_some_and(|identity| identity.size() > bytes_max) {
            return Err(Refusal::SnapshotTooLarge);
        }
        let size = identity.map_or(0, |identity| identity.size());
        match request.headers.snapshot_offset.map(parse_offset) {
            None => Ok(Self { identity, offset: 0 }),
            Some(Some(offset)) if offset <= size => Ok(Self { identity, offset }),
            Some(_) => Err(Refusal::SnapshotOffset),
        }
    }
}

/// One snapshot that is received, for those who count and watch; ends when it is dropped.
struct Receipt {
    endpoint: Rc<Endpoint>,
    metrics: Arc<PeerMetrics>,
    receiving: Arc<Receiving>,
    wanted: Wanted,
    /// It was told how it ended.
    told: Cell<bool>,
}

impl Receipt {
    fn begin(endpoint: &Rc<Endpoint>, message: &Message, wanted: Wanted, envelope_bytes: usize) -> Self {
        let (peer, index) = (MemberId(message.from()), message.snapshot_index());
        let metrics = endpoint.shared.metrics.of(peer);
        metrics.received_bytes.add(envelope_bytes as u64);
        metrics.snapshot_receive_inflights.add(1);
        let size = wanted.identity.map(|identity| identity.size());
        let receiving = Receiving { peer, index, size, bytes: AtomicU64::new(wanted.offset) };
        let receiving = endpoint.shared.incoming.begin(receiving);
        let told = Cell::new(false);
        let receipt = Self { endpoint: Rc::clone(endpoint), metrics, receiving, wanted, told };
        endpoint.emit(&Event::SnapshotReceiveBegan { peer, index, offset: wanted.offset });
        receipt
    }

    fn incoming(&self) -> &Incoming {
        &self.endpoint.shared.incoming
    }

    /// A sink of the host's; or that of a transfer that was cut, if the sender goes on exactly there.
    async fn open(&self, message: &Message, patience: &Patience<'_>) -> Result<WriteBehind, Refusal> {
        let Wanted { identity, offset } = self.wanted;
        let part = self.incoming().take(self.receiving.peer, identity, offset);
        if offset > 0 {
            let is_the_same =
                |part: &Part| (part.index, part.term) == (message.snapshot_index(), message.snapshot_term());
            let part = part.filter(is_the_same).ok_or(Refusal::SnapshotOffset)?;
            return Ok(WriteBehind::resume(part.parked));
        }
        let (raft, message) = (Arc::clone(&self.endpoint.shared.raft), message.clone());
        let make = move || raft.snapshot_sink(&message);
        WriteBehind::open(self.endpoint.cores.snapshots(), make, patience).await.map_err(refusal_of)
    }

    /// The end of the body is the end of the database, unless the sender said more.
    fn check_size(&self) -> Result<(), Refusal> {
        let bytes = self.receiving.bytes.load(Ordering::Relaxed);
        match self.receiving.size {
            Some(size) if size != bytes => {
                Err(Refusal::SnapshotSave(format!("{bytes} bytes came of {size}")))
            }
            _ => Ok(()),
        }
    }

    /// Keeps what came for a sender that may come again.
    async fn keep(&self, behind: WriteBehind, message: &Message, patience: &Patience<'_>) {
        let time = self.endpoint.shared.config.snapshot_resume_time;
        let Some(identity) = self.wanted.identity.filter(|_| !time.is_zero()) else { return };
        let Ok(parked) = behind.park(patience).await else { return };
        if parked.written >= PART_BYTES_MIN && !self.endpoint.is_stopping() {
            self.incoming().keep(Part {
                from: self.receiving.peer,
                index: message.snapshot_index(),
                term: message.snapshot_term(),
                identity,
                parked,
                until: Instant::now() + time,
            });
        }
    }

    /// Bytes of this transfer.
    fn bytes(&self) -> u64 {
        self.receiving.bytes.load(Ordering::Relaxed) - self.wanted.offset
    }

    /// The file is there.
    fn count_file(&self) {
        self.metrics.received_bytes.add(self.bytes());
    }

    fn end(&self, began: Instant, result: &Result<(), Refusal>) {
        self.told.set(true);
        if result.is_ok() {
            self.metrics.snapshot_receive_success.add(1);
            self.metrics.snapshot_receive_seconds.observe(began.elapsed());
        } else {
            self.metrics.snapshot_receive_failures.add(1);
        }
        self.endpoint.emit(&Event::SnapshotReceiveEnded {
            peer: self.receiving.peer,
            index: self.receiving.index,
            bytes: self.bytes(),
            refusal: result.as_ref().err().cloned(),
        });
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.told.get() {
            let refusal = Refusal::SnapshotProcess("the host panicked".to_owned());
            self.end(Instant::now(), &Err(refusal));
        }
        self.metrics.snapshot_receive_inflights.add(-1);
        self.incoming().end(&self.receiving);
    }
}

fn refusal_of(not_saved: NotSaved) -> Refusal {
    match not_saved {
        NotSaved::Failed(SinkError::Space) => Refusal::SnapshotSpace,
        NotSaved::Failed(error) => Refusal::SnapshotSave(error.to_string()),
        NotSaved::Ended(Ended::Stalled) => Refusal::SnapshotSave("the disk makes no progress".to_owned()),
        NotSaved::Ended(Ended::Over) => Refusal::SnapshotSave("the transport was stopped".to_owned()),
    }
}
