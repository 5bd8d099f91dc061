//! A picture of a pristine thread's thread-local storage and control block, taken by the thread's
//! first act, and of libc's own block around its first `malloc` and `free`.
//!
//! Assumption: a thread made on a stack of ours (`pthread_attr_setstack`) carves its static TLS and
//! control block from the top of that stack, and nothing that matters happens in it before its start
//! function. Check: two such threads differ only in known words ([`super::template`]).
//!
//! A thread that has been pictured waits, and is then given something to do: to make a thread and to end
//! it costs 40 us or more of a program's start, and the runtime needs some anyway.

use super::Refusal;
use crate::arch::fs_base;
use crate::futex;
use crate::stack::guard::{self, GUARD_BYTES};
use crate::stack::map;
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::sync::atomic::{AtomicU32, Ordering};

/// One picture.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The thread's FS base.
    pub fs: usize,
    /// The lowest address and the size of its stack.
    pub stack: (usize, usize),
    /// What its start function was given.
    pub argument: usize,
    /// The words of `[fs - used, fs + tcb)`.
    pub words: Vec<usize>,
    /// How many modules the thread's dynamic thread vector had room for, and its generation.
    pub dtv: (usize, usize),
    /// libc's thread-local words before and after the first malloc and free, and after `getrandom`.
    pub libc_words: [Vec<usize>; 3],
}

/// What an OS thread runs.
pub type Entry = extern "C" fn(*mut c_void) -> *mut c_void;

/// The picture is being taken: it is the thread's.
const BEGUN: u32 = 0;
/// It has been taken: it is the maker's, and the thread waits.
const TAKEN: u32 = 1;
/// The thread goes on.
const GOES_ON: u32 = 2;

struct Order {
    used: usize,
    libc_distance: usize,
    /// Whether libc's words are pictured, too; that costs the process an arena of malloc's.
    with_malloc: bool,
    /// [`BEGUN`], [`TAKEN`] or [`GOES_ON`], which say whose the two cells are.
    step: AtomicU32,
    snapshot: UnsafeCell<Snapshot>,
    /// What the thread is to call; `None`: it is to end.
    then: Cell<Option<(Entry, *mut c_void)>>,
}

/// Copies `into.len()` words from `from`.
///
/// # Safety
/// The words from `from` on are readable.
unsafe fn copy_words(from: usize, into: &mut [usize]) {
    // SAFETY: the caller's contract; `into` is a separate, writable buffer of that length.
    unsafe { std::ptr::copy_nonoverlapping(from as *const usize, into.as_mut_ptr(), into.len()) };
}

/// Takes the picture that `order` is for, on the new thread and as its first act.
fn take_picture(order: &Order) {
    let argument = std::ptr::from_ref(order).addr();
    // SAFETY: the picture is this thread's alone until the step says otherwise.
    let snapshot = unsafe { &mut *order.snapshot.get() };
    let fs = fs_base();
    // SAFETY: this thread's static TLS begins `used` below FS and its control block ends where the
    // buffer, sized by the caller, ends.
    unsafe { copy_words(fs - order.used, &mut snapshot.words) };
    snapshot.fs = fs;
    snapshot.argument = argument;
    // SAFETY: the word at fs + 8 points at entry 0 of the dynamic thread vector.
    let vector = unsafe { *((fs + 8) as *const *const usize) };
    let length = vector.wrapping_sub(2);
    // SAFETY: entry -1 lies two words before entry 0 and holds the vector's length.
    snapshot.dtv.0 = unsafe { *length };
    // SAFETY: entry 0 holds the generation.
    snapshot.dtv.1 = unsafe { *vector };
    if !order.with_malloc {
        return;
    }
    let libc_block = fs - order.libc_distance;
    // SAFETY: libc's block lies within static TLS; the buffer has its size.
    unsafe { copy_words(libc_block, &mut snapshot.libc_words[0]) };
    // SAFETY: malloc may be asked for any size.
    let block = unsafe { libc::malloc(std::hint::black_box(100)) };
    // black_box keeps the pair from being optimised away.
    let block = std::hint::black_box(block);
    // SAFETY: malloc's, freed once.
    unsafe { libc::free(block) };
    // SAFETY: as above.
    unsafe { copy_words(libc_block, &mut snapshot.libc_words[1]) };
    let mut random = [0u8; 8];
    // SAFETY: eight writable bytes.
    unsafe { libc::getrandom(random.as_mut_ptr().cast(), random.len(), 0) };
    // SAFETY: as above.
    unsafe { copy_words(libc_block, &mut snapshot.libc_words[2]) };
}

/// What a pictured thread runs.
extern "C" fn run(order: *mut c_void) -> *mut c_void {
    // SAFETY: what `start_on` passed: it lives until this thread has ended, or for ever.
    let order = unsafe { &*order.cast::<Order>() };
    take_picture(order);
    // Release: pairs with the Acquire in `wait`; publishes the picture.
    order.step.store(TAKEN, Ordering::Release);
    futex::wake(&order.step, 1);
    // Acquire: pairs with the Release in `let_go_on`; `then` was written before.
    while order.step.load(Ordering::Acquire) != GOES_ON {
        futex::wait(&order.step, TAKEN, None);
    }
    match order.then.get() {
        Some((entry, argument)) => entry(argument),
        None => std::ptr::null_mut(),
    }
}

