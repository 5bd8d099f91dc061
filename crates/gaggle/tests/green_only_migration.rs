//! What a thread keeps, a goroutine keeps while it moves between OS threads.
//!
//! Each test runs in a process of its own on three processors, and counts how often its goroutines
//! went on on another OS thread: more than never, or it has shown nothing. On the threads backend a
//! goroutine never moves, so there is nothing to show.
#![cfg(target_os = "linux")]

mod support;

use support::migrate::{in_goroutines, migrate, on_three};

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::Write;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

static DROPPED: AtomicU32 = AtomicU32::new(0);

struct Droppable(u64);

impl Drop for Droppable {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

thread_local! {
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    static WORDS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static SHARED: Rc<Cell<u64>> = Rc::new(Cell::new(0));
    static DROPPABLE: Droppable = const { Droppable(7) };
}

#[test]
fn thread_locals_stay_with_their_goroutine() {
    on_three("thread_locals_stay_with_their_goroutine", || {
        in_goroutines(64, |index| {
            let index = index as u64;
            // Held over the migrations, as the compiler holds a thread-local's address.
            SHARED.with(|shared| {
                let second = Rc::clone(shared);
                for round in 0..5 {
                    NUMBER.set(index * 100 + round);
                    WORDS.with_borrow_mut(|words| words.push(format!("{index}-{round}")));
                    second.set(second.get() + index);
                    migrate();
                    assert_eq!(NUMBER.get(), index * 100 + round);
                    assert_eq!(shared.get(), index * (round + 1));
                    assert_eq!(Rc::strong_count(shared), 2);
                }
            });
            WORDS.with_borrow(|words| assert_eq!(words.len(), 5));
            assert_eq!(DROPPABLE.with(|droppable| droppable.0), 7);
        });
    });
}

#[test]
fn tls_destructors_run_exactly_once_per_goroutine() {
    on_three("tls_destructors_run_exactly_once_per_goroutine", || {
        in_goroutines(200, |_| {
            DROPPABLE.with(|droppable| assert_eq!(droppable.0, 7));
            migrate();
        });
        assert_eq!(DROPPED.load(Ordering::Relaxed), 200);
    });
}

#[test]
fn panic_is_caught_although_a_drop_migrates_during_unwinding() {
    struct Migrates;
    impl Drop for Migrates {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            migrate();
            assert!(std::thread::panicking());
        }
    }
    on_three(
        "panic_is_caught_although_a_drop_migrates_during_unwinding",
        || {
            std::panic::set_hook(Box::new(|_| {}));
            in_goroutines(32, |index| {
                for _ in 0..3 {
                    let payload = std::panic::catch_unwind(|| {
                        let _migrates = Migrates;
                        std::panic::panic_any(index);
                    })
                    .expect_err("it panics");
                    assert_eq!(payload.downcast_ref(), Some(&index));
                    assert!(!std::thread::panicking());
                }
            });
        },
    );
}

#[test]
fn every_goroutine_has_its_own_thread_id() {
    on_three("every_goroutine_has_its_own_thread_id", || {
        let seen = Arc::new(Mutex::new(HashSet::new()));
        let all = seen.clone();
        in_goroutines(300, move |_| {
            let id = std::thread::current().id();
            migrate();
            assert_eq!(std::thread::current().id(), id);
            assert!(all.lock().expect("nobody panics with it").insert(id));
        });
        assert_eq!(seen.lock().expect("nobody panics with it").len(), 300);
    });
}

#[test]
fn random_generator_is_held_across_migration() {
    use rand::RngExt;
    on_three("random_generator_is_held_across_migration", || {
        in_goroutines(32, |_| {
            let mut generator = rand::rng();
            let mut sum = 0u64;
            for _ in 0..20 {
                sum = sum.wrapping_add(generator.random::<u64>());
                migrate();
                sum = sum.wrapping_add(generator.random::<u64>());
            }
            assert_ne!(sum, 0);
        });
    });
}

