//! What an answer to `POST /raft` means (protocol section 10.1).

use std::fmt;

use crate::proto::handshake::{Identity, Precondition};
use crate::proto::http::head::ResponseHead;

/// Why a message that was posted was not taken. Each is the other side's word for what is wrong here,
/// there, or between the two.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PostRefusal {
    /// 403: we were removed from the cluster for good.
    MemberRemoved,
    /// 412: it refuses our release, takes us for one of another cluster, or says something else.
    Precondition(Precondition),
    /// The answer says that it is from another cluster.
    ClusterIdMismatchInReply {
        /// Its cluster id, fit for a log.
        theirs: String,
    },
    /// Any other status. Also 200 and 201: nobody who serves raft answers so, and whoever did has
    /// handed the message to nobody.
    UnexpectedStatus(u16),
}

/// Judges the answer to a POST; `body` is the beginning of its payload, framing undone.
///
/// As in [`judge`](crate::proto::handshake::judge), nothing from another cluster is believed: its 403
/// does not tell us that we were removed, and what it took is lost.
///
/// # Errors
/// Whatever is not 204.
pub fn judge_post(head: &ResponseHead<'_>, body: &[u8], own: &Identity) -> Result<(), PostRefusal> {
    if head.status == 412 {
        return Err(PostRefusal::Precondition(Precondition::of_text(body)));
    }
    if let Some(theirs) = own.other_cluster(head.headers.cluster_id) {
        return Err(PostRefusal::ClusterIdMismatchInReply { theirs });
    }
    match head.status {
        204 => Ok(()),
        403 => Err(PostRefusal::MemberRemoved),
        status => Err(PostRefusal::UnexpectedStatus(status)),
    }
}

impl PostRefusal {
    /// Whether the host is told that we were removed: etcd's error channel.
    #[must_use]
    pub const fn reports_removed(&self) -> bool {
        matches!(self, Self::MemberRemoved)
    }
}

impl fmt::Display for PostRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MemberRemoved => f.write_str("the member has been permanently removed from the cluster"),
            Self::Precondition(precondition) => precondition.fmt(f),
            Self::ClusterIdMismatchInReply { theirs } => {
                write!(f, "the answer is from another cluster, \"{theirs}\"")
            }
            Self::UnexpectedStatus(status) => write!(f, "unexpected http status {status} while posting"),
        }
    }
}

impl std::error::Error for PostRefusal {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::handshake::tests::own;
    use crate::proto::http::head::{Framing, PeerHeaders};

    fn answer(status: u16, cluster_id: Option<&'static str>) -> ResponseHead<'static> {
        let headers = PeerHeaders { cluster_id, ..PeerHeaders::default() };
        ResponseHead {
            status,
            version_minor: 1,
            headers,
            framing: Framing::None,
            keep_alive: true,
            echoes: false,
        }
    }

    fn judged(status: u16, body: &[u8]) -> Result<(), PostRefusal> {
        judge_post(&answer(status, None), body, &own())
    }

    /// `TestPipelinePostBad`, and the table of protocol section 10.1.
    #[test]
    fn only_204_is_a_success() {
        for status in 200..=599 {
            let expected = match status {
                204 => Ok(()),
                403 => Err(PostRefusal::MemberRemoved),
                412 => Err(PostRefusal::Precondition(Precondition::Other(String::new()))),
                _ => Err(PostRefusal::UnexpectedStatus(status)),
            };
            assert_eq!(judged(status, b""), expected);
        }
    }

    /// `TestPipelinePostErrorc`.
    #[test]
    fn only_403_tells_that_we_were_removed() {
        let reported = |status| judged(status, b"").is_err_and(|refusal| refusal.reports_removed());
        assert_eq!((200..=599).filter(|&status| reported(status)).collect::<Vec<u16>>(), [403]);
    }

    #[test]
    fn words_tell_the_preconditions_apart() {
        let judged = |body| judged(412, body).map_err(|refusal| refusal.to_string());
        assert_eq!(judged(b"incompatible version\n"), Err("incompatible version".to_owned()));
        assert_eq!(judged(b"cluster ID mismatch"), Err("cluster ID mismatch".to_owned()));
        let other = "unhandled error \"to field mismatch\" when precondition failed";
        assert_eq!(judged(b"to field mismatch\n"), Err(other.to_owned()));
    }

    #[test]
    fn nothing_from_another_cluster_is_believed() {
        for status in [204, 403, 500] {
            let theirs = "1a2c".to_owned();
            let refusal = Err(PostRefusal::ClusterIdMismatchInReply { theirs });
            assert_eq!(judge_post(&answer(status, Some("1a2c")), b"", &own()), refusal);
        }
        assert_eq!(judge_post(&answer(204, Some("1a2b")), b"", &own()), Ok(()));
    }
}
