//! Signals on a goroutine, compared with the same on a plain thread.
//!
//! Handlers belong to the whole process: each test has a signal of its own.
#![cfg(target_os = "linux")]

mod support;

use std::fmt::Debug;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc;

/// Runs `body` on a plain thread and on a goroutine, insists that it comes out the same, and answers
/// what.
fn on_both<T: PartialEq + Debug + Send + 'static>(body: fn() -> T) -> T {
    let on_thread = std::thread::spawn(body).join().expect("it does not panic");
    let on_goroutine = gaggle::go(body).join().expect("it does not panic");
    assert_eq!(on_thread, on_goroutine, "thread and goroutine");
    on_goroutine
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: initialises the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for &signal in signals {
        // SAFETY: initialised above.
        unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    }
    // SAFETY: initialised above.
    unsafe { set.assume_init() }
}

fn has(set: &libc::sigset_t, signal: i32) -> bool {
    // SAFETY: an initialised set.
    unsafe { libc::sigismember(set, signal) == 1 }
}

/// Changes the caller's mask and answers what it was.
fn mask(how: i32, signals: &[i32]) -> libc::sigset_t {
    let mut before = set_of(&[]);
    let set = set_of(signals);
    // SAFETY: both sets are ours.
    let failed = unsafe { libc::pthread_sigmask(how, &raw const set, &raw mut before) };
    assert_eq!(failed, 0);
    before
}

fn is_blocked(signal: i32) -> bool {
    has(&mask(libc::SIG_BLOCK, &[]), signal)
}

fn is_pending(signal: i32) -> bool {
    let mut set = set_of(&[]);
    // SAFETY: the set is ours.
    assert_eq!(unsafe { libc::sigpending(&raw mut set) }, 0);
    has(&set, signal)
}

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

fn action_of(handler: Handler, flags: i32) -> libc::sigaction {
    libc::sigaction {
        sa_sigaction: handler as *const () as usize,
        sa_mask: set_of(&[]),
        sa_flags: flags | libc::SA_SIGINFO,
        sa_restorer: None,
    }
}

/// Makes `handler` the action of `signal` and answers the one before.
fn handle(signal: i32, handler: Handler) -> libc::sigaction {
    let action = action_of(handler, libc::SA_RESTART);
    let mut before = action;
    // SAFETY: both are ours; the handlers of these tests are safe anywhere.
    let failed = unsafe { libc::sigaction(signal, &raw const action, &raw mut before) };
    assert_eq!(failed, 0);
    before
}

/// What the handler saw last.
static SEEN: [AtomicU32; 65] = [const { AtomicU32::new(0) }; 65];
static ON_THREAD: [AtomicI32; 65] = [const { AtomicI32::new(0) }; 65];

extern "C" fn count(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes what it knows of the signal.
    assert_eq!(unsafe { (*info).si_signo }, signal);
    // SAFETY: asks only.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) } as i32;
    ON_THREAD[signal as usize].store(thread, Ordering::SeqCst);
    SEEN[signal as usize].fetch_add(1, Ordering::SeqCst);
}

/// Whether the caller is no goroutine, where goroutines are not threads anyway.
fn is_plain() -> bool {
    gaggle::runtime::backend_name() == "threads" || gaggle::id().is_none()
}

fn seen(signal: i32) -> u32 {
    SEEN[signal as usize].load(Ordering::SeqCst)
}

#[test]
fn raised_signal_is_handled_before_raise_returns() {
    handle(libc::SIGUSR1, count);
    let outcome = on_both(|| {
        let before = seen(libc::SIGUSR1);
        // SAFETY: there is a handler.
        let result = unsafe { libc::raise(libc::SIGUSR1) };
        // SAFETY: asks only.
        let own = unsafe { libc::pthread_self() };
        // SAFETY: there is a handler.
        let to_self = unsafe { libc::pthread_kill(own, libc::SIGUSR1) };
        (result, to_self, seen(libc::SIGUSR1) - before)
    });
    assert_eq!(outcome, (0, 0, 2));
}

