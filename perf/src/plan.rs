//! The plan: everything that is fixed before the first message is sent.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};
use raftring::Spin;

/// The most messages for one follower that one `send` carries while the load is bound by the window.
///
/// A raft server hands over what one round of its loop made. A constant instead of "whatever fits"
/// keeps the batches of every implementation the same: an implementation that returns credit in
/// small pieces would otherwise be punished twice, with smaller batches on top.
pub const BATCH_MAX: usize = 64;

/// Bursts in flight to one follower under `--rate`; what would go beyond is shed and counted as
/// dropped. It bounds the memory of the send stamps (8 bytes each).
pub const RATED_BURSTS_MAX: usize = 1 << 16;

/// More followers than this would want more files and memory than a laptop gives.
const FOLLOWERS_MAX: usize = 1024;
/// A frame stays below what both ends buffer without question.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Messages flow one way, bound by the window or by a rate.
    Push,
    /// One message circles between the leader and each follower.
    Rtt,
}

/// Where the host lives: the raft server that hands messages over and takes them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Host {
    /// On the transport's own cores.
    Core,
    /// On an ordinary thread, pinned to nothing.
    Thread,
}

/// A fixed schedule instead of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Messages per second, per follower.
    pub rate: u64,
    /// Messages per burst, per follower.
    pub burst: usize,
}

impl Pace {
    /// When burst number `n` is due, in nanoseconds after the first.
    #[must_use]
    pub fn due(&self, n: u64) -> u64 {
        let messages = u128::from(n) * self.burst as u128;
        (messages * 1_000_000_000 / u128::from(self.rate)) as u64
    }
}

/// Everything that is fixed before the first message is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is measured.
    pub mode: Mode,
    /// Where the host lives.
    pub host: Host,
    /// How many followers the leader has.
    pub followers: usize,
    /// Bytes of data in one entry.
    pub entry_size: usize,
    /// Entries in one MsgApp.
    pub entries_per_message: usize,
    /// Messages in flight to one follower, when no pace is set.
    pub window: usize,
    /// The schedule, if the load is not to be as fast as the window allows.
    pub pace: Option<Pace>,
    /// How long is measured.
    pub duration: Duration,
    /// How long the load runs before.
    pub warmup: Duration,
    /// Whether an idle core spins before it parks.
    pub spin: Spin,
    /// The cores to run on; the leader gets the first.
    pub cores: Vec<usize>,
    /// Whether one more follower is there and takes nothing.
    pub black_hole: bool,
}

impl Plan {
    /// Refuses what cannot be measured, before anything is started.
    pub fn check(&self) -> Result<()> {
        ensure!(self.followers > 0, "--followers 0 leaves nobody to send to: give at least 1");
        ensure!(
            self.followers <= FOLLOWERS_MAX,
            "--followers {} is too many for one process: give at most {FOLLOWERS_MAX}",
            self.followers
        );
        ensure!(
            self.entries_per_message > 0,
            "--entries-per-message 0 has no index to follow: give at least 1"
        );
        ensure!(self.window > 0, "--window 0 never lets a message go: give at least 1");
        ensure!(!self.duration.is_zero(), "--duration 0 measures nothing: give a time such as 4s");
        let bytes = self.entry_size.saturating_mul(self.entries_per_message);
        ensure!(
            bytes <= MESSAGE_BYTES_MAX,
            "a message of {bytes} bytes is too big: keep --entry-size times --entries-per-message within {MESSAGE_BYTES_MAX}"
        );
        if let Some(pace) = self.pace {
            ensure!(pace.rate > 0, "--rate 0 never sends: give the messages per second, or leave it out");
            ensure!(pace.burst > 0, "--burst 0 never sends: give at least 1");
            ensure!(self.mode == Mode::Push, "--rate belongs to push: rtt has one message in flight");
        }
        Ok(())
    }

    /// Messages for one follower that travel in one batch and share one send stamp.
    #[must_use]
    pub fn batch(&self) -> usize {
        match (self.mode, self.pace) {
            (Mode::Rtt, _) => 1,
            (Mode::Push, Some(pace)) => pace.burst,
            // Half of the window, so that one batch can be under way while the next is made.
            (Mode::Push, None) => BATCH_MAX.min(self.window / 2).max(1),
        }
    }

