//! Reserving address space that the kernel commits page by page, as it is touched.

use crate::call::raw;

/// The page size of x86-64.
pub const PAGE_BYTES: usize = 4096;

/// Reserves `bytes` of zeroed, writable address space, in small pages, not counted as committed.
///
/// # Errors
/// The kernel's: out of address space or of mappings.
pub fn reserve(bytes: usize) -> std::io::Result<usize> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping where the kernel likes; nothing existing is touched.
    let address = unsafe {
        raw(
            libc::SYS_mmap,
            [0, bytes, protection as usize, flags as usize, usize::MAX, 0],
        )
    };
    if address < 0 {
        return Err(std::io::Error::from_raw_os_error(-address as i32));
    }
    // A huge page would commit 2 MiB for the first byte touched. A kernel without them refuses, which
    // is as good.
    // SAFETY: advice on our own new mapping.
    unsafe {
        raw(
            libc::SYS_madvise,
            [
                address as usize,
                bytes,
                libc::MADV_NOHUGEPAGE as usize,
                0,
                0,
                0,
            ],
        )
    };
    Ok(address as usize)
}

/// Gives address space back.
///
/// # Safety
/// `[address, address + bytes)` was reserved by [`reserve`] and nobody uses it any more.
pub unsafe fn release(address: usize, bytes: usize) {
    // SAFETY: the caller's contract.
    unsafe { raw(libc::SYS_munmap, [address, bytes, 0, 0, 0, 0]) };
}

/// Gives the memory back but keeps the address space, which reads as zeros then.
///
/// # Safety
/// `[address, address + bytes)` lies in a mapping of [`reserve`] and its content is of no use.
pub unsafe fn discard(address: usize, bytes: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        raw(
            libc::SYS_madvise,
            [address, bytes, libc::MADV_DONTNEED as usize, 0, 0, 0],
        )
    };
}
