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

/// The most that [`any_resident`] looks at.
pub const LOOKED_AT_MAX_BYTES: usize = 16 * PAGE_BYTES;

/// Whether any page of `[address, address + bytes)` is in memory; whole pages, at most
/// [`LOOKED_AT_MAX_BYTES`]. `false` where the kernel does not say.
pub fn any_resident(address: usize, bytes: usize) -> bool {
    let mut pages = [0u8; LOOKED_AT_MAX_BYTES / PAGE_BYTES];
    let bytes = bytes.min(LOOKED_AT_MAX_BYTES);
    let arguments = [address, bytes, pages.as_mut_ptr() as usize, 0, 0, 0];
    // SAFETY: the kernel writes one byte for each page of the range, for which there is room; it only
    // looks at the range.
    let result = unsafe { raw(libc::SYS_mincore, arguments) };
    result == 0 && pages.iter().any(|&page| page & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_resident_from_its_first_use_until_it_is_discarded() {
        let address = reserve(LOOKED_AT_MAX_BYTES).expect("address space");
        assert!(!any_resident(address, LOOKED_AT_MAX_BYTES));
        let page = address + 7 * PAGE_BYTES;
        // SAFETY: within the mapping just made.
        unsafe { (page as *mut u8).write_volatile(1) };
        assert!(any_resident(address, LOOKED_AT_MAX_BYTES));
        assert!(any_resident(page, PAGE_BYTES));
        assert!(!any_resident(address, 7 * PAGE_BYTES));
        // SAFETY: reserved above, nothing of use in it.
        unsafe { discard(page, PAGE_BYTES) };
        assert!(!any_resident(address, LOOKED_AT_MAX_BYTES));
        // SAFETY: reserved above.
        unsafe { release(address, LOOKED_AT_MAX_BYTES) };
    }
}
