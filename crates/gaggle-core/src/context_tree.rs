//! The tree by which the end of a context reaches those derived from it.
//!
//! A node knows its parent (and keeps it alive); a parent knows its children without keeping them.
//! What hangs on a node (children, functions to run) are its *branches*.
//!
//! - N1: a node ends once: its outcome is set, and its branches and timer taken out, in one critical
//!   section. A branch that comes later finds the outcome there and ends at once.
//! - N2: after the `end` that ended a node has returned, every node below that existed has ended too.
//! - N3: a node that is dropped leaves its parent and stops its timer, so nothing of a dropped context
//!   stays behind: no memory in the parent, no timer, no goroutine.
//! - N4: no two nodes' locks are held at once, and under one nothing is allocated, dropped, readied or
//!   run.
//!
//! Source: `cancelCtx` of Go's `context/context.go`, which holds the locks from parent to child where
//! N2 is kept here by a list of work.

use crate::chan::{Never, Receiver, Sender, unbuffered};
use crate::contract::{Body, Entry, NEVER, Nanos, Runtime, SpawnOptions, entry};
use crate::interrupt::{Interrupt, Under};
use crate::lock::Lock;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

/// Why a context has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContextError {
    /// It was cancelled, or one it was derived from.
    Canceled,
    /// Its deadline has passed.
    DeadlineExceeded,
}

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ContextError::Canceled => "context canceled",
            ContextError::DeadlineExceeded => "context deadline exceeded",
        })
    }
}

impl Error for ContextError {}

impl From<ContextError> for std::io::Error {
    /// Of the kind `TimedOut`, or `Other` for a cancellation: not `Interrupted`, after which std calls
    /// again.
    fn from(error: ContextError) -> Self {
        let kind = match error {
            ContextError::Canceled => std::io::ErrorKind::Other,
            ContextError::DeadlineExceeded => std::io::ErrorKind::TimedOut,
        };
        std::io::Error::new(kind, error)
    }
}

/// What a program gives as the reason of a cancellation.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// How a node has ended.
#[derive(Clone)]
pub(crate) struct Outcome {
    pub(crate) error: ContextError,
    pub(crate) cause: Option<Cause>,
}

/// What hangs on a node.
enum Branch<R: Runtime> {
    Child(Weak<Node<R>>),
    Function(SpawnOptions, Entry),
    Interrupt(Arc<Interrupt>),
}

/// The branches of a node, each under a number of its own while it is there.
struct Branches<R: Runtime> {
    places: Vec<Option<Branch<R>>>,
    free: Vec<usize>,
}

impl<R: Runtime> Branches<R> {
    fn is_empty(&self) -> bool {
        self.places.len() == self.free.len()
    }

