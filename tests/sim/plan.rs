//! What a seed decides before the first event.

use std::time::Duration;

use raftring::Dialect;
use rand::Rng;
use rand::rngs::SmallRng;

/// The settings of one run. A run in which everything goes wrong at once finds less than many in
/// which some things do, so each fault has its own switch.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) nodes: usize,
    pub(super) dialect: Dialect,
    /// Faults begin after the start and end here; so does the load.
    pub(super) calm_at: Duration,
    /// The longest delay of a segment.
    pub(super) delay_max: Duration,
    /// Bytes that the sender's kernel takes before the receiver reads.
    pub(super) socket_bytes: usize,
    /// Reads return at most so many bytes, now and then.
    pub(super) read_bytes_max: usize,
    /// Writes take at most so many bytes, now and then.
    pub(super) write_bytes_max: usize,
    /// Chance that a connection gets a fault of each kind.
    pub(super) rst: f64,
    pub(super) fin: f64,
    pub(super) half_open: f64,
    pub(super) corrupt: f64,
    /// Connections with flipped bits are not cut when the faults are over.
    pub(super) is_patient: bool,
    /// Chance that a connect is refused, or vanishes.
    pub(super) refuse: f64,
    pub(super) vanish: f64,
    /// Chance that a reader looks away for a while when bytes arrive.
    pub(super) pause: f64,
    /// Chance that a stream of HTTP/1.0 is asked for.
    pub(super) http_1_0: f64,
    /// Writers that are ended on purpose, hosts that are restarted, in all.
    pub(super) ends: usize,
    pub(super) restarts: usize,
    /// Between two sends of one host to another.
    pub(super) send_interval: Duration,
    /// Sends of hundreds or thousands of messages, in all.
    pub(super) bursts: usize,
    /// Chance that payloads are large.
    pub(super) large: f64,
}

impl Plan {
    pub(super) fn draw(rng: &mut SmallRng) -> Self {
        let mut some = |most: f64| if rng.random_bool(0.4) { rng.random_range(0.0..most) } else { 0.0 };
        let (rst, fin, half_open, corrupt) = (some(0.9), some(0.9), some(0.5), some(0.5));
        let (refuse, vanish, pause, http_1_0) = (some(0.5), some(0.2), some(0.02), some(1.0));
        let large = some(0.1);
        let delay_max = ms([0, 0, 1, 5, 40][rng.random_range(0..5)]);
        // A tiny window on a long way takes minutes for what a burst leaves behind.
        let tiny = if delay_max > ms(1) { 16 << 10 } else { 1 << 10 };
        Self {
            nodes: if rng.random_bool(0.85) { 2 } else { 3 },
            dialect: Dialect::ALL[rng.random_range(0..Dialect::ALL.len())],
            calm_at: ms(rng.random_range(300..3_000)),
            delay_max,
            socket_bytes: [tiny, 16 << 10, 256 << 10, 4 << 20][rng.random_range(0..4)],
            read_bytes_max: [64, 1 << 10, 64 << 10, usize::MAX][rng.random_range(0..4)],
            write_bytes_max: [64, 1 << 10, 64 << 10, usize::MAX][rng.random_range(0..4)],
            rst,
            fin,
            half_open,
            corrupt,
            is_patient: rng.random_bool(0.5),
            refuse,
            vanish,
            pause,
            http_1_0,
            ends: if rng.random_bool(0.3) { rng.random_range(1..4) } else { 0 },
            restarts: usize::from(rng.random_bool(0.1)),
            send_interval: ms([2, 10, 30, 100][rng.random_range(0..4)]),
            bursts: if rng.random_bool(0.2) { rng.random_range(1..4) } else { 0 },
            large,
        }
    }
}

pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
