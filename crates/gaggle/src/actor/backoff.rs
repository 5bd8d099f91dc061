//! How long to wait before the next attempt.

use std::time::Duration;

/// How long to wait before a child that failed is started again: longer after each failure in a row, with
/// chance in it, so that those who failed together do not come back together.
///
/// Source: "Exponential Backoff And Jitter" (AWS Architecture Blog), its "equal jitter".
///
/// # Examples
/// ```
/// use gaggle::actor::Backoff;
/// use std::time::Duration;
/// let backoff = Backoff::exponential(Duration::from_millis(10), Duration::from_secs(1));
/// assert_eq!(backoff.bounds(0), (Duration::from_millis(5), Duration::from_millis(10)));
/// assert_eq!(backoff.bounds(2), (Duration::from_millis(20), Duration::from_millis(40)));
/// assert_eq!(backoff.bounds(60), (Duration::from_millis(500), Duration::from_secs(1)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    /// No wait.
    pub const fn none() -> Self {
        Backoff::exponential(Duration::ZERO, Duration::ZERO)
    }

    /// `first` after the first failure, twice as long after each further one in a row, `max` at most; of
    /// which the last half is left to chance.
    pub const fn exponential(first: Duration, max: Duration) -> Self {
        Backoff { first, max }
    }

    /// The shortest and the longest wait after a failure that `before` others came before, in a row.
    pub fn bounds(&self, before: u32) -> (Duration, Duration) {
        let factor = 1u32.checked_shl(before).unwrap_or(u32::MAX);
        let longest = self.first.saturating_mul(factor).min(self.max);
        (longest / 2, longest)
    }

    /// The wait that `random` chooses within the bounds.
    pub(super) fn wait(&self, before: u32, random: u64) -> Duration {
        let (shortest, longest) = self.bounds(before);
        let room = u64::try_from((longest - shortest).as_nanos()).unwrap_or(u64::MAX);
        let chosen = (u128::from(random) * u128::from(room)) >> 64;
        shortest + Duration::from_nanos(chosen as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_lie_within_the_bounds_at_both_ends_of_chance() {
        let backoff = Backoff::exponential(Duration::from_millis(3), Duration::from_secs(60));
        for before in [0, 1, 5, 14, 31, 32, 1000] {
            let (shortest, longest) = backoff.bounds(before);
            assert_eq!(backoff.wait(before, 0), shortest);
            let most = backoff.wait(before, u64::MAX);
            assert!(most <= longest && most >= longest - Duration::from_nanos(1));
            assert!(longest <= Duration::from_secs(60));
        }
    }

    #[test]
    fn no_backoff_is_no_wait() {
        assert_eq!(Backoff::none().wait(7, u64::MAX), Duration::ZERO);
    }
}
