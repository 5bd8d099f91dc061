//! The loaded modules (the program and its libraries) and where their thread-local blocks lie.
//!
//! Assumption: `dl_iterate_phdr` reports each module's thread-local block of the calling thread
//! (`dlpi_tls_data`), and blocks of static TLS lie below the FS base at the same distance in every
//! thread (System V TLS variant II). Check: the template's comparison of two threads.

use std::ffi::{CStr, c_int, c_void};

/// One loaded module.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its path; empty for the program itself.
    pub name: String,
    /// The segments in memory: address and length.
    pub segments: Vec<(usize, usize)>,
    /// How far below the FS base its thread-local block begins in this thread, if it has one here.
    pub tls_distance: Option<usize>,
    /// The size of its thread-local block in bytes.
    pub tls_bytes: usize,
    /// Its number among modules with thread-local storage; 0 for none.
    pub tls_id: usize,
}

impl Module {
    /// Whether `address` lies in one of its segments.
    pub fn contains(&self, address: usize) -> bool {
        self.segments
            .iter()
            .any(|&(start, length)| address.wrapping_sub(start) < length)
    }
}

unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    modules: *mut c_void,
) -> c_int {
    // SAFETY: `loaded` passes a pointer to its own vector, which nobody else uses meanwhile.
    let modules = unsafe { &mut *modules.cast::<Vec<Module>>() };
    // SAFETY: dl_iterate_phdr passes a complete record that lives during this call.
    let info = unsafe { &*info };
    // SAFETY: the record says that `dlpi_phnum` program headers stand at `dlpi_phdr`.
    let headers =
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    // SAFETY: the name is a string that ends in a zero byte (empty for the program).
    let name = unsafe { CStr::from_ptr(info.dlpi_name) };
    let base = info.dlpi_addr as usize;
    let tls_bytes = headers
        .iter()
        .find(|header| header.p_type == libc::PT_TLS)
        .map_or(0, |header| header.p_memsz as usize);
    let tls_data = info.dlpi_tls_data as usize;
    modules.push(Module {
        name: name.to_string_lossy().into_owned(),
        segments: headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD)
            .map(|header| {
                (
                    base.wrapping_add(header.p_vaddr as usize),
                    header.p_memsz as usize,
                )
            })
            .collect(),
        tls_distance: (info.dlpi_tls_modid != 0 && tls_data != 0)
            .then(|| crate::arch::fs_base().wrapping_sub(tls_data)),
        tls_bytes,
        tls_id: info.dlpi_tls_modid,
    });
    0
}

/// All modules loaded now, the program first.
pub fn loaded() -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    // SAFETY: `visit` takes the pointer for what it is, a vector that outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut modules).cast()) };
    modules
}

/// Whether `address` lies in the program itself, and not in a library that it loaded; null counts as
/// the program's.
pub fn is_in_program(address: usize) -> bool {
    unsafe extern "C" {
        // The linker's names for the program's first byte and for the one after its last.
        static __executable_start: u8;
        static _end: u8;
    }
    let program = &raw const __executable_start as usize..&raw const _end as usize;
    address == 0 || program.contains(&address)
}
