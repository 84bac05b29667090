//! The threads that read and write files: a few, started when they are needed, gone when they are not.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cores::{available_cpus, unpin_current_thread};

/// What copies a database gives way to what moves heartbeats, on the CPUs that both use.
const NICE: i32 = 19;

/// Something to do that may block.
type Job = Box<dyn FnOnce() + Send>;

/// A helper without work ends after that.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// Threads that block in place of a core.
pub(super) struct Helpers {
    shared: Arc<Shared>,
    threads_max: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    /// Where the process may run: helpers are started by cores, and are not to share their CPUs.
    cpus: Vec<usize>,
}

/// Bounded by who may ask: a snapshot has one job at a time, and one more to end it.
#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    stopped: bool,
}

impl Helpers {
    /// To be called by a thread that is not pinned.
    pub(super) fn new(threads_max: usize) -> Self {
        let shared = Shared { cpus: available_cpus(), ..Shared::default() };
        Self { shared: Arc::new(shared), threads_max }
    }

    /// Runs a job on a helper, later. Without a thread, and none to be had, the job is dropped.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.lock();
        state.jobs.push_back(Box::new(job));
        if state.idle >= state.jobs.len() || state.threads >= self.threads_max {
            drop(state);
            return self.shared.work.notify_one();
        }
        state.threads += 1;
        drop(state);
        let of_thread = Arc::clone(&self.shared);
        let started =
            std::thread::Builder::new().name("raftring-files".to_owned()).spawn(move || of_thread.work());
        if started.is_err() {
            let mut state = self.shared.lock();
            state.threads -= 1;
            let lost = if state.threads == 0 { std::mem::take(&mut state.jobs) } else { VecDeque::new() };
            drop(state);
            drop(lost);
        }
    }
}

impl Helpers {
    /// True if as much work waits as there can be threads: their disks hang, and whoever gives up waiting
    /// leaves his job there. No more may be begun then.
    pub(super) fn are_stuck(&self) -> bool {
        self.shared.lock().jobs.len() >= self.threads_max
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        unpin_current_thread(&self.cpus);
        // Of the calling thread alone, on Linux. Where it is refused the thread stays as it is.
        let _ = rustix::process::nice(NICE);
        while let Some(job) = self.next() {
            // The host's source or sink may panic: what the job holds tells that when it is dropped.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    /// The next job; `None` when this thread is to end, as which it is counted already.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.stopped {
                break;
            }
            state.idle += 1;
            let (back, waited) =
                self.work.wait_timeout(state, IDLE_TIME).unwrap_or_else(PoisonError::into_inner);
            state = back;
            state.idle -= 1;
            if waited.timed_out() && state.jobs.is_empty() {
                break;
            }
        }
        state.threads -= 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn run(helpers: &Helpers) -> Receiver<()> {
        let (done, is_done) = channel();
        helpers.run(move || done.send(()).unwrap_or_default());
        is_done
    }

    #[test]
    fn a_job_that_hangs_holds_up_no_other_and_a_panic_ends_no_thread() {
        let helpers = Helpers::new(2);
        let (go_on, hangs) = channel::<()>();
        helpers.run(move || hangs.recv().unwrap_or_default());
        helpers.run(|| panic!("planted"));
        for _ in 0..100 {
            run(&helpers).recv_timeout(Duration::from_secs(10)).expect("done");
        }
        assert!(helpers.shared.lock().threads <= 2);
        drop(go_on);
    }

    #[test]
    fn a_helper_of_a_pinned_thread_is_not_pinned() {
        let helpers = Helpers::new(1);
        let (tell, told) = channel();
        let all = available_cpus();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                crate::cores::pin_current_thread(all[0]).expect("it is one of ours");
                helpers.run(move || tell.send(available_cpus()).unwrap_or_default());
            });
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(10)).expect("done"), all);
    }

    #[test]
    fn threads_come_with_work_and_never_more_than_allowed() {
        let helpers = Helpers::new(2);
        assert_eq!(helpers.shared.lock().threads, 0);
        let (go_on, hangs) = channel::<()>();
        let hangs = Arc::new(Mutex::new(hangs));
        for _ in 0..5 {
            let hangs = Arc::clone(&hangs);
            helpers.run(move || drop(hangs.lock().map(|hangs| hangs.recv())));
        }
        assert_eq!(helpers.shared.lock().threads, 2);
        drop(go_on);
        run(&helpers).recv_timeout(Duration::from_secs(10)).expect("what waited is done");
    }
}
