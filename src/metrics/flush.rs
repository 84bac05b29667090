//! How messages gather before they leave.

use super::number::Counter;

/// Upper bounds of messages a flush.
pub const FLUSH_MESSAGES: [u64; 12] = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/// What one kind of stream of a transport flushed: for each reason how many flushes there were of
/// each size, which is one addition a flush, and how many messages in all.
#[derive(Debug, Default)]
pub struct Flushes {
    by_reason: [[Counter; FLUSH_MESSAGES.len() + 1]; REASONS.len()],
    messages: Counter,
}

/// Why a chain left, by the number of `proto::stream::Flush`.
pub(super) const REASONS: [&str; 4] = ["drained", "messages", "bytes", "urgent"];

impl Flushes {
    /// A chain with so many messages left; none are in one of a link heartbeat alone.
    #[inline]
    pub fn add(&self, reason: usize, messages: usize) {
        self.by_reason[reason][size(messages)].add(1);
        self.messages.add(messages as u64);
    }

    /// How many left for this reason.
    #[must_use]
    pub fn of_reason(&self, reason: usize) -> u64 {
        self.by_reason[reason].iter().map(Counter::get).fold(0, u64::wrapping_add)
    }

    /// Flushes that had no more messages than each bound.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        FLUSH_MESSAGES.iter().enumerate().scan(0_u64, |sum, (size, bound)| {
            let counts = self.by_reason.iter().map(|of_size| of_size[size].get());
            *sum = counts.fold(*sum, u64::wrapping_add);
            Some((*bound, *sum))
        })
    }

    /// All flushes.
    #[must_use]
    pub fn count(&self) -> u64 {
        (0..REASONS.len()).map(|reason| self.of_reason(reason)).fold(0, u64::wrapping_add)
    }

    /// All messages in them.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages.get()
    }
}

/// The place of the first bound that is not below.
#[inline]
fn size(messages: usize) -> usize {
    match messages {
        0 => 0,
        _ => (messages.next_power_of_two().ilog2() as usize + 1).min(FLUSH_MESSAGES.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_has_its_bucket() {
        for messages in 0..5_000 {
            let bound = FLUSH_MESSAGES.iter().position(|bound| messages as u64 <= *bound);
            assert_eq!(size(messages), bound.unwrap_or(FLUSH_MESSAGES.len()), "{messages}");
        }
    }

    #[test]
    fn flushes_are_told_by_reason_and_by_size() {
        let flushes = Flushes::default();
        for (reason, messages) in [(0, 1), (0, 700), (1, 2049), (3, 0)] {
            flushes.add(reason, messages);
        }
        assert_eq!([0, 1, 2, 3].map(|reason| flushes.of_reason(reason)), [2, 1, 0, 1]);
        assert_eq!((flushes.count(), flushes.messages()), (4, 2750));
        let counts: Vec<_> = flushes.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3]);
    }
}
