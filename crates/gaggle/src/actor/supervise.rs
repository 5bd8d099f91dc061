//! The supervisor's goroutine: it alone starts, stops and waits for children.
//!
//! - V1: a child that ends, and whoever adds one, leave a note and ring the bell; neither waits for the
//!   supervisor, so it may wait for a child.
//! - V2: each run of a child has a number; the note of a run that was stopped on purpose is of no
//!   interest, since its child has another number by then, or none.
//! - V3: with the supervisor's end every child's function is dropped, and with it its mailbox.
//! - V4: children are stopped one after the other, the last added first: each has a context of its own.

use super::supervisor::{Failure, GaveUp, Restart, Strategy, SupervisorBuilder};
use super::{BoxError, End};
use crate::backend::Dispatch;
use crate::builder::Builder;
use crate::chan::{Receiver, Sender, bounded};
use crate::context::{Cancel, Cause, Context};
use crate::join::JoinHandle;
use crate::select::{__wait, DoneArm, RecvArm};
use crate::time::deadline_after;
use gaggle_core::contract::{NEVER, Nanos, Runtime};
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a child does: a run of it. One runs at a time.
pub(super) type RunFn = Box<dyn Fn(&Context) -> Result<End, BoxError> + Send>;

/// A child as it was added.
pub(super) struct Spec {
    name: Arc<str>,
    restart: Restart,
    run: Arc<Mutex<RunFn>>,
}

impl Spec {
    pub(super) fn new(name: Arc<str>, restart: Restart, run: RunFn) -> Self {
        let run = Arc::new(Mutex::new(run));
        Spec { name, restart, run }
    }
}

type Outcome = Result<End, Cause>;

#[derive(Default)]
struct Notes {
    added: Vec<Spec>,
    ended: Vec<(u64, Outcome)>,
    is_over: bool,
}

/// What the supervisor's goroutine shares with its handle and its children (V1).
pub(super) struct Shared {
    notes: Mutex<Notes>,
    bell: Sender<()>,
}

impl Shared {
    pub(super) fn new() -> (Arc<Self>, Receiver<()>) {
        let (bell, heard) = bounded(1);
        let notes = Mutex::default();
        (Arc::new(Shared { notes, bell }), heard)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // Nothing of the program's runs under it.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        // A bell that rings already will be heard.
        let _ = self.bell.try_send(());
    }

    pub(super) fn add(&self, spec: Spec) {
        let mut notes = self.notes();
        if notes.is_over {
            drop(notes);
            return; // V3: `spec` is dropped here
        }
        notes.added.push(spec);
        drop(notes);
        self.ring();
    }

