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
    match request.path.as_str() {
        "/members" => get(request, Question::Members),
        "/version" => get(request, Question::Version),
        "/downgrade/enabled" => get(request, Question::DowngradeEnabled),
        "/leases" => lease(request, || {
            let request = LeaseKeepAliveRequest::decode(request.body.as_ref()).ok()?;
            Some(Question::KeepAlive { lease: request.id })
        }),
        "/leases/internal" => lease(request, || {
            let request = LeaseInternalRequest::decode(request.body.as_ref()).ok()?.time_to_live?;
            Some(Question::TimeToLive { lease: request.id, keys: request.keys })
        }),
        path => match path.strip_prefix("/members/promote/") {
            Some(id) => promote(request, id),
            None => Err(Answer::not_found()),
        },
    }
}

fn get(request: &Request, question: Question) -> Result<Question, Answer> {
    if request.method == "GET" { Ok(question) } else { Err(Answer::method_not_allowed("GET")) }
}

fn lease(request: &Request, read: impl FnOnce() -> Option<Question>) -> Result<Question, Answer> {
    if request.method != "POST" {
        // Without `Allow`, as etcd.
        return Err(text(405, "Method Not Allowed"));
    }
    read().ok_or_else(|| text(400, "error unmarshalling request"))
}

fn promote(request: &Request, id: &str) -> Result<Question, Answer> {
    if request.method != "POST" {
        return Err(Answer::method_not_allowed("POST"));
    }
    let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    match id.parse() {
        Ok(member) if digits => Ok(Question::Promote { member }),
        _ => Err(text(404, &format!("member {} not found in cluster", id.escape_debug()))),
    }
}
