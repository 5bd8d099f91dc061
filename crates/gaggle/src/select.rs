//! Waiting for whichever of several operations can go first: [`select!`](crate::select!), and
//! [`Select`] for lists made at run time.
//!
//! All operations are looked at in one instant. If several are ready, each is chosen with the same
//! probability; if none is, the goroutine blocks (never its OS thread) until one is. Exactly the chosen
//! operation happens: no other value is received or sent.
//!
//! Source: `runtime/select.go` of Go; the syntax is that of crossbeam-channel where it has one.

use crate::backend::Dispatch;
use crate::chan::{Receiver, RecvError, SendError, Sender, deadline_at};
use crate::context::Context;
use crate::time::deadline_after;
use gaggle_core::chan as core_chan;
use gaggle_core::contract::{NEVER, Nanos};
use gaggle_core::interrupt;
use gaggle_core::select as core_select;
use std::time::{Duration, Instant};

/// Waits for several operations at once and does the first that is ready.
///
/// Arms, any number of them and in any order:
/// - `recv(receiver) -> pattern => body`: the pattern takes a `Result<T, RecvError>`;
/// - `send(sender, value) -> pattern => body`: the pattern takes a `Result<(), SendError<T>>`. As in Go
///   the value is made before the wait, whichever arm is then chosen; if another is, it is dropped
///   after the body;
/// - `send_from(sender, slot) -> pattern => body`: sends what `slot`, an `Option<T>`, holds. If another
///   arm is chosen it stays there; an arm whose slot is `None` is never ready;
/// - `done(context) => body`: the [`Context`] has ended;
/// - `after(duration) => body`: that time has passed since the select began;
/// - `default => body`: no arm is ready now; then the select never blocks. `default(duration)` waits
///   so long for the others. One at most, as the last arm.
///
/// `-> pattern` may be left out. Arms with the same channel are as good as any. The bodies are ordinary
/// code of the surrounding function (`?`, `break` and `return` work), all of one type, which is the
/// type of the whole. Without arms it blocks for ever.
///
/// What stands in the parentheses is evaluated once, from the first arm to the last, whichever is then
/// chosen. A crate with a select of more than about 50 arms needs a higher `#![recursion_limit]`; a
/// [`Select`](crate::select::Select) has no limit.
///
/// # Panics
/// When it has to wait and has no `default`, and a context that it is called under
/// ([`Context::run`](crate::context::Context::run)) ends: an arm `done(context)` of that context comes
/// before that. One with `default(duration)` does that then.
///
/// # Examples
/// ```
/// use gaggle::{chan, select};
/// use std::time::Duration;
///
/// let (sender, receiver) = chan::bounded(1);
/// let (acks, _acked) = chan::bounded(1);
/// sender.send("first").unwrap();
/// let got = select! {
///     recv(receiver) -> message => message.unwrap(),
///     after(Duration::from_secs(3600)) => "nothing came",
/// };
/// assert_eq!(got, "first");
///
/// select! {
///     recv(receiver) -> _ => unreachable!("it is empty"),
///     send(acks, got) -> result => assert!(result.is_ok()),
/// }
///
/// let (context, cancel) = gaggle::context::background().with_cancel();
/// cancel.cancel();
/// select! {
///     recv(receiver) -> _ => unreachable!(),
///     done(context) => {}
/// }
///
/// let idle = select! {
///     recv(receiver) -> _ => false,
///     default => true,
/// };
/// assert!(idle);
/// ```
#[macro_export]
macro_rules! select {
    ($($arms:tt)*) => {
        $crate::__select!(@arm [] $($arms)*)
    };
}

