//! Linearizable reads: all that wait are answered with one read index.
//!
//! ```text
//!   read ──▶ waiting ──ask(ctx)──▶ asked ──confirm(ctx, index)──▶ confirmed ──applied >= index──▶ read
//! ```
//!
//! One question is under way at a time, and what comes meanwhile waits for the next one: an answer to an
//! earlier question would be too old for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A question without an answer is asked again: raft forgets it when the leader changes, and when that one
/// has not committed anything of its own yet.
const RETRY: Duration = Duration::from_millis(200);

/// Reads that wait; they come with their deadline.
pub(crate) struct Reads<R> {
    waiting: Vec<(Instant, R)>,
    asked: Option<Asked<R>>,
    confirmed: VecDeque<(u64, Vec<(Instant, R)>)>,
}

struct Asked<R> {
    context: u64,
    at: Instant,
    reads: Vec<(Instant, R)>,
}

impl<R> Default for Reads<R> {
    fn default() -> Self {
        Self { waiting: Vec::new(), asked: None, confirmed: VecDeque::new() }
    }
}

impl<R> Reads<R> {
    pub(crate) fn add(&mut self, read: R, deadline: Instant) {
        self.waiting.push((deadline, read));
    }

    /// True if `context` should be asked now, in the name of all that wait.
    pub(crate) fn ask(&mut self, context: u64, now: Instant) -> bool {
        let overdue = self.asked.as_ref().is_some_and(|asked| now >= asked.at + RETRY);
        if (self.asked.is_some() && !overdue) || (self.asked.is_none() && self.waiting.is_empty()) {
            return false;
        }
        let mut reads = self.asked.take().map_or_else(Vec::new, |asked| asked.reads);
        reads.append(&mut self.waiting);
        self.asked = Some(Asked { context, at: now, reads });
        true
    }

    /// What was asked with this context may be read at `index`.
    pub(crate) fn confirm(&mut self, context: u64, index: u64) {
        if let Some(asked) = self.asked.take_if(|asked| asked.context == context) {
            self.confirmed.push_back((index, asked.reads));
        }
    }

    /// The reads that a state at `applied` answers.
    pub(crate) fn take_ready(&mut self, applied: u64) -> Vec<R> {
        let mut ready = Vec::new();
        // A later question has an index that is not lower.
        while self.confirmed.front().is_some_and(|(index, _)| *index <= applied) {
            let reads = self.confirmed.pop_front().map_or_else(Vec::new, |(_, reads)| reads);
            ready.extend(reads.into_iter().map(|(_, read)| read));
        }
        ready
    }

    /// The reads whose deadline has passed.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<R> {
        let mut expired = Vec::new();
        let mut sift = |reads: &mut Vec<(Instant, R)>| {
            expired.extend(reads.extract_if(.., |(deadline, _)| *deadline <= now).map(|(_, read)| read));
        };
        sift(&mut self.waiting);
        self.confirmed.iter_mut().for_each(|(_, reads)| sift(reads));
        if let Some(asked) = &mut self.asked {
            sift(&mut asked.reads);
        }
        self.asked.take_if(|asked| asked.reads.is_empty());
        expired
    }

    /// All of them, for they will not be answered.
    pub(crate) fn take_all(&mut self) -> Vec<R> {
        let asked = self.asked.take().map_or_else(Vec::new, |asked| asked.reads);
        let confirmed = std::mem::take(&mut self.confirmed).into_iter().flat_map(|(_, reads)| reads);
        let all = std::mem::take(&mut self.waiting).into_iter().chain(asked).chain(confirmed);
        all.map(|(_, read)| read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn one_question_serves_all_that_waited_and_none_that_came_later() {
        let (now, mut reads) = (Instant::now(), Reads::default());
        assert!(!reads.ask(1, now), "nobody waits");
        reads.add("a", now + LONG);
        reads.add("b", now + LONG);
        assert!(reads.ask(1, now));
        reads.add("c", now + LONG);
        assert!(!reads.ask(2, now), "one is under way");
        reads.confirm(1, 10);
        assert_eq!(reads.take_ready(9), Vec::<&str>::new());
        assert_eq!(reads.take_ready(10), ["a", "b"]);
        assert!(reads.ask(2, now));
        reads.confirm(1, 99);
        assert!(reads.take_ready(99).is_empty(), "an answer of before is none to this question");
        reads.confirm(2, 11);
        assert_eq!(reads.take_ready(11), ["c"]);
    }

    #[test]
    fn a_question_without_an_answer_is_asked_again_and_its_late_answer_ignored() {
        let (now, mut reads) = (Instant::now(), Reads::default());
        reads.add("a", now + LONG);
        assert!(reads.ask(1, now));
        reads.add("b", now + LONG);
        assert!(reads.ask(2, now + RETRY), "asked again, for both");
        reads.confirm(1, 5);
        assert!(reads.take_ready(u64::MAX).is_empty());
        reads.confirm(2, 6);
        assert_eq!(reads.take_ready(6), ["a", "b"]);
    }

    #[test]
    fn a_read_expires_wherever_it_is_and_once() {
        let (now, mut reads) = (Instant::now(), Reads::default());
        reads.add("confirmed", now + LONG);
        assert!(reads.ask(1, now));
        reads.confirm(1, 7);
        reads.add("asked", now + LONG);
        assert!(reads.ask(2, now));
        reads.add("waiting", now + LONG);
        reads.add("early", now + Duration::from_secs(1));
        assert_eq!(reads.take_expired(now + Duration::from_secs(1)), ["early"]);
        let mut expired = reads.take_expired(now + LONG);
        expired.sort_unstable();
        assert_eq!(expired, ["asked", "confirmed", "waiting"]);
        assert!(reads.take_expired(now + LONG).is_empty() && reads.take_all().is_empty());
        assert!(!reads.ask(3, now + LONG), "nobody is left to ask for");
    }
}
