//! Ids of requests.

/// Makes ids that no other member and no other run of this one makes, as etcd does: the member's
/// last 16 bits, 40 bits of the milliseconds of its start, and a counter of 8 bits that runs over into
/// them. There are far fewer requests than 256 a millisecond.
#[derive(Debug)]
pub(crate) struct RequestIds {
    prefix: u64,
    suffix: u64,
}

/// Bits of the time and the counter.
const SUFFIX_BITS: u32 = 48;
const COUNTER_BITS: u32 = 8;
const SUFFIX_MASK: u64 = (1 << SUFFIX_BITS) - 1;

impl RequestIds {
    /// `started_unix_ms`: now.
    pub(crate) fn new(member: u64, started_unix_ms: u64) -> Self {
        Self { prefix: member << SUFFIX_BITS, suffix: (started_unix_ms << COUNTER_BITS) & SUFFIX_MASK }
    }

    /// The next one, never 0.
    pub(crate) fn next_id(&mut self) -> u64 {
        loop {
            self.suffix = (self.suffix + 1) & SUFFIX_MASK;
            let id = self.prefix | self.suffix;
            if id != 0 {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_its_member_and_its_time() {
        let mut ids = RequestIds::new(0x0012_3456_789a_bcde, 0x1_89ab_cdef);
        assert_eq!(ids.next_id(), 0xbcde_0189_abcd_ef01);
        assert_eq!(ids.next_id(), 0xbcde_0189_abcd_ef02);
    }

    #[test]
    fn the_counter_runs_over_into_the_time_and_never_into_the_member() {
        let mut ids = RequestIds::new(7, u64::MAX);
        let made: Vec<_> = (0..600).map(|_| ids.next_id()).collect();
        assert!(made.iter().all(|id| id >> SUFFIX_BITS == 7), "{made:x?}");
        let unique: std::collections::BTreeSet<_> = made.iter().collect();
        assert_eq!(unique.len(), made.len());
        assert_ne!(RequestIds::new(0, 0).next_id(), 0);
    }
}