/// The steps of [`select!`]: `@arm` takes the head of the next arm, `@body` its body, `@end` writes the
/// whole. An arm in the list is `(kind (arguments) (pattern) body name)`; each name comes from an
/// expansion of its own, so all differ.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    (@arm $list:tt recv($receiver:expr) -> $pattern:pat => $($rest:tt)+) => {
        $crate::__select!(@body $list (recv ($receiver) ($pattern)) $($rest)+)
    };
    (@arm $list:tt recv($receiver:expr) => $($rest:tt)+) => {
        $crate::__select!(@body $list (recv ($receiver) (_)) $($rest)+)
    };
    (@arm $list:tt send($sender:expr, $value:expr $(,)?) -> $pattern:pat => $($rest:tt)+) => {
        $crate::__select!(@body $list (send ($sender, $value) ($pattern)) $($rest)+)
    };
    (@arm $list:tt send($sender:expr, $value:expr $(,)?) => $($rest:tt)+) => {
        $crate::__select!(@body $list (send ($sender, $value) (_)) $($rest)+)
    };
    (@arm $list:tt send_from($sender:expr, $slot:expr $(,)?) -> $pattern:pat => $($rest:tt)+) => {
        $crate::__select!(@body $list (send_from ($sender, $slot) ($pattern)) $($rest)+)
    };
    (@arm $list:tt send_from($sender:expr, $slot:expr $(,)?) => $($rest:tt)+) => {
        $crate::__select!(@body $list (send_from ($sender, $slot) (_)) $($rest)+)
    };
    (@arm $list:tt done($context:expr) => $($rest:tt)+) => {
        $crate::__select!(@body $list (done ($context) (_)) $($rest)+)
    };
    (@arm $list:tt after($duration:expr) => $($rest:tt)+) => {
        $crate::__select!(@body $list (after ($duration) (_)) $($rest)+)
    };
    (@arm $list:tt default($duration:expr) => $body:expr $(,)?) => {
        $crate::__select!(@end $list ($crate::select::__deadline($duration)) ($body))
    };
    (@arm $list:tt default$(())? => $body:expr $(,)?) => {
        $crate::__select!(@end $list (0) ($body))
    };
    (@arm $list:tt default $($rest:tt)*) => {
        ::core::compile_error!("`default => body` must be the last arm of a select")
    };
    (@arm $list:tt) => {
        $crate::__select!(
            @end $list ($crate::select::__NEVER) (::core::unreachable!("it waits for ever"))
        )
    };
    (@arm $list:tt $($rest:tt)+) => {
        ::core::compile_error!(::core::concat!(
            "not an arm of a select: `", ::core::stringify!($($rest)+), "`; arms are \
             `recv(rx) -> v => ..`, `send(tx, value) -> r => ..`, `send_from(tx, slot) -> r => ..`, \
             `done(context) => ..`, `after(duration) => ..` and `default => ..`"
        ))
    };

    (@body [$($list:tt)*] ($($head:tt)*) $body:block , $($rest:tt)*) => {
        $crate::__select!(@arm [$($list)* ($($head)* ($body) arm)] $($rest)*)
    };
    (@body [$($list:tt)*] ($($head:tt)*) $body:block $($rest:tt)*) => {
        $crate::__select!(@arm [$($list)* ($($head)* ($body) arm)] $($rest)*)
    };
    (@body [$($list:tt)*] ($($head:tt)*) $body:expr , $($rest:tt)*) => {
        $crate::__select!(@arm [$($list)* ($($head)* ($body) arm)] $($rest)*)
    };
    (@body [$($list:tt)*] ($($head:tt)*) $body:expr) => {
        $crate::__select!(@arm [$($list)* ($($head)* ($body) arm)])
    };

    (@end [$(($kind:ident ($($argument:expr),*) ($pattern:pat) ($body:expr) $arm:ident))*]
     ($deadline:expr) ($otherwise:expr)) => {{
        $( $crate::__select_arm!($kind $arm $($argument),*); )*
        // Which arm was chosen each arm knows; the number serves those who make their list at run time.
        let _ = $crate::select::__wait([$(&mut $arm),*], $deadline);
        $( if $arm.is_chosen() {
            let $pattern = $crate::__select_result!($kind $arm);
            $body
        } else )* {
            $otherwise
        }
    }};
}

/// Declares the arm `$arm`; what it borrows lives as long as the arm.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_arm {
    (recv $arm:ident $receiver:expr) => {
        let receiver = &$receiver;
        let mut $arm = $crate::select::RecvArm::new(receiver);
    };
    (send $arm:ident $sender:expr, $value:expr) => {
        let sender = &$sender;
        let mut slot = $crate::select::__slot(sender, $value);
        let mut $arm = $crate::select::SendArm::new(sender, &mut slot);
    };
    (send_from $arm:ident $sender:expr, $slot:expr) => {
        let sender = &$sender;
        let mut $arm = $crate::select::SendArm::new(sender, &mut $slot);
    };
    (done $arm:ident $context:expr) => {
        let context = &$context;
        let mut $arm = $crate::select::DoneArm::new(context);
    };
    (after $arm:ident $duration:expr) => {
        let mut $arm = $crate::select::AfterArm::new($duration);
    };
}

