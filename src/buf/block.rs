//! One piece of memory that the kernel or an encoder fills.

use std::ops::{Deref, DerefMut};

use bytes::Bytes;

use super::pool::Home;
use crate::sync::Arc;

/// A fixed piece of initialised memory. Dropped on any thread it goes home to the pool it was
/// taken from, if it was.
#[derive(Debug)]
pub struct Block {
    bytes: Box<[u8]>,
    home: Option<Arc<Home>>,
}

/// No memory at all.
impl Default for Block {
    fn default() -> Self {
        Self { bytes: Box::default(), home: None }
    }
}

impl Block {
    /// Memory outside of any pool, for what is larger than the pool's blocks.
    ///
    /// The zeroing is the allocator's: fresh pages are not touched before they are filled.
    #[must_use]
    pub fn unpooled(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity].into_boxed_slice(), home: None }
    }

    pub(super) const fn pooled(bytes: Box<[u8]>, home: Arc<Home>) -> Self {
        Self { bytes, home: Some(home) }
    }

    /// Hands the whole block over to reference counting: slices of the result keep it alive, and
    /// the last of them sends it home. One allocation (of the owner), however many slices follow.
    #[must_use]
    pub fn seal(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Deref for Block {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Block {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.give_back(std::mem::take(&mut self.bytes));
        }
    }
}
