//! What has happened since the process started, as numbers for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        // Relaxed: a statistic; it orders nothing and has no partner.
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The number now.
    pub fn value(&self) -> u64 {
        // Relaxed: a statistic; it orders nothing and has no partner.
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of the use cases.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages stored (replays not counted).
    pub messages_published: Counter,
    /// Requests answered from an earlier one with the same idempotency key.
    pub messages_replayed: Counter,
    /// Messages refused because the queue was full.
    pub queue_full: Counter,
    /// Attempts begun.
    pub attempts: Counter,
    /// Deliveries answered 2xx.
    pub delivered: Counter,
    /// Attempts that failed and will be made again.
    pub attempts_failed: Counter,
    /// Deliveries given up.
    pub dead: Counter,
    /// Endpoints disabled by a 410.
    pub endpoints_disabled: Counter,
    /// Results that came after their lease was taken back.
    pub stale_results: Counter,
    /// Store operations of the dispatcher that failed.
    pub store_errors: Counter,
    /// Lanes that the sweeper found stuck.
    pub stuck_lanes: Counter,
}
