//! Members as etcd writes them: in conf changes, in `/members`, and in its database.

use serde::{Deserialize, Deserializer, Serialize};

/// A member of the cluster.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Member {
    #[serde(default)]
    pub(crate) id: u64,
    /// Sorted.
    #[serde(
        default,
        rename = "peerURLs",
        deserialize_with = "null_is_empty",
        serialize_with = "empty_is_null"
    )]
    pub(crate) peer_urls: Vec<String>,
    #[serde(default, rename = "isLearner", skip_serializing_if = "is_false")]
    pub(crate) is_learner: bool,
    #[serde(flatten)]
    pub(crate) attributes: Attributes,
}

/// What a member says of itself once it runs.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Attributes {
    /// Empty until the member has started.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(
        default,
        rename = "clientURLs",
        deserialize_with = "null_is_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) client_urls: Vec<String>,
}

/// What raft is told of a member, as etcd 3.4 keeps it in its older store.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
pub(crate) struct RaftAttributes {
    #[serde(default, rename = "peerURLs", deserialize_with = "null_is_empty")]
    pub(crate) peer_urls: Vec<String>,
    #[serde(default, rename = "isLearner")]
    pub(crate) is_learner: bool,
}

/// What a conf change that adds or promotes a member carries.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct ConfigChangeContext {
    #[serde(flatten)]
    pub(crate) member: Member,
    #[serde(default, rename = "isPromote")]
    pub(crate) is_promote: bool,
}

impl Member {
    /// One of the initial members, with the id that etcd gives it.
    pub(crate) fn initial(name: &str, peer_urls: &[String], token: &str) -> Self {
        let mut sorted = peer_urls.to_vec();
        sorted.sort();
        Self {
            id: raftring::MemberId::compute(&sorted, token, None).0,
            peer_urls: sorted,
            is_learner: false,
            attributes: Attributes { name: name.to_owned(), client_urls: Vec::new() },
        }
    }

    /// It has told its name.
    pub(crate) fn is_started(&self) -> bool {
        !self.attributes.name.is_empty()
    }
}

/// As Go writes it: what HTML knows is escaped.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text;
    }
    // None of them stands outside of a string.
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}

/// A list that was never set is `null` in Go, and none of ours was set to be empty.
fn empty_is_null<S: serde::Serializer>(list: &Vec<String>, serializer: S) -> Result<S::Ok, S::Error> {
    if list.is_empty() { serializer.serialize_none() } else { list.serialize(serializer) }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
