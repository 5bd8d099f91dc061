//! Contexts: the end of a piece of work, its deadline, and what it carries along.
//!
//! A context is two pointers: to the node that can end ([`crate::context_tree`]), if any, and to a list
//! of values. Deriving never changes the context it is derived from.

use crate::chan::{Never, Receiver};
use crate::context_tree::{Node, Outcome};
use crate::contract::{Entry, NEVER, Nanos, Runtime, SpawnOptions};
use crate::shim::atomic::{AtomicBool, Ordering};
use std::any::{Any, TypeId};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub use crate::context_tree::{Cause, ContextError};

/// One value that a context carries, and those it inherited.
struct Value {
    key: TypeId,
    value: Box<dyn Any + Send + Sync>,
    inherited: Option<Arc<Value>>,
}

impl Drop for Value {
    fn drop(&mut self) {
        // One after the other: a long list must not become a deep recursion.
        let mut rest = self.inherited.take();
        while let Some(value) = rest {
            rest = Arc::into_inner(value).and_then(|mut value| value.inherited.take());
        }
    }
}

/// When a piece of work must end, and what belongs to it.
pub struct Context<R: Runtime> {
    node: Option<Arc<Node<R>>>,
    values: Option<Arc<Value>>,
}

impl<R: Runtime> Context<R> {
    /// What [`Context::done`] answers where nothing can end.
    const NEVER_DONE: &'static Receiver<Never, R> = &Receiver::never();

    /// The context that never ends and carries nothing.
    pub const fn background() -> Self {
        Context {
            node: None,
            values: None,
        }
    }

    /// A context that also ends when the handle says so, or is dropped.
    pub fn with_cancel(&self, options: SpawnOptions) -> (Self, Cancel<R>) {
        self.with_deadline(NEVER, None, options)
    }

    /// A context that also ends at `deadline`, because of `expiry`, and when the handle says so or is
    /// dropped. `options` are those of the goroutine that ends it then.
    pub fn with_deadline(
        &self,
        deadline: Nanos,
        expiry: Option<Cause>,
        options: SpawnOptions,
    ) -> (Self, Cancel<R>) {
        let node = Node::new(self.node.as_ref(), deadline, expiry, options);
        let context = Context {
            node: Some(Arc::clone(&node)),
            values: self.values.clone(),
        };
        (context, Cancel { node: Some(node) })
    }

    /// A context that also carries `value`, hiding an inherited one of the same type.
    pub fn with_value<V: Any + Send + Sync>(&self, value: V) -> Self {
        Context {
            node: self.node.clone(),
            values: Some(Arc::new(Value {
                key: TypeId::of::<V>(),
                value: Box::new(value),
                inherited: self.values.clone(),
            })),
        }
    }

    /// A context that carries the same values and never ends.
    pub fn without_cancel(&self) -> Self {
        Context {
            node: None,
            values: self.values.clone(),
        }
    }

    /// A channel that is closed when the context ends.
    pub fn done(&self) -> &Receiver<Never, R> {
        self.node
            .as_ref()
            .map_or(Self::NEVER_DONE, |node| node.done())
    }

    /// Why the context has ended; `None`: it has not.
    pub fn err(&self) -> Option<ContextError> {
        self.outcome().map(|outcome| outcome.error)
    }

    /// The reason that was given for its end, else the [`ContextError`]; `None`: it has not ended.
    pub fn cause(&self) -> Option<Cause> {
        let outcome = self.outcome()?;
        let error = outcome.error;
        Some(outcome.cause.clone().unwrap_or_else(|| Arc::new(error)))
    }

    /// When it will end at the latest; [`NEVER`]: it has no deadline.
    pub fn deadline(&self) -> Nanos {
        self.node.as_ref().map_or(NEVER, |node| node.deadline())
    }

