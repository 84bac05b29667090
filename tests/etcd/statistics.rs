//! etcd's statistics beside ours.

use std::collections::BTreeSet;

use raftring::proto::stats::RaftState;
use serde_json::Value;

use super::cluster::Cluster;
use super::server;

/// Every name with what is behind it, ids left out: `followers/*/latency/average number`.
fn shape(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    let Value::Object(fields) = value else {
        let kind = match value {
            Value::Number(_) => "number",
            Value::String(_) => "string",
            _ => "other",
        };
        found.insert(format!("{path} {kind}"));
        return;
    };
    for (name, value) in fields {
        let name = if path == "/followers" { "*" } else { name };
        // A rate of 0 is left out, here and there.
        if !name.ends_with("Rate") {
            shape(&format!("{path}/{name}"), value, found);
        }
    }
}

fn shape_of(json: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    shape("", &serde_json::from_str(json).expect("JSON"), &mut found);
    found
}

/// Goal: who reads etcd's statistics can read ours.
///
/// Method: both tell theirs, and the names and types of all fields are compared; etcd's follower is our
/// member, and ours is etcd, to whom it sends no append.
#[test]
fn statistics_have_the_same_fields_as_etcds() {
    if server::is_missing() {
        return;
    }
    let cluster = Cluster::start(|config| config.name = "raftring".to_owned());
    cluster.put_all(0..20);
    cluster.assert_arrived(0..20);
    let (Some(of_self), Some(of_leader)) =
        (cluster.etcd.page("/v2/stats/self"), cluster.etcd.page("/v2/stats/leader"))
    else {
        // etcd 3.6 and later tell them to nobody.
        return cluster.finish();
    };
    let transport = cluster.member().transport();
    transport.tell_leadership(RaftState::Follower, Some(cluster.etcd_id));
    assert_eq!(shape_of(&transport.server_stats().to_json()), shape_of(&of_self), "{of_self}");
    assert_eq!(shape_of(&transport.leader_stats().to_json()), shape_of(&of_leader), "{of_leader}");
    // Twenty puts, and what made the cluster; none of them came twice.
    let ours = transport.server_stats();
    let theirs: Value = serde_json::from_str(&of_self).expect("JSON");
    assert!(ours.received.count >= 20);
    assert!(theirs["sendAppendRequestCnt"].as_u64() >= Some(20));
    cluster.finish();
}
