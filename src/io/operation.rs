//! Rule N1 as a type: an operation of the ring that is dropped before it completed stops a debug build.

use super::insight::Level;

/// One operation, from its submission to its completion.
pub(super) struct OperationGuard<'a> {
    operations: &'a Level,
    done: bool,
}

impl<'a> OperationGuard<'a> {
    pub(super) fn new(operations: &'a Level) -> Self {
        operations.up();
        Self { operations, done: false }
    }

    pub(super) fn complete(mut self) {
        self.done = true;
        self.operations.down();
    }
}

impl Drop for OperationGuard<'_> {
    fn drop(&mut self) {
        if !self.done && !std::thread::panicking() {
            debug_assert!(self.done, "an operation of the ring was dropped before it completed");
        }
    }
}
