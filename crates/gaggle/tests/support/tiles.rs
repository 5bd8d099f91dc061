//! Tile registers (AMX): kept over a long computation, where the processor and the kernel have them.
//!
//! Source: Intel's architecture manual, volume 1, chapter 18, and the kernel's `Documentation/arch/x86/xstate.rst`.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};

/// Tile registers, and what each holds: 16 rows of 64 bytes.
const TILES: usize = 8;
const ROWS: usize = 16;
const ROW_BYTES: usize = 64;
/// 8-byte words of all tiles.
const WORDS: usize = TILES * ROWS * ROW_BYTES / 8;

/// Why this process cannot use tile registers, to be printed after `skipped: `; `None`: it can from now on.
///
/// The kernel gives them, and with them larger frames for signals, to processes that ask.
pub fn lacking() -> Option<String> {
    // Leaf 1: ECX bit 27 says that `xgetbv` can be used. Leaf 7: EDX bit 24 is AMX-TILE.
    let has_tiles = __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & 1 << 24 != 0;
    if !has_tiles || __cpuid(1).ecx & 1 << 27 == 0 {
        return Some("AMX: the processor has no tile registers".to_string());
    }
    // Bits 17 and 18: the configuration of the tiles, and the tiles.
    if enabled_states() & 3 << 17 != 3 << 17 {
        return Some("AMX: the kernel does not keep tile registers".to_string());
    }
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILE_DATA: libc::c_long = 18;
    // SAFETY: it changes only what this process may use; no memory is handed over.
    let refused = unsafe {
        libc::syscall(
            libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILE_DATA,
        )
    };
    (refused != 0).then(|| {
        let why = std::io::Error::last_os_error();
        format!("AMX: the kernel does not permit tile registers: {why}")
    })
}

/// The register states that the kernel has switched on (XCR0). The processor has `xgetbv`.
fn enabled_states() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller has asked for the instruction; it only reads.
    unsafe {
        asm!(
            "xgetbv",
            in("ecx") 0, out("eax") low, out("edx") high,
            options(nomem, nostack, preserves_flags),
        );
    }
    u64::from(high) << 32 | u64::from(low)
}

/// What `ldtilecfg` reads: the palette, then how many bytes a row has and how many rows there are, for each tile.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

const _: () = assert!(size_of::<Configuration>() == 64);

impl Configuration {
    /// All tiles at their full size.
    fn full() -> Self {
        let mut configuration = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        configuration.row_bytes[..TILES].fill(ROW_BYTES as u16);
        configuration.rows[..TILES].fill(ROWS as u8);
        configuration
    }
}

/// Fills all tile registers with numbers made of `seed`, counts to `rounds` without a call, and looks whether
/// they hold them still. `release`: they are given back then, as they should be; else the next code on this OS
/// thread finds them in use.
///
/// A configuration that was lost on the way ends the process with SIGILL.
///
/// # Safety
/// [`lacking`] has said that nothing lacks.
pub unsafe fn are_kept(seed: u64, rounds: u64, release: bool) -> bool {
    let mut state = seed | 1;
    let values: Vec<u64> = (0..WORDS)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        })
        .collect();
    let mut found = vec![0u64; WORDS];
    let configuration = Configuration::full();
    // One block, in which nothing can be called: whatever happens to the registers was done by who interrupts.
    // SAFETY: the processor and the kernel have tiles, as the caller says. The configuration has 64 bytes, and
    // each tile is read from, and written to, its own 1,024 bytes of the 8,192 in `values` and in `found`.
    unsafe {
        asm!(
            "ldtilecfg [{configuration}]",
            "tileloadd tmm0, [{values} + {stride}]",
            "tileloadd tmm1, [{values} + {stride} + 0x400]",
            "tileloadd tmm2, [{values} + {stride} + 0x800]",
            "tileloadd tmm3, [{values} + {stride} + 0xc00]",
            "tileloadd tmm4, [{values} + {stride} + 0x1000]",
            "tileloadd tmm5, [{values} + {stride} + 0x1400]",
            "tileloadd tmm6, [{values} + {stride} + 0x1800]",
            "tileloadd tmm7, [{values} + {stride} + 0x1c00]",
            "2:",
            "dec {rounds}",
            "jnz 2b",
            "tilestored [{found} + {stride}], tmm0",
            "tilestored [{found} + {stride} + 0x400], tmm1",
            "tilestored [{found} + {stride} + 0x800], tmm2",
            "tilestored [{found} + {stride} + 0xc00], tmm3",
            "tilestored [{found} + {stride} + 0x1000], tmm4",
            "tilestored [{found} + {stride} + 0x1400], tmm5",
            "tilestored [{found} + {stride} + 0x1800], tmm6",
            "tilestored [{found} + {stride} + 0x1c00], tmm7",
            configuration = in(reg) &raw const configuration,
            values = in(reg) values.as_ptr(),
            found = in(reg) found.as_mut_ptr(),
            stride = in(reg) ROW_BYTES,
            rounds = inout(reg) rounds.max(1) => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
    if release {
        // SAFETY: as above; it touches nothing else.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
    found == values
}
