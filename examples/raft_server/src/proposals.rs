//! Proposals that wait to be applied, by the request id that their entry carries.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Whoever proposed is told once: when the entry is applied, wherever it was proposed, or when it took
/// too long.
pub(crate) struct Proposals<W> {
    /// With the term in which they were proposed.
    waiting: HashMap<u64, (u64, W)>,
    /// In order: all are given the same time. Those that were answered are still in it.
    deadlines: VecDeque<(Instant, u64)>,
    timeout: Duration,
}

impl<W> Proposals<W> {
    /// For proposals that may take so long.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { waiting: HashMap::new(), deadlines: VecDeque::new(), timeout }
    }

    pub(crate) fn add(&mut self, request_id: u64, term: u64, waiter: W, now: Instant) {
        self.waiting.insert(request_id, (term, waiter));
        self.deadlines.push_back((now + self.timeout, request_id));
    }

    /// Whoever waits for this request.
    pub(crate) fn take(&mut self, request_id: u64) -> Option<W> {
        self.waiting.remove(&request_id).map(|(_, waiter)| waiter)
    }

    /// Those that were proposed before this term. Once an entry of it is applied they are hardly ever: what
    /// the old leader had of them and the new one has too was applied before.
    pub(crate) fn take_older(&mut self, term: u64) -> Vec<W> {
        let older = self.waiting.extract_if(|_, (proposed, _)| *proposed < term);
        older.map(|(_, (_, waiter))| waiter).collect()
    }

    /// Those that have waited too long.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<W> {
        let mut expired = Vec::new();
        while let Some((deadline, request_id)) = self.deadlines.front() {
            // Who was answered leaves its place when it comes to the front.
            if *deadline > now && self.waiting.contains_key(request_id) {
                break;
            }
            expired.extend(self.waiting.remove(request_id).map(|(_, waiter)| waiter));
            self.deadlines.pop_front();
        }
        expired
    }

    /// All of them, for they will not be answered.
    pub(crate) fn take_all(&mut self) -> Vec<W> {
        self.deadlines.clear();
        self.waiting.drain().map(|(_, (_, waiter))| waiter).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(7);

    #[test]
    fn each_is_answered_once() {
        let now = Instant::now();
        let mut proposals = Proposals::new(TIMEOUT);
        proposals.add(1, 5, "one", now);
        proposals.add(2, 5, "two", now);
        assert_eq!(proposals.take(2), Some("two"));
        assert_eq!(proposals.take(2), None, "applied twice, told once");
        assert!(proposals.take_expired(now).is_empty());
        assert_eq!(proposals.take_expired(now + TIMEOUT), ["one"]);
        assert_eq!(proposals.take(1), None, "it comes too late");
        assert_eq!(proposals.len(), 0);
    }

    #[test]
    fn those_of_an_older_term_are_told_and_those_of_this_one_wait() {
        let now = Instant::now();
        let mut proposals = Proposals::new(TIMEOUT);
        proposals.add(1, 5, "old", now);
        proposals.add(2, 6, "new", now);
        assert_eq!(proposals.take_older(6), ["old"]);
        assert!(proposals.take_older(6).is_empty());
        assert_eq!(proposals.take_expired(now + TIMEOUT), ["new"]);
    }

    #[test]
    fn what_was_answered_leaves_no_deadline_behind() {
        let now = Instant::now();
        let mut proposals = Proposals::new(TIMEOUT);
        for id in 0..100 {
            proposals.add(id, 5, id, now);
            assert_eq!(proposals.take(id), Some(id));
        }
        assert!(proposals.take_expired(now).is_empty());
        assert!(proposals.deadlines.is_empty());
        proposals.add(7, 5, 7, now);
        assert_eq!(proposals.take_all(), [7]);
        assert!(proposals.take_expired(now + TIMEOUT).is_empty());
    }
}
