//! loom's atomics, which a model may weaken for one call to see that it notices.

use std::cell::Cell;
pub(crate) use std::sync::atomic::Ordering;

/// What is left out of the operations of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Weakness {
    /// Fences do nothing.
    NoFence,
    /// Stores release nothing.
    NoRelease,
    /// Loads acquire nothing.
    NoAcquire,
    /// A read-modify-write is a load, and then a store.
    Torn,
}

loom::thread_local! {
    static WEAKNESS: Cell<Option<Weakness>> = Cell::new(None);
}

/// Runs `f`, in which this thread's operations, and no other thread's, have the weakness.
pub(crate) fn weakened<T>(weakness: Weakness, f: impl FnOnce() -> T) -> T {
    WEAKNESS.with(|current| current.set(Some(weakness)));
    let result = f();
    WEAKNESS.with(|current| current.set(None));
    result
}

fn is(weakness: Weakness) -> bool {
    WEAKNESS.with(Cell::get) == Some(weakness)
}

pub(crate) fn fence(order: Ordering) {
    if !is(Weakness::NoFence) {
        loom::sync::atomic::fence(order);
    }
}

fn of_load(order: Ordering) -> Ordering {
    if is(Weakness::NoAcquire) { Ordering::Relaxed } else { order }
}

fn of_store(order: Ordering) -> Ordering {
    if is(Weakness::NoRelease) { Ordering::Relaxed } else { order }
}

/// The orders of both halves, of which a weakness takes one.
fn of_update(order: Ordering) -> Ordering {
    match order {
        Ordering::AcqRel if is(Weakness::NoAcquire) => Ordering::Release,
        Ordering::AcqRel if is(Weakness::NoRelease) => Ordering::Acquire,
        Ordering::Acquire => of_load(order),
        Ordering::Release => of_store(order),
        _ => order,
    }
}

impl AtomicBool {
    /// A swap in disguise: loom does not know that nothing comes between a read-modify-write and
    /// what it read, and would let a plain store that is made afterwards come before.
    pub(crate) fn store(&self, value: bool, order: Ordering) {
        self.0.swap(value, of_store(order));
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty, [$($update:ident: $torn:expr),*]) => {
        #[derive(Debug, Default)]
        pub(crate) struct $name(loom::sync::atomic::$name);

        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.0.load(of_load(order))
            }

            $(pub(crate) fn $update(&self, operand: $value, order: Ordering) -> $value {
                if !is(Weakness::Torn) {
                    return self.0.$update(operand, of_update(order));
                }
                let before = self.0.load(Ordering::Acquire);
                let torn: fn($value, $value) -> $value = $torn;
                self.0.store(torn(before, operand), Ordering::Release);
                before
            })*
        }
    };
}

atomic!(AtomicBool, bool, [swap: |_, new| new]);
atomic!(AtomicU64, u64, [fetch_add: u64::wrapping_add]);
atomic!(AtomicUsize, usize, [fetch_add: usize::wrapping_add, fetch_sub: usize::wrapping_sub]);

impl AtomicUsize {
    /// As [`AtomicBool::store`].
    pub(crate) fn store(&self, value: usize, order: Ordering) {
        self.0.swap(value, of_store(order));
    }

    pub(crate) fn fetch_update(
        &self,
        set: Ordering,
        fetch: Ordering,
        update: impl Fn(usize) -> Option<usize>,
    ) -> Result<usize, usize> {
        if !is(Weakness::Torn) {
            return self.0.fetch_update(of_update(set), of_load(fetch), update);
        }
        let before = self.0.load(Ordering::Acquire);
        let after = update(before).ok_or(before)?;
        self.0.store(after, Ordering::Release);
        Ok(before)
    }
}
