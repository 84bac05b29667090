//! The bounded queue into the raft loop: everything that other threads have for it, and its bell.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use raftring::SnapshotStatus;
use raftring::raftpb::Message;
use tokio::sync::oneshot;

use crate::etcd::peer::Question;
use crate::snapshots::Fetched;
use crate::status::Status;
use crate::watch::Looked;

/// Messages of other members that wait: the transport keeps what does not fit, and tells the sender.
const MESSAGES_MAX: usize = 4_096;

/// Payload bytes of those.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Clients' requests that wait for a round: as many as may be under way.
pub(crate) const ASKS_MAX: usize = 4_096;

/// Their keys and values.
const ASK_BYTES_MAX: usize = 64 << 20;

/// What a client, or an operator, wants of this member. Each is answered once.
pub(crate) enum Ask {
    /// Something for the log.
    Write(Write, oneshot::Sender<Result<Written, Refusal>>),
    /// The value of a key.
    Get(Bytes, oneshot::Sender<Result<Option<Found>, Refusal>>),
    /// How this member is.
    Status(oneshot::Sender<Box<Status>>),
    /// Leadership should go to this member.
    Lead(u64, oneshot::Sender<Result<(), Refusal>>),
    /// Another member asks, on the peer URL.
    Peer(Question, raftring::routes::Reply),
}

/// A change of the map.
pub(crate) enum Write {
    /// A key gets a value.
    Put(Bytes, Bytes),
    /// A key goes.
    Delete(Bytes),
}

/// What a write did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Written {
    /// Of the map after it.
    pub(crate) revision: u64,
    /// Keys that went.
    pub(crate) deleted: u64,
}

/// What is there under a key.
pub(crate) struct Found {
    pub(crate) value: Bytes,
    /// Of the write that put it there.
    pub(crate) revision: u64,
}

/// Why a request was not served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// Too many wait already. Nothing was done.
    Busy,
    /// There is nobody to propose to. Nothing was done.
    NoLeader,
    /// It took too long. A write may still happen.
    Timeout,
    /// Another member leads now, and has not got it. It may still come by.
    Lost,
    /// This member ends. A write may still happen.
    Stopping,
    /// It is not for this member, or not now; with the reason. Nothing was done.
    Not(&'static str),
    /// The cluster has decided against it. Nothing was done.
    Denied(crate::state::Refusal),
}

/// What the transport tells, which must not be lost.
#[derive(Default)]
pub(crate) struct Reports {
    pub(crate) unreachable: BTreeSet<u64>,
    /// One for each snapshot that was sent.
    pub(crate) snapshots: Vec<(u64, SnapshotStatus)>,
    /// A peer answers that this member was removed.
    pub(crate) removed: bool,
}

/// What helper threads have done.
pub(crate) enum Done {
    /// A snapshot of the state is in its file.
    Saved(anyhow::Result<raft::eraftpb::SnapshotMetadata>),
    /// One that came was read.
    Fetched(Message, anyhow::Result<Box<Fetched>>),
    /// Other members were asked for their versions.
    Looked(Looked),
}

/// Everything that waited, in one piece.
#[derive(Default)]
pub(crate) struct Mail {
    pub(crate) messages: Vec<Message>,
    pub(crate) asks: Vec<Ask>,
    pub(crate) reports: Reports,
    pub(crate) done: Vec<Done>,
    /// Said once.
    pub(crate) stop: bool,
    /// It was said: nothing is asked any more.
    closed: bool,
    message_bytes: usize,
    ask_bytes: usize,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Inbox {
    mail: Mutex<Mail>,
    bell: Condvar,
}

impl Inbox {
    /// Takes messages from the front, as many as fit. Never blocks.
    pub(crate) fn take_messages(&self, batch: &mut Vec<Message>) {
        let mut mail = self.lock();
        let mut taken = 0;
        for message in &*batch {
            let bytes = bytes(message);
            let has_room = mail.messages.is_empty() || mail.message_bytes + bytes <= MESSAGE_BYTES_MAX;
            if mail.messages.len() + taken >= MESSAGES_MAX || !has_room {
                break;
            }
            mail.message_bytes += bytes;
            taken += 1;
        }
        mail.messages.extend(batch.drain(..taken));
        drop(mail);
        self.bell.notify_one();
    }

    /// A request; it is given back if too many wait.
    pub(crate) fn ask(&self, ask: Ask) -> Result<(), Ask> {
        let mut mail = self.lock();
        let bytes = ask.bytes();
        if mail.closed || mail.asks.len() >= ASKS_MAX || mail.ask_bytes + bytes > ASK_BYTES_MAX {
            return Err(ask);
        }
        mail.ask_bytes += bytes;
        mail.asks.push(ask);
        drop(mail);
        self.bell.notify_one();
        Ok(())
    }

    /// Something the transport tells.
    pub(crate) fn report(&self, tell: impl FnOnce(&mut Reports)) {
        tell(&mut self.lock().reports);
        self.bell.notify_one();
    }

    /// Something a helper has done; each does one thing at a time.
    pub(crate) fn done(&self, done: Done) {
        self.lock().done.push(done);
        self.bell.notify_one();
    }

    /// The loop should end.
    pub(crate) fn stop(&self) {
        let mut mail = self.lock();
        (mail.stop, mail.closed) = (true, true);
        drop(mail);
        self.bell.notify_one();
    }

    /// All there is, at once if there is anything, or what comes until `deadline`.
    pub(crate) fn wait(&self, deadline: Instant) -> Mail {
        let mut mail = self.lock();
        while mail.is_empty() {
            let now = Instant::now();
            if now >= deadline {
                break;
            }
            mail = self.bell.wait_timeout(mail, deadline - now).unwrap_or_else(PoisonError::into_inner).0;
        }
        let rest = Mail { closed: mail.closed, ..Mail::default() };
        std::mem::replace(&mut *mail, rest)
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mail {
    fn is_empty(&self) -> bool {
        let reports = &self.reports;
        let is_quiet = reports.unreachable.is_empty() && reports.snapshots.is_empty() && !reports.removed;
        is_quiet && self.messages.is_empty() && self.asks.is_empty() && self.done.is_empty() && !self.stop
    }
}

impl Ask {
    fn bytes(&self) -> usize {
        match self {
            Self::Write(Write::Put(key, value), _) => key.len() + value.len(),
            Self::Write(Write::Delete(key), _) | Self::Get(key, _) => key.len(),
            Self::Peer(..) | Self::Status(_) | Self::Lead(..) => 0,
        }
    }
}

/// Payload of a message.
fn bytes(message: &Message) -> usize {
    let entries = message.entries.iter().map(|entry| entry.data.as_ref().map_or(0, |data| data.len()));
    entries.sum::<usize>() + message.context.as_ref().map_or(0, |context| context.len())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn that_it_should_end_is_told_once_and_nothing_is_asked_behind_it() {
        let inbox = Inbox::default();
        inbox.stop();
        assert!(inbox.wait(Instant::now() + Duration::from_secs(60)).stop);
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(!inbox.wait(deadline).stop && Instant::now() >= deadline, "it waits again");
        assert!(inbox.ask(Ask::Get(Bytes::new(), oneshot::channel().0)).is_err());
    }
}
