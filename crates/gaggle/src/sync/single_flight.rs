//! One call for all who ask for the same at the same time.

use super::{Condvar, Mutex, MutexGuard};
use crate::chan::{Receiver, Sender, bounded};
use crate::context::{Context, ContextError};
use crate::panics::text_of;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// Runs a function once for all callers that ask for the same key while it runs. A clone is the same.
///
/// Whoever asks while a call for the key is in flight waits for that one and gets a clone of what it answers.
/// Nothing is kept after it has landed: the next to ask starts a new one.
///
/// # Examples
/// ```
/// use gaggle::sync::SingleFlight;
/// let flights = SingleFlight::<&str, u32>::new();
/// let flight = flights.run("price", || 42);
/// assert_eq!((flight.value, flight.is_shared), (42, false));
/// ```
///
/// Source: `golang.org/x/sync/singleflight`.
pub struct SingleFlight<K, V> {
    calls: Arc<Mutex<HashMap<K, Arc<Call<V>>>>>,
}

/// What a call answered; made by [`SingleFlight::run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight<V> {
    /// What the function answered.
    pub value: V,
    /// Whether more than one caller got it.
    pub is_shared: bool,
}

/// One call in flight.
struct Call<V> {
    state: Mutex<State<V>>,
    landed: Condvar,
}

struct State<V> {
    outcome: Outcome<V>,
    /// How many want it besides the one that began it.
    joined: usize,
    /// Where else the answer goes.
    channels: Vec<Sender<Flight<V>>>,
}

enum Outcome<V> {
    InFlight,
    Landed(V),
    /// What the panic said.
    Panicked(Arc<str>),
}

impl<V: Clone> State<V> {
    /// What the call answered, once it has landed well.
    fn flight(&self) -> Option<Flight<V>> {
        match &self.outcome {
            Outcome::Landed(value) => Some(Flight {
                value: value.clone(),
                is_shared: self.joined > 0,
            }),
            Outcome::InFlight | Outcome::Panicked(_) => None,
        }
    }
}

impl<V: Clone> Call<V> {
    fn new(channel: Option<Sender<Flight<V>>>) -> Self {
        let state = State {
            outcome: Outcome::InFlight,
            joined: 0,
            channels: channel.into_iter().collect(),
        };
        Call {
            state: Mutex::new(state),
            landed: Condvar::new(),
        }
    }