#[test]
fn tracing_spans_are_held_across_migration() {
    on_three("tracing_spans_are_held_across_migration", || {
        let subscriber = tracing_subscriber::fmt()
            .with_writer(std::io::sink)
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("the first in this process");
        in_goroutines(32, |index| {
            for round in 0..10 {
                let outer = tracing::info_span!("outer", index).entered();
                migrate();
                let inner = tracing::info_span!("inner", round).entered();
                tracing::info!(index, round, "between");
                migrate();
                assert_eq!(tracing::Span::current().id(), inner.id());
                drop(inner);
                assert_eq!(tracing::Span::current().id(), outer.id());
            }
        });
    });
}

#[test]
fn stdout_lock_is_held_across_migration() {
    on_three("stdout_lock_is_held_across_migration", || {
        in_goroutines(16, |index| {
            let mut stdout = std::io::stdout().lock();
            writeln!(stdout, "goroutine {index} begins").expect("stdout takes it");
            migrate();
            // Recursive: only its owner gets in.
            println!("goroutine {index} ends");
        });
    });
}

#[test]
fn errno_stays_with_its_goroutine() {
    on_three("errno_stays_with_its_goroutine", || {
        in_goroutines(64, |index| {
            // SAFETY: answers the address of this thread's errno.
            let place = unsafe { libc::__errno_location() };
            let errno = 1000 + index as i32;
            // SAFETY: the goroutine's own errno.
            unsafe { *place = errno };
            migrate();
            // SAFETY: as above.
            assert_eq!(unsafe { libc::__errno_location() }, place);
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(errno));
        });
    });
}

#[test]
fn rusqlite_works_across_migration() {
    on_three("rusqlite_works_across_migration", || {
        let folder = std::env::temp_dir().join(format!("gaggle-sqlite-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let own = folder.clone();
        in_goroutines(16, move |index| {
            let path = own.join(format!("{index}.db"));
            let connection = rusqlite::Connection::open(path).expect("a new database");
            connection
                .execute_batch("create table t (v integer)")
                .expect("a table");
            for value in 0..20 {
                connection
                    .execute("insert into t values (?1)", [value])
                    .expect("a row");
                if value % 5 == 0 {
                    migrate();
                }
            }
            let sum: i64 = connection
                .query_row("select sum(v) from t", [], |row| row.get(0))
                .expect("a sum");
            assert_eq!(sum, 190);
        });
        std::fs::remove_dir_all(folder).expect("the folder is ours");
    });
}

#[test]
fn std_threads_are_started_and_joined_from_goroutines() {
    on_three("std_threads_are_started_and_joined_from_goroutines", || {
        in_goroutines(16, |index| {
            let handle = std::thread::spawn(move || index * 2);
            migrate();
            assert_eq!(handle.join().expect("it does not panic"), index * 2);
            let mut numbers = [index; 4];
            std::thread::scope(|scope| {
                for number in &mut numbers {
                    scope.spawn(move || *number += 1);
                }
                migrate();
            });
            assert_eq!(numbers, [index + 1; 4]);
        });
    });
}

#[test]
fn backtrace_is_captured_across_migration() {
    on_three("backtrace_is_captured_across_migration", || {
        in_goroutines(8, |_| {
            migrate();
            let text = std::backtrace::Backtrace::force_capture().to_string();
            assert!(
                text.contains("backtrace_is_captured_across_migration"),
                "{text}"
            );
        });
    });
}

#[test]
fn thread_numbers_of_live_goroutines_differ() {
    static OWNERS: AtomicU64 = AtomicU64::new(0);
    on_three("thread_numbers_of_live_goroutines_differ", || {
        // A recursive mutex of C tells its owners apart by the thread number in the control block.
        in_goroutines(32, |_| {
            let mut mutex = libc::PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
            for _ in 0..3 {
                // SAFETY: an initialised mutex that this goroutine alone uses.
                assert_eq!(unsafe { libc::pthread_mutex_lock(&raw mut mutex) }, 0);
                migrate();
            }
            for _ in 0..3 {
                // SAFETY: taken three times above, by the same goroutine.
                assert_eq!(unsafe { libc::pthread_mutex_unlock(&raw mut mutex) }, 0);
            }
            OWNERS.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(OWNERS.load(Ordering::Relaxed), 32);
    });
}
