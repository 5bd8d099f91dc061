//! The little of a context that the server needs, until `gaggle::context` is there to take its place.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

type Callback = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    done: bool,
    callbacks: Vec<Callback>,
}

/// Says when work is to end.
#[derive(Clone, Default)]
pub struct Context(Arc<Mutex<State>>);

/// Ends a [`Context`].
#[derive(Debug)]
pub struct Cancel(Context);

/// Would take a callback back; this one leaves it, as it does no harm when it runs late.
#[derive(Debug)]
pub(crate) struct Stop;

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Context").finish_non_exhaustive()
    }
}

impl Cancel {
    /// Ends the context and all that were derived from it.
    pub fn cancel(&self) {
        let callbacks = {
            let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.done = true;
            std::mem::take(&mut state.callbacks)
        };
        for callback in callbacks {
            callback();
        }
    }
}

impl Stop {
    pub(crate) fn stop(&self) {}
}

impl Context {
    /// A context that never ends by itself.
    #[must_use]
    pub fn background() -> Self {
        Self::default()
    }

    /// A context that ends with this one, or when it is cancelled.
    #[must_use]
    pub fn with_cancel(&self) -> (Context, Cancel) {
        let child = Context::default();
        let of_parent = Cancel(child.clone());
        self.after_func(move || of_parent.cancel());
        (child.clone(), Cancel(child))
    }

    /// A context that does not end with this one.
    #[must_use]
    pub fn without_cancel(&self) -> Context {
        Context::default()
    }

    /// Something when the context has ended.
    #[must_use]
    pub fn err(&self) -> Option<()> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .done
            .then_some(())
    }

    /// Is closed when the context ends.
    #[must_use]
    pub fn done(&self) -> mpsc::Receiver<()> {
        let (sender, receiver) = mpsc::channel();
        self.after_func(move || drop(sender));
        receiver
    }

    pub(crate) fn after_func(&self, callback: impl FnOnce() + Send + 'static) -> Stop {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.done {
            drop(state);
            callback();
        } else {
            state.callbacks.push(Box::new(callback));
        }
        Stop
    }
}
