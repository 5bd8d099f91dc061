//! x86-64: the only assembly of the project.
//!
//! # The frame of a context that does not run
//!
//! ```text
//! sp + 0   MXCSR (4 bytes), x87 control word (2 bytes), 2 unused
//! sp + 8   r15
//! sp + 16  r14
//! sp + 24  r13     a new context: the entry function
//! sp + 32  r12     a new context: the entry function's argument
//! sp + 40  rbx
//! sp + 48  rbp     a new context: 0, which ends a walk along frame pointers
//! sp + 56  the address to go on at
//! ```
//!
//! - W1: two words of libc's thread-local storage (malloc's cache and arena) stay with the OS thread:
//!   they are read from the old block and written into the new one, which is this thread's already, before
//!   the FS base changes. All else goes with the stack.
//! - W2: between reading them and `wrfsbase` nothing can run on this OS thread that uses malloc: signals
//!   that could are blocked on threads that switch.
//! - W3: only the control bits of MXCSR and the x87 control word belong to the callee by the System V
//!   ABI; they are loaded only where they differ, as loading costs more than comparing. They are stored
//!   first of all, into the red zone, where their frame will be: they are slow, and what follows
//!   does not wait for them.
//! - W4: the switch ends in `ret`, and the scheduler calls it from one place for goroutines. So the
//!   processor's stack of return addresses, which pairs calls and returns, predicts that `ret` (to the
//!   same place on another stack) and stays aligned for the returns that follow. With `pop; jmp` the
//!   `ret` itself is spared, but each later return is one off and mispredicts.
//! - W5: `wrfsbase` waits for what is before it and holds up what is after it (11.6 ns, or 44 cycles, each on
//!   an EPYC of 2024). So as much as can be is done before it, and nothing after it refers to FS.

use std::arch::{asm, naked_asm};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where malloc's two words lie, as offsets from the FS base. Written once, before the first switch.
#[repr(C)]
struct MallocWords(UnsafeCell<[isize; 2]>);

// SAFETY: written once by `set_malloc_words` before any thread that switches exists; only read after.
unsafe impl Sync for MallocWords {}

static MALLOC_WORDS: MallocWords = MallocWords(UnsafeCell::new([0; 2]));

/// Tells the switch where malloc's two words lie, as offsets from the FS base.
///
/// # Safety
/// Called before the first [`switch`], by one thread.
pub unsafe fn set_malloc_words(offsets: [isize; 2]) {
    // SAFETY: by the contract nobody reads or writes at this time.
    unsafe { *MALLOC_WORDS.0.get() = offsets }
}

/// Saves this context, its stack pointer going to `*save`, and goes on in the context whose frame is
/// at `stack_pointer`, with `fs` as its FS base. The call of `switch` by which that context was left
/// returns `carried` there; a new context's entry function gets it as its second argument.
///
/// # Safety
/// `save` is writable. `stack_pointer` was saved by `switch` or made by [`initial_stack`], belongs to
/// a context that nobody else runs or will run, and is used up by this call. `fs` is the FS base that
/// belongs to that context and holds a complete thread control block. W2 holds.
#[unsafe(naked)]
pub unsafe extern "C" fn switch(
    save: *mut usize,
    stack_pointer: usize,
    fs: usize,
    carried: *mut (),
) -> *mut () {
    naked_asm!(
        "stmxcsr [rsp - 56]",
        "fnstcw [rsp - 52]",
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov [rdi], rsp",
        // W1: malloc's words leave the old block, and arrive in the new one.
        "mov rax, [rip + {words}]",
        "mov r8, [rip + {words} + 8]",
        "mov r9, fs:[rax]",
        "mov r10, fs:[r8]",
        "mov [rdx + rax], r9",
        "mov [rdx + r8], r10",
        "wrfsbase rdx", // W5
        // The control words of this context, to compare with the next one's.
        "mov r11d, [rsp]",
        "movzx edi, word ptr [rsp + 4]",
        "mov rsp, rsi",
        // W3: bits 6 to 15 of MXCSR are control, 0 to 5 status.
        "xor r11d, [rsp]",
        "test r11d, 0xffc0",
        "jnz 3f",
        "2:",
        "cmp di, word ptr [rsp + 4]",
        "jne 4f",
        "5:",
        "mov rax, rcx",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        "3:",
        "ldmxcsr [rsp]",
        "jmp 2b",
        "4:",
        "fldcw [rsp + 4]",
        "jmp 5b",
        words = sym MALLOC_WORDS,
    )
}

