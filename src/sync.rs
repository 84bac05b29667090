//! Atomics and locks of what several threads see: the standard library's, or loom's in the models
//! of `src/models.rs`, which are built with `--cfg loom`.

#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, atomic};

#[cfg(all(test, loom))]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
#[cfg(all(test, loom))]
pub(crate) mod atomic;
