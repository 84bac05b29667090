//! How much one core has to do, for those who place something new.

use crate::sync::atomic::{AtomicUsize, Ordering};

/// A core that is busy all the time counts so many parts.
const BUSY_WHOLE: usize = 64;

/// What one core has to do; every thread may look.
#[derive(Debug)]
pub struct Load {
    peers: AtomicUsize,
    busy: AtomicUsize,
}

impl Load {
    /// A core without work.
    #[must_use]
    pub fn new() -> Self {
        Self { peers: AtomicUsize::new(0), busy: AtomicUsize::new(0) }
    }

    /// A peer was placed here.
    pub fn add(&self) {
        self.peers.fetch_add(1, Ordering::Relaxed);
    }

    /// A peer is gone.
    pub fn remove(&self) {
        self.peers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Peers that were placed here and are not gone.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.peers.load(Ordering::Relaxed)
    }

    /// The core was busy for this part of its time lately, 0 to 1.
    pub fn set_busy(&self, part: f64) {
        self.busy.store((part.clamp(0.0, 1.0) * BUSY_WHOLE as f64) as usize, Ordering::Relaxed);
    }

    /// The part of its time for which the core was busy lately, 0 to 1.
    #[must_use]
    pub fn busy(&self) -> f64 {
        self.busy.load(Ordering::Relaxed) as f64 / BUSY_WHOLE as f64
    }

    /// What one more peer would find here. How busy a core is shows only a while after it got its
    /// peers, so that they count first: of two cores with as many, the one that idles is chosen, and
    /// one that is busy all the time takes half as many.
    #[must_use]
    pub fn with_one_more(&self) -> usize {
        (self.peers() + 1) * (BUSY_WHOLE + self.busy.load(Ordering::Relaxed))
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::new()
    }
}

/// The number of the core with the least to do, the first of equal ones.
pub fn least<'a>(loads: impl IntoIterator<Item = &'a Load>) -> Option<usize> {
    let weights = loads.into_iter().map(Load::with_one_more);
    weights.enumerate().min_by_key(|&(_, weight)| weight).map(|(number, _)| number)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn placed(loads: &[Load], count: usize) -> Vec<usize> {
        for _ in 0..count {
            loads[least(loads).expect("there are cores")].add();
        }
        loads.iter().map(Load::peers).collect()
    }

    #[test]
    fn idle_cores_get_as_many_peers_each() {
        assert_eq!(placed(&[Load::new(), Load::new(), Load::new()], 128), [43, 43, 42]);
    }

    #[test]
    fn a_busy_core_gets_half_as_many() {
        let loads = [Load::new(), Load::new()];
        loads[0].set_busy(1.0);
        assert_eq!(placed(&loads, 30), [10, 20]);
        loads[0].remove();
        assert_eq!(placed(&loads, 1), [10, 20]);
    }

    #[test]
    fn nowhere_is_the_least_of_none() {
        assert_eq!(least([]), None);
    }
}
