//! Calls that block on disks and on locks of files: the hand-off path.

use super::answer_int;
use crate::blocking::in_long_call;
use gaggle_sys::call::raw;
use libc::{c_int, c_uint, c_void, off_t, size_t};

macro_rules! long_calls {
    ($($name:ident($($argument:ident: $type:ty),*) = $number:ident;)*) => {$(
        /// The libc function of this name.
        ///
        /// # Safety
        /// As for libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> c_int {
            let mut arguments = [0usize; 6];
            for (slot, value) in arguments.iter_mut().zip([$($argument as usize),*]) {
                *slot = value;
            }
            // SAFETY: the caller's contract is the system call's.
            answer_int(in_long_call(|| unsafe { raw(libc::$number, arguments) }))
        }
    )*};
}

long_calls! {
    fsync(fd: c_int) = SYS_fsync;
    fdatasync(fd: c_int) = SYS_fdatasync;
    flock(fd: c_int, operation: c_int) = SYS_flock;
    syncfs(fd: c_int) = SYS_syncfs;
    sync_file_range(fd: c_int, offset: off_t, count: off_t, flags: c_uint) = SYS_sync_file_range;
    msync(address: *mut c_void, length: size_t, flags: c_int) = SYS_msync;
    fallocate(fd: c_int, mode: c_int, offset: off_t, length: off_t) = SYS_fallocate;
    fallocate64(fd: c_int, mode: c_int, offset: off_t, length: off_t) = SYS_fallocate;
    ftruncate(fd: c_int, length: off_t) = SYS_ftruncate;
    ftruncate64(fd: c_int, length: off_t) = SYS_ftruncate;
}
