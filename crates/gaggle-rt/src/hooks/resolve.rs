//! `getaddrinfo`: on a helper thread, so that name-service modules, which libc loads on demand, never
//! see a goroutine's thread-local storage.
//!
//! At most [`HELPERS_MAX`] names are looked up at the same time; further goroutines wait parked.

use crate::sched;
use gaggle_sys::glibc::symbols::Real;
use libc::{addrinfo, c_char, c_int};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};

static GETADDRINFO: Real = Real::new(c"getaddrinfo");

/// How many helper threads there may be.
const HELPERS_MAX: usize = 4;

type Function = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const addrinfo,
    *mut *mut addrinfo,
) -> c_int;

/// A question, with the place for its answer.
struct Job {
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    result: *mut *mut addrinfo,
    /// The call's answer and errno.
    done: mpsc::SyncSender<(c_int, c_int)>,
}

// SAFETY: the goroutine that asks waits until the helper is done, so what the pointers refer to lives.
unsafe impl Send for Job {}

struct Helpers {
    jobs: Option<mpsc::Sender<Job>>,
    /// Threads, and how many of them no job has been promised to.
    threads: usize,
    free: usize,
}

static HELPERS: Mutex<Helpers> = Mutex::new(Helpers {
    jobs: None,
    threads: 0,
    free: 0,
});
/// The other end of `jobs`: the thread that holds the lock waits for the next job.
static QUEUE: Mutex<Option<mpsc::Receiver<Job>>> = Mutex::new(None);

fn lock<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A helper thread's life.
fn serve() {
    loop {
        let job = lock(&QUEUE).as_ref().map(mpsc::Receiver::recv);
        let Some(Ok(job)) = job else { return };
        // SAFETY: the asking goroutine vouches for the pointers and waits.
        let code = unsafe { real()(job.node, job.service, job.hints, job.result) };
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        lock(&HELPERS).free += 1;
        // The goroutine waits for the answer, so there is somebody to take it.
        let _ = job.done.send((code, errno));
        crate::deadlock::own_thread_started();
    }
}

/// Hands `job` to a helper, making one if none is free and there may be more.
///
/// # Errors
/// When there is no helper and the operating system refuses a thread.
fn ask(job: Job) -> std::io::Result<()> {
    let mut helpers = lock(&HELPERS);
    if helpers.jobs.is_none() {
        let (sender, receiver) = mpsc::channel();
        *lock(&QUEUE) = Some(receiver);
        helpers.jobs = Some(sender);
    }
    if helpers.free == 0 && helpers.threads < HELPERS_MAX {
        let name = format!("gaggle-resolve{}", helpers.threads);
        match std::thread::Builder::new().name(name).spawn(serve) {
            Ok(_) => {
                helpers.threads += 1;
                crate::deadlock::own_thread_started();
                helpers.free += 1;
            }
            Err(error) if helpers.threads == 0 => return Err(error),
            Err(_) => {}
        }
    }
    helpers.free = helpers.free.saturating_sub(1);
    if let Some(jobs) = &helpers.jobs {
        // The receiver is never dropped.
        crate::deadlock::own_thread_gets_work();
        let _ = jobs.send(job);
    }
    Ok(())
}

fn real() -> Function {
    // SAFETY: libc's function of this name has this type.
    unsafe { std::mem::transmute::<usize, Function>(GETADDRINFO.resolve()) }
}

/// `getaddrinfo(3)`.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    result: *mut *mut addrinfo,
) -> c_int {
    if sched::current().is_none() {
        // SAFETY: the caller's contract.
        return unsafe { real()(node, service, hints, result) };
    }
    let (done, answer) = mpsc::sync_channel(1);
    if ask(Job {
        node,
        service,
        hints,
        result,
        done,
    })
    .is_err()
    {
        return libc::EAI_AGAIN;
    }
    let (code, errno) = answer.recv().unwrap_or((libc::EAI_FAIL, 0));
    super::set_errno(errno);
    code
}