    fn ended(&self, run: u64, outcome: Outcome) {
        self.notes().ended.push((run, outcome));
        self.ring();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// V3: when the supervisor's goroutine ends, panic or not.
struct Over(Arc<Shared>);

impl Drop for Over {
    fn drop(&mut self) {
        let mut notes = self.0.notes();
        notes.is_over = true;
        let added = std::mem::take(&mut notes.added);
        drop(notes);
        drop(added);
    }
}

enum State {
    /// To be started at this time.
    Waiting(Nanos),
    Running(Run),
    /// It will not be started again.
    Over,
}

/// A run of a child.
struct Run {
    number: u64,
    cancel: Cancel,
    /// None: its goroutine was refused.
    goroutine: Option<JoinHandle<()>>,
}

impl Run {
    fn stop(self) {
        self.cancel.cancel();
        self.wait();
    }

    fn wait(self) {
        // It catches its panics itself.
        let _ = self.goroutine.map(JoinHandle::join);
    }
}

struct One {
    spec: Spec,
    state: State,
    began: Nanos,
    failures_in_a_row: u32,
}

impl One {
    /// Ends its run, if there is one, and waits for that.
    fn stop(&mut self, then: State) {
        if let State::Running(run) = std::mem::replace(&mut self.state, then) {
            run.stop();
        }
    }

    fn is_run(&self, number: u64) -> bool {
        matches!(&self.state, State::Running(run) if run.number == number)
    }
}

/// The state of the supervisor's goroutine.
pub(super) struct Supervising {
    options: SupervisorBuilder,
    context: Context,
    shared: Arc<Shared>,
    bell: Receiver<()>,
    children: Vec<One>,
    /// When those within the window were.
    restarts: VecDeque<Nanos>,
    runs: u64,
}

impl Supervising {
    pub(super) fn new(
        options: SupervisorBuilder,
        context: Context,
        shared: Arc<Shared>,
        bell: Receiver<()>,
    ) -> Self {
        Supervising {
            options,
            context,
            shared,
            bell,
            children: Vec::new(),
            restarts: VecDeque::new(),
            runs: 0,
        }
    }

    pub(super) fn run(mut self) -> Result<(), GaveUp> {
        let _over = Over(Arc::clone(&self.shared));
        let result = self.supervise();
        for child in self.children.iter_mut().rev() {
            child.stop(State::Over);
        }
        result
    }

    fn supervise(&mut self) -> Result<(), GaveUp> {
        while self.context.err().is_none() {
            let mut notes = self.shared.notes();
            let added = std::mem::take(&mut notes.added);
            let ended = std::mem::take(&mut notes.ended);
            drop(notes);
            for (run, outcome) in ended {
                self.ended(run, outcome)?;
            }
            let now = Dispatch::now();
            self.children.extend(added.into_iter().map(|spec| One {
                spec,
                state: State::Waiting(now),
                began: now,
                failures_in_a_row: 0,
            }));
            let next = self.start_due();
            self.children
                .retain(|child| !matches!(child.state, State::Over));
            let mut rung = RecvArm::new(&self.bell);
            let mut done = DoneArm::new(&self.context);
            let _ = __wait([&mut rung, &mut done], next);
        }
        Ok(())
    }

    /// Starts those whose time has come; answers when the next one's comes.
    fn start_due(&mut self) -> Nanos {
        let mut next = NEVER;
        for index in 0..self.children.len() {
            if let State::Waiting(due) = self.children[index].state {
                if due <= Dispatch::now() {
                    self.start(index);
                } else {
                    next = next.min(due);
                }
            }
        }
        next
    }

    fn start(&mut self, index: usize) {
        let child = &mut self.children[index];
        self.runs += 1;
        let number = self.runs;
        // V4: not the supervisor's own context, whose end would reach all at once.
        let (context, cancel) = self.context.without_cancel().with_cancel();
        let (run, shared) = (Arc::clone(&child.spec.run), Arc::clone(&self.shared));
        let spawned = Builder::new()
            .name(Arc::clone(&child.spec.name))
            .spawn(move || {
                let outcome = outcome_of(&run, &context);
                drop(run); // V3: the supervisor's is the last
                shared.ended(number, outcome);
            });
        let goroutine = match spawned {
            Ok(goroutine) => Some(goroutine),
            Err(refusal) => {
                self.shared.ended(number, Err(Arc::new(refusal)));
                None
            }
        };
        child.began = Dispatch::now();
        child.state = State::Running(Run {
            number,
            cancel,
            goroutine,
        });
    }

    /// A run has ended by itself, unless it was stopped (V2).
    fn ended(&mut self, run: u64, outcome: Outcome) -> Result<(), GaveUp> {
        let found = self.children.iter().position(|child| child.is_run(run));
        let Some(index) = found else { return Ok(()) };
        let child = &mut self.children[index];
        if let State::Running(run) = std::mem::replace(&mut child.state, State::Over) {
            run.wait();
        }
        let cause = match (outcome, child.spec.restart) {
            (Ok(End::Closed), _) | (Ok(End::Stopped), Restart::OnFailure | Restart::Never) => {
                return Ok(());
            }
            (Err(cause), Restart::Never) => {
                self.tell(index, &cause, None);
                return Ok(());
            }
            (Ok(End::Stopped), Restart::Always) => {
                Cause::from(BoxError::from("it ended, though it is to run always"))
            }
            (Err(cause), Restart::Always | Restart::OnFailure) => cause,
        };
        let wait = self.wait_before_restart(index);
        let Some(wait) = wait else {
            self.tell(index, &cause, None);
            let child = Arc::clone(&self.children[index].spec.name);
            return Err(GaveUp { child, cause });
        };
        self.tell(index, &cause, Some(wait));
        self.restart(index, wait);
        Ok(())
    }

    fn tell(&self, index: usize, cause: &Cause, restart_in: Option<Duration>) {
        if let Some(observer) = &self.options.observer {
            let child = &self.children[index].spec.name;
            observer(&Failure {
                child,
                cause,
                restart_in,
            });
        }
    }

    /// Counts a restart for the child at `index`; `None`: there were too many.
    fn wait_before_restart(&mut self, index: usize) -> Option<Duration> {
        let now = Dispatch::now();
        let window = u64::try_from(self.options.window.as_nanos()).unwrap_or(u64::MAX);
        while let Some(first) = self.restarts.front()
            && now.saturating_sub(*first) > window
        {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= self.options.restarts_max {
            return None;
        }
        self.restarts.push_back(now);
        let child = &mut self.children[index];
        if now.saturating_sub(child.began) > window {
            child.failures_in_a_row = 0;
        }
        let before = child.failures_in_a_row;
        child.failures_in_a_row = before.saturating_add(1);
        Some(self.options.backoff.wait(before, Dispatch::random()))
    }

    /// Has the child at `index`, and those that the strategy names, started again after `wait`, all at
    /// the same time, in their order.
    fn restart(&mut self, index: usize, wait: Duration) {
        let affected = match self.options.strategy {
            Strategy::OneForOne => index..index + 1,
            Strategy::RestForOne => index..self.children.len(),
            Strategy::OneForAll => 0..self.children.len(),
        };
        self.children[index].state = State::Waiting(deadline_after(wait));
        let waiting = self.children[affected.clone()].iter();
        let due = waiting.filter_map(|child| match child.state {
            State::Waiting(due) => Some(due),
            _ => None,
        });
        let due = due.max().unwrap_or_default();
        for other in affected.rev() {
            let child = &mut self.children[other];
            match (&child.state, child.spec.restart) {
                (State::Over, _) => {}
                (State::Running(_), Restart::Never) => child.stop(State::Over),
                _ => child.stop(State::Waiting(due)),
            }
        }
    }
}

/// Runs a child once.
fn outcome_of(run: &Mutex<RunFn>, context: &Context) -> Outcome {
    let once = || {
        // Nobody else has it: the run before has ended. Poisoned: it panicked then.
        let run = run.lock().unwrap_or_else(PoisonError::into_inner);
        run(context)
    };
    // What the function owns is its own to restore; that is what a restart is for.
    match catch_unwind(AssertUnwindSafe(once)) {
        Ok(Ok(end)) => Ok(end),
        Ok(Err(error)) => Err(Cause::from(error)),
        Err(payload) => Err(Cause::from(BoxError::from(words_of(payload.as_ref())))),
    }
}

/// What a panic said.
fn words_of(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("(no words)"))
}
