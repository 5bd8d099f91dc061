//! What could go wrong with libraries and with libc's own state for each thread, and does not
//! (`docs/dangers.md`). Goroutines move between OS threads in the middle of it.
#![cfg(target_os = "linux")]

mod support;

use support::migrate::{in_goroutines, migrate, migrate_from_c, on_three};
use support::native;

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicU32, Ordering};

/// A function of a library, with its type.
macro_rules! function {
    ($handle:expr, $name:literal as $type:ty) => {{
        let address = native::function($handle, $name);
        // SAFETY: the library was compiled by this test and defines the function with this type.
        unsafe { std::mem::transmute::<usize, $type>(address) }
    }};
}

#[test]
fn library_loaded_later_has_thread_locals_for_every_goroutine() {
    const SOURCE: &str = "
        __thread int number = 5;
        __thread char much[5000];
        int *place(void) { return &number; }
        void set(int n) { number += n; much[4999] = (char)n; }
        int get(void) { return number * 1000 + much[4999]; }";
    let name = "library_loaded_later_has_thread_locals_for_every_goroutine";
    on_three(name, || {
        let waiting = gaggle::go(std::thread::park); // started before the library was there
        let path = native::library("general", SOURCE, &[]);
        in_goroutines(8, move |index| {
            // All at once, and each for itself.
            let handle = native::load(&path).expect("it is loaded");
            let set = function!(handle, "set" as extern "C" fn(i32));
            let get = function!(handle, "get" as extern "C" fn() -> i32);
            let place = function!(handle, "place" as extern "C" fn() -> *mut i32);
            in_goroutines(125, move |number| {
                let number = (number % 100) as i32 + index as i32;
                set(number);
                let address = place();
                migrate();
                assert_eq!(get(), (5 + number) * 1000 + number);
                assert_eq!(place(), address);
            });
            migrate();
        });
        drop(waiting);
    });
}

