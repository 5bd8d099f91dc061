//! The dynamic thread vector: where `__tls_get_addr` looks a module's block up.
//!
//! Assumption: `fs + 8` points at entry 0 of an array of 16-byte entries; entry -1 holds how many
//! there are, entry 0 the generation, entry n the block of module n: address (`usize::MAX`: not
//! resolved yet) and, if it was allocated on demand, the pointer to free. It grows by `realloc`, so
//! it must be malloc's. Check: the probe goroutine resolves a module through it (`__tls_get_addr`).

use std::ffi::c_void;

/// The address of a block that has not been resolved yet.
const UNRESOLVED: usize = usize::MAX;

/// Allocates a vector for modules 1 to `modules`, none of them resolved; null where memory is out.
///
/// # Safety
/// Called on a thread (or goroutine) whose malloc works; the result is handed to libc by its place
/// in a thread control block.
pub unsafe fn allocate(modules: usize, generation: usize) -> *mut usize {
    // SAFETY: malloc may be asked for any size.
    let block = unsafe { libc::malloc((modules + 2) * 16) }.cast::<usize>();
    if block.is_null() {
        return block;
    }
    // SAFETY: the block has `(modules + 2) * 2` words, owned by nobody else yet.
    let words = unsafe { std::slice::from_raw_parts_mut(block, (modules + 2) * 2) };
    words[0] = modules;
    words[1] = 0;
    words[2] = generation;
    words[3] = 0;
    for module in words[4..].chunks_exact_mut(2) {
        module[0] = UNRESOLVED;
        module[1] = 0;
    }
    &raw mut words[2]
}

/// Lets the calling thread's malloc arena grow by a large step now instead of by a page at a time.
///
/// glibc grows the heap of an arena that is not main's by `mprotect`, for as many pages as the request
/// at hand needs: with many small blocks that is a system call, and the process's memory-map lock, for
/// each page. A block of some size that is freed at once stays with the arena's top (below the trim
/// threshold of 128 KiB), so the requests that follow find room. Measured with 100,000 goroutines that
/// start at once: a tenth of the time went into `mprotect` before. No memory is touched. Where malloc
/// works otherwise this does nothing of note.
pub fn widen_heap() {
    // Below the thresholds of 128 KiB for mapping a block and for trimming the top.
    const STEP_BYTES: usize = 120 << 10;
    // SAFETY: malloc may be asked for any size.
    let block = unsafe { libc::malloc(STEP_BYTES) };
    // SAFETY: malloc's (or null), freed once.
    unsafe { libc::free(std::hint::black_box(block)) };
}

/// Frees the blocks that were resolved through `vector` and leaves it as [`allocate`] made it, but
/// for its generation and length, which stay what libc made them.
///
/// # Safety
/// `vector` is a thread's that has ended using thread-local storage of dynamic modules, and malloc
/// works.
pub unsafe fn release_blocks(vector: *mut usize) {
    let (length, first) = (vector.wrapping_sub(2), vector.wrapping_add(2));
    // SAFETY: by the layout above, entry -1 lies two words before and holds the length.
    let modules = unsafe { length.read() };
    // SAFETY: entries 1 to `modules`, of two words each, follow entry 0.
    let words = unsafe { std::slice::from_raw_parts_mut(first, modules * 2) };
    for module in words.chunks_exact_mut(2) {
        if module[1] != 0 {
            // SAFETY: libc noted this pointer as the allocation behind the block; nobody uses it now.
            unsafe { libc::free(module[1] as *mut c_void) };
        }
        module[0] = UNRESOLVED;
        module[1] = 0;
    }
}
