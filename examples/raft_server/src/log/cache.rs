//! The newest entries of the log, in memory: followers that keep up are served from here.

use std::collections::VecDeque;

use raft::eraftpb::Entry;

/// A follower that is further behind is served from disk.
const ENTRIES_MAX: usize = 16_384;

/// The same in bytes; the newest entry is kept whatever its size.
const BYTES_MAX: usize = 32 << 20;

/// Entries without a gap, up to the last of the log.
#[derive(Default)]
pub(super) struct Cache {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Cache {
    /// The index of the first entry that is here.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.index)
    }

    /// Puts entries at the end; what is there of their indexes and beyond is gone.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        while let Some(last) = self.entries.back().filter(|last| last.index >= first.index) {
            self.bytes -= size(last);
            self.entries.pop_back();
        }
        if self.entries.back().is_some_and(|last| last.index + 1 != first.index) {
            self.clear();
        }
        for entry in entries {
            self.bytes += size(entry);
            self.entries.push_back(entry.clone());
        }
        while self.entries.len() > ENTRIES_MAX || (self.bytes > BYTES_MAX && self.entries.len() > 1) {
            self.forget_first();
        }
    }

    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        let at = index.checked_sub(self.first()?)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// Entries from `low` up to but without `high`, as many as `bytes_max` allows, but one; `None` if
    /// they are not all here.
    pub(super) fn range(&self, low: u64, high: u64, bytes_max: u64) -> Option<Vec<Entry>> {
        self.get(low)?;
        let mut bytes = 0;
        let mut found = Vec::new();
        for index in low..high {
            let entry = self.get(index)?;
            bytes += size(entry) as u64;
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        Some(found)
    }

    /// Forgets entries up to `index`.
    pub(super) fn compact(&mut self, index: u64) {
        while self.first().is_some_and(|first| first <= index) {
            self.forget_first();
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    fn forget_first(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= size(&entry);
        }
    }
}

/// What an entry takes of a message, about.
pub(super) fn size(entry: &Entry) -> usize {
    /// Type, term, index and lengths.
    const OVERHEAD: usize = 32;
    entry.data.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, bytes: usize) -> Entry {
        Entry { index, term: 1, data: vec![0; bytes], ..Entry::default() }
    }

    fn indexes(entries: Vec<Entry>) -> Vec<u64> {
        entries.iter().map(|entry| entry.index).collect()
    }

    #[test]
    fn a_conflict_replaces_the_end_and_a_gap_everything() {
        let mut cache = Cache::default();
        cache.append(&[entry(1, 0), entry(2, 0), entry(3, 0)]);
        cache.append(&[entry(2, 5)]);
        assert_eq!(indexes(cache.range(1, 3, u64::MAX).expect("both")), [1, 2]);
        assert_eq!(cache.get(2).expect("there").data.len(), 5);
        assert!(cache.get(3).is_none() && cache.range(1, 4, u64::MAX).is_none());
        cache.append(&[entry(9, 0)]);
        assert_eq!(cache.first(), Some(9));
    }

    #[test]
    fn it_holds_a_bounded_number_and_bounded_bytes() {
        let mut cache = Cache::default();
        for index in 1..=ENTRIES_MAX as u64 + 10 {
            cache.append(&[entry(index, 0)]);
        }
        assert_eq!(cache.first(), Some(11));
        cache.append(&[entry(ENTRIES_MAX as u64 + 11, BYTES_MAX * 2)]);
        assert_eq!(cache.first(), Some(ENTRIES_MAX as u64 + 11), "the newest alone");
        cache.compact(u64::MAX);
        assert_eq!((cache.first(), cache.bytes), (None, 0));
    }

    #[test]
    fn a_range_has_one_entry_at_least_and_no_more_than_fit() {
        let mut cache = Cache::default();
        cache.append(&[entry(1, 100), entry(2, 100), entry(3, 100)]);
        assert_eq!(indexes(cache.range(1, 4, 0).expect("one")), [1]);
        assert_eq!(indexes(cache.range(1, 4, 264).expect("two")), [1, 2]);
        assert!(cache.range(0, 2, 264).is_none());
    }
}