#[test]
fn library_that_demands_static_thread_locals_is_refused() {
    const SOURCE: &str = "
        static __thread int number __attribute__((tls_model(\"initial-exec\")));
        int *place(void) { return &number; }";
    on_three(
        "library_that_demands_static_thread_locals_is_refused",
        || {
            let path = native::library("initial", SOURCE, &[]);
            let words = gaggle::go({
                let path = path.clone();
                move || native::load(&path).expect_err("there is no room for it")
            });
            let words = words.join().expect("it does not panic");
            assert!(
                words.contains("cannot allocate memory in static TLS block"),
                "{words}"
            );
            native::remove(&path);
        },
    );
}

#[test]
fn library_stays_loaded_until_its_pending_destructors_have_run() {
    const SOURCE: &str = "
        extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
        extern void *__dso_handle;
        static __thread int object;
        static void (*report)(int);
        static void destroy(void *place) { report(*(int *)place); }
        int use(int value, void (*to)(int)) {
            object = value;
            report = to;
            return __cxa_thread_atexit_impl(destroy, &object, &__dso_handle);
        }";
    static REPORTED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn report(value: i32) {
        REPORTED.fetch_add(value as u32, Ordering::SeqCst);
    }
    fn is_loaded(path: &std::path::Path) -> bool {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("our own maps");
        maps.contains(path.to_str().expect("a path in UTF-8"))
    }
    let name = "library_stays_loaded_until_its_pending_destructors_have_run";
    on_three(name, || {
        let path = native::library("destructors", SOURCE, &[]);
        let own = path.clone();
        in_goroutines(32, move |_| {
            let handle = native::load(&own).expect("it is loaded");
            let register = function!(
                handle,
                "use" as extern "C" fn(i32, extern "C" fn(i32)) -> i32
            );
            assert_eq!(register(3, report), 0);
            migrate();
            // SAFETY: the handle is ours and not used again.
            assert_eq!(unsafe { libc::dlclose(handle) }, 0);
            assert!(is_loaded(&own));
        });
        // What `join` waits for is the goroutine's first destructor, which runs last but for those
        // that C's keys bring.
        while is_loaded(&path) {
            std::thread::yield_now();
        }
        assert_eq!(REPORTED.load(Ordering::SeqCst), 96);
        native::remove(&path);
    });
}

#[test]
fn exceptions_of_cpp_are_thrown_and_caught_across_migration() {
    const SOURCE: &str = "
        #include <exception>
        #include <stdexcept>
        #include <string>
        struct Guard { void (*move)(); int &count; ~Guard() { move(); count++; } };
        extern \"C\" int exceptions(int number, void (*move)()) {
            int unwound = 0;
            try {
                Guard outer{move, unwound};
                try {
                    Guard inner{move, unwound};
                    throw std::runtime_error(std::to_string(number));
                } catch (const std::runtime_error &first) {
                    move();
                    try { throw 7; } catch (int second) {
                        move();
                        if (second != 7) return -1;
                    }
                    if (first.what() != std::to_string(number)) return -2;
                    std::exception_ptr kept = std::current_exception();
                    move();
                    std::rethrow_exception(kept);
                }
            } catch (const std::exception &last) {
                move();
                if (std::uncaught_exceptions() != 0) return -3;
                return unwound * 1000 + std::stoi(last.what());
            }
            return -4;
        }";
    let name = "exceptions_of_cpp_are_thrown_and_caught_across_migration";
    on_three(name, || {
        let Some(path) = native::library_by("c++", "exceptions", SOURCE, &[]) else {
            return;
        };
        let handle = native::load(&path).expect("it is loaded");
        let exceptions = function!(
            handle,
            "exceptions" as extern "C" fn(i32, extern "C" fn()) -> i32
        );
        in_goroutines(32, move |index| {
            assert_eq!(
                exceptions(index as i32, migrate_from_c),
                2000 + index as i32
            );
        });
        native::remove(&path);
    });
}

fn mutex_of(kind: i32) -> libc::pthread_mutex_t {
    let mut attributes = std::mem::MaybeUninit::uninit();
    let mut mutex = std::mem::MaybeUninit::uninit();
    // SAFETY: initialises the attributes.
    let failed = unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) };
    assert_eq!(failed, 0);
    // SAFETY: initialised above.
    let failed = unsafe { libc::pthread_mutexattr_settype(attributes.as_mut_ptr(), kind) };
    assert_eq!(failed, 0);
    // SAFETY: as above; initialises the mutex.
    let failed = unsafe { libc::pthread_mutex_init(mutex.as_mut_ptr(), attributes.as_ptr()) };
    assert_eq!(failed, 0);
    // SAFETY: initialised above; a mutex may be moved before its first use.
    unsafe { mutex.assume_init() }
}

#[test]
fn mutexes_of_c_know_their_owner_across_migration() {
    on_three("mutexes_of_c_know_their_owner_across_migration", || {
        in_goroutines(16, |_| {
            let mutex = Box::leak(Box::new(mutex_of(libc::PTHREAD_MUTEX_ERRORCHECK)));
            let place = std::ptr::from_mut(mutex) as usize;
            let lock = || place as *mut libc::pthread_mutex_t;
            // SAFETY: an initialised mutex that lives for ever, here and below.
            assert_eq!(unsafe { libc::pthread_mutex_lock(lock()) }, 0);
            migrate();
            // SAFETY: as above; it is this goroutine's already.
            assert_eq!(unsafe { libc::pthread_mutex_lock(lock()) }, libc::EDEADLK);
            // SAFETY: as above; another goroutine's.
            let others = gaggle::go(move || unsafe {
                libc::pthread_mutex_unlock(place as *mut libc::pthread_mutex_t)
            });
            assert_eq!(others.join().expect("it does not panic"), libc::EPERM);
            migrate();
            // SAFETY: as above.
            assert_eq!(unsafe { libc::pthread_mutex_unlock(lock()) }, 0);
        });
    });
}

