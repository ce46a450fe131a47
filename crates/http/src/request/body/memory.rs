//! The memory budget of a server for request bodies and incomplete heads.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::{Code, Problem, metrics as names};

/// The maximum size of a small body, in bytes. The body of a single message is never larger.
const SMALL_BYTES_MAX: usize = 64 * 1024;

/// The memory budget for all request bodies and incomplete heads of a server. Clones share the
/// budget.
#[derive(Clone, Debug)]
pub(crate) struct BodyBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    used: AtomicUsize,
    bytes_max: usize,
}

impl BodyBudget {
    /// Creates a budget of `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Budget { used: AtomicUsize::new(0), bytes_max }))
    }

    /// Adds `bytes` unless the limit for a body of `size` bytes would be exceeded. Returns whether
    /// the bytes were added. The limit for large bodies is three quarters of the budget, so that
    /// large bodies that arrive slowly leave memory for small ones.
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

/// The memory that is reserved for a request body and the items parsed from the body, or for an
/// incomplete head. The memory is released on drop.
#[derive(Debug)]
pub struct BodyMemory {
    /// `None` if the memory is not limited.
    budget: Option<BodyBudget>,
    bytes: usize,
}

impl BodyMemory {
    /// Creates a reservation of 0 bytes. If `budget` is `None`, the memory is not limited.
    pub(crate) fn new(budget: Option<&BodyBudget>) -> Self {
        Self { budget: budget.cloned(), bytes: 0 }
    }

    /// Changes the number of reserved bytes.
    ///
    /// # Errors
    /// Returns 503 `overloaded` if the budget is exhausted. The number of reserved bytes is then
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
        first.resize(60 * KIB).expect("60 of 100 KiB");
        let mut second = BodyMemory::new(Some(&budget));
        second.resize(40 * KIB).expect("exactly the rest of the budget");
        let problem = second.resize(40 * KIB + 1).expect_err("the budget is exhausted");
        assert_eq!(problem.code(), Code::Overloaded);
        assert_eq!(used(&budget), 100 * KIB, "unchanged");
        first.resize(10 * KIB).expect("a smaller reservation");
        second.resize(60 * KIB).expect("the released bytes are available");
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
        small.resize(65 * KIB).expect_err("a large body");
    }
}
