//! What a pool knows: which connections rest, who waits, and the figures. Decisions only; nothing here
//! blocks or talks to a database.
//!
//! - L1: who waits implies that nothing rests and that as many connections are open as may be.
//! - L2: who waits is served in the order they came; what is free goes to them, not to newcomers.
//! - L3: a connection that is open rests, is in use, is on its way to a waiter, or is being opened: each is
//!   counted in `open`, and whoever has it gives it back or discounts it.

use crate::session::Session;
use gaggle::chan::Sender;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// The limits of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// 0: none.
    pub(crate) max_open: usize,
    pub(crate) max_idle: usize,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) max_idle_time: Option<Duration>,
}

/// A connection, with what the limits need to know of it.
pub(crate) struct Entry {
    pub(crate) session: Box<dyn Session>,
    opened: Instant,
    rested_since: Instant,
}

impl Entry {
    pub(crate) fn new(session: Box<dyn Session>) -> Entry {
        let now = Instant::now();
        Entry {
            session,
            opened: now,
            rested_since: now,
        }
    }
}

/// What a waiter is given.
pub(crate) enum Grant {
    /// A connection.
    Entry(Entry),
    /// The right to open one, counted already (L3).
    Place,
}

/// Something for a waiter, to be sent when the lock is free.
#[must_use = "the waiter waits for it"]
pub(crate) struct Delivery {
    to: Sender<Grant>,
    grant: Grant,
}

impl Delivery {
    pub(crate) fn send(self) {
        // There is room for the one grant; a waiter that gave up takes it too, and passes it on.
        let sent = self.to.try_send(self.grant);
        debug_assert!(sent.is_ok(), "a waiter waits until it has left the queue");
    }
}

/// Figures of a pool, as Go's `sql.DBStats` has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// How many connections may be open; 0: any number.
    pub max_open: usize,
    /// How many are open, those that are being opened included.
    pub open: usize,
    /// How many of them are in use.
    pub in_use: usize,
    /// How many of them rest.
    pub idle: usize,
    /// How many goroutines wait for one now.
    pub waiting: usize,
    /// How often somebody had to wait for one.
    pub wait_count: u64,
    /// How long they waited, in all.
    pub wait_duration: Duration,
    /// How many were closed because enough rested.
    pub closed_max_idle: u64,
    /// How many were closed because they had rested for too long.
    pub closed_max_idle_time: u64,
    /// How many were closed because they were too old.
    pub closed_max_lifetime: u64,
    /// How many were closed because they had broken.
    pub closed_broken: u64,
}

/// What to do for somebody who wants a connection.
pub(crate) enum Chosen {
    Entry(Entry),
    /// Open one; it is counted.
    Open,
    /// Wait; this is one's number.
    Wait(u64),
    Closed,
}

/// What a pool knows.
pub(crate) struct State {
    pub(crate) limits: Limits,
    pub(crate) is_closed: bool,
    /// Whether a look at the resting connections is due some time.
    pub(crate) is_cleaning: bool,
    open: usize,
    /// The one that was given back last is last.
    idle: VecDeque<Entry>,
    /// By number, so that the first is who came first (L2).
    waiting: BTreeMap<u64, Sender<Grant>>,
    next_number: u64,
    figures: Statistics,
}

impl State {
    pub(crate) fn new(limits: Limits) -> State {
        State {
            limits,
            is_closed: false,
            is_cleaning: false,
            open: 0,
            idle: VecDeque::new(),
            waiting: BTreeMap::new(),
            next_number: 0,
            figures: Statistics::default(),
        }
    }

    fn may_open(&self) -> bool {
        self.limits.max_open == 0 || self.open < self.limits.max_open
    }

