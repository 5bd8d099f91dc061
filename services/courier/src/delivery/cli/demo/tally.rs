//! What the demo has seen: which event was accepted, arrived and was answered, and in what order.
//!
//! - An event is *lost* when its publisher got 202, no 2xx was ever given for it, and it is not a
//!   dead letter.
//! - An event is *out of order* when it arrives before its predecessor of the same customer got its
//!   2xx. A re-delivery is not: at least once is the promise.

use super::events::Event;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    accepted: Option<Instant>,
    answered: Option<Instant>,
    arrivals: u32,
}

#[derive(Debug)]
pub(super) struct Tally {
    seen: Vec<Seen>,
    /// The key and sequence of each event.
    places: Vec<(usize, usize)>,
    /// How many events of each key were answered, from the first on without a gap.
    answered_of_key: Vec<usize>,
    /// Which events of each key were answered beyond that.
    ahead_of_key: Vec<Vec<usize>>,
    pub(super) accepted: usize,
    pub(super) answered: usize,
    pub(super) arrivals: u64,
    pub(super) out_of_order: u64,
    pub(super) bad_signatures: u64,
    pub(super) in_flight: usize,
    pub(super) in_flight_peak: usize,
    first_accepted: Option<Instant>,
    pub(super) last_answered: Option<Instant>,
}

impl Tally {
    pub(super) fn new(events: &[Event]) -> Self {
        let keys = events.iter().map(|event| event.key + 1).max().unwrap_or(0);
        Self {
            seen: vec![Seen::default(); events.len()],
            places: events.iter().map(|e| (e.key, e.sequence)).collect(),
            answered_of_key: vec![0; keys],
            ahead_of_key: vec![Vec::new(); keys],
            accepted: 0,
            answered: 0,
            arrivals: 0,
            out_of_order: 0,
            bad_signatures: 0,
            in_flight: 0,
            in_flight_peak: 0,
            first_accepted: None,
            last_answered: None,
        }
    }

    /// The publisher got 202 for this event.
    pub(super) fn accept(&mut self, event: usize, at: Instant) {
        if self.seen[event].accepted.is_none() {
            self.seen[event].accepted = Some(at);
            self.accepted += 1;
            self.first_accepted.get_or_insert(at);
        }
    }

    /// The event reaches the receiver; answers how often it had before.
    pub(super) fn arrive(&mut self, event: usize) -> u32 {
        let (key, sequence) = self.places[event];
        if sequence > self.answered_of_key[key] {
            self.out_of_order += 1;
        }
        self.arrivals += 1;
        self.in_flight += 1;
        self.in_flight_peak = self.in_flight_peak.max(self.in_flight);
        let before = self.seen[event].arrivals;
        self.seen[event].arrivals += 1;
        before
    }

    /// The receiver leaves this event without a 2xx.
    pub(super) fn refuse(&mut self) {
        self.in_flight -= 1;
    }

    /// The receiver gives this event its 2xx.
    pub(super) fn answer(&mut self, event: usize, at: Instant) {
        self.in_flight -= 1;
        self.last_answered = Some(at);
        if self.seen[event].answered.is_some() {
            return;
        }
        self.seen[event].answered = Some(at);
        self.answered += 1;
        let (key, sequence) = self.places[event];
        let ahead = &mut self.ahead_of_key[key];
        ahead.push(sequence);
        while let Some(next) = ahead.iter().position(|&s| s == self.answered_of_key[key]) {
            ahead.swap_remove(next);
            self.answered_of_key[key] += 1;
        }
    }

    /// The events that were accepted and never got a 2xx.
    pub(super) fn missing(&self) -> Vec<usize> {
        (0..self.seen.len())
            .filter(|&event| {
                self.seen[event].accepted.is_some() && self.seen[event].answered.is_none()
            })
            .collect()
    }

    /// From the first 202 to the last 2xx.
    pub(super) fn duration(&self) -> Duration {
        match (self.first_accepted, self.last_answered) {
            (Some(first), Some(last)) => last.saturating_duration_since(first),
            _ => Duration::ZERO,
        }
    }

    /// The times from the 202 to the receiver's 2xx, sorted. A webhook may be there before its
    /// publisher has read the 202: that took no time.
    pub(super) fn latencies(&self) -> Vec<Duration> {
        let mut latencies: Vec<Duration> = self
            .seen
            .iter()
            .filter_map(|seen| Some(seen.answered?.saturating_duration_since(seen.accepted?)))
            .collect();
        latencies.sort_unstable();
        latencies
    }
}

/// The smallest of the sorted values that at least `percent` of them do not exceed.
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(key: usize, sequence: usize) -> Event {
        Event {
            id: format!("{key}-{sequence}"),
            kind: String::new(),
            key,
            sequence,
            payload: String::new(),
        }
    }

    fn tally() -> Tally {
        Tally::new(&[event(0, 0), event(0, 1), event(1, 0), event(0, 2)])
    }

    #[test]
    fn an_order_that_is_kept_counts_nothing_also_with_a_redelivery() {
        let now = Instant::now();
        let mut tally = tally();
        assert_eq!(tally.arrive(0), 0);
        tally.refuse();
        assert_eq!(tally.arrive(0), 1);
        tally.answer(0, now);
        assert_eq!(tally.arrive(2), 0);
        tally.arrive(1);
        tally.answer(1, now);
        // The sender was killed before it read the answer.
        tally.arrive(1);
        tally.answer(1, now);
        tally.arrive(3);
        tally.answer(3, now);
        tally.answer(2, now);
        assert_eq!(tally.out_of_order, 0);
        assert_eq!((tally.answered, tally.arrivals), (4, 6));
        assert_eq!((tally.in_flight, tally.in_flight_peak), (0, 2));
    }

    #[test]
    fn an_event_before_its_predecessors_answer_is_out_of_order() {
        let now = Instant::now();
        let mut tally = tally();
        tally.arrive(0);
        tally.arrive(1);
        assert_eq!(tally.out_of_order, 1);
        tally.answer(1, now);
        tally.arrive(3);
        assert_eq!(tally.out_of_order, 2);
        tally.answer(0, now);
        tally.arrive(3);
        assert_eq!(tally.out_of_order, 2);
    }

    #[test]
    fn what_was_accepted_and_not_answered_is_missing() {
        let now = Instant::now();
        let mut tally = tally();
        tally.accept(0, now);
        tally.accept(1, now);
        tally.accept(1, now);
        tally.arrive(0);
        tally.answer(0, now + Duration::from_millis(5));
        assert_eq!(tally.accepted, 2);
        assert_eq!(tally.missing(), [1]);
        assert_eq!(tally.duration(), Duration::from_millis(5));
        assert_eq!(tally.latencies(), [Duration::from_millis(5)]);
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(100));
        assert_eq!(percentile(&times, 99), Duration::from_millis(198));
        assert_eq!(percentile(&times[..1], 50), Duration::from_millis(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
