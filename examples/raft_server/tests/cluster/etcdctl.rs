//! etcd's own client.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::door::Found;
use crate::member::Member;

/// True if the tests with etcd cannot run here, which is said where nobody can miss it.
///
/// # Panics
/// If `RAFTRING_REQUIRE_ETCD` is 1: where etcd was installed on purpose, skipping is failing.
pub fn is_missing() -> bool {
    if runs("etcd", "--version") && runs("etcdctl", "version") {
        return false;
    }
    let required = std::env::var("RAFTRING_REQUIRE_ETCD").is_ok_and(|value| value == "1");
    assert!(!required, "RAFTRING_REQUIRE_ETCD is set, but etcd and etcdctl cannot be started");
    // Past the test harness, which would swallow what a passing test prints.
    let _ = std::io::stderr().write_all(b"\nSKIPPED: etcd is not installed\n\n");
    true
}

fn runs(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    command.env("ETCDCTL_API", "3").arg(argument).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// `etcdctl` with one endpoint; what it printed, or why it failed.
pub fn etcdctl(member: &Member, args: &[&str]) -> Result<String, String> {
    // Its own timeouts bound it; the last one bounds it if it should hang.
    let Output { status, stdout, stderr } = Command::new("timeout")
        .env("ETCDCTL_API", "3")
        .args(["--signal", "KILL", "20", "etcdctl", "--endpoints", &member.client_url()])
        .args(["--dial-timeout", "1s", "--command-timeout", "5s"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("etcdctl starts");
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&stderr).into_owned())
}

pub fn put(member: &Member, key: &str, value: &str) -> Result<(), String> {
    etcdctl(member, &["put", key, value]).map(drop)
}

/// A linearizable read, for which the member asks the leader; empty if there is no such key.
pub fn get(member: &Member, key: &str) -> Result<String, String> {
    let out = etcdctl(member, &["get", "--print-value-only", key])?;
    Ok(out.trim_end_matches('\n').to_owned())
}

/// All keys as this member has them, without asking another.
pub fn all_keys(member: &Member) -> BTreeMap<String, Found> {
    let args = ["get", "", "--prefix", "--consistency", "s", "--write-out", "json"];
    let out = etcdctl(member, &args).expect("a member that runs answers");
    let json: Value = serde_json::from_str(&out).expect("JSON");
    let text = |value: &Value| {
        let bytes = BASE64.decode(value.as_str().unwrap_or_default()).expect("base64");
        String::from_utf8(bytes).expect("tests write text")
    };
    let kvs = json["kvs"].as_array().cloned().unwrap_or_default();
    let pair = |kv: &Value| {
        let revision = kv["mod_revision"].as_u64().expect("a number");
        (text(&kv["key"]), Found { value: text(&kv["value"]), revision })
    };
    kvs.iter().map(pair).collect()
}
