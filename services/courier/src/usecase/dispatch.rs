//! The dispatcher: claims deliveries, gives each to a goroutine of its own, writes what came of it.
//!
//! - P1: never more deliveries are leased than `workers`; a claim asks for the free ones only.
//! - P2: every leased delivery is in `in_flight` until its result is written or its lease given back.
//! - P3: nothing is claimed once stopping has begun.
//! - P4: a wake-up is never lost: whoever makes a delivery ready rings afterwards, and the loop
//!   takes the ring before it claims. And should one be lost all the same: it looks once a second.

use super::counters::Counters;
use super::ports::{Clock, Finish, Outbox, Sender};
use crate::domain::UnixMilliseconds;
use crate::domain::delivery::{Claim, Verdict, judge};
use crate::domain::identifier::DeliveryId;
use crate::domain::retry::RetryPolicy;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many deliveries one claim takes at most: it keeps the writer's transactions short.
const CLAIM_MAX: usize = 512;
/// The poll that finds what no ring told of.
const POLL: Duration = Duration::from_secs(1);
/// How often the stuck-lane sweeper looks.
const SWEEP: Duration = Duration::from_secs(60);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves these plain values whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes the dispatcher. Rings while it is awake are kept as one.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    /// Wakes the one who waits, or the next to wait. Does not block.
    pub fn ring(&self) {
        let mut rung = locked(&self.rung);
        if !*rung {
            *rung = true;
            self.changed.notify_one();
        }
    }

    /// Blocks this goroutine until a ring, which it takes, or for `patience`.
    pub fn wait(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let mut rung = locked(&self.rung);
        while !*rung {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            rung = self
                .changed
                .wait_timeout(rung, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *rung = false;
    }
}

/// How the dispatcher works.
#[derive(Clone, Copy, Debug)]
pub struct DispatchSettings {
    /// The most deliveries in flight at once.
    pub workers: usize,
    /// How long a lease lasts; longer than an attempt can take.
    pub lease: Duration,
    /// When failed attempts are made again.
    pub retry: RetryPolicy,
}

#[derive(Debug, Default)]
struct Flight {
    /// Each leased delivery and its fence (P2).
    leases: HashMap<DeliveryId, i64>,
    /// Whether the last claim found all workers busy, so that a freed one has to ring.
    saturated: bool,
    stopping: bool,
}

/// Claims and delivers. One for each outbox.
pub struct Dispatcher {
    outbox: Arc<dyn Outbox>,
    sender: Arc<dyn Sender>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    bell: Arc<Bell>,
    settings: DispatchSettings,
    flight: Mutex<Flight>,
    /// Signalled when the last delivery in flight has ended.
    landed: Condvar,
}

/// Ends a flight when its goroutine ends, also by a panic; the lease then expires and is charged.
struct Landing<'a> {
    dispatcher: &'a Dispatcher,
    delivery: DeliveryId,
    fence: i64,
    ring: bool,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut flight = locked(&self.dispatcher.flight);
        // Should the lease have expired, the entry may be that of a later one.
        if flight.leases.get(&self.delivery) == Some(&self.fence) {
            flight.leases.remove(&self.delivery);
        }
        let ring = self.ring || flight.saturated;
        if flight.leases.is_empty() {
            self.dispatcher.landed.notify_all();
        }
        drop(flight);
        if ring {
            self.dispatcher.bell.ring();
        }
    }
}

impl Dispatcher {
    /// A dispatcher that has not begun: see [`Dispatcher::run`].
    pub fn new(
        outbox: Arc<dyn Outbox>,
        sender: Arc<dyn Sender>,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
        bell: Arc<Bell>,
        settings: DispatchSettings,
    ) -> Arc<Self> {
        Arc::new(Self {
            outbox,
            sender,
            clock,
            counters,
            bell,
            settings,
            flight: Mutex::default(),
            landed: Condvar::new(),
        })
    }

    /// How many deliveries are in flight.
    pub fn in_flight(&self) -> usize {
        locked(&self.flight).leases.len()
    }

