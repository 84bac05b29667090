//! Which of many small batches are timed.

/// So many messages at once are worth two looks at the clock, which take as long as to move two of them.
const LARGE_MESSAGES: usize = 256;

/// Of batches below that, one in so many is timed. Those behind it count as if they took as long.
const SMALL_BATCHES: u8 = 4;

/// Decides which batches are timed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampler {
    /// Small batches to come that are not timed.
    untimed: u8,
}

impl Sampler {
    /// True if this batch is to be timed: the first one always is.
    #[inline]
    pub const fn times(&mut self, messages: usize) -> bool {
        if self.untimed == 0 || messages >= LARGE_MESSAGES {
            self.untimed = SMALL_BATCHES - 1;
            return true;
        }
        self.untimed -= 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_batches_are_all_timed_and_one_in_four_of_small_ones() {
        let mut sampler = Sampler::default();
        let mut times = |messages| sampler.times(messages);
        assert_eq!(
            [1, 1, 1, 1, 1, 255, 1, 1].map(&mut times),
            [true, false, false, false, true, false, false, false]
        );
        assert_eq!([256, 1, 700, 300].map(&mut times), [true, false, true, true]);
    }
}