#[test]
fn blocked_signal_stays_pending_until_it_is_unblocked() {
    handle(libc::SIGUSR2, count);
    let outcome = on_both(|| {
        let before = seen(libc::SIGUSR2);
        mask(libc::SIG_BLOCK, &[libc::SIGUSR2]);
        // SAFETY: there is a handler.
        unsafe { libc::raise(libc::SIGUSR2) };
        let pending = (is_blocked(libc::SIGUSR2), is_pending(libc::SIGUSR2));
        let early = seen(libc::SIGUSR2) - before;
        mask(libc::SIG_UNBLOCK, &[libc::SIGUSR2]);
        (
            pending,
            early,
            seen(libc::SIGUSR2) - before,
            is_pending(libc::SIGUSR2),
        )
    });
    assert_eq!(outcome, ((true, true), 0, 1, false));
}

#[test]
fn mask_is_the_starters_and_stays_with_its_goroutine() {
    let inherited = gaggle::go(|| {
        mask(libc::SIG_BLOCK, &[libc::SIGALRM, libc::SIGWINCH]);
        mask(libc::SIG_UNBLOCK, &[libc::SIGWINCH]);
        let (goroutine, thread) = (
            gaggle::go(|| (is_blocked(libc::SIGALRM), is_blocked(libc::SIGWINCH))),
            std::thread::spawn(|| (is_blocked(libc::SIGALRM), is_blocked(libc::SIGWINCH))),
        );
        let goroutine = goroutine.join().expect("it does not panic");
        (goroutine, thread.join().expect("it does not panic"))
    });
    let inherited = inherited.join().expect("it does not panic");
    assert_eq!(inherited, ((true, false), (true, false)));
    // Those that use the same slots and OS threads after it have their own starter's.
    for _ in 0..100 {
        let blocked = gaggle::go(|| is_blocked(libc::SIGALRM)).join();
        assert!(!blocked.expect("it does not panic"));
    }
}

#[test]
fn wrong_ways_to_change_a_mask_are_refused_as_on_a_thread() {
    let outcome = on_both(|| {
        let set = set_of(&[libc::SIGUSR1]);
        // SAFETY: the set is ours.
        let result = unsafe { libc::pthread_sigmask(77, &raw const set, std::ptr::null_mut()) };
        // SAFETY: as above.
        let other = unsafe { libc::sigprocmask(77, &raw const set, std::ptr::null_mut()) };
        let errno = std::io::Error::last_os_error().raw_os_error();
        mask(libc::SIG_BLOCK, &[libc::SIGKILL, libc::SIGSTOP]);
        // SAFETY: there is no such signal.
        let no_signal = unsafe { libc::raise(1000) };
        (result, other, errno, is_blocked(libc::SIGKILL), no_signal)
    });
    assert_eq!(outcome, (libc::EINVAL, -1, Some(libc::EINVAL), false, -1));
}

#[test]
fn signal_sent_to_a_waiting_goroutine_is_what_it_waited_for() {
    for early in [true, false] {
        let (say, hear) = mpsc::channel();
        let (go_on, wait) = mpsc::channel::<()>();
        let receiver = gaggle::go(move || {
            mask(libc::SIG_BLOCK, &[libc::SIGPOLL]);
            // SAFETY: asks only.
            say.send(unsafe { libc::pthread_self() } as usize)
                .expect("the test hears");
            wait.recv().expect("the test says it");
            let set = set_of(&[libc::SIGPOLL]);
            let mut signal = 0;
            // SAFETY: both are ours.
            let result = unsafe { libc::sigwait(&raw const set, &raw mut signal) };
            (result, signal)
        });
        let thread = hear.recv().expect("the goroutine says it") as libc::pthread_t;
        let sender = gaggle::go(move || {
            if !early {
                go_on.send(()).expect("the goroutine waits");
            }
            // SAFETY: the goroutine lives: it waits for this.
            let result = unsafe { libc::pthread_kill(thread, libc::SIGPOLL) };
            if early {
                go_on.send(()).expect("the goroutine waits");
            }
            result
        });
        assert_eq!(sender.join().expect("it does not panic"), 0);
        let received = receiver.join().expect("it does not panic");
        assert_eq!(received, (0, libc::SIGPOLL), "early: {early}");
    }
}

