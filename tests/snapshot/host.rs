//! Hosts that save snapshots, and sources that misbehave.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use raftring::raftpb::{Message, MessageType, Snapshot, SnapshotMetadata};
use raftring::snapshot::{SinkError, SnapshotFolder, SnapshotSink, SnapshotSource};
use raftring::{
    Config, Cores, CoresConfig, Event, MemberId, Origin, Raft, SnapshotHandle, SnapshotStatus, Via,
};

use crate::common::{CORE_OPERATIONS, Host, Member, wait_until};

/// What a host does with a database.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Saves {
    /// Into a file.
    #[default]
    File,
    /// It gives no sink.
    Nothing,
    /// The disk is full when the sink is made, or after so many bytes.
    FullAt(u64),
    /// It fails at the end.
    NotCommitted,
    /// It panics after so many bytes.
    PanicAt(u64),
    /// It never comes back from a write until it is let go.
    Hang,
    /// As into a file, so slowly: 10 ms a piece.
    Slowly,
}

/// A host with a folder of its own.
pub(crate) struct Saver {
    pub(crate) inner: Arc<Host>,
    pub(crate) folder: SnapshotFolder,
    path: PathBuf,
    pub(crate) saves: Mutex<Saves>,
    /// It leaves what it is given.
    pub(crate) leaves: AtomicBool,
    /// It panics when it is given something.
    pub(crate) panics: AtomicBool,
    pub(crate) let_go: Arc<AtomicBool>,
}

impl Saver {
    pub(crate) fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("raftring-snapshot-{}-{number}", std::process::id()));
        let folder = SnapshotFolder::open(&path).expect("a folder").with_reserve(0, 0);
        Arc::new(Self {
            inner: Host::new(),
            folder,
            path,
            saves: Mutex::default(),
            leaves: AtomicBool::new(false),
            panics: AtomicBool::new(false),
            let_go: Arc::default(),
        })
    }

    pub(crate) fn set(&self, saves: Saves) {
        *self.saves.lock().expect("no panic") = saves;
    }

    pub(crate) fn database(&self, index: u64) -> Option<Vec<u8>> {
        fs::read(self.folder.file(index)).ok()
    }

    /// Files in the folder, whole ones and others.
    pub(crate) fn files(&self) -> usize {
        fs::read_dir(&self.path).expect("a folder").count()
    }

    pub(crate) fn statuses(&self) -> Vec<(MemberId, SnapshotStatus)> {
        self.inner.snapshots.lock().expect("no panic").clone()
    }

    pub(crate) fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.inner.events.lock().expect("no panic").iter().filter(|event| is(event)).count()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.inner.events.lock().expect("no panic").clone()
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl Raft for Saver {
    fn process(&self, origin: Origin, messages: &mut Vec<Message>) {
        assert!(!self.panics.load(Ordering::SeqCst), "planted");
        if !self.leaves.load(Ordering::SeqCst) {
            self.inner.process(origin, messages);
        }
    }

    fn is_id_removed(&self, id: MemberId) -> bool {
        self.inner.is_id_removed(id)
    }

    fn report_unreachable(&self, id: MemberId) {
        self.inner.report_unreachable(id);
    }

    fn report_snapshot(&self, id: MemberId, status: SnapshotStatus) {
        self.inner.report_snapshot(id, status);
    }

    fn snapshot_sink(&self, snapshot: &Message) -> Result<Box<dyn SnapshotSink>, SinkError> {
        let saves = *self.saves.lock().expect("no panic");
        match saves {
            Saves::Nothing => return Err(SinkError::Unsupported),
            Saves::FullAt(0) => return Err(SinkError::Space),
            _ => {}
        }
        let file = Box::new(self.folder.sink(snapshot.snapshot_index())?);
        Ok(Box::new(Fickle { file, saves, written: 0, let_go: Arc::clone(&self.let_go) }))
    }
}

/// A file that fails as it was told.
struct Fickle {
    file: Box<raftring::snapshot::FileSink>,
    saves: Saves,
    written: u64,
    let_go: Arc<AtomicBool>,
}

impl SnapshotSink for Fickle {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.written += bytes.len() as u64;
        match self.saves {
            Saves::FullAt(max) if self.written > max => return Err(SinkError::Space),
            Saves::PanicAt(max) if self.written > max => panic!("planted"),
            Saves::Hang => while_not(&self.let_go),
            Saves::Slowly => std::thread::sleep(Duration::from_millis(10)),
            _ => {}
        }
        self.file.write(bytes)
    }

    fn commit(self: Box<Self>) -> Result<(), SinkError> {
        match self.saves {
            Saves::NotCommitted => Err(SinkError::Failed("planted".to_owned())),
            _ => self.file.commit(),
        }
    }
}