/// What the pattern of a chosen arm takes.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_result {
    (recv $arm:ident) => {
        $arm.take()
    };
    (send $arm:ident) => {
        $arm.take()
    };
    (send_from $arm:ident) => {
        $arm.take()
    };
    (done $arm:ident) => {
        ()
    };
    (after $arm:ident) => {
        ()
    };
}

#[doc(hidden)]
pub const __NEVER: Nanos = NEVER;

#[doc(hidden)]
pub fn __deadline(timeout: Duration) -> Nanos {
    deadline_after(timeout)
}

/// The value that an arm is to send, as the channel's own type: what coerces to it in a call of `send`
/// does so here.
#[doc(hidden)]
#[inline]
pub fn __slot<T>(_sender: &Sender<T>, value: T) -> Option<T> {
    Some(value)
}

#[doc(hidden)]
#[inline]
#[track_caller]
pub fn __wait<const N: usize>(arms: [&mut dyn SelectArm; N], deadline: Nanos) -> Option<usize> {
    let chosen = wait_or_end(arms, deadline);
    if chosen.is_none()
        && deadline == NEVER
        && let Some(error) = interrupt::error::<Dispatch>()
    {
        interrupt::unwind(error);
    }
    chosen
}

/// As [`__wait`], for callers that can say that a context they run under has ended: then, too, it
/// answers `None`.
pub(crate) fn wait_or_end<const N: usize>(
    arms: [&mut dyn SelectArm; N],
    deadline: Nanos,
) -> Option<usize> {
    let arms = arms.map(|arm| &*arm.as_core().0);
    core_select::select(&arms, &mut [core_select::Place::default(); N], deadline)
}

mod sealed {
    /// An operation as the algorithm knows it.
    pub struct Core<'a>(pub(super) &'a mut dyn super::core_select::Arm<super::Dispatch>);

    /// Tells an operation from other types; others cannot add operations.
    pub trait Operation {
        fn as_core(&mut self) -> Core<'_>;
    }
}

use sealed::{Core, Operation};

/// An operation that can take part in a select: [`RecvArm`], [`SendArm`], [`DoneArm`], [`AfterArm`].
pub trait SelectArm: Operation {}

/// Receiving, as an operation of a [`Select`].
#[derive(Debug)]
pub struct RecvArm<'a, T>(core_chan::RecvArm<'a, T, Dispatch>);

impl<'a, T> RecvArm<'a, T> {
    /// The operation of receiving the next value of `receiver`.
    pub fn new(receiver: &'a Receiver<T>) -> Self {
        RecvArm(core_chan::RecvArm::new(&receiver.0))
    }

    /// Whether a select has chosen this operation, since the last [`RecvArm::take`].
    pub fn is_chosen(&self) -> bool {
        self.0.is_chosen()
    }

    /// What was received. The arm may then take part in another select.
    ///
    /// # Errors
    /// When the channel is closed and drained.
    ///
    /// # Panics
    /// When no select has chosen this operation.
    pub fn take(&mut self) -> Result<T, RecvError> {
        self.0.take()
    }
}

impl<T> Operation for RecvArm<'_, T> {
    fn as_core(&mut self) -> Core<'_> {
        Core(&mut self.0)
    }
}

impl<T> SelectArm for RecvArm<'_, T> {}

/// Sending, as an operation of a [`Select`].
#[derive(Debug)]
pub struct SendArm<'a, T>(core_chan::SendArm<'a, T, Dispatch>);

impl<'a, T> SendArm<'a, T> {
    /// The operation of sending what is in `slot`. It stays there unless it is sent; an arm with
    /// nothing to send is never ready.
    pub fn new(sender: &'a Sender<T>, slot: &'a mut Option<T>) -> Self {
        SendArm(core_chan::SendArm::new(&sender.0, slot))
    }