#[test]
fn waiting_for_a_signal_ends_at_its_time() {
    let outcome = on_both(|| {
        mask(libc::SIG_BLOCK, &[libc::SIGIO]);
        let set = set_of(&[libc::SIGVTALRM]);
        mask(libc::SIG_BLOCK, &[libc::SIGVTALRM]);
        let time = |tv_nsec| libc::timespec { tv_sec: 0, tv_nsec };
        let mut info = MaybeUninit::zeroed();
        let mut wait = |time: libc::timespec| {
            // SAFETY: all three are ours.
            let result =
                unsafe { libc::sigtimedwait(&raw const set, info.as_mut_ptr(), &raw const time) };
            let errno = std::io::Error::last_os_error().raw_os_error();
            (result, errno.filter(|_| result < 0))
        };
        let outcomes = (wait(time(1_000_000)), wait(time(-1)));
        // SAFETY: blocked here.
        unsafe { libc::raise(libc::SIGVTALRM) };
        (outcomes, wait(time(0)))
    });
    let timed_out = (-1, Some(libc::EAGAIN));
    let refused = (-1, Some(libc::EINVAL));
    assert_eq!(outcome, ((timed_out, refused), (libc::SIGVTALRM, None)));
}

#[test]
fn suspended_goroutine_goes_on_after_a_handler_ran() {
    handle(libc::SIGTTIN, count);
    let outcome = on_both(|| {
        mask(libc::SIG_BLOCK, &[libc::SIGTTIN]);
        let before = seen(libc::SIGTTIN);
        // SAFETY: asks only.
        let thread = unsafe { libc::pthread_self() } as usize;
        let kill = move || {
            // SAFETY: the thread, or goroutine, waits for this.
            unsafe { libc::pthread_kill(thread as libc::pthread_t, libc::SIGTTIN) }
        };
        let sender = if gaggle::id().is_some() {
            gaggle::go(kill).join().ok()
        } else {
            std::thread::spawn(kill).join().ok()
        };
        let set = set_of(&[]);
        // SAFETY: the set is ours.
        let result = unsafe { libc::sigsuspend(&raw const set) };
        let errno = std::io::Error::last_os_error().raw_os_error();
        let ran = seen(libc::SIGTTIN) - before;
        (sender, result, errno, ran, is_blocked(libc::SIGTTIN))
    });
    assert_eq!(outcome, (Some(0), -1, Some(libc::EINTR), 1, true));
}