    const fn new() -> Self {
        Branches {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Puts `branch` at a free place, if there is one without allocating (N4).
    fn insert(&mut self, branch: Branch<R>) -> Result<usize, Branch<R>> {
        if let Some(number) = self.free.pop() {
            self.places[number] = Some(branch);
            Ok(number)
        } else if self.places.len() < self.places.capacity().min(self.free.capacity()) {
            self.places.push(Some(branch));
            Ok(self.places.len() - 1)
        } else {
            Err(branch)
        }
    }

    fn remove(&mut self, number: usize) -> Option<Branch<R>> {
        let branch = self.places.get_mut(number)?.take()?;
        // `move_into` gave it room for as many numbers as there are places.
        debug_assert!(self.free.len() < self.free.capacity(), "N4");
        self.free.push(number);
        Some(branch)
    }

    /// Moves everything into `larger`, whose vectors have room for it; leaves its own old ones there.
    fn move_into(&mut self, larger: &mut Self) {
        larger.places.append(&mut self.places);
        larger.free.append(&mut self.free);
        std::mem::swap(self, larger);
    }

    fn with_capacity(capacity: usize) -> Self {
        Branches {
            places: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
        }
    }
}

/// What is still to be ended, where one node was.
struct Work<R: Runtime> {
    nodes: Vec<Arc<Node<R>>>,
    interrupts: Vec<Arc<Interrupt>>,
}

impl<R: Runtime> Work<R> {
    const fn new() -> Self {
        Work {
            nodes: Vec::new(),
            interrupts: Vec::new(),
        }
    }
}

/// What a node's lock guards.
struct State<R: Runtime> {
    branches: Branches<R>,
    timer: Option<R::Timer>,
}

/// A context that can end.
pub(crate) struct Node<R: Runtime> {
    /// The node above, and this one's number in it (none, if that had ended already).
    parent: Option<(Arc<Node<R>>, OnceLock<usize>)>,
    deadline: Nanos,
    /// The cause of its end at the deadline, if it is its own.
    expiry: Option<Cause>,
    /// Set under the lock, once (N1); read without.
    outcome: OnceLock<Outcome>,
    done: Receiver<Never, R>,
    closer: Sender<Never, R>,
    state: Lock<State<R>, R::Lock>,
}

impl<R: Runtime> Node<R> {
    /// A node below `parent` that ends with it, at `deadline` (because of `expiry`), or by `end`.
    pub(crate) fn new(
        parent: Option<&Arc<Node<R>>>,
        deadline: Nanos,
        expiry: Option<Cause>,
        options: SpawnOptions,
    ) -> Arc<Self> {
        let inherited = parent.map_or(NEVER, |parent| parent.deadline);
        let (closer, done) = unbuffered();
        let node = Arc::new(Node {
            parent: parent.map(|parent| (Arc::clone(parent), OnceLock::new())),
            deadline: deadline.min(inherited),
            expiry,
            outcome: OnceLock::new(),
            done,
            closer,
            state: Lock::new(State {
                branches: Branches::new(),
                timer: None,
            }),
        });
        if let Some((parent, number)) = &node.parent {
            match parent.add(Branch::Child(Arc::downgrade(&node))) {
                Ok(place) => number.set(place).expect("it is set here only"),
                Err((outcome, _)) => node.end(outcome),
            }
        }
        // If the parent's deadline is no later, the parent will end this node in time.
        if deadline < inherited {
            node.start_timer(options);
        }
        node
    }

    /// Whether the node has not ended and nobody could learn of its end but by the `handles` that the
    /// caller owns: nothing hangs on it, and no other handle or receiver is left.
    pub(crate) fn is_unseen(self: &Arc<Self>, handles: usize) -> bool {
        // The parent has a weak reference, and makes a strong one to end the node.
        Arc::strong_count(self) == handles
            && self.done.is_alone()
            && self.outcome().is_none()
            && self.state.lock().branches.is_empty()
    }

    fn start_timer(self: &Arc<Self>, options: SpawnOptions) {
        if self.deadline <= R::now() {
            return self.expire();
        }
        if self.outcome().is_some() {
            return;
        }
        let node = Arc::downgrade(self);
        let fire = move || {
            if let Some(node) = node.upgrade() {
                node.expire();
            }
        };
        let timer = R::timer_start(self.deadline, options, entry(fire));
        let mut state = self.state.lock();
        if self.outcome().is_none() {
            state.timer = Some(timer);
        } else {
            drop(state);
            R::timer_stop(&timer);
        }
    }

    /// Ends the node because its own deadline has come.
    fn expire(&self) {
        self.end(Outcome {
            error: ContextError::DeadlineExceeded,
            cause: self.expiry.clone(),
        });
    }

    pub(crate) fn done(&self) -> &Receiver<Never, R> {
        &self.done
    }

    pub(crate) fn deadline(&self) -> Nanos {
        self.deadline
    }

    /// How the node has ended; `None`: it has not.
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }

    /// Ends the node and all below it. The first call decides the outcome; others change nothing.
    pub(crate) fn end(&self, outcome: Outcome) {
        let mut work = Work::new();
        if !self.end_alone(&outcome, &mut work) {
            return;
        }
        if let Some((parent, number)) = &self.parent
            && let Some(&number) = number.get()
        {
            // A node that has ended needs no place in its parent any more.
            drop(parent.remove(number));
        }
        while let Some(node) = work.nodes.pop() {
            node.end_alone(&outcome, &mut work);
        }
        // Last, so that a task that waits for one of these contexts to end learns it from that.
        for interrupt in work.interrupts {
            interrupt.end::<R>(outcome.error);
        }
    }

    /// Ends this node and adds its children to `work`. `false`: it had ended before.
    fn end_alone(&self, outcome: &Outcome, work: &mut Work<R>) -> bool {
        let copy = outcome.clone();
        let mut state = self.state.lock();
        let ended_before = self.outcome.set(copy);
        if ended_before.is_err() {
            drop(state);
            return false;
        }
        let branches = std::mem::replace(&mut state.branches, Branches::new());
        let timer = state.timer.take();
        drop(state);
        self.closer.close();
        if let Some(timer) = timer {
            R::timer_stop(&timer);
        }
        for branch in branches.places.into_iter().flatten() {
            match branch {
                Branch::Child(child) => work.nodes.extend(child.upgrade()),
                Branch::Function(options, entry) => run::<R>(options, entry),
                Branch::Interrupt(interrupt) => work.interrupts.push(interrupt),
            }
        }
        true
    }

    /// Hangs `branch` on the node; if it has ended, hands the outcome and the branch back.
    fn add(&self, branch: Branch<R>) -> Result<usize, (Outcome, Branch<R>)> {
        let mut branch = branch;
        let mut larger: Option<Branches<R>> = None;
        loop {
            let mut state = self.state.lock();
            if let Some(outcome) = self.outcome() {
                drop(state);
                return Err((outcome.clone(), branch));
            }
            if let Some(room) = &mut larger
                && room.places.capacity() > state.branches.places.capacity()
            {
                state.branches.move_into(room);
            }
            let inserted = state.branches.insert(branch);
            let length = state.branches.places.len();
            drop(state);
            match inserted {
                Ok(number) => return Ok(number),
                Err(returned) => branch = returned,
            }
            larger = Some(Branches::with_capacity((length * 2).max(4)));
        }
    }

    fn remove(&self, number: usize) -> Option<Branch<R>> {
        self.state.lock().branches.remove(number)
    }

    /// Runs `entry` in a goroutine of its own once the node ends; at once if it has. Answers the
    /// number by which [`Node::stop_function`] knows it.
    pub(crate) fn add_function(&self, options: SpawnOptions, entry: Entry) -> Option<usize> {
        match self.add(Branch::Function(options, entry)) {
            Ok(number) => Some(number),
            Err((_, Branch::Function(options, entry))) => {
                run::<R>(options, entry);
                None
            }
            Err(_) => None,
        }
    }

    /// Runs `f` on the calling task, whose waits end with the node meanwhile.
    pub(crate) fn run_under<T>(&self, f: impl FnOnce() -> T) -> T {
        let under = Under::<R>::new();
        let place = match self.add(Branch::Interrupt(Arc::clone(&under.interrupt))) {
            Ok(number) => Some(number),
            Err((outcome, _)) => {
                // As in `end`, which may not have come to it yet: first the channel, then the interrupt.
                self.closer.close();
                under.interrupt.end::<R>(outcome.error);
                None
            }
        };
        // Dropped before `under`, also when `f` unwinds.
        let _place = place.map(|number| Leave { node: self, number });
        f()
    }

    /// Takes the function out and drops it. `false`: it has been run. A number is good for one call:
    /// it may then come to mean another branch.
    pub(crate) fn stop_function(&self, number: usize) -> bool {
        self.remove(number).is_some()
    }

    /// N3; answers the parent.
    fn leave(&mut self) -> Option<Arc<Node<R>>> {
        if let Some(timer) = self.state.value_mut().timer.take() {
            R::timer_stop(&timer);
        }
        let (parent, number) = self.parent.take()?;
        if let Some(&number) = number.get()
            && self.outcome.get().is_none()
        {
            drop(parent.remove(number));
        }
        Some(parent)
    }
}

impl<R: Runtime> Drop for Node<R> {
    fn drop(&mut self) {
        // One after the other: a long chain of contexts must not become a deep recursion.
        let mut parent = self.leave();
        while let Some(node) = parent {
            parent = Arc::into_inner(node).and_then(|mut node| node.leave());
        }
    }
}

/// Takes a branch out of its node when it drops.
struct Leave<'a, R: Runtime> {
    node: &'a Node<R>,
    number: usize,
}