fn while_not(let_go: &AtomicBool) {
    while !let_go.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A database in memory: bytes that tell their place.
#[derive(Clone)]
pub(crate) struct Bits {
    pub(crate) bytes: Bytes,
    pub(crate) declared: u64,
    /// Reading beyond fails.
    pub(crate) fails_at: u64,
    pub(crate) tag: Option<Vec<u8>>,
    /// How many bytes were read.
    pub(crate) read: Arc<AtomicU64>,
    /// Reading beyond this waits until it is let go.
    pub(crate) waits_at: u64,
    pub(crate) let_go: Arc<AtomicBool>,
}

impl Bits {
    pub(crate) fn new(len: usize) -> Self {
        Self {
            bytes: database(len),
            declared: len as u64,
            fails_at: u64::MAX,
            tag: None,
            read: Arc::default(),
            waits_at: u64::MAX,
            let_go: Arc::default(),
        }
    }

    pub(crate) fn tagged(len: usize) -> Self {
        Self { tag: Some(b"these bytes".to_vec()), ..Self::new(len) }
    }
}

/// So many bytes, each of which depends on its place.
pub(crate) fn database(len: usize) -> Bytes {
    (0..len as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

impl SnapshotSource for Bits {
    fn size(&self) -> u64 {
        self.declared
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if offset + buffer.len() as u64 > self.waits_at {
            while_not(&self.let_go);
        }
        if offset >= self.fails_at {
            return Err(io::Error::other("planted"));
        }
        let rest = &self.bytes[self.bytes.len().min(offset as usize)..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read.fetch_add(count as u64, Ordering::SeqCst);
        Ok(count)
    }

    fn tag(&self) -> Option<Vec<u8>> {
        self.tag.clone()
    }
}

/// A MsgSnap from one member to another.
pub(crate) fn snapshot(from: u64, to: u64, index: u64) -> Message {
    let metadata = SnapshotMetadata { index: Some(index), term: Some(3), ..SnapshotMetadata::default() };
    let snapshot = Snapshot { data: Some(Bytes::from_static(b"members")), metadata: Some(metadata) };
    Message {
        r#type: Some(MessageType::MsgSnap as i32),
        from: Some(from),
        to: Some(to),
        term: Some(3),
        snapshot: Some(Box::new(snapshot)),
        ..Message::default()
    }
}

/// Two members that save snapshots; 1 sends to 2.
pub(crate) struct Two {
    pub(crate) cores: Cores,
    pub(crate) one: Member,
    pub(crate) two: Member,
    pub(crate) sender: Arc<Saver>,
    pub(crate) receiver: Arc<Saver>,
}

impl Two {
    pub(crate) fn start() -> Self {
        Self::start_with(&CoresConfig::default(), |_| ())
    }

    pub(crate) fn start_with(cores: &CoresConfig, adjust: impl Fn(&mut Config)) -> Self {
        let cores = Cores::start(cores).expect("cores start");
        let (sender, receiver) = (Saver::new(), Saver::new());
        let one = member(1, &cores, &sender, &adjust);
        let two = member(2, &cores, &receiver, &adjust);
        one.add(&two);
        two.add(&one);
        Self { cores, one, two, sender, receiver }
    }

    pub(crate) fn send(&self, index: u64, source: Bits) -> SnapshotHandle {
        self.one.transport().send_snapshot(snapshot(1, 2, index), source)
    }

    /// The receiver's raft has this snapshot, with its message.
    pub(crate) fn assert_arrived(&self, index: u64, database: &[u8]) {
        let got = self.receiver.inner.next(Duration::from_secs(10)).expect("the message");
        assert_eq!(got.origin, Origin { peer: MemberId(1), via: Via::Snapshot, proposals: false });
        assert_eq!(got.message.snapshot_index(), index);
        assert!(self.receiver.database(index).expect("the file") == database, "the same bytes");
    }

    /// No snapshot is under way, nothing of one is left at the receiver but `files`, and each was told once.
    pub(crate) fn assert_over(&self, files: usize, statuses: &[SnapshotStatus]) {
        let told: Vec<_> = self.sender.statuses().into_iter().map(|(_, status)| status).collect();
        assert_eq!(told, statuses);
        wait_until("nothing is under way", || self.two.transport().receiving_snapshots().is_empty());
        wait_until("nothing is left", || self.receiver.files() == files);
    }
}

impl Drop for Two {
    fn drop(&mut self) {
        for saver in [&self.sender, &self.receiver] {
            saver.let_go.store(true, Ordering::SeqCst);
        }
        for member in [&self.one, &self.two] {
            let ended = member.transport().stop().wait(Duration::from_secs(10));
            assert!(ended || std::thread::panicking(), "it stops");
        }
        if !std::thread::panicking() {
            let left = |core| {
                let stats = self.cores.stats(core).expect("a core");
                // What is a core's own is there while the core is.
                (stats.tasks, stats.operations.saturating_sub(CORE_OPERATIONS), stats.blocks.out_bytes())
            };
            wait_until("nothing is left on any core", || {
                (0..self.cores.count()).all(|core| left(core) == (0, 0, 0))
            });
        }
    }
}

pub(crate) fn member(id: u64, cores: &Cores, saver: &Arc<Saver>, adjust: impl Fn(&mut Config)) -> Member {
    let address = "127.0.0.1:0".parse().expect("an address");
    let raft = Arc::clone(saver) as Arc<dyn Raft>;
    Member::start_as(id, cores, address, raft, Arc::clone(&saver.inner), adjust)
}
