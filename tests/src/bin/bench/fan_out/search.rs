//! Looks for the highest rate that passes: in large steps until one fails, then halving between.

/// Where a search begins that knows nothing, in messages a second, and how much faster each of its
/// large steps is than the one before.
const ANYWHERE: (f64, f64) = (128.0, 4.0);
/// The same, as parts of what was found before.
const NEAR: (f64, f64) = (0.85, 1.4);
/// Where a search gives up, on either side.
const BOUNDS: (f64, f64) = (1.0, 200_000.0);

/// A search, and what it knows so far. All rates are in messages a second.
#[derive(Debug)]
pub struct Search {
    first: f64,
    factor: f64,
    /// How near to the highest rate it comes, as a factor.
    precision: f64,
    passed: Option<f64>,
    failed: Option<f64>,
}

impl Search {
    /// Begins anywhere, or where the last search ended.
    pub fn new(before: Option<f64>, precision: f64) -> Self {
        let (first, factor) = before.map_or(ANYWHERE, |rate| (rate * NEAR.0, NEAR.1));
        Self { first, factor, precision, passed: None, failed: None }
    }

    /// What to try next; nothing when the limit is known.
    pub fn next(&self) -> Option<f64> {
        let next = match (self.passed, self.failed) {
            (None, None) => self.first,
            (Some(passed), None) => passed * self.factor,
            (None, Some(failed)) => failed / self.factor,
            (Some(passed), Some(failed)) if failed / passed <= self.precision => return None,
            (Some(passed), Some(failed)) => (passed * failed).sqrt(),
        };
        (BOUNDS.0..=BOUNDS.1).contains(&next).then_some(next)
    }

    /// Notes how a try went.
    pub fn note(&mut self, rate: f64, passed: bool) {
        let noted = if passed { &mut self.passed } else { &mut self.failed };
        *noted = Some(rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(limit: f64, before: Option<f64>) -> (Option<f64>, usize) {
        let (mut search, mut steps) = (Search::new(before, 1.1), 0);
        while let Some(rate) = search.next() {
            search.note(rate, rate <= limit);
            steps += 1;
        }
        (search.passed, steps)
    }

    #[test]
    fn the_limit_is_found_closely_and_soon_wherever_it_is() {
        for limit in [3.0, 127.0, 128.0, 900.0, 20_000.0] {
            let (found, steps) = find(limit, None);
            let found = found.expect("something passes");
            assert!(found <= limit && limit < found * 1.1, "{found} for {limit}");
            assert!(steps <= 10, "{steps} for {limit}");
        }
    }

    #[test]
    fn it_is_found_sooner_where_it_was_before() {
        let (found, steps) = find(900.0, Some(850.0));
        assert!(found.is_some_and(|found| (820.0..=900.0).contains(&found)) && steps <= 4);
        let (found, steps) = find(300.0, Some(850.0));
        assert!(found.is_some_and(|found| (270.0..=300.0).contains(&found)) && steps <= 6);
    }

    #[test]
    fn where_nothing_passes_nothing_is_found() {
        assert_eq!(find(0.5, None).0, None);
    }

    #[test]
    fn where_everything_passes_a_search_ends_too() {
        assert!(find(f64::INFINITY, None).0.is_some_and(|found| found <= BOUNDS.1));
    }
}