unsafe extern "C" {
    fn mbtowc(wide: *mut i32, text: *const libc::c_char, bytes: usize) -> i32;
}

#[test]
fn locale_and_number_parsing_stay_with_their_goroutine() {
    on_three(
        "locale_and_number_parsing_stay_with_their_goroutine",
        || {
            // SAFETY: makes a locale by a name that every libc has built in.
            let wide = unsafe {
                libc::newlocale(libc::LC_ALL_MASK, c"C.UTF-8".as_ptr(), std::ptr::null_mut())
            };
            assert!(!wide.is_null());
            let wide = wide as usize;
            in_goroutines(32, move |index| {
                let is_wide = index % 2 == 0;
                if is_wide {
                    // SAFETY: a locale that lives for ever.
                    unsafe { libc::uselocale(wide as libc::locale_t) };
                }
                // SAFETY: asks only.
                let mine = unsafe { libc::uselocale(std::ptr::null_mut()) };
                for _ in 0..5 {
                    migrate();
                    // SAFETY: asks only.
                    assert_eq!(unsafe { libc::uselocale(std::ptr::null_mut()) }, mine);
                    let text = "é".as_bytes();
                    // SAFETY: two bytes may be read; nothing is written.
                    let length = unsafe { mbtowc(std::ptr::null_mut(), text.as_ptr().cast(), 2) };
                    assert_eq!(length, if is_wide { 2 } else { -1 });
                    // SAFETY: a text that ends in a zero byte.
                    let number = unsafe { libc::strtod(c"2.5e3x".as_ptr(), std::ptr::null_mut()) };
                    assert_eq!(number, 2500.0);
                    // SAFETY: any byte may be asked about.
                    assert_ne!(unsafe { libc::isalpha(i32::from(b'q')) }, 0);
                }
            });
        },
    );
}

#[test]
fn names_are_resolved_across_migration() {
    use std::net::ToSocketAddrs;
    on_three("names_are_resolved_across_migration", || {
        in_goroutines(32, |_| {
            migrate();
            let mut found = ("localhost", 80)
                .to_socket_addrs()
                .expect("it is always known");
            assert!(found.any(|address| address.ip().is_loopback()));
            let unknown = ("no-such-host.invalid", 80).to_socket_addrs();
            assert!(unknown.is_err());
        });
    });
}

#[test]
fn commands_are_run_across_migration() {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};
    on_three("commands_are_run_across_migration", || {
        in_goroutines(16, |index| {
            let mut cat = Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("cat runs");
            migrate();
            let text = format!("goroutine {index}");
            let mut input = cat.stdin.take().expect("piped");
            input.write_all(text.as_bytes()).expect("cat reads");
            drop(input);
            migrate();
            let mut output = String::new();
            let mut from = cat.stdout.take().expect("piped");
            from.read_to_string(&mut output).expect("cat writes");
            assert_eq!(output, text);
            assert!(cat.wait().expect("it ends").success());
        });
    });
}

#[test]
fn child_forked_in_c_makes_plain_calls() {
    const SOURCE: &str = "
        #include <pthread.h>
        #include <stdlib.h>
        #include <sys/wait.h>
        #include <unistd.h>
        int forked(int number, void (*move)(void)) {
            int to[2], status;
            if (pipe(to)) return -1;
            pid_t pid = fork();
            if (pid == 0) {
                pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
                pthread_mutex_lock(&mutex);
                usleep(1000);
                pthread_mutex_unlock(&mutex);
                char *text = malloc(100000);
                text[99999] = (char)number;
                _exit(write(to[1], text + 99999, 1) == 1 ? number : 255);
            }
            move();
            char got;
            if (read(to[0], &got, 1) != 1 || got != number) return -2;
            move();
            if (waitpid(pid, &status, 0) != pid) return -3;
            close(to[0]);
            close(to[1]);
            return WEXITSTATUS(status);
        }";
    on_three("child_forked_in_c_makes_plain_calls", || {
        let path = native::library("forked", SOURCE, &[]);
        let handle = native::load(&path).expect("it is loaded");
        let forked = function!(
            handle,
            "forked" as extern "C" fn(i32, extern "C" fn()) -> i32
        );
        in_goroutines(16, move |index| {
            assert_eq!(forked(index as i32, migrate_from_c), index as i32);
        });
        native::remove(&path);
    });
}