    /// Messages that may be in flight to one follower.
    #[must_use]
    pub fn in_flight_max(&self) -> usize {
        match (self.mode, self.pace) {
            (Mode::Rtt, _) => 1,
            (Mode::Push, Some(pace)) => pace.burst * RATED_BURSTS_MAX,
            (Mode::Push, None) => self.window,
        }
    }

    /// The core of a member, 0 being the leader, by its number among [`Plan::cores`].
    ///
    /// Followers that are pushed to are on other cores than their leader, so that both are at work at
    /// once. Of several circles each has both of its ends on one core, so that none wakes another
    /// core; a lone one is that of two machines, so it goes from core to core.
    #[must_use]
    pub fn core_of(&self, member: usize) -> usize {
        let cores = self.cores.len();
        match member {
            0 => 0,
            _ if cores == 1 => 0,
            follower if self.is_in_pairs() => (follower - 1) % cores,
            follower => 1 + (follower - 1) % (cores - 1),
        }
    }

    /// The core of the leader's end of the connections to this follower.
    #[must_use]
    pub fn leaders_core(&self, follower: usize) -> usize {
        if self.is_in_pairs() { self.core_of(follower) } else { 0 }
    }

    fn is_in_pairs(&self) -> bool {
        self.mode == Mode::Rtt && self.followers > 1
    }

    /// A short name for files, distinct for plans that measure different things.
    #[must_use]
    pub fn label(&self) -> String {
        let mut label = format!(
            "{}-{}-f{}-e{}x{}-spin-{}",
            self.mode,
            self.host,
            self.followers,
            self.entry_size,
            self.entries_per_message,
            spin_name(self.spin)
        );
        if let Some(pace) = self.pace {
            label += &format!("-r{}b{}", pace.rate, pace.burst);
        }
        label
    }
}

fn spin_name(spin: Spin) -> String {
    match spin {
        Spin::Never => "never".to_owned(),
        Spin::Adaptive(_) => "adaptive".to_owned(),
        Spin::Always(time) => format!("{}us", time.as_micros()),
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Push => "push",
            Self::Rtt => "rtt",
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Core => "core",
            Self::Thread => "thread",
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn push() -> Plan {
        Plan {
            mode: Mode::Push,
            host: Host::Thread,
            followers: 2,
            entry_size: 64,
            entries_per_message: 3,
            window: 256,
            pace: None,
            duration: Duration::from_millis(50),
            warmup: Duration::from_millis(10),
            spin: Spin::Never,
            cores: vec![0],
            black_hole: false,
        }
    }

    #[test]
    fn a_batch_leaves_room_for_another_in_the_window() {
        let batch = |window| Plan { window, ..push() }.batch();
        assert_eq!([batch(1), batch(2), batch(100), batch(1024)], [1, 1, 50, 64]);
    }

    #[test]
    fn circles_stay_on_their_cores_and_a_push_uses_them_all() {
        let cores = |mode, followers, cores| {
            let plan = Plan { mode, followers, cores, ..push() };
            (1..=followers).map(|f| (plan.leaders_core(f), plan.core_of(f))).collect::<Vec<_>>()
        };
        assert_eq!(cores(Mode::Rtt, 1, vec![4, 5]), [(0, 1)]);
        assert_eq!(cores(Mode::Rtt, 1, vec![5]), [(0, 0)]);
        assert_eq!(cores(Mode::Rtt, 3, vec![4, 5]), [(0, 0), (1, 1), (0, 0)]);
        assert_eq!(cores(Mode::Push, 3, vec![4, 5, 6]), [(0, 1), (0, 2), (0, 1)]);
    }

    #[test]
    fn the_schedule_does_not_drift() {
        let pace = Pace { rate: 200_000, burst: 64 };
        assert_eq!(pace.due(0), 0);
        assert_eq!(pace.due(1), 320_000);
        assert_eq!(pace.due(3_125 * 3600), 3_600_000_000_000);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let refused = |plan: Plan| plan.check().expect_err("must be refused").to_string();
        assert!(push().check().is_ok());
        assert!(refused(Plan { followers: 0, ..push() }).contains("--followers"));
        assert!(refused(Plan { window: 0, ..push() }).contains("--window"));
        assert!(refused(Plan { entry_size: usize::MAX, ..push() }).contains("--entry-size"));
        assert!(refused(Plan { pace: Some(Pace { rate: 0, burst: 1 }), ..push() }).contains("--rate"));
        assert!(
            refused(Plan { mode: Mode::Rtt, pace: Some(Pace { rate: 1, burst: 1 }), ..push() })
                .contains("rtt")
        );
    }
}