    /// What the call answered, once it has landed, unless `wait` gives up before.
    fn outcome<E>(
        &self,
        mut wait: impl FnMut(&Condvar, &mut MutexGuard<'_, State<V>>) -> Result<(), E>,
    ) -> Result<Flight<V>, E> {
        let mut state = self.state.lock_shielded();
        loop {
            if let Some(flight) = state.flight() {
                return Ok(flight);
            }
            if let Outcome::Panicked(text) = &state.outcome {
                let text = Arc::clone(text);
                drop(state);
                panic!("the call that was shared panicked: {text}");
            }
            wait(&self.landed, &mut state)?;
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> SingleFlight<K, V> {
    /// Nothing is in flight.
    pub fn new() -> Self {
        SingleFlight {
            calls: Arc::default(),
        }
    }

    /// Runs `f`, unless a call for `key` is in flight: then waits for that one. Blocks this goroutine (never its
    /// OS thread) meanwhile.
    ///
    /// # Panics
    /// When the function panics, of whichever caller it is: with its own payload at the caller that ran it, with
    /// its text at those who waited. And when a context that a waiting caller is under ([`Context::run`]) ends.
    ///
    /// # Examples
    /// ```
    /// use gaggle::sync::SingleFlight;
    /// let flights = SingleFlight::<u32, String>::new();
    /// // A call that may fail answers a `Result`, if it can be cloned.
    /// let failing = SingleFlight::<u32, Result<String, String>>::new();
    /// assert_eq!(flights.run(7, || "goose".into()).value, "goose");
    /// assert!(failing.run(7, || Err("gone".into())).value.is_err());
    /// ```
    pub fn run(&self, key: K, f: impl FnOnce() -> V) -> Flight<V> {
        match self.join_with(key, None) {
            Joined::Other(call) => {
                let waited = call.outcome(|landed, state| {
                    landed.wait(state);
                    Ok::<(), std::convert::Infallible>(())
                });
                match waited {
                    Ok(flight) => flight,
                    Err(never) => match never {},
                }
            }
            Joined::Own(pilot) => pilot.fly(f),
        }
    }

    /// As [`SingleFlight::run`], but `f` runs in a goroutine of its own, and its answer comes by a channel. Never
    /// blocks. If the function panics the channel is closed without a value.
    ///
    /// # Panics
    /// As [`go`](crate::go).
    ///
    /// # Examples
    /// ```
    /// use gaggle::sync::SingleFlight;
    /// let flights = SingleFlight::<&str, u32>::new();
    /// let answer = flights.run_channel("price", || 42);
    /// assert_eq!(answer.recv().unwrap().value, 42);
    /// ```
    #[track_caller]
    pub fn run_channel(&self, key: K, f: impl FnOnce() -> V + Send + 'static) -> Receiver<Flight<V>>
    where
        K: Send + 'static,
        V: Send + 'static,
    {
        let (sender, receiver) = bounded(1);
        match self.join_with(key, Some(sender)) {
            Joined::Other(_) => {}
            Joined::Own(pilot) => drop(crate::go(move || drop(pilot.fly(f)))),
        }
        receiver
    }

    /// As [`SingleFlight::run`], until `context` ends at most: `f` runs in a goroutine of its own, which goes on for
    /// the others who wait for it.
    ///
    /// # Errors
    /// Why the context has ended.
    ///
    /// # Panics
    /// When the function panics, and as [`go`](crate::go).
    ///
    /// # Examples
    /// ```
    /// use gaggle::sync::SingleFlight;
    /// let flights = SingleFlight::<&str, u32>::new();
    /// let context = gaggle::context::background();
    /// assert_eq!(flights.run_context(&context, "price", || 42).unwrap().value, 42);
    /// ```
    #[track_caller]
    pub fn run_context(
        &self,
        context: &Context,
        key: K,
        f: impl FnOnce() -> V + Send + 'static,
    ) -> Result<Flight<V>, ContextError>
    where
        K: Send + 'static,
        V: Send + 'static,
    {
        let call = match self.join_with(key, None) {
            Joined::Other(call) => call,
            Joined::Own(pilot) => {
                let call = Arc::clone(&pilot.call);
                drop(crate::go(move || drop(pilot.fly(f))));
                call
            }
        };
        call.outcome(|landed, state| landed.wait_context(context, state))
    }

    /// Has the next to ask for `key` start a call of its own, although one is in flight, which those who wait for
    /// it still get.
    ///
    /// # Examples
    /// ```
    /// use gaggle::sync::SingleFlight;
    /// let flights = SingleFlight::<&str, u32>::new();
    /// let inner = flights.clone();
    /// let flight = flights.run("price", move || {
    ///     inner.forget(&"price");
    ///     inner.run("price", || 42).value
    /// });
    /// assert_eq!(flight.value, 42);
    /// ```
    pub fn forget(&self, key: &K) {
        self.calls.lock_shielded().remove(key);
    }

    /// Joins the call for `key` that is in flight, or makes a new one of the caller's; its answer is also sent to
    /// `channel`.
    fn join_with(&self, key: K, channel: Option<Sender<Flight<V>>>) -> Joined<K, V> {
        let mut calls = self.calls.lock_shielded();
        if let Some(call) = calls.get(&key) {
            // A call in the map has not landed: it is taken out before it does.
            let mut state = call.state.lock_shielded();
            state.joined += 1;
            state.channels.extend(channel);
            return Joined::Other(Arc::clone(call));
        }
        let call = Arc::new(Call::new(channel));
        calls.insert(key.clone(), Arc::clone(&call));
        Joined::Own(Pilot {
            flights: self.clone(),
            key,
            call,
        })
    }
}

/// Whose call it is.
enum Joined<K: Hash + Eq + Clone, V: Clone> {
    Own(Pilot<K, V>),
    Other(Arc<Call<V>>),
}

/// The duty to land a call. Dropped without that (its goroutine could not be started) it lands as a panic.
struct Pilot<K: Hash + Eq + Clone, V: Clone> {
    flights: SingleFlight<K, V>,
    key: K,
    call: Arc<Call<V>>,
}

impl<K: Hash + Eq + Clone, V: Clone> Pilot<K, V> {
    /// Runs `f` for all who have joined the call.
    fn fly(self, f: impl FnOnce() -> V) -> Flight<V> {
        // Its panic goes on below, after those who wait have been told.
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(value) => {
                let is_shared = self.land(Outcome::Landed(value.clone()));
                Flight { value, is_shared }
            }
            Err(payload) => {
                self.land(Outcome::Panicked(Arc::from(text_of(&*payload))));
                resume_unwind(payload)
            }
        }
    }

    /// Tells all who wait; answers whether anybody joined.
    fn land(&self, outcome: Outcome<V>) -> bool {
        let mut calls = self.flights.calls.lock_shielded();
        // After `forget` the key may be another call's.
        if calls
            .get(&self.key)
            .is_some_and(|own| Arc::ptr_eq(own, &self.call))
        {
            calls.remove(&self.key);
        }
        drop(calls);
        // Nobody joins any more.
        let mut state = self.call.state.lock_shielded();
        state.outcome = outcome;
        let (channels, flight) = (std::mem::take(&mut state.channels), state.flight());
        let is_shared = state.joined > 0;
        drop(state);
        self.call.landed.notify_all();
        if let Some(flight) = flight {
            for channel in channels {
                // Nobody may be left who waits for it; there is room for one.
                let _ = channel.try_send(flight.clone());
            }
        }
        is_shared
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Drop for Pilot<K, V> {
    fn drop(&mut self) {
        let is_in_flight = matches!(self.call.state.lock_shielded().outcome, Outcome::InFlight);
        if is_in_flight {
            let text = "no goroutine could be started for it";
            self.land(Outcome::Panicked(Arc::from(text)));
        }
    }
}

impl<K, V> Clone for SingleFlight<K, V> {
    fn clone(&self) -> Self {
        SingleFlight {
            calls: Arc::clone(&self.calls),
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Default for SingleFlight<K, V> {
    fn default() -> Self {
        SingleFlight::new()
    }
}

impl<K, V> fmt::Debug for SingleFlight<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.calls.lock_shielded();
        let joined = calls.values().map(|call| call.state.lock_shielded().joined);
        f.debug_struct("SingleFlight")
            .field("in_flight", &calls.len())
            .field("joined", &joined.sum::<usize>())
            .finish()
    }
}
