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
    // SAFETY: `take` passes a pointer to its own order and waits for this thread to end.
    let order = unsafe { &mut *order.cast::<Order>() };
    let snapshot = &mut order.snapshot;
    let fs = fs_base();
    // SAFETY: this thread's static TLS begins `used` below FS and its control block ends where the
    // buffer, sized by the caller, ends.
    unsafe { copy_words(fs - order.used, &mut snapshot.words) };
    snapshot.fs = fs;
    // SAFETY: the word at fs + 8 points at entry 0 of the dynamic thread vector.
    let vector = unsafe { *((fs + 8) as *const *const usize) };
    let length = vector.wrapping_sub(2);
    // SAFETY: entry -1 lies two words before entry 0 and holds the vector's length.
    snapshot.dtv.0 = unsafe { *length };
    // SAFETY: entry 0 holds the generation.
    snapshot.dtv.1 = unsafe { *vector };
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

/// Takes a picture of `used` bytes below and `tcb` bytes from the FS base of a new thread on a stack
/// of `stack_bytes`; libc's block lies `libc_distance` below FS and has `libc_bytes` bytes.
///
/// # Errors
/// Where the thread or its stack cannot be made.
pub fn take(
    used: usize,
    tcb: usize,
    (libc_distance, libc_bytes): (usize, usize),
    stack_bytes: usize,
) -> Result<Snapshot, Refusal> {
    let refuse = |what: &str| Refusal::new("template-thread", format!("{what} failed"));
    let stack = crate::stack::map::reserve(stack_bytes).map_err(|_| refuse("mapping a stack"))?;
    let libc_words = || vec![0; libc_bytes / 8];
    let mut order = Order {
        used,
        libc_distance,
        snapshot: Snapshot {
            fs: 0,
            stack: (stack, stack_bytes),
            words: vec![0; (used + tcb) / 8],
            dtv: (0, 0),
            libc_words: [libc_words(), libc_words(), libc_words()],
        },
    };
    let made = run_on(stack, stack_bytes, (&raw mut order).cast());
    // SAFETY: the thread that ran there has been joined (or was never made).
    unsafe { crate::stack::map::release(stack, stack_bytes) };
    if made {
        Ok(order.snapshot)
    } else {
        Err(refuse("making a thread on a given stack"))
    }
}

/// Runs `take_picture(order)` on a thread with the given stack and waits for its end.
fn run_on(stack: usize, stack_bytes: usize, order: *mut c_void) -> bool {
    extern "C" fn start(order: *mut c_void) -> *mut c_void {
        // SAFETY: `order` is what `take` passed.
        unsafe { take_picture(order) }
    }
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: initialises the attributes in place.
    if unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) } != 0 {
        return false;
    }
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: the stack is mapped, writable and used by nobody else.
    let set = unsafe {
        libc::pthread_attr_setstack(attributes.as_mut_ptr(), stack as *mut c_void, stack_bytes)
    };
    // SAFETY: the attributes are initialised; `start` takes `order`, which outlives the join below.
    let made = set == 0
        && unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), start, order) }
            == 0;
    // SAFETY: initialised above, not used after.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    if !made {
        return false;
    }
    // SAFETY: pthread_create filled it in.
    let thread = unsafe { thread.assume_init() };
    // SAFETY: made above and joined once.
    unsafe { libc::pthread_join(thread, std::ptr::null_mut()) == 0 }
}
