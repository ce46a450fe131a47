//! The memory for request bodies, which is bounded per process.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::{Code, Problem, metrics as names};

/// A body up to this size is small. Every single message is.
const SMALL_BYTES_MAX: usize = 64 * 1024;

/// The memory that all request bodies of a process may take up. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct BodyBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    used: AtomicUsize,
    bytes_max: usize,
}

impl BodyBudget {
    /// Creates the budget of a process.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Budget { used: AtomicUsize::new(0), bytes_max }))
    }

    /// Adds bytes unless the limit for a body of `size` bytes would be exceeded. Large bodies use at
    /// most three quarters, so that a few of them, sent slowly, do not exclude all small ones.
    fn try_add(&self, bytes: usize, size: usize) -> bool {
        let Budget { used, bytes_max } = &*self.0;
        let limit = if size > SMALL_BYTES_MAX { bytes_max - bytes_max / 4 } else { *bytes_max };
        let add = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= limit);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    fn remove(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The memory for the body of one request, and for the items that were parsed from it. It is
/// released when this is dropped.
#[derive(Debug)]
pub struct BodyMemory {
    /// `None` if the server does not bound it.
    budget: Option<BodyBudget>,
    bytes: usize,
}

impl BodyMemory {
    /// Creates the memory of a body of which nothing has arrived.
    pub(crate) fn new(budget: Option<&BodyBudget>) -> Self {
        Self { budget: budget.cloned(), bytes: 0 }
    }

    /// Changes the number of bytes.
    ///
    /// # Errors
    /// Returns 503 `overloaded` if the process has no memory for more bytes; the number is then
    /// unchanged.
    pub(crate) fn resize(&mut self, bytes: usize) -> Result<(), Problem> {
        if let Some(budget) = &self.budget {
            if bytes <= self.bytes {
                budget.remove(self.bytes - bytes);
            } else if !budget.try_add(bytes - self.bytes, bytes) {
                metrics::counter!(names::HTTP_BODIES_REFUSED_TOTAL).increment(1);
                return Err(Problem::new(Code::Overloaded).detail(
                    "Too many requests are being received. Nothing was written. Retry after \
                     the time in the Retry-After header.",
                ));
            }
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Releases all bytes.
    pub(crate) fn clear(&mut self) {
        if let Some(budget) = &self.budget {
            budget.remove(std::mem::take(&mut self.bytes));
        }
    }
}

impl Drop for BodyMemory {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.remove(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn used(budget: &BodyBudget) -> usize {
        budget.0.used.load(Ordering::Relaxed)
    }

    #[test]
    fn memory_is_bounded_and_released() {
        let budget = BodyBudget::new(100 * KIB);
        let mut first = BodyMemory::new(Some(&budget));
        first.resize(60 * KIB).expect("it fits");
        let mut second = BodyMemory::new(Some(&budget));
        second.resize(40 * KIB).expect("it fits exactly");
        let problem = second.resize(40 * KIB + 1).expect_err("it is full");
        assert_eq!(problem.code(), Code::Overloaded);
        assert_eq!(used(&budget), 100 * KIB, "unchanged");
        first.resize(10 * KIB).expect("less");
        second.resize(60 * KIB).expect("it fits now");
        drop(first);
        assert_eq!(used(&budget), 60 * KIB);
        drop(second);
        assert_eq!(used(&budget), 0);
    }

    #[test]
    fn large_bodies_leave_a_quarter_for_small_ones() {
        let budget = BodyBudget::new(400 * KIB);
        let mut large = BodyMemory::new(Some(&budget));
        large.resize(300 * KIB).expect("three quarters");
        large.resize(301 * KIB).expect_err("more than three quarters");
        let mut small = BodyMemory::new(Some(&budget));
        small.resize(64 * KIB).expect("a small body");
        small.resize(65 * KIB).expect_err("it is large now");
    }
}
