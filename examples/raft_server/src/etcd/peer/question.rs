//! Requests on the peer URL, read.

use prost::Message as _;
use raftring::routes::{Answer, Request};

use super::answers::text;
use crate::etcd::mvccpb::LeaseInternalRequest;
use crate::etcd::rpc::LeaseKeepAliveRequest;

/// What a member wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Question {
    /// `GET /members`
    Members,
    /// `GET /version`
    Version,
    /// `GET /downgrade/enabled`
    DowngradeEnabled,
    /// `POST /leases`: of a leader.
    KeepAlive { lease: i64 },
    /// `POST /leases/internal`: of a leader.
    TimeToLive { lease: i64, keys: bool },
    /// `POST /members/promote/<id>`: of a leader.
    Promote { member: u64 },
}

/// Reads a request.
///
/// # Errors
/// The answer to one that cannot be read, or is for nothing that is served.
pub(crate) fn read(request: &Request) -> Result<Question, Answer> {
    read_parts(&request.method, &request.path, &request.body)
}

pub(super) fn read_parts(method: &str, path: &str, body: &[u8]) -> Result<Question, Answer> {
    match path {
        "/members" => get(method, Question::Members),
        "/version" => get(method, Question::Version),
        "/downgrade/enabled" => get(method, Question::DowngradeEnabled),
        "/leases" => lease(method, || {
            let request = LeaseKeepAliveRequest::decode(body).ok()?;
            Some(Question::KeepAlive { lease: request.id })
        }),
        "/leases/internal" => lease(method, || {
            let request = LeaseInternalRequest::decode(body).ok()?.time_to_live?;
            Some(Question::TimeToLive { lease: request.id, keys: request.keys })
        }),
        path => match path.strip_prefix("/members/promote/") {
            Some(id) => promote(method, id),
            None => Err(Answer::not_found()),
        },
    }
}

fn get(method: &str, question: Question) -> Result<Question, Answer> {
    if method == "GET" { Ok(question) } else { Err(Answer::method_not_allowed("GET")) }
}

fn lease(method: &str, read: impl FnOnce() -> Option<Question>) -> Result<Question, Answer> {
    if method != "POST" {
        // Without `Allow`, as etcd.
        return Err(text(405, "Method Not Allowed"));
    }
    read().ok_or_else(|| text(400, "error unmarshalling request"))
}

fn promote(method: &str, id: &str) -> Result<Question, Answer> {
    if method != "POST" {
        return Err(Answer::method_not_allowed("POST"));
    }
    let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    match id.parse() {
        Ok(member) if digits => Ok(Question::Promote { member }),
        _ => Err(text(404, &format!("member {} not found in cluster", id.escape_debug()))),
    }
}