    /// Whether a select has chosen this operation, since the last [`SendArm::take`].
    pub fn is_chosen(&self) -> bool {
        self.0.is_chosen()
    }

    /// What came of it. The arm may then take part in another select.
    ///
    /// # Errors
    /// Returns the value once the channel is closed or no [`Receiver`] is left.
    ///
    /// # Panics
    /// When no select has chosen this operation.
    pub fn take(&mut self) -> Result<(), SendError<T>> {
        self.0.take()
    }

    /// The slot, to put the next value in.
    pub fn slot_mut(&mut self) -> &mut Option<T> {
        self.0.slot_mut()
    }
}

impl<T> Operation for SendArm<'_, T> {
    fn as_core(&mut self) -> Core<'_> {
        Core(&mut self.0)
    }
}

impl<T> SelectArm for SendArm<'_, T> {}

/// The end of a [`Context`], as an operation of a [`Select`].
#[derive(Debug)]
pub struct DoneArm<'a>(core_chan::RecvArm<'a, crate::chan::Never, Dispatch>);

impl<'a> DoneArm<'a> {
    /// Ready once `context` has ended.
    pub fn new(context: &'a Context) -> Self {
        DoneArm(core_chan::RecvArm::new(&context.done().0))
    }

    /// Whether a select has chosen this operation.
    pub fn is_chosen(&self) -> bool {
        self.0.is_chosen()
    }
}

impl Operation for DoneArm<'_> {
    fn as_core(&mut self) -> Core<'_> {
        Core(&mut self.0)
    }
}

impl SelectArm for DoneArm<'_> {}

/// A point of time, as an operation of a [`Select`].
#[derive(Debug)]
pub struct AfterArm(core_select::Timeout);

impl AfterArm {
    /// Ready `duration` after now.
    pub fn new(duration: Duration) -> Self {
        AfterArm(core_select::Timeout::new(deadline_after(duration)))
    }

    /// Whether a select has chosen this operation.
    pub fn is_chosen(&self) -> bool {
        self.0.is_chosen()
    }
}

impl Operation for AfterArm {
    fn as_core(&mut self) -> Core<'_> {
        Core(&mut self.0)
    }
}

impl SelectArm for AfterArm {}

/// A list of operations made at run time, to wait for whichever is ready first.
///
/// The operations stay the caller's: which was chosen is asked of the number that the wait answers,
/// what came of it of the operation.
///
/// # Examples
/// ```
/// use gaggle::chan;
/// use gaggle::select::{RecvArm, Select};
///
/// let (senders, receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| chan::bounded(1)).unzip();
/// senders[1].send("one").unwrap();
///
/// let mut arms: Vec<_> = receivers.iter().map(RecvArm::new).collect();
/// let mut select = Select::new();
/// for arm in &mut arms {
///     select.add(arm);
/// }
/// let chosen = select.wait();
/// assert_eq!(chosen, 1);
/// assert_eq!(arms[chosen].take(), Ok("one"));
/// ```
#[derive(Debug, Default)]
#[must_use = "nothing is done before one of the waits"]
pub struct Select<'a>(core_select::Select<'a, Dispatch>);

impl<'a> Select<'a> {
    /// A list of no operations.
    pub const fn new() -> Self {
        Select(core_select::Select::new())
    }

    /// Adds an operation and answers its number: 0 for the first, and so on.
    pub fn add(&mut self, arm: &'a mut impl SelectArm) -> usize {
        self.0.add(arm.as_core().0)
    }

    /// Does one operation and answers its number, blocking this goroutine (never its OS thread) until
    /// one is ready; for ever, if there is none.
    pub fn wait(self) -> usize {
        self.0.wait()
    }

    /// Does one operation if one is ready now.
    pub fn try_wait(self) -> Option<usize> {
        self.0.wait_deadline(0)
    }

    /// As [`Select::wait`], for `timeout` at most; `None`: the time was over.
    pub fn wait_timeout(self, timeout: Duration) -> Option<usize> {
        self.0.wait_deadline(deadline_after(timeout))
    }

    /// As [`Select::wait`], until `deadline` at most; `None`: it came first.
    pub fn wait_deadline(self, deadline: Instant) -> Option<usize> {
        self.0.wait_deadline(deadline_at(deadline))
    }
}
