//! Clients that write and read without a pause, through whichever member answers them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::door::{Door, Failed};
use crate::history::{History, Operation, What};

/// Keys that all clients write and read. Every other key is written once, by one client.
const REGISTERS: usize = 8;

/// After a failure, so that clients of a cluster without a leader leave it the processor.
const PAUSE: Duration = Duration::from_millis(20);

/// Bytes of a value.
const VALUE_BYTES: usize = 64;

/// What clients did so far, while they go on.
pub struct Load {
    acknowledged: AtomicUsize,
    stopped: AtomicBool,
    /// Acknowledged writes after which clients stop by themselves.
    goal: usize,
    /// Of each client, between two requests.
    pause: Duration,
    history: Mutex<History>,
}

impl Load {
    pub fn new(goal: usize) -> Self {
        let stopped = AtomicBool::new(false);
        Self {
            acknowledged: AtomicUsize::new(0),
            stopped,
            goal,
            pause: Duration::ZERO,
            history: Mutex::default(),
        }
    }

    pub fn with_pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub fn is_over(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.acknowledged() >= self.goal
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// One client's life, in a thread of its own. `number` tells it from the others.
    pub fn run_client(&self, number: usize, doors: &[Door]) {
        let mut client =
            Client { number, writes: 0, door: number % doors.len(), history: History::default() };
        while !self.is_over() {
            std::thread::sleep(self.pause);
            if client.write(doors) {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            if client.writes.is_multiple_of(2) {
                client.read(doors);
            }
        }
        let mut history = self.history.lock().expect("no client panics");
        history.operations.append(&mut client.history.operations);
    }

    /// When all clients are gone: what they did, and one more read of every key.
    pub fn finish(self, doors: &[Door]) -> History {
        let mut history = self.history.into_inner().expect("no client panics");
        let mut keys: Vec<_> = history.operations.iter().map(|operation| operation.key.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        for (at, key) in keys.into_iter().enumerate() {
            let called = Instant::now();
            let found = doors[at % doors.len()].get(&key).expect("all members are well");
            let what = What::Read(found.map(|found| found.value));
            history.operations.push(Operation { key, what, called, returned: Some(Instant::now()) });
        }
        history
    }
}

struct Client {
    number: usize,
    /// That were begun.
    writes: usize,
    /// The member that it asks.
    door: usize,
    history: History,
}

impl Client {
    /// Every fourth to a register, the others to a key of its own. True if it was acknowledged.
    fn write(&mut self, doors: &[Door]) -> bool {
        let key = match self.writes % 4 {
            0 => self.register(),
            _ => format!("own-{}-{}", self.number, self.writes),
        };
        // The head makes it unlike all others.
        let value = format!("{:.<VALUE_BYTES$}", format!("{}-{}", self.number, self.writes));
        self.writes += 1;
        let called = Instant::now();
        let outcome = doors[self.door].put(&key, &value);
        let returned = outcome.is_ok().then(Instant::now);
        self.history.operations.push(Operation { key, what: What::Write(value), called, returned });
        self.mind(&outcome, doors.len());
        outcome.is_ok()
    }

    /// A read that fails tells nothing.
    fn read(&mut self, doors: &[Door]) {
        let key = self.register();
        let called = Instant::now();
        let outcome = doors[self.door].get(&key);
        self.mind(&outcome, doors.len());
        if let Ok(found) = outcome {
            let what = What::Read(found.map(|found| found.value));
            self.history.operations.push(Operation { key, what, called, returned: Some(Instant::now()) });
        }
    }

    fn register(&self) -> String {
        // Some spread: neighbours in time write different ones.
        format!("register-{}", (self.writes / 4 * 5 + self.number) % REGISTERS)
    }

    /// Who failed is not asked next.
    fn mind<T>(&mut self, outcome: &Result<T, Failed>, doors: usize) {
        if outcome.is_err() {
            self.door = (self.door + 1) % doors;
            std::thread::sleep(PAUSE);
        }
    }
}

/// Runs `clients` beside `meanwhile`, until the goal is reached and it has ended.
pub fn run<T>(load: &Load, clients: usize, doors: &[Door], meanwhile: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        for number in 0..clients {
            let doors: Vec<_> = doors.iter().map(Door::another).collect();
            scope.spawn(move || load.run_client(number, &doors));
        }
        meanwhile()
    })
}