    /// Claims and delivers until [`Dispatcher::stop`]. Blocks this goroutine.
    pub fn run(self: &Arc<Self>) {
        let mut swept = Instant::now();
        while let Some(free) = self.free_workers() {
            let patience = if free == 0 {
                POLL
            } else {
                match self.claim_and_start(free.min(CLAIM_MAX)) {
                    Some(patience) => patience,
                    None => continue,
                }
            };
            self.bell.wait(patience);
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                self.sweep();
            }
        }
    }

    /// `None` once stopping has begun.
    fn free_workers(&self) -> Option<usize> {
        let mut flight = locked(&self.flight);
        let free = self.settings.workers.saturating_sub(flight.leases.len());
        flight.saturated = free == 0;
        (!flight.stopping).then_some(free)
    }

    /// Answers how long to wait for the next claim; `None`: there may be more right now.
    fn claim_and_start(self: &Arc<Self>, limit: usize) -> Option<Duration> {
        let now = self.clock.now();
        let lease = i64::try_from(self.settings.lease.as_millis()).unwrap_or(i64::MAX);
        let attempts_max = self.settings.retry.attempts_max;
        let claimed = self
            .outbox
            .claim(limit, now, now.saturating_add(lease), attempts_max);
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                self.counters.store_errors.increment();
                eprintln!("courier: cannot claim deliveries: {error}");
                return Some(POLL);
            }
        };
        let full = claimed.claims.len() == limit;
        self.start(claimed.claims);
        if full {
            return None;
        }
        Some(patience(claimed.next_due, self.clock.now()))
    }

    fn start(self: &Arc<Self>, claims: Vec<Claim>) {
        {
            let mut flight = locked(&self.flight);
            flight
                .leases
                .extend(claims.iter().map(|c| (c.delivery, c.fence)));
            debug_assert!(flight.leases.len() <= self.settings.workers, "P1");
        }
        for claim in claims {
            let dispatcher = Arc::clone(self);
            drop(gaggle::go(move || dispatcher.deliver(&claim)));
        }
    }

    fn deliver(&self, claim: &Claim) {
        let mut landing = Landing {
            dispatcher: self,
            delivery: claim.delivery,
            fence: claim.fence,
            ring: false,
        };
        self.counters.attempts.increment();
        let message = claim.message.text(self.outbox.tag());
        let outcome = self.sender.send(claim, &message, self.clock.now());
        let now = self.clock.now();
        let retry = &self.settings.retry;
        let verdict = judge(&outcome, claim.attempt, retry, now, rand::random());
        let counter = match &verdict {
            Verdict::Delivered => &self.counters.delivered,
            Verdict::Retry { .. } => &self.counters.attempts_failed,
            Verdict::Dead => &self.counters.dead,
            Verdict::DisableEndpoint => &self.counters.endpoints_disabled,
        };
        // A retry changes when the dispatcher has to look next.
        let retried = matches!(verdict, Verdict::Retry { .. });
        let finished = self.outbox.finish(Finish {
            delivery: claim.delivery,
            fence: claim.fence,
            verdict,
            outcome,
            now,
        });
        match finished {
            Ok(finished) if finished.applied => {
                counter.increment();
                landing.ring = finished.readied || retried;
            }
            Ok(_) => self.counters.stale_results.increment(),
            Err(error) => {
                // The lease stands and expires: the attempt is made again, at least once holds.
                self.counters.store_errors.increment();
                eprintln!("courier: cannot write the result of a delivery: {error}");
            }
        }
    }

    fn sweep(&self) {
        match self.outbox.sweep_stuck_lanes() {
            Ok(0) => {}
            Ok(found) => {
                self.counters.stuck_lanes.add(found as u64);
                eprintln!("courier: {found} lanes were stuck and go on");
                self.bell.ring();
            }
            Err(error) => eprintln!("courier: cannot look for stuck lanes: {error}"),
        }
    }

    /// Stops claiming. Does not block.
    pub fn stop(&self) {
        locked(&self.flight).stopping = true;
        self.bell.ring();
    }

    /// Waits until nothing is in flight, for `patience` at most, then gives the rest back without
    /// charging the attempt: their late results are void. Call it after [`Dispatcher::stop`], when
    /// [`Dispatcher::run`] has returned. Blocks this goroutine. Answers how many were given back.
    pub fn drain(&self, patience: Duration) -> usize {
        let end = Instant::now() + patience;
        let mut flight = locked(&self.flight);
        while !flight.leases.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            flight = self
                .landed
                .wait_timeout(flight, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let rest: Vec<_> = flight.leases.drain().collect();
        drop(flight);
        if rest.is_empty() {
            return 0;
        }
        self.outbox.release(rest).unwrap_or_else(|error| {
            eprintln!("courier: cannot give leases back, they are taken back at start: {error}");
            0
        })
    }
}

fn patience(next_due: Option<UnixMilliseconds>, now: UnixMilliseconds) -> Duration {
    next_due.map_or(POLL, |due| {
        Duration::from_millis(due.saturating_sub(now).max(0).unsigned_abs()).min(POLL)
    })
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