/// Where a new context begins: `r13(r12, carried)`, never to return.
#[unsafe(naked)]
unsafe extern "C" fn first_frame() -> ! {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip", // nothing called this: a walk of the stack ends here
        "mov rdi, r12",
        "mov rsi, rax",
        "call r13",
        "ud2",
        ".cfi_endproc",
    )
}

/// What a new context runs: its own argument, and what the switch to it carried.
pub type EntryPoint = unsafe extern "C" fn(argument: *mut (), carried: *mut ()) -> !;

/// The MXCSR that the ABI prescribes at a program's start: all exceptions masked, round to nearest.
const MXCSR_DEFAULT: u64 = 0x1f80;
/// The x87 control word that the ABI prescribes: all exceptions masked, extended precision.
const X87_DEFAULT: u64 = 0x037f;

/// Writes the frame of a new context under `top` and returns its stack pointer for [`switch`].
///
/// # Safety
/// The 80 bytes below `top` are writable and belong to the new context alone.
pub unsafe fn initial_stack(top: usize, entry: EntryPoint, argument: *mut ()) -> usize {
    // After `ret` the stack pointer is `base`, and `call r13` needs it at a multiple of 16.
    let base = (top & !15) - 16;
    let frame: [u64; 8] = [
        MXCSR_DEFAULT | X87_DEFAULT << 32,
        0,
        0,
        entry as usize as u64,
        argument as u64,
        0,
        0,
        first_frame as *const () as u64,
    ];
    let stack_pointer = base - size_of_val(&frame);
    // SAFETY: 64 bytes at `stack_pointer`, within the 80 below `top`, aligned to 8 as `base` is to 16.
    unsafe { (stack_pointer as *mut [u64; 8]).write(frame) };
    // The two words above are the end of the stack for walkers: null frame pointer, null return.
    // SAFETY: `base` and the 16 bytes above it are within the 80 below `top`, aligned to 16.
    unsafe { (base as *mut [u64; 2]).write([0; 2]) };
    stack_pointer
}

/// Bytes that `xsave` writes on this processor; 0: not asked for yet.
static XSAVE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The most that [`interrupted_call`] and what it calls may need below an interrupted stack pointer.
pub const INTERRUPTED_CALL_BYTES: usize = 32 << 10;

/// Asks the processor what [`interrupted_call`] needs; before the first use of it.
pub fn prepare_interrupted_calls() {
    // CPUID leaf 0xd, subleaf 0: EBX is the size for the states that are enabled (Intel SDM volume 1,
    // chapter 13).
    let bytes = std::arch::x86_64::__cpuid_count(0xd, 0).ebx as usize;
    // Relaxed: written before the first preemption.
    XSAVE_BYTES.store(bytes + 64, Ordering::Relaxed);
}

/// Where code goes on that was interrupted to make a call: all of its registers are kept, the call is
/// made, and it goes on where it was. On entry the stack holds the function and, above, the address
/// that was interrupted; above that the red zone of 128 bytes.
///
/// # Safety
/// Entered only through a signal frame that was prepared so.
#[unsafe(naked)]
pub unsafe extern "C" fn interrupted_call() {
    naked_asm!(
        "pushfq",
        "push rax",
        "push rcx",
        "push rdx",
        "push rbx",
        "push rbp",
        "push rsi",
        "push rdi",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "cld",
        "mov rbp, rsp",
        "mov rbx, [rbp + 128]", // the function: above 16 words
        "sub rsp, [rip + {bytes}]",
        "and rsp, -64",
        // The header of the area must be zero before it is written to.
        "xor eax, eax",
        "lea rdi, [rsp + 512]",
        "mov ecx, 8",
        "rep stosq",
        "mov eax, -1",
        "mov edx, -1",
        "xsave64 [rsp]",
        "call rbx",
        "mov eax, -1",
        "mov edx, -1",
        "xrstor64 [rsp]",
        "mov rsp, rbp",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdi",
        "pop rsi",
        "pop rbp",
        "pop rbx",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "popfq",
        "lea rsp, [rsp + 8]", // past the function, with the flags as they were
        "ret 128",            // and past the red zone
        bytes = sym XSAVE_BYTES,
    )
}