/// What of a new thread is pictured.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Bytes below the FS base.
    pub used: usize,
    /// Bytes from the FS base on.
    pub tcb: usize,
    /// How far below FS libc's block lies, and its bytes.
    pub libc_block: (usize, usize),
}

/// A thread that is being pictured, or waits for what it is to do. Dropping it ends the thread.
#[derive(Debug)]
pub struct Pictured {
    order: *const Order,
    thread: libc::pthread_t,
    /// The lowest address and the size of what is mapped for its stack, with a guard at the lower end.
    mapping: (usize, usize),
}

/// Begins to take a picture of a new thread on a stack of `stack_bytes`, of libc's words only where
/// `with_malloc`. Does not wait.
///
/// # Errors
/// Where the thread or its stack cannot be made.
pub fn begin(frame: Frame, stack_bytes: usize, with_malloc: bool) -> Result<Pictured, Refusal> {
    let refuse = |what: &str| Refusal::new("template-thread", format!("{what} failed"));
    let mapped = GUARD_BYTES + stack_bytes;
    let base = map::reserve(mapped).map_err(|_| refuse("mapping a stack"))?;
    let stack = (base + GUARD_BYTES, stack_bytes);
    let libc_words = || vec![0; frame.libc_block.1 / 8];
    let order = Box::into_raw(Box::new(Order {
        used: frame.used,
        libc_distance: frame.libc_block.0,
        with_malloc,
        step: AtomicU32::new(BEGUN),
        snapshot: UnsafeCell::new(Snapshot {
            fs: 0,
            stack,
            argument: 0,
            words: vec![0; (frame.used + frame.tcb) / 8],
            dtv: (0, 0),
            libc_words: [libc_words(), libc_words(), libc_words()],
        }),
        then: Cell::new(None),
    }));
    // SAFETY: the lowest part of a mapping that was just made and that nobody else knows.
    let guarded = unsafe { guard::install(base, GUARD_BYTES, 1) };
    // SAFETY: a mapping of that size, just made; the order lives until the thread has ended, or for ever.
    match guarded.ok().and_then(|_| unsafe { start_on(stack, order) }) {
        Some(thread) => Ok(Pictured {
            order,
            thread,
            mapping: (base, mapped),
        }),
        None => {
            // SAFETY: made above; no thread was.
            drop(unsafe { Box::from_raw(order) });
            // SAFETY: as above.
            unsafe { map::release(base, mapped) };
            Err(refuse("making a thread on a given stack"))
        }
    }
}

impl Pictured {
    fn order(&self) -> &Order {
        // SAFETY: freed by `drop` only, or never.
        unsafe { &*self.order }
    }

    /// Blocks until the picture has been taken, and answers it; an empty one when called again.
    pub fn wait(&self) -> Snapshot {
        let order = self.order();
        // Acquire: pairs with the Release in `run`.
        while order.step.load(Ordering::Acquire) == BEGUN {
            futex::wait(&order.step, BEGUN, None);
        }
        // SAFETY: it has been taken, and from then on is this thread's.
        std::mem::take(unsafe { &mut *order.snapshot.get() })
    }

    /// Has the thread call `entry(argument)`, or end; its picture was taken or is of no use.
    fn let_go_on(&self, then: Option<(Entry, *mut c_void)>) {
        drop(self.wait());
        let order = self.order();
        order.then.set(then);
        // Release: pairs with the Acquire in `run`.
        order.step.store(GOES_ON, Ordering::Release);
        futex::wake(&order.step, 1);
    }

    /// Has the thread run `entry(argument)`, and end with it. Its order, and its stack, if it ends, stay for
    /// good: nobody waits for the end.
    ///
    /// # Safety
    /// `argument` is what `entry` expects, on another thread and at any later time. `entry` does not unwind.
    pub unsafe fn go_on(self, entry: Entry, argument: *mut c_void) {
        let this = ManuallyDrop::new(self);
        this.let_go_on(Some((entry, argument)));
        // SAFETY: made by `start_on`; nobody has joined it or will.
        unsafe { libc::pthread_detach(this.thread) };
    }
}

impl Drop for Pictured {
    fn drop(&mut self) {
        self.let_go_on(None);
        // SAFETY: made by `start_on` and joined once.
        if unsafe { libc::pthread_join(self.thread, std::ptr::null_mut()) } != 0 {
            return; // it may still be there: what it uses stays
        }
        // SAFETY: the thread that ran there has ended.
        unsafe { map::release(self.mapping.0, self.mapping.1) };
        // SAFETY: made by `begin`; the thread that used it has ended.
        drop(unsafe { Box::from_raw(self.order.cast_mut()) });
    }
}

/// Starts `run(order)` on a thread with the given stack; `None`: libc refuses.
///
/// # Safety
/// The stack is mapped and, as `order`, used by nobody else until the thread has ended.
unsafe fn start_on(stack: (usize, usize), order: *mut Order) -> Option<libc::pthread_t> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: initialises the attributes in place.
    if unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: the stack is mapped, writable and used by nobody else.
    let set = unsafe {
        libc::pthread_attr_setstack(attributes.as_mut_ptr(), stack.0 as *mut c_void, stack.1)
    };
    let order = order.cast();
    // SAFETY: the attributes are initialised; `run` takes `order`, which lives long enough.
    let made = set == 0
        && unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), run, order) }
            == 0;
    // SAFETY: initialised above, not used after.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    // SAFETY: pthread_create filled it in.
    made.then(|| unsafe { thread.assume_init() })
}
