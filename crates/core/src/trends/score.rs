//! The score of a page: how unusual its number of visitors is.

/// Returns how unusual a number of visitors is, given the expected number: positive for more
/// visitors than expected, negative for fewer.
///
/// Visitors who arrive independently are a Poisson count. The score is its signed deviance
/// residual, `sign(n - m) sqrt(2 (n ln(n / m) - (n - m)))` (McCullagh and Nelder, "Generalized
/// Linear Models", 2nd edition, 1989, section 2.4.3): approximately the number of standard
/// deviations from the expectation, for small counts too. An increase from 50 to 150 scores 11.4,
/// one from 5,000 to 5,150 scores 2.1. At least one visitor is always expected, so that an increase
/// from one to three scores no more than 1.6.
#[must_use]
pub fn score(visitors: f64, expected: f64) -> f64 {
    let expected = expected.max(1.0);
    let difference = visitors - expected;
    let weighted = if visitors > 0.0 { visitors * (visitors / expected).ln() } else { 0.0 };
    // Rounding may yield a negative number if both are nearly equal.
    (2.0 * (weighted - difference)).max(0.0).sqrt().copysign(difference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlikely_growth_scores_higher_than_a_greater_number() {
        let close = |score: f64, expected: f64| (score - expected).abs() < 0.05;
        assert!(close(score(150.0, 50.0), 11.4) && close(score(5_150.0, 5_000.0), 2.1));
        assert!(close(score(3.0, 1.0), 1.6) && close(score(3.0, 0.0), 1.6));
        assert!(close(score(50.0, 150.0), -9.5), "{}", score(50.0, 150.0));
        assert!(close(score(0.0, 50.0), -10.0) && close(score(7.0, 7.0), 0.0));
    }
}
