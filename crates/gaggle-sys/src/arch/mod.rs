//! What differs between processors: the context switch, the FS base, the system call instruction.

mod x86_64;

pub use x86_64::{
    EntryPoint, call_with_fs_base, fs_base, initial_stack, load_fs_base, set_malloc_words,
    spin_pause, switch, syscall6,
};
