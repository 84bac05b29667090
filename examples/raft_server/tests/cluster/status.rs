//! What a member says of itself.

use serde_json::Value;

/// `GET /status` of ours, or `/v3/maintenance/status` of an etcd.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    pub id: u64,
    /// 0: it knows of none.
    pub leader: u64,
    pub term: u64,
    pub commit: u64,
    pub applied: u64,
    pub revision: u64,
    /// Of ours alone.
    pub log: Option<LogDigest>,
    /// Over all keys and values; of ours alone.
    pub kv_digest: String,
    pub removed: bool,
}

/// Over everything that was applied after `from` and up to `to`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogDigest {
    pub from: u64,
    pub to: u64,
    pub hash: String,
}

impl Status {
    pub fn leads(&self) -> bool {
        self.id != 0 && self.leader == self.id
    }

    /// # Panics
    /// If a field is missing.
    pub fn of_ours(json: &Value) -> Self {
        let hex = |name: &str| u64::from_str_radix(text(json, name), 16).expect("an id in hexadecimal");
        let number = |name: &str| json[name].as_u64().unwrap_or_else(|| panic!("no number {name}: {json}"));
        Self {
            id: hex("id"),
            leader: hex("leader"),
            term: number("term"),
            commit: number("commit"),
            applied: number("applied"),
            revision: number("revision"),
            log: Some(LogDigest::new(&json["log_digest"])),
            kv_digest: text(json, "kv_digest").to_owned(),
            removed: json["removed"].as_bool().expect("a flag"),
        }
    }

    /// Its numbers are strings, and missing where they are 0.
    pub fn of_etcd(json: &Value) -> Self {
        let number = |value: &Value| value.as_str().map_or(0, |text| text.parse().expect("a number"));
        Self {
            id: number(&json["header"]["member_id"]),
            leader: number(&json["leader"]),
            term: number(&json["raftTerm"]),
            commit: number(&json["raftIndex"]),
            applied: number(&json["raftAppliedIndex"]),
            revision: number(&json["header"]["revision"]),
            ..Self::default()
        }
    }
}

impl LogDigest {
    fn new(json: &Value) -> Self {
        let number = |name: &str| json[name].as_u64().unwrap_or_else(|| panic!("no number {name}: {json}"));
        Self { from: number("from"), to: number("to"), hash: text(json, "hash").to_owned() }
    }
}

fn text<'a>(json: &'a Value, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_else(|| panic!("no text {name}: {json}"))
}
