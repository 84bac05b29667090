//! How many bodies of `POST /raft` are read at once, or other requests served.

use std::collections::HashMap;
use std::net::IpAddr;

use super::AddressKey;
use crate::id::MemberId;

/// Bodies at once in all: 4 of each of 16 members, of which a working cluster sends hardly any; each
/// may be as large as a frame.
pub const POSTS_MAX: usize = 64;

/// Bodies of one sender at once: a member posts four, and may have lost the connections of four more.
pub const POSTS_PER_SENDER_MAX: usize = 8;

/// Whose a body is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PostSender {
    /// A peer's or a remote's, as it says.
    Member(MemberId),
    /// Of somebody we do not know: his address is all that there is.
    Address(IpAddr),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Key {
    Member(MemberId),
    Address(AddressKey),
}

/// The bodies that are being read.
#[derive(Clone, Debug)]
pub struct PostLimiter {
    total_max: usize,
    per_sender_max: usize,
    total: usize,
    /// Those that have any.
    by_sender: HashMap<Key, usize>,
}

impl Default for PostLimiter {
    fn default() -> Self {
        Self::new(POSTS_MAX, POSTS_PER_SENDER_MAX)
    }
}

impl PostLimiter {
    /// At most `total_max` at once, and of one sender `per_sender_max`.
    #[must_use]
    pub fn new(total_max: usize, per_sender_max: usize) -> Self {
        Self { total_max, per_sender_max, total: 0, by_sender: HashMap::new() }
    }

    /// A body begins; false if it must not. [`PostLimiter::end`] ends it.
    #[must_use]
    pub fn begin(&mut self, sender: PostSender) -> bool {
        let of_sender = self.by_sender.get(&sender.key()).copied().unwrap_or(0);
        if self.total >= self.total_max || of_sender >= self.per_sender_max {
            return false;
        }
        self.total += 1;
        self.by_sender.insert(sender.key(), of_sender + 1);
        true
    }

    /// True if none is under way.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.total == 0
    }

    /// A body that was begun was read, or will not be.
    pub fn end(&mut self, sender: PostSender) {
        if let Some(of_sender) = self.by_sender.get_mut(&sender.key()) {
            *of_sender -= 1;
            self.total -= 1;
            if *of_sender == 0 {
                self.by_sender.remove(&sender.key());
            }
        }
    }
}

impl PostSender {
    fn key(self) -> Key {
        match self {
            Self::Member(member) => Key::Member(member),
            Self::Address(address) => Key::Address(AddressKey::of(address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sender_has_more_than_its_share_nor_all_together_more_than_the_sum() {
        let mut posts = PostLimiter::default();
        let senders = (1..).map(|id| PostSender::Member(MemberId(id)));
        for sender in senders.take(POSTS_MAX / POSTS_PER_SENDER_MAX) {
            for _ in 0..POSTS_PER_SENDER_MAX {
                assert!(posts.begin(sender));
            }
            assert!(!posts.begin(sender));
        }
        let stranger = PostSender::Address([10, 0, 0, 1].into());
        assert!(!posts.begin(stranger));
        posts.end(PostSender::Member(MemberId(1)));
        assert!(posts.begin(stranger));
        assert!(!posts.begin(PostSender::Member(MemberId(1))));
        posts.end(stranger);
        assert!(posts.begin(PostSender::Member(MemberId(1))));
    }

    #[test]
    fn what_has_ended_leaves_nothing_behind() {
        let mut posts = PostLimiter::default();
        let sender = PostSender::Address([10, 0, 0, 1].into());
        for _ in 0..3 * POSTS_MAX {
            assert!(posts.begin(sender));
            posts.end(sender);
        }
        posts.end(sender);
        assert_eq!((posts.total, posts.by_sender.len()), (0, 0));
    }
}
