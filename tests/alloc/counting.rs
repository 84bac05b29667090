//! An allocator that counts, for the whole process and by what each thread is for.
//!
//! The one file of the tests that holds `unsafe`: an allocator is an unsafe trait.
#![allow(unsafe_code, reason = "GlobalAlloc is unsafe to implement")]
#![allow(dead_code, reason = "each test uses a part of it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::Sub;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What a thread is for; threads that never said so are [`Role::Other`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Other,
    Sending,
    Receiving,
}

thread_local! {
    // A constant without a destructor: reading it allocates nothing, at any moment of a thread.
    static ROLE: Cell<Role> = const { Cell::new(Role::Other) };
}

static COUNTS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// From now on this thread's allocations count for `role`.
pub(crate) fn enter(role: Role) {
    ROLE.set(role);
}

/// Allocations since the process began, or between two such moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allocations {
    pub(crate) other: u64,
    pub(crate) sending: u64,
    pub(crate) receiving: u64,
}

impl Allocations {
    pub(crate) fn until_now() -> Self {
        let of = |role| COUNTS[role as usize].load(Ordering::Relaxed);
        Self { other: of(Role::Other), sending: of(Role::Sending), receiving: of(Role::Receiving) }
    }
}

impl Sub for Allocations {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            other: self.other - before.other,
            sending: self.sending - before.sending,
            receiving: self.receiving - before.receiving,
        }
    }
}

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are allocated and not freed.
pub(crate) fn live_bytes() -> usize {
    LIVE_BYTES.load(Ordering::Relaxed)
}

/// Lets the system's allocator give back what it keeps of free memory, as far as it can.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and may be called at any moment by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The system's allocator, counted.
pub(crate) struct Counting;

fn count(bytes: usize) {
    COUNTS[ROLE.get() as usize].fetch_add(1, Ordering::Relaxed);
    LIVE_BYTES.fetch_add(bytes, Ordering::Relaxed);
}

fn discount(bytes: usize) {
    LIVE_BYTES.fetch_sub(bytes, Ordering::Relaxed);
}

// SAFETY: every call is passed on to the system's allocator as it came; counting touches an atomic
// and a thread-local constant, and so neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        discount(layout.size());
        // SAFETY: as above; `old` came from the system's allocator, for everything does.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        discount(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(old, layout) }
    }
}
