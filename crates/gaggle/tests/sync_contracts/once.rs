//! Go's `once_test.go` and `oncefunc_test.go`, and what is Rust's own.

use crate::{everywhere, join_all};
use gaggle::sync::{Once, OnceLock, once_func, once_value};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn ten_that_call_run_it_once_and_return_after_it_has_run() {
    everywhere(|place| {
        let (once, runs) = (Arc::new(Once::new()), Arc::new(AtomicUsize::new(0)));
        let tasks = place.go_all(10, |_| {
            let (once, runs) = (Arc::clone(&once), Arc::clone(&runs));
            move || {
                once.call_once(|| {
                    gaggle::yield_now();
                    runs.fetch_add(1, Ordering::Relaxed);
                });
                runs.load(Ordering::Relaxed)
            }
        });
        assert!(join_all(tasks).into_iter().all(|runs| runs == 1));
        assert!(once.is_completed());
    });
}

#[test]
fn function_that_panics_has_run() {
    let once = Once::new();
    let caught = catch_unwind(AssertUnwindSafe(|| once.call_once(|| panic!("failed"))));
    assert!(caught.is_err() && once.is_completed());
    once.call_once(|| panic!("it runs once"));
}

/// How often a function of a test has been called.
#[derive(Clone, Default)]
struct Calls(Arc<AtomicUsize>);

impl Calls {
    fn count(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn total(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn once_func_runs_once_however_often_it_is_called() {
    let calls = Calls::default();
    let f = {
        let calls = calls.clone();
        once_func(move || {
            calls.count();
        })
    };
    let clone = f.clone();
    f();
    f();
    clone();
    assert_eq!(calls.total(), 1);
}

#[test]
fn once_value_answers_the_first_value_at_each_call() {
    let calls = Calls::default();
    let f = {
        let calls = calls.clone();
        once_value(move || calls.count())
    };
    assert_eq!((f(), f(), calls.total()), (1, 1, 1));
}

#[test]
fn once_value_of_a_tuple_answers_several() {
    let calls = Calls::default();
    let f = {
        let calls = calls.clone();
        once_value(move || (calls.count(), "two"))
    };
    assert_eq!((f(), f()), ((1, "two"), (1, "two")));
}

#[test]
fn several_that_call_a_once_value_get_the_same() {
    everywhere(|place| {
        let calls = Calls::default();
        let f = {
            let calls = calls.clone();
            once_value(move || {
                gaggle::yield_now();
                calls.count()
            })
        };
        let tasks = place.go_all(8, |_| f.clone());
        assert!(join_all(tasks).into_iter().all(|value| value == 1));
        assert_eq!(calls.total(), 1);
    });
}

/// The text of the panic of `f`.
fn text_of_panic(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
    text(&*payload)
}

fn text(payload: &(dyn Any + Send)) -> String {
    let owned = payload.downcast_ref::<String>().cloned();
    owned.unwrap_or_else(|| payload.downcast_ref::<&str>().expect("a text").to_string())
}

#[test]
fn once_func_panics_alike_at_each_call_and_runs_once() {
    let calls = Calls::default();
    let f = {
        let calls = calls.clone();
        once_func(move || panic!("x{}", calls.count()))
    };
    assert_eq!(text_of_panic(&f), "x1");
    assert_eq!(text_of_panic(&f), "x1");
    assert_eq!(calls.total(), 1);
}

#[test]
fn once_value_panics_alike_at_each_call_and_runs_once() {
    let calls = Calls::default();
    let f = {
        let calls = calls.clone();
        once_value(move || -> u32 { panic!("x{}", calls.count()) })
    };
    assert_eq!(
        text_of_panic(|| {
            f();
        }),
        "x1"
    );
    assert_eq!(
        text_of_panic(|| {
            f();
        }),
        "x1"
    );
    assert_eq!(calls.total(), 1);
}

#[test]
fn once_value_of_a_tuple_panics_alike_at_each_call() {
    let f = once_value(|| -> (u32, u32) { panic!("x") });
    assert_eq!(
        text_of_panic(|| {
            f();
        }),
        "x"
    );
    assert_eq!(
        text_of_panic(|| {
            f();
        }),
        "x"
    );
}

/// Go's panic with nil: a payload that says nothing.
#[test]
fn payload_without_a_text_arrives_at_the_first_call() {
    let f = once_func(|| panic_any(7u8));
    let payload = catch_unwind(AssertUnwindSafe(&f)).expect_err("it panics");
    assert_eq!(payload.downcast_ref::<u8>(), Some(&7));
    assert!(text_of_panic(&f).contains("no text"));
}

#[test]
fn first_panic_comes_from_the_function_itself() {
    fn place_of_the_panic() {
        panic!("here")
    }
    // The hook sees the panic where it is raised, before anything is unwound.
    let f = once_func(place_of_the_panic);
    let before = std::panic::take_hook();
    let (sender, seen) = std::sync::mpsc::channel();
    std::panic::set_hook(Box::new(move |info| {
        let line = info.location().expect("panics have one").line();
        // Other tests' panics come by too.
        let text = info.payload_as_str().unwrap_or_default().to_owned();
        let _ = sender.send((text, line));
    }));
    let _ = catch_unwind(AssertUnwindSafe(&f));
    std::panic::set_hook(before);
    let found = seen.try_iter().find(|(text, _)| text == "here");
    assert!(found.is_some_and(|(_, line)| line < line!()));
}

#[test]
fn what_the_function_holds_is_dropped_after_its_first_call() {
    for panics in [false, true] {
        let held = Arc::new(());
        let f = {
            let held = Arc::clone(&held);
            once_value(move || {
                assert!(Arc::strong_count(&held) > 1);
                assert!(!panics, "as told");
            })
        };
        assert_eq!(Arc::strong_count(&held), 2);
        let _ = catch_unwind(AssertUnwindSafe(&f));
        assert_eq!(Arc::strong_count(&held), 1);
        let _ = catch_unwind(AssertUnwindSafe(&f));
    }
}

#[test]
fn once_lock_is_set_by_one_and_seen_by_all() {
    everywhere(|place| {
        let (lock, calls) = (Arc::new(OnceLock::new()), Calls::default());
        let tasks = place.go_all(10, |number| {
            let (lock, calls) = (Arc::clone(&lock), calls.clone());
            move || {
                *lock.get_or_init(|| {
                    gaggle::yield_now();
                    calls.count();
                    number
                })
            }
        });
        let values = join_all(tasks);
        assert!(values.iter().all(|value| Some(value) == lock.get()));
        assert_eq!(calls.total(), 1);
        assert_eq!(lock.set(99), Err(99));
    });
}

#[test]
fn once_lock_whose_making_fails_or_panics_is_tried_again() {
    let lock = OnceLock::new();
    assert_eq!(lock.get_or_try_init(|| Err("no")), Err("no"));
    let caught = catch_unwind(AssertUnwindSafe(|| lock.get_or_init(|| panic!("no"))));
    assert!(caught.is_err() && lock.get().is_none());
    assert_eq!(lock.get_or_init(|| 7), &7);
}

#[test]
fn once_lock_drops_its_value_once() {
    let held = Arc::new(());
    let mut lock = OnceLock::new();
    lock.set(Arc::clone(&held)).unwrap();
    assert_eq!(Arc::strong_count(&held), 2);
    drop(lock.take());
    assert_eq!((Arc::strong_count(&held), lock.get()), (1, None));
    lock.set(Arc::clone(&held)).unwrap();
    drop(lock);
    assert_eq!(Arc::strong_count(&held), 1);
}
