//! Waiting for what must come, with a deadline.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Far beyond what anything takes on a machine with nothing else to do: to elect, to come back, to
/// follow on. A test that waits for so long fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks. It proves nothing; it leaves the processor to those who are waited for.
const LOOK: Duration = Duration::from_millis(5);

/// What `look` finds, as soon as it finds something.
///
/// # Panics
/// If that takes longer than [`PATIENCE`].
pub fn until<T>(what: impl Display, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(LOOK);
    }
}

/// Until it is so.
pub fn until_so(what: impl Display, mut is_so: impl FnMut() -> bool) {
    until(what, || is_so().then_some(()));
}
