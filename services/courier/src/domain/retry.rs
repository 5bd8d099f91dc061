//! When a failed attempt is made again.

use super::UnixMilliseconds;

/// Exponential delays with jitter, and an end.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// The delay after the first failure, in milliseconds.
    pub base_milliseconds: u64,
    /// The longest delay, also of a receiver's Retry-After, in milliseconds.
    pub cap_milliseconds: u64,
    /// How many attempts are made before the delivery is dead.
    pub attempts_max: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base_milliseconds: 5_000,
            cap_milliseconds: 3_600_000,
            attempts_max: 16,
        }
    }
}

impl RetryPolicy {
    /// The delay after `attempt` (counted from 1) failed, in milliseconds: half of
    /// `base * 2^(attempt - 1)`, and a random part of the other half, so that receivers which failed
    /// together are not called again together. `random` is uniform over all of u64. A receiver's
    /// `retry_after` is a lower bound. Neither goes over the cap.
    pub fn delay_milliseconds(&self, attempt: u32, random: u64, retry_after: Option<u64>) -> u64 {
        let doublings = attempt.saturating_sub(1).min(63);
        let whole = self
            .base_milliseconds
            .saturating_mul(1 << doublings)
            .min(self.cap_milliseconds);
        let half = whole / 2;
        let jittered = half + random % (whole - half + 1);
        jittered
            .max(retry_after.unwrap_or(0))
            .min(self.cap_milliseconds)
    }

    /// When to try again after `attempt` failed at `now`; `None`: no attempt is left.
    pub fn next_attempt(
        &self,
        attempt: u32,
        now: UnixMilliseconds,
        random: u64,
        retry_after: Option<u64>,
    ) -> Option<UnixMilliseconds> {
        (attempt < self.attempts_max).then(|| {
            let delay = self.delay_milliseconds(attempt, random, retry_after);
            now.saturating_add(i64::try_from(delay).unwrap_or(i64::MAX))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        base_milliseconds: 100,
        cap_milliseconds: 10_000,
        attempts_max: 5,
    };

    #[test]
    fn delays_double_and_stay_between_half_and_whole() {
        for (attempt, whole) in [(1, 100), (2, 200), (3, 400), (7, 6_400)] {
            assert_eq!(POLICY.delay_milliseconds(attempt, 0, None), whole / 2);
            assert_eq!(POLICY.delay_milliseconds(attempt, whole / 2, None), whole);
            for random in [1, 77, u64::MAX] {
                let delay = POLICY.delay_milliseconds(attempt, random, None);
                assert!((whole / 2..=whole).contains(&delay), "{attempt} {random}");
            }
        }
    }

    #[test]
    fn delays_are_capped_however_many_attempts() {
        for attempt in [8, 20, 64, 1_000, u32::MAX] {
            assert!(POLICY.delay_milliseconds(attempt, u64::MAX, None) <= 10_000);
            assert!(POLICY.delay_milliseconds(attempt, 0, None) >= 5_000);
        }
    }

    #[test]
    fn retry_after_is_honoured_up_to_the_cap() {
        assert_eq!(POLICY.delay_milliseconds(1, 0, Some(3_000)), 3_000);
        assert_eq!(POLICY.delay_milliseconds(1, 0, Some(10)), 50);
        assert_eq!(POLICY.delay_milliseconds(1, 0, Some(u64::MAX)), 10_000);
    }

    #[test]
    fn no_attempt_is_left_after_the_last() {
        assert_eq!(POLICY.next_attempt(4, 1_000, 0, None), Some(1_400));
        assert_eq!(POLICY.next_attempt(5, 1_000, 0, None), None);
    }
}