#[test]
fn programs_own_actions_are_answered_as_they_were_set() {
    extern "C" fn other(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
    let address = |handler: Handler| handler as *const () as usize;
    for signal in [libc::SIGTTOU, libc::SIGURG] {
        gaggle::go(move || {
            let before = handle(signal, count);
            assert_eq!(before.sa_sigaction, libc::SIG_DFL);
            let mine = handle(signal, other);
            assert_eq!(mine.sa_sigaction, address(count));
            assert_eq!(
                mine.sa_flags & !0x0400_0000,
                libc::SA_RESTART | libc::SA_SIGINFO
            );
            assert!(!has(&mine.sa_mask, libc::SIGURG));
            // SAFETY: a signal that is ignored by default or left alone here.
            let old = unsafe { libc::signal(signal, address(count)) };
            assert_eq!(old, address(other));
            let before = seen(signal);
            // SAFETY: there is a handler.
            assert_eq!(unsafe { libc::raise(signal) }, 0);
            assert_eq!(seen(signal) - before, 1);
        })
        .join()
        .expect("it does not panic");
    }
}

/// The blocked signals in `/proc/self/status`, as a child process sees its own.
fn blocked_in_child(prepare: fn(&mut Command) -> &mut Command) -> String {
    mask(libc::SIG_BLOCK, &[libc::SIGWINCH]);
    let mut command = Command::new("grep");
    command.args(["SigBlk", "/proc/self/status"]);
    let output = prepare(&mut command).output().expect("grep runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn child_process_begins_with_the_goroutines_mask() {
    let spawned = on_both(|| blocked_in_child(|command| command));
    // SIGWINCH is signal 28.
    assert_eq!(spawned, "SigBlk:\t0000000008000000");
    let forked = on_both(|| {
        // SAFETY: the closure does nothing in the child.
        blocked_in_child(|command| unsafe { command.pre_exec(|| Ok(())) })
    });
    assert_eq!(forked, spawned);
}

#[test]
fn command_of_system_runs_to_its_end() {
    // SAFETY: a command of our own.
    let status = on_both(|| unsafe { libc::system(c"exit 7".as_ptr()) });
    assert_eq!(libc::WEXITSTATUS(status), 7);
}

#[test]
fn forked_child_has_the_goroutines_mask_and_is_a_plain_thread() {
    let status = on_both(|| {
        mask(libc::SIG_BLOCK, &[libc::SIGWINCH]);
        // SAFETY: the child makes a few system calls and ends.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let blocked = is_blocked(libc::SIGWINCH) && !is_blocked(libc::SIGUSR1);
            let plain = is_plain();
            // SAFETY: ends the child.
            unsafe { libc::_exit(if blocked && plain { 7 } else { 8 }) }
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        libc::WEXITSTATUS(status)
    });
    assert_eq!(status, 7);
}

#[test]
fn handler_makes_plain_calls_on_the_goroutines_own_thread() {
    static PIPE: [AtomicI32; 2] = [const { AtomicI32::new(-1) }; 2];
    extern "C" fn write(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        let end = PIPE[1].load(Ordering::SeqCst);
        let plain = u8::from(is_plain());
        // SAFETY: writes one byte.
        unsafe { libc::write(end, (&raw const plain).cast(), 1) };
    }
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    for (place, end) in PIPE.iter().zip(ends) {
        place.store(end, Ordering::SeqCst);
    }
    handle(libc::SIGXCPU, write);
    let byte = gaggle::go(move || {
        // SAFETY: there is a handler.
        unsafe { libc::raise(libc::SIGXCPU) };
        assert!(gaggle::id().is_some(), "a goroutine again");
        let mut byte = 0u8;
        // SAFETY: reads one byte.
        assert_eq!(unsafe { libc::read(ends[0], (&raw mut byte).cast(), 1) }, 1);
        byte
    });
    assert_eq!(byte.join().expect("it does not panic"), 1);
}

/// Changing the user makes libc interrupt every OS thread, also those that run goroutines or sleep.
#[test]
fn user_is_changed_on_every_os_thread() {
    let name = "user_is_changed_on_every_os_thread";
    if !support::is_child(name) {
        return support::pass_as_child(name);
    }
    // SAFETY: asks only.
    let is_root = unsafe { libc::geteuid() } == 0;
    let users = |path: std::path::PathBuf| {
        let status = std::fs::read_to_string(path.join("status")).expect("a thread of ours");
        status
            .lines()
            .find(|line| line.starts_with("Uid:"))
            .map(str::to_owned)
    };
    let spinner = gaggle::go(|| {
        static STOP: AtomicU32 = AtomicU32::new(0);
        (
            &STOP,
            gaggle::go(|| while STOP.load(Ordering::SeqCst) == 0 {}),
        )
    });
    let (stop, spinner) = spinner.join().expect("it does not panic");
    gaggle::go(move || {
        // SAFETY: changes this process, which is the test's own.
        let user = unsafe { libc::getuid() };
        let effective = if is_root { 65534 } else { user };
        for _ in 0..20 {
            // SAFETY: as above.
            assert_eq!(unsafe { libc::setresuid(user, effective, user) }, 0);
            let threads = std::fs::read_dir("/proc/self/task").expect("threads of ours");
            let mut seen: Vec<_> = threads
                .map(|entry| users(entry.expect("a thread of ours").path()))
                .collect();
            assert!(seen.len() > 2, "{seen:?}");
            seen.dedup();
            assert_eq!(seen.len(), 1, "{seen:?}");
            // SAFETY: as above.
            assert_eq!(unsafe { libc::setresuid(user, user, user) }, 0);
        }
    })
    .join()
    .expect("it does not panic");
    stop.store(1, Ordering::SeqCst);
    spinner.join().expect("it does not panic");
}

#[test]
fn alternate_stack_is_the_goroutines_own() {
    fn change(new: Option<libc::stack_t>) -> Result<(usize, usize, i32), Option<i32>> {
        let mut old = MaybeUninit::<libc::stack_t>::zeroed();
        let place = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: both are ours; the memory of a new stack is never freed.
        if unsafe { libc::sigaltstack(place, old.as_mut_ptr()) } != 0 {
            return Err(std::io::Error::last_os_error().raw_os_error());
        }
        // SAFETY: zeroed, or filled in.
        let old = unsafe { old.assume_init() };
        Ok((old.ss_sp as usize, old.ss_size, old.ss_flags))
    }
    fn stack(ss_size: usize, ss_flags: i32) -> libc::stack_t {
        let memory = Vec::leak(vec![0u8; 65536]);
        let ss_sp = memory.as_mut_ptr().cast();
        libc::stack_t {
            ss_sp,
            ss_flags,
            ss_size,
        }
    }
    let outcome = on_both(|| {
        assert!(change(Some(stack(0, libc::SS_DISABLE))).is_ok());
        let first = stack(65536, 0);
        let refused = (change(Some(stack(65536, 77))), change(Some(stack(100, 0))));
        let before = change(Some(first)).map(|(_, size, flags)| (size, flags));
        // Those that use the same OS threads keep their own.
        let others = gaggle::go(|| change(Some(stack(40_000, 0))).map(drop))
            .join()
            .is_ok();
        std::thread::sleep(std::time::Duration::from_millis(1));
        let now = change(None).map(|(at, size, flags)| (at == first.ss_sp as usize, size, flags));
        (
            refused,
            before,
            others,
            now,
            change(Some(stack(0, libc::SS_DISABLE))).map(drop),
        )
    });
    let refused = (Err(Some(libc::EINVAL)), Err(Some(libc::ENOMEM)));
    let before = Ok((0, libc::SS_DISABLE));
    assert_eq!(
        outcome,
        (refused, before, true, Ok((true, 65536, 0)), Ok(()))
    );
}

unsafe extern "C" {
    fn pthread_sigqueue(thread: libc::pthread_t, signal: i32, value: libc::sigval) -> i32;
}

/// Sends `signal` to `thread` with a value.
fn queue(thread: libc::pthread_t, signal: i32, value: usize) -> i32 {
    let value = libc::sigval {
        sival_ptr: value as *mut libc::c_void,
    };
    // SAFETY: the thread lives; takes numbers.
    unsafe { pthread_sigqueue(thread, signal, value) }
}

/// How a signal was sent, by whom, and with what value.
fn told(info: &libc::siginfo_t) -> (i32, bool, usize) {
    // SAFETY: a signal that a process sent.
    let sender = unsafe { info.si_pid() };
    // SAFETY: as above; zero where none was sent.
    let value = unsafe { info.si_value() }.sival_ptr as usize;
    let own = i32::try_from(std::process::id()).expect("a number of a process");
    (info.si_code, sender == own, value)
}

/// Takes a pending signal, or answers the error.
fn take(signal: i32) -> Result<(i32, bool, usize), Option<i32>> {
    let set = set_of(&[signal]);
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let at_once = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: all three are ours.
    let taken =
        unsafe { libc::sigtimedwait(&raw const set, info.as_mut_ptr(), &raw const at_once) };
    if taken < 0 {
        return Err(std::io::Error::last_os_error().raw_os_error());
    }
    assert_eq!(taken, signal);
    // SAFETY: filled in.
    Ok(told(&unsafe { info.assume_init() }))
}

const NOTHING: Result<(i32, bool, usize), Option<i32>> = Err(Some(libc::EAGAIN));

#[test]
fn real_time_signals_are_queued_in_order_with_their_values() {
    let outcome = on_both(|| {
        let (signal, other) = (libc::SIGRTMIN() + 5, libc::SIGRTMIN() + 6);
        mask(libc::SIG_BLOCK, &[signal, other]);
        // SAFETY: asks only.
        let own = unsafe { libc::pthread_self() };
        // SAFETY: to itself, blocked.
        assert_eq!(unsafe { libc::pthread_kill(own, signal) }, 0);
        assert_eq!(queue(own, other, 70), 0);
        assert_eq!(queue(own, signal, 71), 0);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::raise(signal) }, 0);
        assert_eq!(queue(own, signal, 72), 0);
        assert!(is_pending(signal) && is_pending(other));
        let first: Vec<_> = (0..5).map(|_| take(signal)).collect();
        assert!(!is_pending(signal) && is_pending(other));
        (first, take(other), take(other))
    });
    let (killed, queued) = (libc::SI_TKILL, libc::SI_QUEUE);
    let first = vec![
        Ok((killed, true, 0)),
        Ok((queued, true, 71)),
        Ok((killed, true, 0)),
        Ok((queued, true, 72)),
        NOTHING,
    ];
    assert_eq!(outcome, (first, Ok((queued, true, 70)), NOTHING));
}