/// Calls `callback(argument)` as if the context whose frame is at `stack_pointer` had: an unwinder
/// that walks the callers of `callback` comes from it to the frames of that context.
///
/// It changes nothing of the context. The stack pointer is kept in rbx, which every callee restores,
/// and the unwind table says that the caller's registers are those of the frame drawn at the top.
///
/// # Safety
/// `stack_pointer` was saved by [`switch`], and the context is on no processor until this returns.
/// `callback` does not unwind, and may be called with `argument`.
#[unsafe(naked)]
pub unsafe extern "C" fn walk_from(
    stack_pointer: usize,
    callback: unsafe extern "C" fn(argument: *mut ()),
    argument: *mut (),
) {
    naked_asm!(
        ".cfi_startproc",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbx, -16",
        "mov rbx, rdi",
        // From here on the caller is the context: its frame ends, above the address to go on at, at
        // rbx + 64, and each register stands where the drawing says.
        ".cfi_remember_state",
        ".cfi_def_cfa rbx, 64",
        ".cfi_offset rip, -8",
        ".cfi_offset rbp, -16",
        ".cfi_offset rbx, -24",
        ".cfi_offset r12, -32",
        ".cfi_offset r13, -40",
        ".cfi_offset r14, -48",
        ".cfi_offset r15, -56",
        "mov rdi, rdx",
        "call rsi",
        // And back: an unwinder may look at any instruction.
        ".cfi_restore_state",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbx",
        "ret",
        ".cfi_endproc",
    )
}

/// Asks the processor to fetch the cache line at `address`, which may be any: nothing is read, and what
/// is not mapped is left alone.
#[inline(always)]
pub fn prefetch(address: usize) {
    // SAFETY: the instruction has no effect that a program can see (Intel SDM, PREFETCHh).
    unsafe {
        asm!("prefetcht0 [{}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
}

/// This thread's FS base: the address of its thread control block, which holds its own address first.
#[inline(always)]
pub fn fs_base() -> usize {
    let base;
    // SAFETY: on x86-64 the word at fs:0 of every thread is the TCB's own address (System V TLS ABI).
    unsafe {
        asm!("mov {}, fs:0", out(reg) base, options(nostack, pure, readonly, preserves_flags))
    };
    base
}

/// Sets this thread's FS base.
///
/// # Safety
/// `base` holds a complete thread control block that outlives its use here, the processor and kernel
/// allow the instruction (AT_HWCAP2 bit 1), and no thread-local address is held over the call.
#[inline(always)]
pub unsafe fn load_fs_base(base: usize) {
    // SAFETY: the caller's contract is the instruction's.
    unsafe { asm!("wrfsbase {}", in(reg) base, options(nostack, preserves_flags)) }
}

/// Calls `function(argument)` with the FS base `fs`, and goes back to `back`, the caller's own, after.
///
/// It is one block of assembly, so that no compiler can move the reading of a thread-local address over
/// either change: whatever `function` does lies behind a call that nothing is known of. Malloc's words
/// come along and back (W1), as the same OS thread's.
///
/// # Safety
/// `back` is the calling thread's FS base. `fs` belongs to a context of this OS thread that does not run
/// meanwhile, and holds a complete thread control block. `function` returns, does not unwind, and does
/// not switch stacks. W2 holds.
#[unsafe(naked)]
pub unsafe extern "C" fn call_with_fs_base(
    fs: usize,
    back: usize,
    function: unsafe extern "C" fn(*mut ()),
    argument: *mut (),
) {
    naked_asm!(
        ".cfi_startproc",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_offset rbx, -16",
        "mov rbx, rsi",
        "mov rax, [rip + {words}]",
        "mov r8, [rip + {words} + 8]",
        "mov r9, fs:[rax]",
        "mov r10, fs:[r8]",
        "wrfsbase rdi",
        "mov fs:[rax], r9",
        "mov fs:[r8], r10",
        "mov rdi, rcx",
        "call rdx", // rsp is a multiple of 16 here: the return address and rbx are on the stack
        "mov rax, [rip + {words}]",
        "mov r8, [rip + {words} + 8]",
        "mov r9, fs:[rax]",
        "mov r10, fs:[r8]",
        "wrfsbase rbx",
        "mov fs:[rax], r9",
        "mov fs:[r8], r10",
        "pop rbx",
        ".cfi_adjust_cfa_offset -8",
        ".cfi_restore rbx",
        "ret",
        ".cfi_endproc",
        words = sym MALLOC_WORDS,
    )
}

/// Tells the processor that this is a spin loop.
#[inline(always)]
pub fn spin_pause() {
    std::hint::spin_loop();
}

/// One system call; answers the kernel's word, `-errno` on failure. It touches no thread-local
/// storage.
///
/// # Safety
/// Whatever the system call `number` demands of its arguments.
#[inline(always)]
pub unsafe fn syscall6(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: the kernel's calling convention: arguments in these registers, rcx and r11 overwritten,
    // memory as the call's contract says, which the caller keeps.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}