impl<R: Runtime> Drop for Leave<'_, R> {
    fn drop(&mut self) {
        // A node that has ended has no branches left, and gets none.
        drop(self.node.remove(self.number));
    }
}

impl Outcome {
    pub(crate) const fn canceled(cause: Option<Cause>) -> Self {
        Outcome {
            error: ContextError::Canceled,
            cause,
        }
    }
}

/// Runs `entry` in a goroutine of its own; if none can be started, here: it must not be lost.
fn run<R: Runtime>(options: SpawnOptions, entry: Entry) {
    let place: Arc<Lock<Option<Entry>, R::Lock>> = Arc::new(Lock::new(Some(entry)));
    let lent: Lent<R> = Lent {
        place: Arc::clone(&place),
        taken: None,
    };
    if R::spawn(options, Box::new(lent)).is_err() {
        let entry = place.lock().take();
        if let Some(mut entry) = entry {
            entry.run();
        }
    }
}

/// An entry that can be taken back if the goroutine is refused.
struct Lent<R: Runtime> {
    place: Arc<Lock<Option<Entry>, R::Lock>>,
    /// Kept until the goroutine has ended (C6).
    taken: Option<Entry>,
}

impl<R: Runtime> Body for Lent<R> {
    fn run(&mut self) {
        self.taken = self.place.lock().take();
        if let Some(entry) = &mut self.taken {
            entry.run();
        }
    }
}
