//! Threads on CPUs.

use std::fmt;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A CPU that a thread cannot be pinned to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PinError {
    /// The CPU asked for.
    pub cpu: usize,
    /// The CPUs this process may use.
    pub available: Vec<usize>,
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CPU {} does not exist or is not allowed for this process; choose from {:?}",
            self.cpu, self.available
        )
    }
}

impl std::error::Error for PinError {}

/// The CPUs that the current thread may run on, ascending.
#[must_use]
pub fn available_cpus() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return vec![0] };
    (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// Pins the current thread to one CPU.
///
/// # Errors
/// If the CPU does not exist or is not allowed here.
pub fn pin_current_thread(cpu: usize) -> Result<(), PinError> {
    let refused = || PinError { cpu, available: available_cpus() };
    if cpu >= CpuSet::MAX_CPU {
        return Err(refused());
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).map_err(|_| refused())
}

/// Lets the current thread run on these CPUs, of which [`available_cpus`] told: threads that a pinned
/// one starts are pinned as it is. Where it is refused nothing changes.
pub fn unpin_current_thread(cpus: &[usize]) {
    let mut set = CpuSet::new();
    cpus.iter().filter(|&&cpu| cpu < CpuSet::MAX_CPU).for_each(|&cpu| set.set(cpu));
    let _ = sched_setaffinity(None, &set);
}
