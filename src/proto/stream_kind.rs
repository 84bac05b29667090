//! The two streams between members.

use std::fmt;

/// Which of the two streams (protocol section 5.1).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum StreamKind {
    /// MsgApp in the codec msgappv2.
    Msgapp,
    /// Everything else but MsgSnap.
    Message,
}

impl StreamKind {
    /// Both, in the order in which a peer starts them.
    pub const ALL: [Self; 2] = [Self::Msgapp, Self::Message];

    /// The element of the path: `/raft/stream/<this>/<id of the dialler>`.
    ///
    /// Note the asymmetry: the path says `msgapp`, the codec is called msgappv2.
    #[must_use]
    pub const fn path_element(self) -> &'static str {
        match self {
            Self::Msgapp => "msgapp",
            Self::Message => "message",
        }
    }

    /// The kind that is served under a path element.
    #[must_use]
    pub fn from_path_element(element: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.path_element() == element)
    }
}

/// The name in logs and statuses: `stream MsgApp v2` or `stream Message` (protocol section 8.4).
impl fmt::Display for StreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Msgapp => "stream MsgApp v2",
            Self::Message => "stream Message",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_its_path_element_alone() {
        for kind in StreamKind::ALL {
            assert_eq!(StreamKind::from_path_element(kind.path_element()), Some(kind));
        }
        for other in ["", "msgappv2", "Message", "strange"] {
            assert_eq!(StreamKind::from_path_element(other), None);
        }
    }
}
