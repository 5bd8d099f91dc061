//! What differs between processors: the context switch, the FS base, the system call instruction.

mod x86_64;

pub use x86_64::{
    EntryPoint, INTERRUPTED_CALL_BYTES, call_with_fs_base, fs_base, initial_stack,
    interrupted_call, load_fs_base, prefetch, prepare_interrupted_calls, set_malloc_words,
    spin_pause, switch, syscall6, walk_from,
};
