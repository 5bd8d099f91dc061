//! The OS threads that run goroutines: their signal mask, and what the kernel says they do.

use crate::call::raw;
use crate::signal;
use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;

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

/// The stack of an OS thread of the runtime's own, in bytes: std's default.
pub const STACK_BYTES: usize = 2 << 20;

/// Starts an OS thread that runs `entry(argument)`, and ends with it.
///
/// It is not std's: such a thread calls malloc and maps a signal stack before its first act, which costs
/// an arena and half of the time that it takes to start.
///
/// # Errors
/// When the operating system refuses a thread.
///
/// # Safety
/// `argument` is what `entry` expects, on another thread and at any later time. `entry` does not unwind.
pub unsafe fn start(
    entry: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
) -> io::Result<()> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: initialises the attributes in place.
    let result = unsafe { libc::pthread_attr_init(attributes) };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    // SAFETY: initialised above; nobody joins the thread. A valid value is not refused.
    unsafe { libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED) };
    // SAFETY: as above; more than the least size that libc takes.
    unsafe { libc::pthread_attr_setstacksize(attributes, STACK_BYTES) };
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: initialised attributes; the rest is the caller's contract.
    let result = unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes, entry, argument) };
    // SAFETY: initialised above, not used after.
    unsafe { libc::pthread_attr_destroy(attributes) };
    match result {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Names the calling OS thread: for debuggers and `/proc`, at most 15 bytes of it.
pub fn set_name(name: std::fmt::Arguments<'_>) {
    let mut text = Name {
        bytes: [0; 16],
        len: 0,
    };
    // What there is no room for is left out.
    let _ = std::fmt::write(&mut text, name);
    let arguments = [
        libc::PR_SET_NAME as usize,
        text.bytes.as_ptr() as usize,
        0,
        0,
        0,
        0,
    ];
    // SAFETY: the kernel reads sixteen bytes, of which the last is zero.
    unsafe { raw(libc::SYS_prctl, arguments) };
}

/// What the kernel takes for a name, written without malloc.
struct Name {
    bytes: [u8; 16],
    len: usize,
}

impl std::fmt::Write for Name {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.bytes.len() - 1 - self.len;
        let taken = text.len().min(room);
        self.bytes[self.len..self.len + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        Ok(())
    }
}

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

/// What the kernel does with an OS thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is on a processor, or waits for one; or nothing can be found out about it.
    Runnable,
    /// It waits for an event: in a call that may last for ever.
    Waiting,
    /// It waits for the kernel itself: for a page, a disk, a lock of the address space.
    Uninterruptible,
}

/// What the kernel does with the OS thread `thread_id` of this process. Costs microseconds.
pub fn state(thread_id: i32) -> State {
    let path = path_of(thread_id, b"stat");
    let mut text = [0u8; 128];
    let Some(text) = read_file(&path, &mut text) else {
        return State::Runnable;
    };
    // "number (name) state ...": the name may itself hold brackets, the last one ends it.
    let end = text.iter().rposition(|&byte| byte == b')');
    match end.and_then(|end| text.get(end + 2)) {
        Some(b'S') => State::Waiting,
        Some(b'D') => State::Uninterruptible,
        _ => State::Runnable,
    }
}

/// Whether the OS thread `thread_id` of this process sleeps in futex(2). Costs microseconds.
pub fn is_in_futex(thread_id: i32) -> bool {
    let mut text = [0u8; 128];
    // proc_pid_syscall(5): the number of the call first.
    read_file(&path_of(thread_id, b"syscall"), &mut text).is_some_and(|text| {
        let number = text.split(|&byte| byte == b' ').next();
        number.and_then(|number| str::from_utf8(number).ok()?.parse().ok()) == Some(libc::SYS_futex)
    })
}

/// The path, with a zero byte at the end, of a file in the folder of an OS thread of this process.
fn path_of(thread_id: i32, file: &[u8]) -> [u8; 40] {
    let mut path = [0; 40];
    let folder = b"/proc/self/task/0000000000/";
    path[..folder.len()].copy_from_slice(folder);
    path[folder.len()..folder.len() + file.len()].copy_from_slice(file);
    // The number right-aligned in ten places; slashes fill the others, as several count as one.
    let mut rest = thread_id.max(0);
    let mut at = 26;
    while rest > 0 {
        at -= 1;
        path[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    path[16..at].fill(b'/');
    path
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

/// The beginning of a file; `path` ends at a zero byte. `None`: it cannot be read.
fn read_file<'a>(path: &[u8], text: &'a mut [u8]) -> Option<&'a [u8]> {
    debug_assert!(path.contains(&0), "the kernel looks for the end");
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
    let arguments = [
        libc::AT_FDCWD as usize,
        path.as_ptr() as usize,
        flags,
        0,
        0,
        0,
    ];
    // SAFETY: the path ends at a zero byte.
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
    fn thread_of_our_own_runs_by_its_name_on_a_stack_of_the_usual_size() {
        extern "C" fn entry(say: *mut c_void) -> *mut c_void {
            // SAFETY: what the test below has made into a pointer.
            let say = unsafe { Box::from_raw(say.cast::<mpsc::Sender<(String, u64)>>()) };
            set_name(format_args!("gaggle-{}-longer-than-that", 7));
            let name = std::fs::read_to_string("/proc/thread-self/comm").expect("proc is there");
            // Most of the stack can be used.
            let deep = std::hint::black_box([1u8; STACK_BYTES / 2]);
            let sum = deep.iter().map(|&byte| u64::from(byte)).sum();
            let _ = say.send((name, sum));
            std::ptr::null_mut()
        }
        let (say, hear) = mpsc::channel::<(String, u64)>();
        let say = Box::into_raw(Box::new(say)).cast();
        // SAFETY: `entry` takes this pointer, once.
        unsafe { start(entry, say) }.expect("a thread");
        let (name, sum) = hear.recv().expect("the thread says it");
        assert_eq!(name.trim_end(), "gaggle-7-longer");
        assert_eq!(sum, STACK_BYTES as u64 / 2);
    }

    #[test]
    fn runnable_is_told_from_blocked() {
        assert_eq!(state(crate::call::thread_id()), State::Runnable);
        let (say, hear) = mpsc::channel();
        let (end, wait) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            say.send(crate::call::thread_id()).expect("the test hears");
            let _ = wait.recv();
        });
        let thread_id = hear.recv().expect("the thread says it");
        // It blocks some time after it has said its number.
        while state(thread_id) == State::Runnable {
            std::thread::yield_now();
        }
        assert_eq!(state(thread_id), State::Waiting);
        assert!(is_in_futex(thread_id), "std's channels wait so");
        drop(end);
        thread.join().expect("it does not panic");
        assert!(!is_in_futex(crate::call::thread_id()), "it runs");
        assert_eq!(state(i32::MAX), State::Runnable, "it is not there");
    }
}
