//! How long goroutines that could run waited for a processor: a histogram, of one in 32 of the times that
//! a goroutine was readied.
//!
//! The sample is chosen by a count in the goroutine's own record, which belongs to whoever readies it (as
//! in Go, whose `gTrackingPeriod` is 8), so most wakes cost one addition.
//!
//! The bounds grow by about a quarter: four to each power of two from 2^7 ns to 2^37 ns, and one range
//! below and one above.

use crate::g::G;
use gaggle_sys::clock;
use std::sync::atomic::{AtomicU64, Ordering};

/// One in how many wakes is measured.
const PERIOD: u8 = 32;

/// The least power of two of nanoseconds that has ranges of its own, and the first that has none.
const POWERS: std::ops::Range<u32> = 7..37;
/// Ranges to each power of two.
const RANGES: usize = 4;
/// All ranges.
const COUNT: usize = POWERS.end.abs_diff(POWERS.start) as usize * RANGES + 2;

static COUNTS: [AtomicU64; COUNT] = [const { AtomicU64::new(0) }; COUNT];

/// `g`, which the caller holds, is about to be put into a run queue.
#[inline]
pub fn readied(g: &G) {
    let times = g.times_readied.get().wrapping_add(1);
    g.times_readied.set(times);
    if times.is_multiple_of(PERIOD) {
        begin(g);
    }
}

#[cold]
fn begin(g: &G) {
    g.ready_at.set(clock::now());
}

/// `g`, which the caller holds, is about to run.
#[inline]
pub fn runs(g: &G) {
    if g.ready_at.get() != 0 {
        end(g);
    }
}

#[cold]
fn end(g: &G) {
    let waited = clock::now().saturating_sub(g.ready_at.replace(0));
    // Relaxed: a figure to report.
    COUNTS[range_of(waited)].fetch_add(1, Ordering::Relaxed);
}

/// Which range a wait of so many nanoseconds is in.
fn range_of(nanos: u64) -> usize {
    let power = nanos.max(1).ilog2();
    if power < POWERS.start {
        return 0;
    }
    if power >= POWERS.end {
        return COUNT - 1;
    }
    let quarter = (nanos >> (power - 2)) as usize & (RANGES - 1);
    1 + (power - POWERS.start) as usize * RANGES + quarter
}

/// The histogram: how many waits were in each range, and the ranges' bounds in seconds, one more than
/// there are ranges.
pub fn histogram() -> (Vec<u64>, Vec<f64>) {
    // Relaxed: figures to report.
    let counts = COUNTS.iter().map(|count| count.load(Ordering::Relaxed));
    let inner = POWERS.flat_map(|power| {
        (0..RANGES)
            .map(move |quarter| ((1u64 << power) + ((quarter as u64) << (power - 2))) as f64 / 1e9)
    });
    let mut bounds = vec![0.0];
    bounds.extend(inner);
    bounds.push((1u64 << POWERS.end) as f64 / 1e9);
    bounds.push(f64::INFINITY);
    (counts.collect(), bounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_in_the_range_whose_bounds_enclose_it() {
        let (counts, bounds) = histogram();
        assert_eq!(counts.len() + 1, bounds.len());
        assert!(
            bounds.windows(2).all(|pair| pair[0] < pair[1]),
            "{bounds:?}"
        );
        for shift in 0..40 {
            for nanos in [
                1u64 << shift,
                (1 << shift) + (1 << shift) / 3,
                (2 << shift) - 1,
            ] {
                let range = range_of(nanos);
                let seconds = nanos as f64 / 1e9;
                assert!(bounds[range] <= seconds, "{nanos}");
                assert!(seconds < bounds[range + 1], "{nanos}");
            }
        }
    }
}