#[test]
fn forked_goroutine_that_returns_ends_the_child() {
    on_three("forked_goroutine_that_returns_ends_the_child", || {
        let pid = gaggle::go(|| {
            migrate();
            // SAFETY: the child returns from its goroutine at once.
            unsafe { libc::fork() }
        });
        let pid = pid.join().expect("it does not panic");
        let mut status = 0;
        // SAFETY: waits for the child made above.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert!(libc::WIFEXITED(status), "{status}");
        assert_eq!(libc::WEXITSTATUS(status), 0);
    });
}

#[test]
fn texts_of_libc_are_freed_with_their_goroutine() {
    fn in_use() -> usize {
        // SAFETY: asks only.
        unsafe { libc::mallinfo2() }.uordblks
    }
    fn text_at(text: *const libc::c_char) -> String {
        assert!(!text.is_null());
        // SAFETY: a text of libc's, copied at once.
        let text = unsafe { CStr::from_ptr(text) };
        text.to_string_lossy().into_owned()
    }
    fn say_errors() {
        // SAFETY: no such error.
        let unknown = unsafe { libc::strerror(99_999) };
        assert_eq!(text_at(unknown), "Unknown error 99999");
        // SAFETY: a known one.
        let known = unsafe { libc::strerror(libc::ENOENT) };
        assert_eq!(text_at(known), "No such file or directory");
        // SAFETY: no such library.
        let handle = unsafe { libc::dlopen(c"no-such-library.so".as_ptr(), libc::RTLD_NOW) };
        assert!(handle.is_null());
        // SAFETY: a signal without a name of its own.
        let signal = unsafe { libc::strsignal(libc::SIGRTMIN() + 3) };
        assert_eq!(text_at(signal), "Real-time signal 3");
    }
    on_three("texts_of_libc_are_freed_with_their_goroutine", || {
        let run = || {
            in_goroutines(500, |_| {
                migrate();
                say_errors();
            })
        };
        run();
        // Each goroutine would leave some 200 bytes: a million in all, each time. What slots and OS threads
        // keep for the next goroutine grows, too, but not each time: there are never many more of them.
        let grown = || {
            let before = in_use();
            for _ in 0..10 {
                run();
            }
            in_use().saturating_sub(before)
        };
        let least = (0..4).map(|_| grown()).find(|&grown| grown < 200_000);
        assert!(least.is_some(), "200,000 bytes more in use, four times");
    });
}

#[test]
fn pthread_exit_ends_the_goroutine_and_runs_its_destructors() {
    static DROPPED: AtomicU32 = AtomicU32::new(0);
    struct Counts;
    impl Drop for Counts {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::SeqCst);
        }
    }
    thread_local! {
        static COUNTS: Counts = const { Counts };
    }
    // libc declares it without unwinding.
    unsafe extern "C-unwind" {
        fn pthread_exit(value: *mut c_void) -> !;
    }
    on_three(
        "pthread_exit_ends_the_goroutine_and_runs_its_destructors",
        || {
            for _ in 0..10 {
                let handle = gaggle::go(|| {
                    let _counts = Counts;
                    COUNTS.with(|_| ());
                    // SAFETY: unwinds this goroutine.
                    unsafe { pthread_exit(std::ptr::null_mut()) }
                });
                let payload = handle.join().expect_err("it has no result");
                assert_eq!(
                    payload.downcast_ref(),
                    Some(&"the goroutine ended by pthread_exit")
                );
            }
            assert_eq!(DROPPED.load(Ordering::SeqCst), 20);
        },
    );
}

