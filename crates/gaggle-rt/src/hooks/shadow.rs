//! A goroutine's shadow: an OS thread that makes those calls for it whose owner the kernel has to know.
//!
//! Robust, priority-inheriting and priority-protecting mutexes write the number of the kernel's thread
//! into the mutex, and the kernel acts by it: it lends priorities, and marks the mutexes of a thread that
//! ends. A goroutine has no such number, and its M serves others. So the first such call makes an OS
//! thread of the goroutine's own, which makes all of them, and ends with the goroutine.
//!
//! - S1: a goroutine has at most one shadow, so what it locks on it, it unlocks on it.
//! - S2: the goroutine waits for each call, so what a call refers to lives.
//! - S3: the shadow has ended before the goroutine's end is told, so that the kernel has marked what it
//!   left locked.
//!
//! It costs an OS thread while the goroutine lives and two wake-ups a call. Rejected: locking under the
//! M's identity, which needs the goroutine pinned to the M until it unlocks, and the M ended with it.

use crate::blocking::in_long_call;
use std::cell::RefCell;
use std::sync::mpsc;
use std::thread::JoinHandle;

type Call = Box<dyn FnOnce() + Send>;

struct Shadow {
    /// Taken to end it.
    calls: Option<mpsc::Sender<Call>>,
    thread: Option<JoinHandle<()>>,
}

impl Shadow {
    /// Makes the calling goroutine's.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    fn start() -> std::io::Result<Shadow> {
        let (calls, receiver) = mpsc::channel::<Call>();
        let thread = std::thread::Builder::new()
            .name("gaggle-shadow".to_owned())
            .spawn(move || receiver.into_iter().for_each(|call| call()))?;
        Ok(Shadow {
            calls: Some(calls),
            thread: Some(thread),
        })
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        drop(self.calls.take());
        if let Some(thread) = self.thread.take() {
            // S3. Calls do not panic, so there is nothing to learn from it.
            let _ = thread.join();
        }
    }
}

thread_local! {
    static SHADOW: RefCell<Option<Shadow>> = const { RefCell::new(None) };
}

/// Makes `call` on the calling goroutine's shadow and answers what it answered. Where the operating system
/// refuses the thread, EAGAIN; at the goroutine's very end, after its shadow, the call is made here.
pub fn on_shadow(call: impl FnOnce() -> i32 + Send) -> i32 {
    let sender = SHADOW.try_with(|shadow| {
        let mut shadow = shadow.borrow_mut();
        if shadow.is_none() {
            *shadow = Shadow::start().ok();
        }
        shadow.as_ref().and_then(|shadow| shadow.calls.clone())
    });
    let sender = match sender {
        Ok(Some(sender)) => sender,
        Ok(None) => return libc::EAGAIN,
        Err(_) => return in_long_call(call),
    };
    let (done, answer) = mpsc::sync_channel(1);
    let call: Box<dyn FnOnce() + Send + '_> = Box::new(move || {
        // Somebody waits for it.
        let _ = done.send(call());
    });
    // SAFETY: S2: this waits below until the call is over, or has been dropped.
    let call = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, Call>(call) };
    // The shadow lives as long as its sender is kept above; a refused call has been dropped.
    let _ = sender.send(call);
    answer.recv().unwrap_or(libc::EAGAIN)
}
