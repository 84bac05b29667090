//! A thread for what takes long: writing snapshots of the state, and reading those that come.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Result, anyhow};
use raft::eraftpb::SnapshotMetadata;
use raftring::raftpb::Message;

use crate::inbox::{Done, Inbox};
use crate::snapshots::Snapshots;
use crate::state::State;

/// Each does one thing at a time: the loop gives the next of a kind when it was told of the last.
const JOBS_MAX: usize = 2;

enum Job {
    Save(SnapshotMetadata, Box<State>),
    Fetch(Message),
}

/// The loop's end of it. The thread ends when this is dropped.
pub(crate) struct Clerk {
    jobs: SyncSender<Job>,
}

impl Clerk {
    pub(crate) fn start(snapshots: Snapshots, inbox: Arc<Inbox>) -> Result<Self> {
        let (jobs, wanted) = sync_channel(JOBS_MAX);
        std::thread::Builder::new().name("snapshots".to_owned()).spawn(move || {
            run(&wanted, &snapshots, &inbox);
        })?;
        Ok(Self { jobs })
    }

    /// Makes a state durable; false if it is busy.
    pub(crate) fn save(&self, metadata: SnapshotMetadata, state: State) -> bool {
        self.jobs.try_send(Job::Save(metadata, Box::new(state))).is_ok()
    }

    /// Reads what came with this message; false if it is busy.
    pub(crate) fn fetch(&self, message: Message) -> bool {
        self.jobs.try_send(Job::Fetch(message)).is_ok()
    }
}

fn run(wanted: &Receiver<Job>, snapshots: &Snapshots, inbox: &Inbox) {
    while let Ok(job) = wanted.recv() {
        inbox.done(match job {
            Job::Save(metadata, state) => {
                Done::Saved(guarded(|| snapshots.save(metadata.index, &state)).map(|()| metadata))
            }
            Job::Fetch(message) => {
                let fetched = guarded(|| snapshots.fetch(&message));
                Done::Fetched(message, fetched.map(Box::new))
            }
        });
    }
}

/// The loop waits for what was begun, and takes no appends meanwhile: it is told of a panic, too.
fn guarded<T>(job: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|_| Err(anyhow!("it panicked")))
}