#[test]
fn ordinary_signal_is_pending_once_with_the_first_value() {
    let outcome = on_both(|| {
        mask(libc::SIG_BLOCK, &[libc::SIGTTOU]);
        // SAFETY: asks only.
        let own = unsafe { libc::pthread_self() };
        assert_eq!(queue(own, libc::SIGTTOU, 81), 0);
        assert_eq!(queue(own, libc::SIGTTOU, 82), 0);
        (take(libc::SIGTTOU), take(libc::SIGTTIN))
    });
    assert_eq!(outcome, (Ok((libc::SI_QUEUE, true, 81)), NOTHING));
}

#[test]
fn handler_is_called_for_each_real_time_signal_that_becomes_unblocked() {
    static VALUES: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn note(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: what the kernel passes.
        let (code, is_own, value) = told(unsafe { &*info });
        let value = if is_own && code == libc::SI_QUEUE {
            value
        } else {
            9
        };
        let before = VALUES.load(Ordering::SeqCst);
        VALUES.store(before * 10 + value, Ordering::SeqCst);
    }
    let signal = libc::SIGRTMIN() + 7;
    handle(signal, note);
    let seen = on_both(|| {
        let signal = libc::SIGRTMIN() + 7;
        VALUES.store(0, Ordering::SeqCst);
        mask(libc::SIG_BLOCK, &[signal]);
        // SAFETY: asks only.
        let own = unsafe { libc::pthread_self() };
        for value in [1, 2, 3] {
            assert_eq!(queue(own, signal, value), 0);
        }
        assert_eq!(VALUES.load(Ordering::SeqCst), 0);
        mask(libc::SIG_UNBLOCK, &[signal]);
        let unblocked = VALUES.load(Ordering::SeqCst);
        // Not blocked: it is handled before the call returns.
        assert_eq!(queue(own, signal, 4), 0);
        (unblocked, VALUES.load(Ordering::SeqCst))
    });
    assert_eq!(seen, (123, 1234));
}

#[test]
fn waiting_goroutine_is_told_the_value_that_another_sends() {
    let told = on_both(|| {
        let signal = libc::SIGRTMIN() + 8;
        mask(libc::SIG_BLOCK, &[signal]);
        // SAFETY: asks only.
        let own = unsafe { libc::pthread_self() };
        let sender = gaggle::go(move || [91, 92].map(|value| queue(own, signal, value)));
        let set = set_of(&[signal]);
        let received = [(); 2].map(|()| {
            let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
            // SAFETY: both are ours.
            let taken = unsafe { libc::sigwaitinfo(&raw const set, info.as_mut_ptr()) };
            assert_eq!(taken, signal);
            // SAFETY: filled in.
            told(&unsafe { info.assume_init() })
        });
        (sender.join().expect("it does not panic"), received)
    });
    let queued = libc::SI_QUEUE;
    assert_eq!(told, ([0, 0], [(queued, true, 91), (queued, true, 92)]));
}
