//! What a leader tells of its followers.

use serde_json::{Map, Value, json};

use super::follower::FollowerStats;
use crate::id::MemberId;

/// A leader with its followers.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaderStats {
    /// The member that tells it, leader or not.
    pub leader: MemberId,
    /// Its peers, in the order of their ids.
    pub followers: Vec<(MemberId, FollowerStats)>,
}

impl LeaderStats {
    /// As etcd's users know it from `/v2/stats/leader`; all times in milliseconds.
    #[must_use]
    pub fn to_json(&self) -> String {
        let followers = self.followers.iter().map(|(id, stats)| (id.to_string(), follower(stats)));
        let followers: Map<_, _> = followers.collect();
        json!({ "leader": self.leader.to_string(), "followers": followers }).to_string()
    }
}

fn follower(stats: &FollowerStats) -> Value {
    json!({
        "latency": {
            "current": stats.current(),
            "average": stats.average(),
            "standardDeviation": stats.standard_deviation(),
            "minimum": stats.minimum(),
            "maximum": stats.maximum(),
        },
        "counts": { "fail": stats.fail_count(), "success": stats.success_count() },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn json_has_the_shape_that_etcds_users_know() {
        let mut stats = FollowerStats::new();
        stats.success(2, Duration::from_micros(1_500));
        stats.fail();
        let followers = vec![(MemberId(2), stats), (MemberId(0xfe), FollowerStats::new())];
        let json = LeaderStats { leader: MemberId(0x1a2b), followers }.to_json();
        let told: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(told["leader"], "1a2b");
        let latency = json!({
            "current": 1.5, "average": 1.5, "standardDeviation": 0.0, "minimum": 1.5, "maximum": 1.5,
        });
        assert_eq!(told["followers"]["2"]["latency"], latency);
        assert_eq!(told["followers"]["2"]["counts"], json!({ "fail": 1, "success": 2 }));
        assert_eq!(told["followers"]["fe"]["latency"]["minimum"].as_f64(), Some(2_f64.powi(63)));
    }
}
