//! The score of a page, which measures how unusual its number of visitors is.

/// Returns how unusual a number of visitors is, given the expected number: positive for more
/// visitors than expected, negative for fewer.
///
/// If visitors arrive independently, their number has a Poisson distribution. The score is the
/// signed deviance residual, `sign(n - m) sqrt(2 (n ln(n / m) - (n - m)))`, of the number `n` for
/// the expected number `m` (McCullagh and Nelder, "Generalized Linear Models", 2nd edition, 1989,
/// section 2.4.3). It is approximately the number of standard deviations from the expected number,
/// even for small numbers. An increase from 50 to 150 scores 11.4; an increase from 5,000 to 5,150
/// scores 2.1. The expected number is raised to at least 1, so three visitors score only 1.6 if
/// none were expected.
#[must_use]
pub fn score(visitors: f64, expected: f64) -> f64 {
    let expected = expected.max(1.0);
    let difference = visitors - expected;
    let weighted = if visitors > 0.0 { visitors * (visitors / expected).ln() } else { 0.0 };
    // Rounding may yield a negative number if `visitors` and `expected` are nearly equal.
    (2.0 * (weighted - difference)).max(0.0).sqrt().copysign(difference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlikely_increase_scores_higher_than_a_larger_increase() {
        let close = |score: f64, expected: f64| (score - expected).abs() < 0.05;
        assert!(close(score(150.0, 50.0), 11.4) && close(score(5_150.0, 5_000.0), 2.1));
        assert!(close(score(3.0, 1.0), 1.6) && close(score(3.0, 0.0), 1.6));
        assert!(close(score(50.0, 150.0), -9.5), "{}", score(50.0, 150.0));
        assert!(close(score(0.0, 50.0), -10.0) && close(score(7.0, 7.0), 0.0));
    }
}