    /// The value of type `V` that it carries.
    pub fn value<V: Any>(&self) -> Option<&V> {
        let mut values = self.values.as_deref();
        while let Some(value) = values {
            if value.key == TypeId::of::<V>() {
                return value.value.downcast_ref();
            }
            values = value.inherited.as_deref();
        }
        None
    }

    /// Runs `entry` in a goroutine of its own once the context ends, at once if it has, unless the
    /// handle stops it before.
    pub fn after_func(&self, options: SpawnOptions, entry: Entry) -> AfterFunc<R> {
        let Some(node) = &self.node else {
            return AfterFunc {
                place: None,
                stopped: AtomicBool::new(false),
            };
        };
        let number = node.add_function(options, entry);
        AfterFunc {
            stopped: AtomicBool::new(number.is_none()),
            place: number.map(|number| (Arc::clone(node), number)),
        }
    }

    /// Runs `f` on the calling task; when the context ends, the waits inside that can be ended are
    /// ([`crate::interrupt`]).
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        match &self.node {
            Some(node) => node.run_under(f),
            None => f(),
        }
    }

    fn outcome(&self) -> Option<&Outcome> {
        self.node.as_ref()?.outcome()
    }
}

impl<R: Runtime> Clone for Context<R> {
    fn clone(&self) -> Self {
        Context {
            node: self.node.clone(),
            values: self.values.clone(),
        }
    }
}

impl<R: Runtime> fmt::Debug for Context<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Context");
        debug.field("err", &self.err()).finish_non_exhaustive()
    }
}

/// Ends a context, when told to or dropped.
pub struct Cancel<R: Runtime> {
    /// Empty only after `detach`.
    node: Option<Arc<Node<R>>>,
}

impl<R: Runtime> Cancel<R> {
    /// Ends the context and all that were derived from it, if they have not ended before.
    pub fn cancel(&self) {
        self.end(None);
    }

    /// As [`Cancel::cancel`], giving the reason.
    pub fn cancel_because(&self, cause: impl Into<Box<dyn Error + Send + Sync>>) {
        self.end(Some(Arc::from(cause.into())));
    }

    /// Gives `context` and this handle back, to be used as if they were new, if nobody could tell the
    /// difference: the context has not ended, it is this handle's, and what it was given to holds, waits
    /// for and hangs on nothing of it any more. Otherwise the context ends here.
    pub fn renew(self, context: Context<R>) -> Option<(Context<R>, Self)> {
        let is_unseen = match (&self.node, &context.node) {
            (Some(own), Some(node)) => Arc::ptr_eq(own, node) && node.is_unseen(2),
            _ => false,
        };
        is_unseen.then_some((context, self))
    }

    /// Lets the context go on without the handle: it then ends with its parent or at its deadline.
    pub fn detach(mut self) {
        self.node = None;
    }

    fn end(&self, cause: Option<Cause>) {
        if let Some(node) = &self.node {
            node.end(Outcome::canceled(cause));
        }
    }
}

impl<R: Runtime> Drop for Cancel<R> {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl<R: Runtime> fmt::Debug for Cancel<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel").finish_non_exhaustive()
    }
}

/// A function that waits for the end of a context. Dropping this does not stop it.
pub struct AfterFunc<R: Runtime> {
    /// Where it hangs; none: the context never ends, or had ended.
    place: Option<(Arc<Node<R>>, usize)>,
    stopped: AtomicBool,
}

impl<R: Runtime> AfterFunc<R> {
    /// Stops the function. `true`: it will never run and has been dropped. `false`: it has been
    /// started, or was stopped before.
    pub fn stop(&self) -> bool {
        // Relaxed: it only picks the one call that may use the number.
        if self.stopped.swap(true, Ordering::Relaxed) {
            return false;
        }
        self.place
            .as_ref()
            .is_none_or(|(node, number)| node.stop_function(*number))
    }
}

impl<R: Runtime> fmt::Debug for AfterFunc<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AfterFunc").finish_non_exhaustive()
    }
}
