//! The OS threads that run goroutines: their signal mask, and what the kernel says they do.

use crate::call::raw;
use crate::signal;

/// Signals that must reach an OS thread that runs goroutines: those that an instruction of the thread
/// itself raises, SIGPROF, SIGURG (by which the monitor interrupts a goroutine), and the one by which
/// libc makes all OS threads take part in `setuid` and its like.
const WANTED: signal::Set = signal::only(libc::SIGSEGV)
    | signal::only(libc::SIGBUS)
    | signal::only(libc::SIGFPE)
    | signal::only(libc::SIGILL)
    | signal::only(libc::SIGTRAP)
    | signal::only(libc::SIGABRT)
    | signal::only(libc::SIGSYS)
    | signal::only(libc::SIGPROF)
    | signal::only(libc::SIGURG)
    | signal::only(signal::OF_LIBC[1]);

/// Blocks every other signal on the calling OS thread, so that the kernel delivers the process's
/// signals to a thread that is in no goroutine: a handler of the program never runs in the middle of
/// a switch.
pub fn block_asynchronous_signals() {
    signal::set_mask(!WANTED);
}

/// Makes `[lowest, lowest + bytes)` the calling OS thread's alternate signal stack.
///
/// # Errors
/// The kernel's: the stack is too small for a signal frame, or the caller runs on the old one.
///
/// # Safety
/// The memory is writable, nobody else's, and stays so until the thread ends or has another one.
pub unsafe fn set_signal_stack(lowest: usize, bytes: usize) -> std::io::Result<()> {
    let stack = libc::stack_t {
        ss_sp: lowest as *mut libc::c_void,
        ss_flags: 0,
        ss_size: bytes,
    };
    // SAFETY: the kernel reads the description; the memory is the caller's to lend.
    let result = unsafe {
        raw(
            libc::SYS_sigaltstack,
            [&raw const stack as usize, 0, 0, 0, 0, 0],
        )
    };
    if result < 0 {
        return Err(std::io::Error::from_raw_os_error(-result as i32));
    }
    Ok(())
}

/// Leaves the calling OS thread without an alternate signal stack.
pub fn remove_signal_stack() {
    let none = libc::stack_t {
        ss_sp: std::ptr::null_mut(),
        ss_flags: libc::SS_DISABLE,
        ss_size: 0,
    };
    // SAFETY: the kernel reads the description.
    unsafe {
        raw(
            libc::SYS_sigaltstack,
            [&raw const none as usize, 0, 0, 0, 0, 0],
        )
    };
}

/// What the kernel is told and tells about a thread's scheduling (linux/sched/types.h, version 0).
#[repr(C)]
#[derive(Default)]
struct SchedulingAttributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_nanos: u64,
    deadline_nanos: u64,
    period_nanos: u64,
}

/// Asks the kernel to give the calling OS thread its processor time in slices of this length; the shorter
/// they are, the sooner it runs after it woke (EEVDF, Linux 6.12). Other kernels go on as before.
pub fn ask_for_slices(nanos: u64) {
    let mut attributes = SchedulingAttributes::default();
    let size = size_of::<SchedulingAttributes>();
    let arguments = [0, &raw mut attributes as usize, size, 0, 0, 0];
    // SAFETY: the kernel writes at most `size` bytes.
    let read = unsafe { raw(libc::SYS_sched_getattr, arguments) };
    // Only ordinary threads are asked for: the field means something else to the others.
    if read != 0 || attributes.policy != libc::SCHED_OTHER as u32 {
        return;
    }
    attributes.runtime_nanos = nanos;
    let arguments = [0, &raw const attributes as usize, 0, 0, 0, 0];
    // SAFETY: the kernel reads as many bytes as the structure says it has.
    unsafe { raw(libc::SYS_sched_setattr, arguments) };
}

/// Whether the kernel holds the OS thread `thread_id` of this process for runnable (on a processor, or
/// waiting for one), as opposed to blocked; `true` where it cannot be found out. Costs microseconds.
pub fn is_runnable(thread_id: i32) -> bool {
    let mut path = *b"/proc/self/task/0000000000/stat\0";
    // The number right-aligned in ten places; slashes fill the others, as several count as one.
    let mut rest = thread_id.max(0);
    let mut at = 26;
    while rest > 0 {
        at -= 1;
        path[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    path[16..at].fill(b'/');
    let mut text = [0u8; 128];
    let Some(text) = read_file(&path, &mut text) else {
        return true;
    };
    // "number (name) state ...": the name may itself hold brackets, the last one ends it.
    let end = text.iter().rposition(|&byte| byte == b')');
    end.and_then(|end| text.get(end + 2))
        .is_none_or(|&state| state == b'R')
}

/// How many OS threads this process has, in one number of the kernel's; `None` where it cannot be found
/// out. Costs microseconds.
pub fn count() -> Option<i32> {
    let mut text = [0u8; 512];
    let text = read_file(b"/proc/self/stat\0", &mut text)?;
    // proc_pid_stat(5): the number of threads is the 20th field, the 18th after the bracketed name.
    let end = text.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 2..)?).ok()?;
    rest.split(' ').nth(17)?.parse().ok()
}

/// The beginning of a file; `path` ends in a zero byte. `None`: it cannot be read.
fn read_file<'a>(path: &[u8], text: &'a mut [u8]) -> Option<&'a [u8]> {
    debug_assert_eq!(path.last(), Some(&0), "the kernel looks for the end");
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
    let arguments = [
        libc::AT_FDCWD as usize,
        path.as_ptr() as usize,
        flags,
        0,
        0,
        0,
    ];
    // SAFETY: the path ends in a zero byte.
    let fd = unsafe { raw(libc::SYS_openat, arguments) };
    if fd < 0 {
        return None;
    }
    let arguments = [fd as usize, text.as_mut_ptr() as usize, text.len(), 0, 0, 0];
    // SAFETY: the kernel writes at most as many bytes as there is room for.
    let length = unsafe { raw(libc::SYS_read, arguments) };
    crate::call::close(fd as i32);
    text.get(..usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn threads_are_counted() {
        let before = count().expect("proc is there");
        let (end, wait) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let _ = wait.recv();
        });
        // Other tests start and end threads meanwhile, but this one lives.
        assert!(before >= 1 && count() >= Some(2));
        drop(end);
        thread.join().expect("it does not panic");
    }

    #[test]
    fn runnable_is_told_from_blocked() {
        assert!(is_runnable(crate::call::thread_id()));
        let (say, hear) = mpsc::channel();
        let (end, wait) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            say.send(crate::call::thread_id()).expect("the test hears");
            let _ = wait.recv();
        });
        let thread_id = hear.recv().expect("the thread says it");
        // It blocks some time after it has said its number.
        while is_runnable(thread_id) {
            std::thread::yield_now();
        }
        drop(end);
        thread.join().expect("it does not panic");
        assert!(
            is_runnable(i32::MAX),
            "what is not there cannot be found out"
        );
    }
}
