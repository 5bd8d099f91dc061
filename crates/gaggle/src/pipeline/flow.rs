//! What the stages of one pipeline share, and the two ends of the channels between them.

use super::BoxError;
use crate::backend::Dispatch;
use crate::builder::{Builder, refused};
use crate::chan::{Receiver, Sender, TryRecvError, TrySendError, bounded};
use crate::context::{CancelCause, Cause, Context, ContextError};
use crate::join::JoinHandle;
use crate::select::{DoneArm, RecvArm, SendArm, wait_or_end};
use gaggle_core::contract::{NEVER, Nanos, Runtime};
use gaggle_core::interrupt;
use std::error::Error;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the stages of one pipeline share.
pub(super) struct Flow {
    context: Context,
    cancel: CancelCause,
    /// P1.
    was_cut: AtomicBool,
    /// P2.
    outlets: AtomicUsize,
    goroutines: Mutex<Vec<JoinHandle<()>>>,
}

impl Flow {
    pub(super) fn new(context: &Context) -> Self {
        let (context, cancel) = context.with_cancel_cause();
        Flow {
            context,
            cancel,
            was_cut: AtomicBool::new(false),
            outlets: AtomicUsize::new(0),
            goroutines: Mutex::default(),
        }
    }

    /// Starts a goroutine of a stage, which owns `ends`, its input and output; an error that it
    /// answers ends the pipeline.
    #[track_caller]
    pub(super) fn start<Ends, F>(self: &Arc<Self>, name: &'static str, ends: Ends, work: F)
    where
        Ends: Send + 'static,
        F: FnOnce(&Ends) -> Result<(), BoxError> + Send + 'static,
    {
        let flow = Arc::clone(self);
        let spawned = Builder::new().name(name).spawn(move || {
            // P1: the ends are dropped after all else, panic or not.
            let ends = ends;
            let _watch = Watch(&flow);
            if let Err(error) = work(&ends)
                && !error.is::<Stopped>()
            {
                flow.fail(error);
            }
        });
        let handle = spawned.unwrap_or_else(|refusal| refused(&refusal));
        self.goroutines().push(handle);
    }

    fn goroutines(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.goroutines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the pipeline with an error, unless it has ended.
    pub(super) fn fail(&self, error: BoxError) {
        self.cancel.cancel(error);
        self.cut();
    }

    /// P1: a stage stops although its input has not ended.
    fn cut(&self) {
        // Release: pairs with the Acquire in `verdict`; the context ended before.
        self.was_cut.store(true, Ordering::Release);
    }

    /// Ends the pipeline if a context that the caller runs under has ended, and says whether one has:
    /// asked by a caller whose wait nothing else has ended.
    fn fails_with_caller(&self) -> bool {
        let error = interrupt::error::<Dispatch>();
        if let Some(error) = error {
            self.fail(error.into());
        }
        error.is_some()
    }

    /// Whether all went well, asked when a sink's input has ended.
    fn verdict(&self) -> Result<(), Cause> {
        // Acquire: pairs with the Release in `cut`.
        if !self.was_cut.load(Ordering::Acquire) {
            return Ok(());
        }
        let unknown = || Arc::new(ContextError::Canceled) as Cause;
        Err(self.context.cause().unwrap_or_else(unknown))
    }

    /// Waits for the ends of all goroutines, and goes on with the panic of one that panicked.
    fn join(&self) {
        let mut payload = None;
        loop {
            let next = self.goroutines().pop();
            let Some(next) = next else { break };
            // They end soon, and must not be taken for ended before.
            let ended = interrupt::shielded::<Dispatch, _>(|| next.join());
            payload = ended.err().or(payload);
        }
        if let Some(payload) = payload {
            resume_unwind(payload);
        }
    }
}

/// Ends the pipeline if its stage panics.
struct Watch<'a>(&'a Flow);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("a stage of the pipeline panicked".into());
        }
    }
}

/// A consumer's end of the pipeline (P2).
pub(super) struct Outlet {
    flow: Arc<Flow>,
}

impl Outlet {
    pub(super) fn new(flow: &Arc<Flow>) -> Self {
        // Relaxed: whoever counts up holds an outlet, or builds the pipeline.
        flow.outlets.fetch_add(1, Ordering::Relaxed);
        Outlet {
            flow: Arc::clone(flow),
        }
    }

