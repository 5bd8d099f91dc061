//! Guards: address space below a stack that faults when touched.
//!
//! `MADV_GUARD_INSTALL` (Linux 6.13) marks page-table entries and splits no mapping, so a million
//! stacks need a few mappings. Older kernels get `mprotect`, which costs two mappings a stack; it ends
//! before `vm.max_map_count` does, since a program whose `malloc` finds no mapping left goes down
//! without a word. The error then says what to do.

use crate::call::raw;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

/// Linux 6.13's advice; the C library's headers are older.
const MADV_GUARD_INSTALL: usize = 102;

/// The size of a guard in bytes: larger than the largest frame that code without stack probes is
/// expected to step over at once.
pub const GUARD_BYTES: usize = 64 << 10;

static LIGHT_GUARDS_REFUSED: AtomicBool = AtomicBool::new(false);

/// Mappings that guards leave to the rest of the program.
const MAPPINGS_LEFT: usize = 4096;

/// Mappings that one guard of the older kind takes: itself, and the stack that it cuts off.
const MAPPINGS_EACH: usize = 2;

/// How many guards of the older kind there are.
static HEAVY_GUARDS: AtomicUsize = AtomicUsize::new(0);

/// How many of them there can be; 0: not asked for yet.
static HEAVY_GUARDS_MAX: AtomicUsize = AtomicUsize::new(0);

/// From now on guards are of the older kind, as on kernels before 6.13.
pub fn use_heavy_guards() {
    // Relaxed: a hint.
    LIGHT_GUARDS_REFUSED.store(true, Ordering::Relaxed);
}

/// Ranges that one call advises on.
const AT_ONCE: usize = 16;

/// A descriptor of this process for `process_madvise`; 0: not asked for yet, -1: there is none.
static OWN_PROCESS: AtomicI32 = AtomicI32::new(0);

/// Makes `GUARD_BYTES` at each of `count` addresses, `stride` apart from `first` on, fault, and answers at
/// how many: at least one, fewer than asked for when mappings end.
///
/// # Errors
/// When the kernel has no mapping left for a first guard of the older kind.
///
/// # Safety
/// The ranges lie in mappings of ours and hold nothing of use.
pub unsafe fn install(first: usize, stride: usize, count: usize) -> std::io::Result<usize> {
    let mut done = 0;
    while done < count {
        let next = first + done * stride;
        // SAFETY: the caller's contract.
        let together = unsafe { install_together(next, stride, count - done) };
        if together > 0 {
            done += together;
            continue;
        }
        // SAFETY: the caller's contract.
        match unsafe { install_one(next) } {
            Ok(()) => done += 1,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
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
        use_heavy_guards();
    }
    // Relaxed: a count; a few more or less do not matter.
    let installed = if HEAVY_GUARDS.fetch_add(1, Ordering::Relaxed) < heavy_guards_max() {
        // SAFETY: the caller's contract.
        unsafe {
            raw(
                libc::SYS_mprotect,
                [address, GUARD_BYTES, libc::PROT_NONE as usize, 0, 0, 0],
            )
        }
    } else {
        -1
    };
    if installed < 0 {
        HEAVY_GUARDS.fetch_sub(1, Ordering::Relaxed);
        return Err(std::io::Error::new(
            std::io::ErrorKind::OutOfMemory,
            "no memory mapping is left for a stack guard: raise vm.max_map_count, or use Linux 6.13 \
             or later",
        ));
    }
    Ok(())
}

/// How many guards of the older kind leave enough mappings to the program.
fn heavy_guards_max() -> usize {
    // Relaxed: the number stands for itself.
    match HEAVY_GUARDS_MAX.load(Ordering::Relaxed) {
        0 => {}
        known => return known,
    }
    // The kernel's default, where it cannot be read.
    let mappings = read_number(c"/proc/sys/vm/max_map_count").unwrap_or(65_530);
    let max = (mappings.saturating_sub(MAPPINGS_LEFT) / MAPPINGS_EACH).max(1);
    HEAVY_GUARDS_MAX.store(max, Ordering::Relaxed);
    max
}

/// The number that a file of the kernel begins with. No malloc: g0 comes here.
fn read_number(path: &CStr) -> Option<usize> {
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
    let at = libc::AT_FDCWD as usize;
    // SAFETY: the path ends in a zero byte.
    let fd = unsafe {
        raw(
            libc::SYS_openat,
            [at, path.as_ptr() as usize, flags, 0, 0, 0],
        )
    };
    if fd < 0 {
        return None;
    }
    let mut text = [0u8; 24];
    // SAFETY: the kernel writes at most as many bytes as the buffer has.
    let length = unsafe {
        raw(
            libc::SYS_read,
            [fd as usize, text.as_mut_ptr() as usize, text.len(), 0, 0, 0],
        )
    };
    crate::call::close(fd as i32);
    let text = &text[..usize::try_from(length).ok()?];
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(None, |number: Option<usize>, &digit| {
        let number = number.unwrap_or(0).saturating_mul(10);
        Some(number.saturating_add(usize::from(digit - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_the_kernel_is_read_as_std_reads_it() {
        let path = "/proc/sys/vm/max_map_count";
        let text = std::fs::read_to_string(path).expect("Linux has this file");
        let number = text.trim().parse().expect("it holds a number");
        assert_eq!(read_number(c"/proc/sys/vm/max_map_count"), Some(number));
        assert_eq!(read_number(c"/proc/no such file"), None);
        assert_eq!(read_number(c"/proc/self/comm"), None);
    }
}
