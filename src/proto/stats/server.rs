//! What a server tells of itself.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::id::MemberId;
use crate::proto::probe::WallTime;

/// What a member is in raft, by etcd's names.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum RaftState {
    /// It follows, or waits for a leader.
    #[default]
    Follower,
    /// It stands for election.
    Candidate,
    /// It leads.
    Leader,
    /// It asks whether it could win.
    PreCandidate,
}

impl RaftState {
    /// As etcd writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Follower => "StateFollower",
            Self::Candidate => "StateCandidate",
            Self::Leader => "StateLeader",
            Self::PreCandidate => "StatePreCandidate",
        }
    }
}

/// What the host has told of its raft.
#[derive(Clone, Debug, PartialEq)]
pub struct Leadership {
    state: RaftState,
    leader: Option<MemberId>,
    /// When the leader was first told, by both clocks.
    since: Instant,
    since_wall: WallTime,
}

impl Leadership {
    /// A follower without a leader, from now on.
    #[must_use]
    pub fn new(now: Instant, wall: WallTime) -> Self {
        Self { state: RaftState::default(), leader: None, since: now, since_wall: wall }
    }

    /// The host tells what it is and who leads. The leader's time begins where that is another.
    pub fn tell(&mut self, state: RaftState, leader: Option<MemberId>, now: Instant, wall: WallTime) {
        self.state = state;
        if self.leader != leader {
            (self.leader, self.since, self.since_wall) = (leader, now, wall);
        }
    }
}

/// Appends of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Appends {
    /// How many there were.
    pub count: u64,
    /// How many a second lately.
    pub per_second: f64,
    /// Protobuf bytes a second lately.
    pub bytes_per_second: f64,
}

/// A server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerStats {
    /// The member's name.
    pub name: String,
    /// Its id.
    pub id: MemberId,
    /// When its transport was started.
    pub start: WallTime,
    /// What it is, as far as the host has told.
    pub state: RaftState,
    /// Who leads, as far as the host has told.
    pub leader: Option<MemberId>,
    /// Since when.
    pub leader_start: WallTime,
    /// For how long.
    pub leader_uptime: Duration,
    /// `MsgApp` that came.
    pub received: Appends,
    /// `MsgApp` that left.
    pub sent: Appends,
}

impl ServerStats {
    /// With what the host has told, at `now`.
    #[must_use]
    pub fn set_leadership(self, leadership: &Leadership, now: Instant) -> Self {
        Self {
            state: leadership.state,
            leader: leadership.leader,
            leader_start: leadership.since_wall,
            leader_uptime: now.saturating_duration_since(leadership.since),
            ..self
        }
    }

    /// As etcd's users know it from `/v2/stats/self`. Times are UTC; a rate of 0 is left out.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = json!({
            "name": self.name,
            "id": self.id.to_string(),
            "state": self.state.name(),
            "startTime": time(self.start),
            "leaderInfo": {
                "leader": self.leader.map(|leader| leader.to_string()).unwrap_or_default(),
                "uptime": go_duration(self.leader_uptime),
                "startTime": time(self.leader_start),
            },
            "recvAppendRequestCnt": self.received.count,
            "sendAppendRequestCnt": self.sent.count,
        });
        let rates = [
            ("recvPkgRate", self.received.per_second),
            ("recvBandwidthRate", self.received.bytes_per_second),
            ("sendPkgRate", self.sent.per_second),
            ("sendBandwidthRate", self.sent.bytes_per_second),
        ];
        for (name, rate) in rates.into_iter().filter(|(_, rate)| *rate > 0.0) {
            json[name] = Value::from(rate);
        }
        json.to_string()
    }
}

/// RFC 3339; a clock beyond the year 9999 is shown as one at its start.
fn time(wall: WallTime) -> String {
    Timestamp::from_nanosecond(wall.unix_ns).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// As Go writes a duration: `1h2m3.5s`, `1.5ms`, `0s`.
fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (unit, of_unit) = match nanos {
        0 => return "0s".to_owned(),
        1..1_000 => ("ns", 1),
        1_000..1_000_000 => ("µs", 1_000),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let mut text = String::new();
    if hours > 0 {
        text = format!("{hours}h");
    }
    if seconds >= 60 {
        text.push_str(&format!("{minutes}m"));
    }
    let left = nanos % 60_000_000_000;
    text.push_str(&(left / of_unit).to_string());
    let digits = of_unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", left % of_unit);
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    text + unit
}

#[cfg(test)]
mod tests {
    use super::*;

    const NANOS: u128 = 1_000_000_000;

    #[test]
    fn durations_are_written_as_go_does() {
        let of = |nanos: u128| go_duration(Duration::new((nanos / NANOS) as u64, (nanos % NANOS) as u32));
        let examples = [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (NANOS, "1s"),
            (245_000 * 1_000_000, "4m5s"),
            (245_001 * 1_000_000, "4m5.001s"),
            (18_367_001 * 1_000_000, "5h6m7.001s"),
            (480 * NANOS + 1, "8m0.000000001s"),
            (3_600 * NANOS, "1h0m0s"),
            (u64::MAX as u128 * NANOS, "5124095576030431h0m15s"),
        ];
        for (nanos, text) in examples {
            assert_eq!(of(nanos), text);
        }
    }

    fn example(now: Instant) -> (ServerStats, Leadership) {
        let start = WallTime { unix_ns: 1_764_036_061_000_000_005 };
        let stats = ServerStats {
            name: "infra1".to_owned(),
            id: MemberId(0x1a2b),
            start,
            state: RaftState::default(),
            leader: None,
            leader_start: start,
            leader_uptime: Duration::ZERO,
            received: Appends::default(),
            sent: Appends { count: 7, per_second: 11.5, bytes_per_second: 824.25 },
        };
        (stats, Leadership::new(now, start))
    }

    #[test]
    fn json_has_the_shape_that_etcds_users_know() {
        let now = Instant::now();
        let (stats, mut leadership) = example(now);
        let later = WallTime { unix_ns: 1_764_036_062_500_000_000 };
        leadership.tell(RaftState::Leader, Some(MemberId(0x1a2b)), now, later);
        let stats = stats.set_leadership(&leadership, now + Duration::from_millis(65_500));
        let told: Value = serde_json::from_str(&stats.to_json()).expect("JSON");
        let expected = json!({
            "name": "infra1",
            "id": "1a2b",
            "state": "StateLeader",
            "startTime": "2025-11-25T02:01:01.000000005Z",
            "leaderInfo": { "leader": "1a2b", "uptime": "1m5.5s", "startTime": "2025-11-25T02:01:02.5Z" },
            "recvAppendRequestCnt": 0,
            "sendAppendRequestCnt": 7,
            "sendPkgRate": 11.5,
            "sendBandwidthRate": 824.25,
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn a_leaders_time_begins_where_it_is_another() {
        let now = Instant::now();
        let (stats, mut leadership) = example(now);
        let at = |s| (now + Duration::from_secs(s), WallTime { unix_ns: i128::from(s) });
        let mut uptime = |told: u64, state, leader| {
            let (now, wall) = at(told);
            leadership.tell(state, leader, now, wall);
            stats.clone().set_leadership(&leadership, at(100).0).leader_uptime.as_secs()
        };
        assert_eq!(uptime(10, RaftState::Follower, Some(MemberId(2))), 90);
        assert_eq!(uptime(20, RaftState::Follower, Some(MemberId(2))), 90, "the same one");
        assert_eq!(uptime(30, RaftState::Candidate, None), 70);
        assert_eq!(uptime(40, RaftState::Follower, Some(MemberId(2))), 60, "and again");
    }
}
