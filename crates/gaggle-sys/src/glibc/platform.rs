//! What the processor, the kernel and the way the program was linked must offer.
//!
//! Checks: `fsgsbase` (user space may write the FS base), `shadow-stack` (none: a switch would not
//! move it), `main-program` (our code is in the executable, so its thread-local variables are in
//! static TLS and its hooks come before libc), `malloc-in-libc` (no other allocator took its place).

use super::modules::Module;
use super::{Refusal, require};

/// Bit of AT_HWCAP2 that says that user space may use `wrfsbase`.
const HWCAP2_FSGSBASE: u64 = 1 << 1;
/// arch_prctl's question which shadow-stack features this thread has (Linux 6.6).
const ARCH_SHSTK_STATUS: usize = 0x5005;
/// The feature bit of a shadow stack.
const SHSTK: u64 = 1;

/// Runs the checks.
///
/// # Errors
/// The first check that fails.
pub fn check(modules: &[Module]) -> Result<(), Refusal> {
    // SAFETY: getauxval only reads the auxiliary vector.
    let hwcap2 = unsafe { libc::getauxval(libc::AT_HWCAP2) };
    require("fsgsbase", hwcap2 & HWCAP2_FSGSBASE != 0, || {
        "the kernel does not let programs set the FS base (AT_HWCAP2 lacks FSGSBASE)".to_owned()
    })?;
    require("shadow-stack", !shadow_stack(), || {
        "this process runs with a shadow stack".to_owned()
    })?;
    let program = modules.first();
    let ours = check as *const () as usize;
    require(
        "main-program",
        program.is_some_and(|program| program.contains(ours)),
        || "gaggle is linked into a shared library, not into the program itself".to_owned(),
    )?;
    let libc = libc_module(modules)?;
    let malloc = libc::malloc as *const () as usize;
    // The name may resolve to a jump through the program's own table, so ask the dynamic linker.
    let malloc = super::symbols::data(c"malloc").map_or(malloc, |address| address as usize);
    require("malloc-in-libc", libc.contains(malloc), || {
        "malloc is not libc's own (linked statically, or replaced by another allocator)".to_owned()
    })
}

fn shadow_stack() -> bool {
    let mut features: u64 = 0;
    // SAFETY: the kernel writes eight bytes, or answers EINVAL where it does not know the question.
    let result = unsafe {
        crate::call::raw(
            libc::SYS_arch_prctl,
            [ARCH_SHSTK_STATUS, &raw mut features as usize, 0, 0, 0, 0],
        )
    };
    result == 0 && features & SHSTK != 0
}

/// The module that is libc itself.
///
/// # Errors
/// Where there is none (a statically linked program).
pub fn libc_module(modules: &[Module]) -> Result<&Module, Refusal> {
    let found = modules.iter().find(|module| {
        module
            .name
            .rsplit('/')
            .next()
            .is_some_and(|file| file.starts_with("libc.so"))
    });
    match found {
        Some(module) => Ok(module),
        None => Err(Refusal::new(
            "libc-module",
            "libc is not a shared library of this program",
        )),
    }
}
