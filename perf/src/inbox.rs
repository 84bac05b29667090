//! What a host on a thread of its own waits at: `process` puts in, the thread takes out.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// An unbounded queue for one taker. The load bounds what can be in it: one message a follower.
pub struct Inbox<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

struct State<T> {
    items: Vec<T>,
    is_waiting: bool,
    is_closed: bool,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        let state = State { items: Vec::new(), is_waiting: false, is_closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new() }
    }
}

impl<T> Inbox<T> {
    /// Puts `items` in, and wakes the taker if it waits.
    pub fn put(&self, items: impl IntoIterator<Item = T>) {
        let mut state = self.lock();
        state.items.extend(items);
        self.wake(state);
    }

    /// Lets the taker go once it has taken everything.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        self.wake(state);
    }

    /// Waits for items and takes all of them; false if there will be no more.
    pub fn take(&self, into: &mut Vec<T>) -> bool {
        let mut state = self.lock();
        while state.items.is_empty() && !state.is_closed {
            state.is_waiting = true;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        into.append(&mut state.items);
        !into.is_empty()
    }

    fn wake(&self, mut state: MutexGuard<'_, State<T>>) {
        let is_waiting = std::mem::take(&mut state.is_waiting);
        // Let go first, or the taker wakes up only to wait for us.
        drop(state);
        if is_waiting {
            self.filled.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_taken_before_the_end() {
        let inbox = Inbox::default();
        let mut taken = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for item in 0..100 {
                    inbox.put([item]);
                }
                inbox.close();
            });
            while inbox.take(&mut taken) && taken.len() < 100 {}
        });
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
    }
}
