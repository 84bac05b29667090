//! Who gives way where room runs out.

/// How much an item matters. Of each bound a rank leaves a part to those above it, so that what fills
/// up first is what matters least, and nothing that is queued is ever thrown out again.
///
/// | rank | of a bound it may use |
/// |---|---|
/// | bulk | 3/4 |
/// | request | 7/8 |
/// | answer | 15/16 |
/// | vital | all |
///
/// What is kept is rounded down: a bound below four keeps nothing. So the last quarter of a lane of
/// 4,096 takes 512 requests, or 768 requests and answers, and 256 vital items come in whatever the
/// others do.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Rank {
    /// Comes again by itself, and in any amount.
    Bulk,
    /// Somebody waits for it, and can ask again.
    Request,
    /// What the other side needs to go on.
    Answer,
    /// Few and small, and without them nobody leads.
    Vital,
}

impl Rank {
    /// All ranks, from the one that gives way first.
    pub const ALL: [Self; 4] = [Self::Bulk, Self::Request, Self::Answer, Self::Vital];

    /// Its place in [`Rank::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// How much of a bound items of this rank may fill.
    #[must_use]
    pub const fn share(self, bound: usize) -> usize {
        let kept = match self {
            Self::Bulk => bound / 4,
            Self::Request => bound / 8,
            Self::Answer => bound / 16,
            Self::Vital => 0,
        };
        bound - kept
    }

    /// The shares of all ranks.
    #[must_use]
    pub(super) fn shares(bound: usize) -> [usize; Self::ALL.len()] {
        Self::ALL.map(|rank| rank.share(bound))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_rank_leaves_room_to_those_above() {
        assert_eq!(Rank::shares(4096), [3072, 3584, 3840, 4096]);
        assert_eq!(Rank::shares(64 << 20), [48 << 20, 56 << 20, 60 << 20, 64 << 20]);
        assert_eq!(Rank::shares(usize::MAX)[3], usize::MAX);
    }

    #[test]
    fn a_bound_that_is_too_small_to_be_shared_is_everybodys() {
        for bound in 0..4 {
            assert_eq!(Rank::shares(bound), [bound; 4]);
        }
        assert_eq!(Rank::shares(4), [3, 4, 4, 4]);
    }

    #[test]
    fn no_rank_has_more_than_the_one_above() {
        for bound in (0..5_000).chain([usize::MAX - 1, usize::MAX]) {
            assert!(Rank::shares(bound).is_sorted(), "{bound}");
        }
    }
}
