//! Snapshots of the state: files of ours, and databases that come from other members.
//!
//! ```text
//!   <data-dir>/snapshots/0000000000000064.state      ours: index in hexadecimal
//!   <data-dir>/snapshots/new.part                    is being written
//!   <data-dir>/received/0000000000000064.snap.db     came with a MsgSnap: of ours, or etcd's database
//! ```
//!
//! A file gets its name when it is whole and durable, and the log says afterwards that it counts. What is
//! there beside it is left of a crash and removed.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use raft::eraftpb::SnapshotMetadata;
use raftring::raftpb::{Message, Snapshot};
use raftring::snapshot::{FileSource, SnapshotFolder};

use crate::state::State;

/// What is written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Free space that a snapshot must leave for the log beside it, with what it takes itself when it is made a
/// file of ours. A part of the disk would be too much of a large one: a member without a snapshot is of no use.
const RESERVED_BYTES: u64 = 256 << 20;

const PART: &str = "new.part";

/// The folder of our own files.
#[derive(Clone)]
pub(crate) struct Snapshots {
    folder: PathBuf,
    received: SnapshotFolder,
}

/// A state that another member sent, in a file of ours.
pub(crate) struct Fetched {
    pub(crate) metadata: SnapshotMetadata,
    pub(crate) state: State,
}

impl Snapshots {
    /// Below the data directory.
    pub(crate) fn open(data_dir: &Path) -> Result<Self> {
        let folder = data_dir.join("snapshots");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let received = data_dir.join("received");
        // A database is read as soon as it came; what is there now nobody waits for.
        if received.exists() {
            fs::remove_dir_all(&received)?;
        }
        let received = SnapshotFolder::open(received)?.with_reserve(RESERVED_BYTES, 0);
        Ok(Self { folder, received })
    }

    /// Where the transport puts what comes.
    pub(crate) fn received(&self) -> SnapshotFolder {
        self.received.clone()
    }

    /// The state at `index`.
    pub(crate) fn load(&self, index: u64) -> Result<State> {
        let path = self.file(index);
        let file = File::open(&path).with_context(|| format!("the snapshot {}", path.display()))?;
        let mut input = BufReader::with_capacity(BUFFER_BYTES, file);
        State::load(&mut input).with_context(|| format!("the snapshot {}", path.display()))
    }

    /// Makes a state durable. Takes as long as it takes: not for the raft loop.
    pub(crate) fn save(&self, index: u64, state: &State) -> Result<()> {
        let part = self.folder.join(PART);
        let file = File::create(&part).with_context(|| part.display().to_string())?;
        let mut output = BufWriter::with_capacity(BUFFER_BYTES, file);
        state.save(&mut output)?;
        output.flush()?;
        output.get_ref().sync_all()?;
        fs::rename(&part, self.file(index))?;
        File::open(&self.folder)?.sync_all()?;
        Ok(())
    }

    /// What is sent to another member of ours.
    pub(crate) fn source(&self, index: u64) -> std::io::Result<FileSource> {
        FileSource::open(self.file(index))
    }

    /// Removes all files but the one that counts; 0 if none does. One that is being sent is read to its
    /// end all the same.
    pub(crate) fn keep_only(&self, index: u64) -> Result<()> {
        let kept = self.file(index);
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path != kept && path.file_name().is_none_or(|name| name != PART) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Reads what came with a MsgSnap, whoever sent it, and makes it a file of ours.
    pub(crate) fn fetch(&self, message: &Message) -> Result<Fetched> {
        let snapshot = message.snapshot.as_deref().context("a MsgSnap without a snapshot")?;
        let index = snapshot.metadata.as_ref().map_or(0, |metadata| metadata.index());
        let path = self.received.file(index);
        let fetched = self.read(snapshot, &path);
        // Also if it was no good: whoever sends it again shall find no file of that name.
        fs::remove_file(&path).with_context(|| path.display().to_string())?;
        let fetched = fetched?;
        self.save(index, &fetched.state)?;
        Ok(fetched)
    }

    /// Removes what came with a MsgSnap that nobody wants.
    pub(crate) fn discard(&self, message: &Message) {
        let metadata = message.snapshot.as_deref().and_then(|snapshot| snapshot.metadata.as_ref());
        // It may have come without a file, by a post.
        let _ = fs::remove_file(self.received.file(metadata.map_or(0, |metadata| metadata.index())));
    }

    fn read(&self, snapshot: &Snapshot, path: &Path) -> Result<Fetched> {
        let metadata = raft::eraftpb::Snapshot::from(snapshot.clone()).metadata.unwrap_or_default();
        ensure!(metadata.index > 0, "a snapshot of nothing");
        let mut input = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
        let state = if is_ours(&mut input)? {
            State::load(&mut BufReader::with_capacity(BUFFER_BYTES, File::open(path)?))?
        } else {
            let conf_state = metadata.conf_state.clone().unwrap_or_default();
            let data = snapshot.data.as_deref().unwrap_or_default();
            State::load_etcd(data, path, metadata.index, metadata.term, &conf_state)?
        };
        if state.applied() != metadata.index {
            bail!("a snapshot of {} that holds the state at {}", metadata.index, state.applied());
        }
        Ok(Fetched { metadata, state })
    }

    fn file(&self, index: u64) -> PathBuf {
        self.folder.join(format!("{index:016x}.state"))
    }
}

/// By its first bytes: of the two kinds of members each sends its own.
fn is_ours(input: &mut impl Read) -> Result<bool> {
    let mut magic = [0; State::MAGIC.len()];
    input.read_exact(&mut magic).context("a snapshot that is too short")?;
    Ok(magic == *State::MAGIC)
}