#[test]
fn cancelling_a_goroutine_is_refused() {
    unsafe extern "C" {
        fn pthread_cancel(thread: libc::pthread_t) -> i32;
    }
    on_three("cancelling_a_goroutine_is_refused", || {
        let result = gaggle::go(|| {
            // SAFETY: asks only.
            let own = unsafe { libc::pthread_self() };
            // SAFETY: the goroutine itself.
            unsafe { pthread_cancel(own) }
        });
        assert_eq!(result.join().expect("it goes on"), libc::ENOTSUP);
    });
}

#[test]
fn threads_that_a_goroutine_made_are_cancelled_as_ever() {
    const SOURCE: &str = "
        #include <pthread.h>
        #include <semaphore.h>
        static sem_t never;
        static void *loop(void *none) { for (;;) pthread_testcancel(); return none; }
        static void *wait(void *none) { sem_wait(&never); return none; }
        static void *join(void *thread) { pthread_join(*(pthread_t *)thread, 0); return 0; }
        static int cancel(pthread_t thread) {
            void *value = 0;
            if (pthread_cancel(thread)) return 1;
            if (pthread_join(thread, &value)) return 2;
            return value == PTHREAD_CANCELED ? 0 : 3;
        }
        int cancelled(void) {
            pthread_t looping, waiting, joining;
            int result;
            if (sem_init(&never, 0, 0)) return 10;
            if (pthread_create(&looping, 0, loop, 0)) return 20;
            if ((result = cancel(looping))) return 30 + result;
            if (pthread_create(&waiting, 0, wait, 0)) return 40;
            if (pthread_create(&joining, 0, join, &waiting)) return 50;
            if ((result = cancel(joining))) return 60 + result;
            if ((result = cancel(waiting))) return 70 + result;
            return 0;
        }";
    let name = "threads_that_a_goroutine_made_are_cancelled_as_ever";
    on_three(name, || {
        let path = native::library("cancelled", SOURCE, &["-pthread"]);
        let handle = native::load(&path).expect("it is loaded");
        let cancelled = function!(handle, "cancelled" as extern "C" fn() -> i32);
        let result = gaggle::go(move || cancelled());
        assert_eq!(result.join().expect("it does not panic"), 0);
        native::remove(&path);
    });
}

#[test]
fn loaded_libraries_can_be_listed_by_a_callback_that_migrates() {
    unsafe extern "C" fn visit(_: *mut libc::dl_phdr_info, _: usize, count: *mut c_void) -> i32 {
        migrate();
        // SAFETY: the caller passes its own counter.
        unsafe { *count.cast::<usize>() += 1 };
        0
    }
    let name = "loaded_libraries_can_be_listed_by_a_callback_that_migrates";
    on_three(name, || {
        in_goroutines(4, |_| {
            let mut count = 0usize;
            // SAFETY: the callback takes the counter.
            unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut count).cast()) };
            assert!(count > 2, "{count}");
        });
    });
}

#[test]
fn registry_of_tracing_gives_the_places_of_ended_goroutines_to_new_ones() {
    // Its limit is 4,096 threads that have been in a span and have not ended.
    let name = "registry_of_tracing_gives_the_places_of_ended_goroutines_to_new_ones";
    on_three(name, || {
        let subscriber = tracing_subscriber::fmt()
            .with_writer(std::io::sink)
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("the first in this process");
        for _ in 0..3 {
            let all_there = std::sync::Arc::new(std::sync::Barrier::new(3_000));
            let handles: Vec<_> = (0..3_000)
                .map(|index| {
                    let all_there = all_there.clone();
                    gaggle::go(move || {
                        let span = tracing::info_span!("waiting", index).entered();
                        all_there.wait();
                        assert_eq!(tracing::Span::current().id(), span.id());
                    })
                })
                .collect();
            for handle in handles {
                handle.join().expect("there is a place for it");
            }
        }
    });
}