    pub(super) fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// Ends this outlet. If it was the last, or the pipeline was cut, waits for the ends of all
    /// goroutines: then nobody holds them up. To be called when the input has ended, or after
    /// [`Flow::fail`].
    pub(super) fn finish(self) -> Result<(), Cause> {
        let flow = Arc::clone(&self.flow);
        let verdict = flow.verdict();
        drop(self);
        // Acquire: pairs with the Release in the drops of the others.
        if verdict.is_err() || flow.outlets.load(Ordering::Acquire) == 0 {
            flow.join();
        }
        verdict
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        // AcqRel: pairs with itself and with the Acquire in `finish`; the last one comes after all.
        if self.flow.outlets.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.flow.cancel.cancel(ContextError::Canceled);
        }
    }
}

/// The pipeline has ended, or nobody consumes what a stage sends: the stage may stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody consumes from this stage any more")
    }
}

impl Error for Stopped {}

/// Makes the channel between two stages.
pub(super) fn channel<T>(flow: &Arc<Flow>, buffer: usize) -> (Output<T>, Input<T>) {
    let (sender, receiver) = bounded(buffer);
    let output = Output {
        sender,
        flow: Arc::clone(flow),
    };
    (output, Input::new(flow, receiver, buffer))
}

/// Where a stage's values come from.
pub struct Input<T> {
    receiver: Receiver<T>,
    flow: Arc<Flow>,
    /// For the channels of the stages behind it.
    buffer: usize,
}

impl<T> Input<T> {
    pub(super) fn new(flow: &Arc<Flow>, receiver: Receiver<T>, buffer: usize) -> Self {
        Input {
            receiver,
            flow: Arc::clone(flow),
            buffer,
        }
    }

    pub(super) fn buffer(&self) -> usize {
        self.buffer
    }

    /// The context that ends with the pipeline.
    pub fn context(&self) -> &Context {
        &self.flow.context
    }

    /// The next value, blocking this goroutine (never its OS thread) until there is one; `None`: there
    /// is no more, or the pipeline has ended.
    pub fn recv(&self) -> Option<T> {
        self.recv_until(NEVER)?
    }

    /// As [`Input::recv`], until `deadline` at most: `Some(None)`: it came first.
    pub(super) fn recv_until(&self, deadline: Nanos) -> Option<Option<T>> {
        if self.context().err().is_some() {
            self.flow.cut();
            return None;
        }
        match self.receiver.try_recv() {
            Ok(value) => return Some(Some(value)),
            Err(TryRecvError::Closed) => return None,
            Err(TryRecvError::Empty) => {}
        }
        let mut next = RecvArm::new(&self.receiver);
        let mut done = DoneArm::new(self.context());
        if wait_or_end([&mut next, &mut done], deadline).is_none() {
            return if self.flow.fails_with_caller() {
                None
            } else {
                Some(None)
            };
        }
        if next.is_chosen() {
            return next.take().ok().map(Some);
        }
        self.flow.cut();
        None
    }

    /// Waits until `deadline`; `false`: the pipeline has ended before.
    pub(super) fn wait_until(&self, deadline: Nanos) -> bool {
        let mut done = DoneArm::new(self.context());
        if deadline > Dispatch::now() && wait_or_end([&mut done], deadline).is_some() {
            self.flow.cut();
            return false;
        }
        true
    }
}

impl<T> Clone for Input<T> {
    fn clone(&self) -> Self {
        Input {
            receiver: self.receiver.clone(),
            flow: Arc::clone(&self.flow),
            buffer: self.buffer,
        }
    }
}

impl<T> fmt::Debug for Input<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").finish_non_exhaustive()
    }
}

/// Where a stage's values go.
pub struct Output<T> {
    sender: Sender<T>,
    flow: Arc<Flow>,
}

impl<T> Output<T> {
    /// Hands `value` on, blocking this goroutine (never its OS thread) while there is no room for it.
    ///
    /// # Errors
    /// When the pipeline has ended, or nobody consumes from this stage; `value` is dropped. A stage's
    /// function may answer this error: it is no failure.
    pub fn send(&self, value: T) -> Result<(), Stopped> {
        let context = &self.flow.context;
        if context.err().is_some() {
            self.flow.cut();
            return Err(Stopped);
        }
        let mut slot = match self.sender.try_send(value) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(Stopped),
            Err(TrySendError::Full(value)) => Some(value),
        };
        let mut send = SendArm::new(&self.sender, &mut slot);
        let mut done = DoneArm::new(context);
        let chosen = wait_or_end([&mut send, &mut done], NEVER);
        if send.is_chosen() {
            return send.take().map_err(|_| Stopped);
        }
        if chosen.is_some() || !self.flow.fails_with_caller() {
            self.flow.cut();
        }
        Err(Stopped)
    }
}

impl<T> Clone for Output<T> {
    fn clone(&self) -> Self {
        Output {
            sender: self.sender.clone(),
            flow: Arc::clone(&self.flow),
        }
    }
}

impl<T> fmt::Debug for Output<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}
