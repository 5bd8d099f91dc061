//! A picture of a pristine thread's thread-local storage and control block, taken by the thread's
//! first act, and of libc's own block around its first `malloc` and `free`.
//!
//! Assumption: a thread made on a stack of ours (`pthread_attr_setstack`) carves its static TLS and
//! control block from the top of that stack, and nothing that matters happens in it before its start
//! function. Check: two such threads differ only in known words ([`super::template`]).

use super::Refusal;
use crate::arch::fs_base;
use std::ffi::c_void;
use std::mem::MaybeUninit;

/// One picture.
#[derive(Debug)]
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

struct Order {
    used: usize,
    libc_distance: usize,
    /// Whether libc's words are pictured, too; that costs the process an arena of malloc's.
    with_malloc: bool,
    snapshot: Snapshot,
}

/// Copies `into.len()` words from `from`.
///
/// # Safety
/// The words from `from` on are readable.
unsafe fn copy_words(from: usize, into: &mut [usize]) {
    // SAFETY: the caller's contract; `into` is a separate, writable buffer of that length.
    unsafe { std::ptr::copy_nonoverlapping(from as *const usize, into.as_mut_ptr(), into.len()) };
}

unsafe extern "C" fn take_picture(order: *mut c_void) -> *mut c_void {
    let argument = order.addr();
    // SAFETY: the order is this thread's alone until it has ended.
    let order = unsafe { &mut *order.cast::<Order>() };
    let snapshot = &mut order.snapshot;
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
        return std::ptr::null_mut();
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
    std::ptr::null_mut()
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

/// A picture that is being taken. Dropping it waits for its thread, as [`Pending::finish`] does.
#[derive(Debug)]
pub struct Pending {
    /// The thread's own until it has ended.
    order: *mut Order,
    thread: libc::pthread_t,
    stack: (usize, usize),
}

/// Begins to take a picture of a new thread on a stack of `stack_bytes`, of libc's words only where
/// `with_malloc`. Does not wait.
///
/// # Errors
/// Where the thread or its stack cannot be made.
pub fn begin(frame: Frame, stack_bytes: usize, with_malloc: bool) -> Result<Pending, Refusal> {
    let refuse = |what: &str| Refusal::new("template-thread", format!("{what} failed"));
    let stack = crate::stack::map::reserve(stack_bytes).map_err(|_| refuse("mapping a stack"))?;
    let libc_words = || vec![0; frame.libc_block.1 / 8];
    let order = Box::into_raw(Box::new(Order {
        used: frame.used,
        libc_distance: frame.libc_block.0,
        with_malloc,
        snapshot: Snapshot {
            fs: 0,
            stack: (stack, stack_bytes),
            argument: 0,
            words: vec![0; (frame.used + frame.tcb) / 8],
            dtv: (0, 0),
            libc_words: [libc_words(), libc_words(), libc_words()],
        },
    }));
    // SAFETY: a mapping of that size, just made; the order is nobody else's until the thread has ended.
    match unsafe { start_on(stack, stack_bytes, order) } {
        Some(thread) => Ok(Pending {
            order,
            thread,
            stack: (stack, stack_bytes),
        }),
        None => {
            // SAFETY: made above; no thread was.
            drop(unsafe { Box::from_raw(order) });
            // SAFETY: as above.
            unsafe { crate::stack::map::release(stack, stack_bytes) };
            Err(refuse("making a thread on a given stack"))
        }
    }
}

impl Pending {
    /// Blocks until the picture has been taken.
    ///
    /// # Errors
    /// Where libc does not let the thread be joined.
    pub fn finish(self) -> Result<Snapshot, Refusal> {
        let mut this = std::mem::ManuallyDrop::new(self);
        match this.join() {
            Some(order) => Ok(order.snapshot),
            None => Err(Refusal::new("template-thread", "joining a thread failed")),
        }
    }

    /// Waits for the thread and frees its stack; called once.
    fn join(&mut self) -> Option<Box<Order>> {
        // SAFETY: made by `start_on` and joined once.
        let failed = unsafe { libc::pthread_join(self.thread, std::ptr::null_mut()) };
        if failed != 0 {
            return None; // it may still be there: what it uses stays
        }
        // SAFETY: the thread that ran there has ended.
        unsafe { crate::stack::map::release(self.stack.0, self.stack.1) };
        // SAFETY: made by `begin`; the thread that used it has ended.
        Some(unsafe { Box::from_raw(self.order) })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        drop(self.join());
    }
}

/// Starts `take_picture(order)` on a thread with the given stack; `None`: libc refuses.
///
/// # Safety
/// The stack is mapped and, as `order`, used by nobody else until the thread has ended.
unsafe fn start_on(stack: usize, stack_bytes: usize, order: *mut Order) -> Option<libc::pthread_t> {
    extern "C" fn start(order: *mut c_void) -> *mut c_void {
        // SAFETY: `order` is what `start_on` passed.
        unsafe { take_picture(order) }
    }
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: initialises the attributes in place.
    if unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: the stack is mapped, writable and used by nobody else.
    let set = unsafe {
        libc::pthread_attr_setstack(attributes.as_mut_ptr(), stack as *mut c_void, stack_bytes)
    };
    let order = order.cast();
    // SAFETY: the attributes are initialised; `start` takes `order`, which lives until the join.
    let made = set == 0
        && unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), start, order) }
            == 0;
    // SAFETY: initialised above, not used after.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    // SAFETY: pthread_create filled it in.
    made.then(|| unsafe { thread.assume_init() })
}
