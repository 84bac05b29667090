//! What the answer to a snapshot means: the table of protocol section 10.1.

use super::parse_offset;
use crate::proto::handshake::Identity;
use crate::proto::http::head::ResponseHead;

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SnapshotAnswer {
    /// 204: the receiver has it; or says how much it has.
    Taken {
        /// `X-Raftring-Snapshot-Offset`, in answer to a question for it.
        offset: Option<u64>,
    },
    /// 409: what we would have gone on with is not there. Only raftring says so, and only of that.
    NoSuchPart,
    /// 403: we were removed from the cluster for good. A real etcd never says it here (protocol 10.3).
    MemberRemoved,
    /// Anything else, 200 among it; fit for a log.
    Refused(String),
}

/// Bytes of a receiver's words that are repeated.
const WORDS_BYTES_MAX: usize = 200;

impl SnapshotAnswer {
    /// Whether [`SnapshotAnswer::of`] looks at the body.
    #[must_use]
    pub const fn needs_body(head: &ResponseHead<'_>) -> bool {
        !matches!(head.status, 204 | 403 | 409)
    }

    /// Judges an answer; `body` is the beginning of its payload if [`SnapshotAnswer::needs_body`].
    /// What another cluster says is not believed, which etcd does not look at.
    #[must_use]
    pub fn of(head: &ResponseHead<'_>, body: &[u8], own: &Identity) -> Self {
        let words = body.strip_suffix(b"\n").unwrap_or(body);
        let words = words[..words.len().min(WORDS_BYTES_MAX)].escape_ascii();
        if head.status == 412 {
            return Self::Refused(words.to_string());
        }
        if let Some(theirs) = head.headers.cluster_id.filter(|&theirs| theirs != own.cluster.to_string()) {
            let theirs = &theirs[..theirs.len().min(WORDS_BYTES_MAX)];
            let theirs = theirs.escape_default();
            return Self::Refused(format!("the answer is from another cluster, \"{theirs}\""));
        }
        match head.status {
            204 => Self::Taken { offset: head.headers.snapshot_offset.and_then(parse_offset) },
            403 => Self::MemberRemoved,
            409 => Self::NoSuchPart,
            status => Self::Refused(format!("unexpected http status {status}: {words}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ClusterId, MemberId};
    use crate::proto::http::head::HeadSearch;
    use crate::proto::version::{Version, Versions};

    fn judged(answer: &str) -> SnapshotAnswer {
        let own = Identity {
            member: MemberId(1),
            cluster: ClusterId(0x1a2b),
            versions: Versions { server: Version::SERVER, min_cluster: Version::MIN_CLUSTER },
            peer_urls: None,
            echoes: false,
        };
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let head = format!("{head}\r\n\r\n");
        let whole = HeadSearch::response().find(head.as_bytes()).expect("sound").expect("whole");
        SnapshotAnswer::of(&ResponseHead::parse(whole).expect("sound"), body.as_bytes(), &own)
    }

    /// `TestPipelinePostBad`, `TestPipelinePostErrorc`: the same table.
    #[test]
    fn only_204_is_success() {
        let taken = |offset| SnapshotAnswer::Taken { offset };
        assert_eq!(judged("HTTP/1.1 204 No Content\r\nX-Etcd-Cluster-Id: 1a2b\r\n\r\n"), taken(None));
        assert_eq!(
            judged("HTTP/1.1 204 No Content\r\nX-Raftring-Snapshot-Offset: 17\r\n\r\n"),
            taken(Some(17))
        );
        assert_eq!(judged("HTTP/1.1 403 Forbidden\r\n\r\n"), SnapshotAnswer::MemberRemoved);
        assert_eq!(judged("HTTP/1.1 409 Conflict\r\n\r\n"), SnapshotAnswer::NoSuchPart);
        for status in [200, 201, 400, 404, 405, 413, 500, 503, 507] {
            let refused = judged(&format!("HTTP/1.1 {status} x\r\n\r\nwords\n"));
            let want = format!("unexpected http status {status}: words");
            assert_eq!(refused, SnapshotAnswer::Refused(want));
        }
        let precondition = judged("HTTP/1.1 412 x\r\n\r\ncluster ID mismatch\n");
        assert_eq!(precondition, SnapshotAnswer::Refused("cluster ID mismatch".to_owned()));
    }

    #[test]
    fn another_cluster_can_neither_take_it_nor_remove_us() {
        for status in [204, 403, 409, 500] {
            let answer = judged(&format!("HTTP/1.1 {status} x\r\nX-Etcd-Cluster-Id: 1a2c\r\n\r\n"));
            assert!(matches!(answer, SnapshotAnswer::Refused(_)), "{answer:?}");
        }
    }
}