    /// Chooses for somebody who comes; `waiter` makes what a waiter is given grants by. Expired
    /// connections are put into `dead`, to be dropped when the lock is free.
    pub(crate) fn choose(
        &mut self,
        waiter: impl FnOnce() -> Sender<Grant>,
        dead: &mut Vec<Entry>,
    ) -> Chosen {
        if self.is_closed {
            return Chosen::Closed;
        }
        let now = Instant::now();
        while let Some(entry) = self.idle.pop_back() {
            if !self.is_expired(&entry, now) {
                return Chosen::Entry(entry);
            }
            self.open -= 1;
            dead.push(entry);
        }
        if self.may_open() {
            self.open += 1;
            return Chosen::Open;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.waiting.insert(number, waiter());
        self.figures.wait_count += 1;
        Chosen::Wait(number)
    }

    /// Notes how long somebody waited. `false`: a grant is on its way to them, or there.
    pub(crate) fn end_wait(&mut self, number: u64, waited: Duration) -> bool {
        self.figures.wait_duration += waited;
        self.waiting.remove(&number).is_some()
    }

    /// Takes a connection back. What is not kept is put into `dead`.
    pub(crate) fn put(
        &mut self,
        mut entry: Entry,
        is_broken: bool,
        dead: &mut Vec<Entry>,
    ) -> Option<Delivery> {
        let now = Instant::now();
        let is_over = self.limits.max_open != 0 && self.open > self.limits.max_open;
        self.figures.closed_broken += u64::from(is_broken);
        if is_broken || is_over || self.is_closed || self.is_old(&entry, now) {
            dead.push(entry);
            return self.discount();
        }
        entry.rested_since = now;
        if let Some((_, to)) = self.waiting.pop_first() {
            let grant = Grant::Entry(entry);
            return Some(Delivery { to, grant });
        }
        if self.idle.len() < self.limits.max_idle {
            self.idle.push_back(entry);
            return None;
        }
        self.figures.closed_max_idle += 1;
        dead.push(entry);
        self.discount()
    }

    /// One connection fewer: somebody who waits may open one instead.
    pub(crate) fn discount(&mut self) -> Option<Delivery> {
        self.open -= 1;
        self.next_place()
    }

    /// Lets the first waiter open a connection, if that may be.
    pub(crate) fn next_place(&mut self) -> Option<Delivery> {
        if self.is_closed || !self.may_open() {
            return None;
        }
        let (_, to) = self.waiting.pop_first()?;
        self.open += 1;
        let grant = Grant::Place;
        Some(Delivery { to, grant })
    }

    /// Notes that a resting connection was found broken when it was to be used; its place stays counted.
    pub(crate) fn note_broken(&mut self) {
        self.figures.closed_broken += 1;
    }

    fn is_old(&mut self, entry: &Entry, now: Instant) -> bool {
        let is_old = self
            .limits
            .max_lifetime
            .is_some_and(|max| now - entry.opened >= max);
        self.figures.closed_max_lifetime += u64::from(is_old);
        is_old
    }

    fn is_expired(&mut self, entry: &Entry, now: Instant) -> bool {
        if self.is_old(entry, now) {
            return true;
        }
        let max = self.limits.max_idle_time;
        let is_expired = max.is_some_and(|max| now - entry.rested_since >= max);
        self.figures.closed_max_idle_time += u64::from(is_expired);
        is_expired
    }

    /// Takes out what has rested for too long, is too old, or is too much.
    pub(crate) fn clean(&mut self, dead: &mut Vec<Entry>) {
        let now = Instant::now();
        for _ in 0..self.idle.len() {
            let Some(entry) = self.idle.pop_front() else {
                break;
            };
            if self.is_closed || self.is_expired(&entry, now) {
                self.open -= 1;
                dead.push(entry);
            } else {
                self.idle.push_back(entry);
            }
        }
        while self.idle.len() > self.limits.max_idle {
            self.open -= 1;
            self.figures.closed_max_idle += 1;
            dead.extend(self.idle.pop_front());
        }
    }

    /// When the next look at the resting connections is due: when the one that expires first does.
    pub(crate) fn next_look(&self) -> Option<Duration> {
        let limits = [
            (
                self.limits.max_lifetime,
                (|entry| entry.opened) as fn(&Entry) -> Instant,
            ),
            (self.limits.max_idle_time, |entry| entry.rested_since),
        ];
        let now = Instant::now();
        let left = limits.iter().filter_map(|(max, since)| {
            let oldest = self.idle.iter().map(since).min()?;
            Some((*max)?.saturating_sub(now - oldest))
        });
        left.min()
    }

    /// Closes: whoever waits is sent away, by the end of their channels.
    pub(crate) fn close(&mut self, dead: &mut Vec<Entry>) -> BTreeMap<u64, Sender<Grant>> {
        self.is_closed = true;
        self.clean(dead);
        std::mem::take(&mut self.waiting)
    }

    pub(crate) fn figures(&self) -> Statistics {
        Statistics {
            max_open: self.limits.max_open,
            open: self.open,
            in_use: self.open - self.idle.len(),
            idle: self.idle.len(),
            waiting: self.waiting.len(),
            ..self.figures
        }
    }

    pub(crate) fn is_consistent(&self) -> bool {
        self.waiting.is_empty() || (self.idle.is_empty() && !self.may_open())
    }
}
