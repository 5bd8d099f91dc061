//! Guards: address space below a stack that faults when touched.
//!
//! `MADV_GUARD_INSTALL` (Linux 6.13) marks page-table entries and splits no mapping, so a million
//! stacks need a few mappings. Older kernels get `mprotect`, which costs two mappings a stack and so
//! ends near `vm.max_map_count`: the error then says what to do.

use crate::call::raw;
use std::sync::atomic::{AtomicBool, Ordering};

/// Linux 6.13's advice; the C library's headers are older.
const MADV_GUARD_INSTALL: usize = 102;

/// The size of a guard in bytes: larger than the largest frame that code without stack probes is
/// expected to step over at once.
pub const GUARD_BYTES: usize = 64 << 10;

static LIGHT_GUARDS_REFUSED: AtomicBool = AtomicBool::new(false);

/// Makes `[address, address + GUARD_BYTES)` fault.
///
/// # Errors
/// When the kernel has no mapping left for a guard of the older kind.
///
/// # Safety
/// The range lies in a mapping of ours and holds nothing of use.
pub unsafe fn install(address: usize) -> std::io::Result<()> {
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
