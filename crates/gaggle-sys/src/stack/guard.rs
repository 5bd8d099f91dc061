//! Guards: address space below a stack that faults when touched.
//!
//! `MADV_GUARD_INSTALL` (Linux 6.13) marks page-table entries and splits no mapping, so a million
//! stacks need a few mappings. Older kernels get `mprotect`, which costs two mappings a stack and so
//! ends near `vm.max_map_count`: the error then says what to do.

use crate::call::raw;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Linux 6.13's advice; the C library's headers are older.
const MADV_GUARD_INSTALL: usize = 102;

/// The size of a guard in bytes: larger than the largest frame that code without stack probes is
/// expected to step over at once.
pub const GUARD_BYTES: usize = 64 << 10;

static LIGHT_GUARDS_REFUSED: AtomicBool = AtomicBool::new(false);

/// Ranges that one call advises on.
const AT_ONCE: usize = 16;

/// A descriptor of this process for `process_madvise`; 0: not asked for yet, -1: there is none.
static OWN_PROCESS: AtomicI32 = AtomicI32::new(0);

/// Makes `GUARD_BYTES` at each of `count` addresses, `stride` apart from `first` on, fault.
///
/// # Errors
/// When the kernel has no mapping left for a guard of the older kind.
///
/// # Safety
/// The ranges lie in mappings of ours and hold nothing of use.
pub unsafe fn install(first: usize, stride: usize, count: usize) -> std::io::Result<()> {
    let mut done = 0;
    while done < count {
        let next = first + done * stride;
        // SAFETY: the caller's contract.
        done += match unsafe { install_together(next, stride, count - done) } {
            0 => {
                // SAFETY: the caller's contract.
                unsafe { install_one(next) }?;
                1
            }
            installed => installed,
        };
    }
    Ok(())
}

/// Installs several light guards by one call, which saves a third of their cost; answers how many.
///
/// # Safety
/// As for `install`.
unsafe fn install_together(first: usize, stride: usize, count: usize) -> usize {
    // Relaxed: a hint that saves a call that would fail again.
    if count < 2 || LIGHT_GUARDS_REFUSED.load(Ordering::Relaxed) {
        return 0;
    }
    let Some(process) = own_process() else {
        return 0;
    };
    let ranges: [libc::iovec; AT_ONCE] = std::array::from_fn(|index| libc::iovec {
        iov_base: (first + index * stride) as *mut libc::c_void,
        iov_len: GUARD_BYTES,
    });
    let asked = count.min(AT_ONCE);
    let arguments = [
        process as usize,
        ranges.as_ptr() as usize,
        asked,
        MADV_GUARD_INSTALL,
        0,
        0,
    ];
    // SAFETY: the kernel reads `asked` ranges, which the caller lends for this.
    let advised = unsafe { raw(libc::SYS_process_madvise, arguments) };
    usize::try_from(advised).unwrap_or(0) / GUARD_BYTES
}

/// The descriptor of this process (Linux 5.3), opened once.
fn own_process() -> Option<i32> {
    // Relaxed: the number stands for itself.
    match OWN_PROCESS.load(Ordering::Relaxed) {
        0 => {}
        known => return Some(known).filter(|&fd| fd > 0),
    }
    // SAFETY: takes numbers only.
    let own = unsafe { raw(libc::SYS_getpid, [0; 6]) };
    // SAFETY: takes numbers only; the descriptor is close-on-exec.
    let opened = unsafe { raw(libc::SYS_pidfd_open, [own as usize, 0, 0, 0, 0, 0]) } as i32;
    let opened = if opened > 0 { opened } else { -1 };
    // Relaxed: as above.
    match OWN_PROCESS.compare_exchange(0, opened, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => Some(opened).filter(|&fd| fd > 0),
        Err(theirs) => {
            if opened > 0 {
                crate::call::close(opened);
            }
            Some(theirs).filter(|&fd| fd > 0)
        }
    }
}

/// Makes `[address, address + GUARD_BYTES)` fault.
///
/// # Errors
/// As for `install`.
///
/// # Safety
/// The range lies in a mapping of ours and holds nothing of use.
unsafe fn install_one(address: usize) -> std::io::Result<()> {
    // Relaxed: a hint that saves a call that would fail again.
    if !LIGHT_GUARDS_REFUSED.load(Ordering::Relaxed) {
        // SAFETY: the caller's contract.
        let result = unsafe {
            raw(
                libc::SYS_madvise,
                [address, GUARD_BYTES, MADV_GUARD_INSTALL, 0, 0, 0],
            )
        };
        if result == 0 {
            return Ok(());
        }
        LIGHT_GUARDS_REFUSED.store(true, Ordering::Relaxed);
    }
    // SAFETY: the caller's contract.
    let result = unsafe {
        raw(
            libc::SYS_mprotect,
            [address, GUARD_BYTES, libc::PROT_NONE as usize, 0, 0, 0],
        )
    };
    if result < 0 {
        return Err(std::io::Error::new(
            std::io::ErrorKind::OutOfMemory,
            "no memory mapping is left for a stack guard: raise vm.max_map_count, or use Linux 6.13 \
             or later",
        ));
    }
    Ok(())
}
