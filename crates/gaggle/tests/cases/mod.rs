//! The cases of `green_only_ends`: what the child does, and how it must end.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

const DEADLOCK: &str = "fatal error: all goroutines are asleep - deadlock!";

/// Where a frame of the runtime stands, whatever the function is called in a program with line tables only.
const RUNTIME_FRAME: &str = "gaggle-rt/src/sched.rs";

/// How a child must end.
enum End {
    /// With this status, having said the first on stderr and not the second.
    Code(i32, &'static [&'static str], &'static [&'static str]),
    /// By this signal, having said this on stderr.
    Signal(i32, &'static [&'static str]),
}

struct Case {
    name: &'static str,
    child: fn(),
    environment: &'static [(&'static str, &'static str)],
    /// Sent once the child has said "ready".
    signal: Option<i32>,
    end: End,
}

const fn case(name: &'static str, child: fn(), end: End) -> Case {
    Case {
        name,
        child,
        environment: &[],
        signal: None,
        end,
    }
}

const NO_ALARM: End = End::Code(0, &[], &[DEADLOCK]);

fn cases() -> Vec<Case> {
    let mut all = deadlocks();
    all.extend(no_deadlocks());
    all.extend(signals());
    all.extend(ends());
    all
}

fn deadlocks() -> Vec<Case> {
    vec![
        case(
            "receive_from_nobody",
            || {
                gaggle::run(|| {
                    let (sender, receiver) = gaggle::chan::unbuffered::<u32>();
                    let _ = receiver.recv();
                    drop(sender);
                });
            },
            End::Code(
                2,
                &[
                    DEADLOCK,
                    "goroutine ",
                    "[chan receive, \"main\"]:",
                    "tests/cases/mod.rs",
                ],
                &[RUNTIME_FRAME],
            ),
        ),
        case(
            "two_goroutines_and_two_mutexes",
            || {
                gaggle::run(|| {
                    let (a, b) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
                    let both = Arc::new(Barrier::new(2));
                    let (a2, b2, both2) = (Arc::clone(&a), Arc::clone(&b), Arc::clone(&both));
                    let other = gaggle::go(move || {
                        let _first = b2.lock();
                        both2.wait();
                        let _second = a2.lock();
                    });
                    let _first = a.lock();
                    both.wait();
                    let _second = b.lock();
                    let _ = other.join();
                });
            },
            End::Code(
                2,
                &[DEADLOCK, "[futex wait, \"main\"]:", "[futex wait]:"],
                &[],
            ),
        ),
        case(
            "two_goroutines_and_two_semaphores",
            || {
                gaggle::run(|| {
                    let (a, b) = (
                        gaggle::sync::Semaphore::new(1),
                        gaggle::sync::Semaphore::new(1),
                    );
                    let both = Arc::new(Barrier::new(2));
                    let (a2, b2, both2) = (a.clone(), b.clone(), Arc::clone(&both));
                    let other = gaggle::go(move || {
                        let _first = b2.acquire(1);
                        both2.wait();
                        let _second = a2.acquire(1);
                    });
                    let _first = a.acquire(1);
                    both.wait();
                    let _second = b.acquire(1);
                    let _ = other.join();
                });
            },
            End::Code(
                2,
                &[DEADLOCK, "[semacquire, \"main\"]:", "[semacquire]:"],
                &[],
            ),
        ),
        case(
            "wait_group_that_is_never_done",
            || {
                gaggle::run(|| {
                    let group = gaggle::sync::WaitGroup::new();
                    group.add(1);
                    group.wait();
                });
            },
            End::Code(2, &[DEADLOCK, "[semacquire, \"main\"]:"], &[]),
        ),
        case(
            "select_without_an_end",
            || {
                gaggle::run(|| {
                    let (_one, first) = gaggle::chan::unbuffered::<u32>();
                    let (_two, second) = gaggle::chan::unbuffered::<u32>();
                    gaggle::select! {
                        recv(first) -> _ => {}
                        recv(second) -> _ => {}
                    }
                });
            },
            End::Code(2, &[DEADLOCK, "[select, \"main\"]:"], &[]),
        ),
        case(
            "park_of_main_without_any_goroutine",
            gaggle::park,
            End::Code(2, &[DEADLOCK], &[]),
        ),
        case(
            "deadlock_after_the_last_thread_has_ended",
            || {
                gaggle::run(|| {
                    let (sender, receiver) = gaggle::chan::unbuffered::<u32>();
                    let (say, hear) = mpsc::channel::<()>();
                    thread::spawn(move || {
                        let _ = hear.recv();
                    });
                    drop(say);
                    let _ = receiver.recv();
                    drop(sender);
                });
            },
            End::Code(2, &[DEADLOCK], &[]),
        ),
        Case {
            name: "deadlock_without_stacks",
            child: || gaggle::run(gaggle::park),
            environment: &[("GAGGLE_TRACEBACK", "none")],
            signal: None,
            end: End::Code(2, &[DEADLOCK], &["goroutine "]),
        },
        Case {
            name: "deadlock_with_the_frames_of_the_runtime",
            child: || gaggle::run(gaggle::park),
            environment: &[("GAGGLE_TRACEBACK", "system")],
            signal: None,
            end: End::Code(2, &[DEADLOCK, RUNTIME_FRAME], &[]),
        },
        Case {
            name: "deadlock_with_a_crash",
            child: || gaggle::run(gaggle::park),
            environment: &[("GAGGLE_TRACEBACK", "crash")],
            signal: None,
            end: End::Signal(libc::SIGABRT, &[DEADLOCK, RUNTIME_FRAME]),
        },
    ]
}

/// Longer than the monitor's first looks at a process in which everything is idle.
const LONG_ENOUGH: Duration = Duration::from_millis(700);

fn no_deadlocks() -> Vec<Case> {
    vec![
        case(
            "thread_that_will_send",
            || {
                gaggle::run(|| {
                    let (sender, receiver) = gaggle::chan::unbuffered::<u32>();
                    thread::spawn(|| {
                        // Not on a goroutine: this is an OS thread.
                        thread::spawn(move || {
                            thread::sleep(LONG_ENOUGH);
                            let _ = sender.send(1);
                        });
                    });
                    assert_eq!(receiver.recv(), Ok(1));
                });
            },
            NO_ALARM,
        ),
        case(
            "goroutine_that_sleeps",
            || gaggle::run(|| thread::sleep(LONG_ENOUGH)),
            NO_ALARM,
        ),
        case(
            "timer_that_will_fire",
            || {
                gaggle::run(|| {
                    let (sender, receiver) = gaggle::chan::bounded::<u32>(1);
                    gaggle::time::after_func(LONG_ENOUGH, move || {
                        let _ = sender.send(1);
                    });
                    assert_eq!(receiver.recv(), Ok(1));
                });
            },
            NO_ALARM,
        ),
        case(
            "read_of_a_pipe",
            || {
                let mut child = Command::new("sleep")
                    .arg("0.7")
                    .stdout(Stdio::piped())
                    .spawn()
                    .expect("sleep runs");
                let mut end = child.stdout.take().expect("it is piped");
                gaggle::run(move || {
                    let mut all = Vec::new();
                    end.read_to_end(&mut all).expect("it ends");
                });
                child.wait().expect("it has ended");
            },
            NO_ALARM,
        ),
        case(
            "wait_for_a_process",
            || {
                gaggle::run(|| {
                    let status = Command::new("sleep").arg("0.7").status().expect("it runs");
                    assert!(status.success());
                });
            },
            NO_ALARM,
        ),
        case(
            "block_on_of_a_thread",
            || {
                let mut polls = 0;
                gaggle::block_on(std::future::poll_fn(move |context| {
                    polls += 1;
                    if polls > 1 {
                        return std::task::Poll::Ready(());
                    }
                    let waker = context.waker().clone();
                    thread::spawn(move || {
                        thread::sleep(LONG_ENOUGH);
                        waker.wake();
                    });
                    std::task::Poll::Pending
                }));
            },
            NO_ALARM,
        ),
        case(
            "main_that_goes_on_beside_parked_goroutines",
            || {
                let parked = gaggle::go(gaggle::park);
                thread::sleep(LONG_ENOUGH);
                parked.goroutine().unpark();
                parked.join().expect("no panic");
            },
            NO_ALARM,
        ),
        case(
            "name_that_is_looked_up",
            || {
                gaggle::run(|| {
                    use std::net::ToSocketAddrs;
                    for _ in 0..200 {
                        let found = ("localhost", 80).to_socket_addrs();
                        assert!(found.is_ok_and(|mut all| all.next().is_some()));
                    }
                });
            },
            NO_ALARM,
        ),
        Case {
            name: "receiver_of_signals",
            child: || {
                gaggle::run(|| {
                    let context = gaggle::signal::shutdown_context();
                    say_ready();
                    thread::sleep(Duration::ZERO);
                    let _ = context.done().recv();
                });
            },
            environment: &[],
            signal: Some(libc::SIGTERM),
            end: NO_ALARM,
        },
    ]
}

fn say_ready() {
    let mut out = std::io::stdout();
    out.write_all(b"ready\n").expect("the parent listens");
    out.flush().expect("the parent listens");
}

fn signals() -> Vec<Case> {
    let quit = || {
        gaggle::run(|| {
            let worker = gaggle::Builder::new().name("worker").spawn(gaggle::park);
            let worker = worker.expect("it starts");
            let (_end, nothing) = std::os::unix::net::UnixStream::pair().expect("a pair");
            // Ready when both wait.
            drop(gaggle::go(|| {
                let waiting = ["[park, \"worker\"]", "[IO wait, \"main\"]"];
                loop {
                    let dump = gaggle::runtime::stack_dump();
                    if waiting.iter().all(|line| dump.contains(line)) {
                        return say_ready();
                    }
                    gaggle::yield_now();
                }
            }));
            let _ = (&nothing).read(&mut [0]);
            worker.join().expect("no panic");
        });
    };
    vec![
        Case {
            name: "quit_dumps_all_goroutines",
            child: quit,
            environment: &[],
            signal: Some(libc::SIGQUIT),
            end: End::Code(
                2,
                &[
                    "SIGQUIT: quit",
                    "[park, \"worker\"]:",
                    "[IO wait, \"main\"]:",
                ],
                &[],
            ),
        },
        Case {
            name: "quit_without_stacks",
            child: quit,
            environment: &[("GAGGLE_TRACEBACK", "none")],
            signal: Some(libc::SIGQUIT),
            end: End::Code(2, &["SIGQUIT: quit"], &["goroutine "]),
        },
        Case {
            name: "quit_while_a_goroutine_computes",
            child: || {
                gaggle::run(|| {
                    let _busy = gaggle::Builder::new().name("busy").spawn(compute_for_ever);
                    say_ready();
                    gaggle::park();
                });
            },
            environment: &[],
            signal: Some(libc::SIGQUIT),
            end: End::Code(2, &["SIGQUIT: quit", "\"busy\"]:"], &[]),
        },
        Case {
            name: "handler_of_the_program_stays",
            child: || {
                // SAFETY: the handler ends the process and does nothing else.
                unsafe { libc::signal(libc::SIGQUIT, own_handler as *const () as usize) };
                gaggle::run(|| {
                    say_ready();
                    thread::sleep(Duration::from_secs(3600));
                });
            },
            environment: &[],
            signal: Some(libc::SIGQUIT),
            end: End::Code(33, &[], &["SIGQUIT"]),
        },
    ]
}

extern "C" fn own_handler(_: i32) {
    // SAFETY: ends the process.
    unsafe { libc::_exit(33) };
}

fn compute_for_ever() {
    loop {
        std::hint::spin_loop();
    }
}

fn ends() -> Vec<Case> {
    vec![
        case(
            "return_from_main_while_a_goroutine_computes",
            || {
                gaggle::run(|| {
                    let (say, hear) = mpsc::channel();
                    gaggle::go(move || {
                        say.send(()).expect("main listens");
                        compute_for_ever();
                    });
                    hear.recv().expect("it has begun");
                });
            },
            End::Code(0, &[], &[]),
        ),
        case(
            "exit_from_a_goroutine_while_another_computes",
            || {
                gaggle::run(|| {
                    gaggle::go(compute_for_ever);
                    gaggle::go(|| std::process::exit(7));
                    gaggle::park();
                });
            },
            End::Code(7, &[], &[]),
        ),
        case(
            "panic_is_printed_with_its_goroutine_and_delivered",
            panic_and_join,
            End::Code(
                0,
                &["[running, \"unlucky\"]:", "the goose is cooked"],
                &["fatal"],
            ),
        ),
        Case {
            name: "panic_ends_the_process_as_in_go",
            child: panic_and_join,
            environment: &[("GAGGLE_PANIC", "exit")],
            signal: None,
            end: End::Code(
                2,
                &[
                    "the goose is cooked",
                    "fatal error: goroutine ",
                    "[join, \"main\"]:",
                ],
                &[],
            ),
        },
        Case {
            name: "panic_aborts",
            child: panic_and_join,
            environment: &[("GAGGLE_PANIC", "abort"), ("GAGGLE_TRACEBACK", "none")],
            signal: None,
            end: End::Signal(libc::SIGABRT, &["the goose is cooked"]),
        },
        Case {
            name: "panic_policy_that_does_not_exist",
            child: panic_and_join,
            environment: &[("GAGGLE_PANIC", "shrug")],
            signal: None,
            end: End::Code(2, &["GAGGLE_PANIC is \"shrug\""], &["goose"]),
        },
        Case {
            name: "scheduler_trace_in_gos_format",
            child: || gaggle::run(|| thread::sleep(LONG_ENOUGH)),
            environment: &[("GAGGLE_DEBUG", "schedtrace=50"), ("GAGGLE_MAXPROCS", "2")],
            signal: None,
            end: End::Code(
                0,
                &[
                    "SCHED ",
                    "ms: gomaxprocs=2 idleprocs=2 threads=",
                    " runqueue=0 [ 0 0 ]",
                ],
                &["GAGGLE_DEBUG"],
            ),
        },
        Case {
            name: "scheduler_trace_in_detail",
            child: || gaggle::run(|| thread::sleep(LONG_ENOUGH)),
            environment: &[("GAGGLE_DEBUG", "schedtrace=50,scheddetail=1")],
            signal: None,
            end: End::Code(
                0,
                &["\n  P0: status=", "\n  M0: procid=", ": status=sleep\n"],
                &[],
            ),
        },
        Case {
            name: "unknown_keys_are_said_and_the_program_runs",
            child: || gaggle::run(|| ()),
            environment: &[("GAGGLE_DEBUG", "gctrace=1"), ("GAGGLE_TRACEBACK", "loud")],
            signal: None,
            end: End::Code(
                0,
                &[
                    "gaggle: GAGGLE_DEBUG: there is no key \"gctrace\"",
                    "GAGGLE_TRACEBACK is \"loud\"",
                ],
                &[],
            ),
        },
        case(
            "abort_from_a_goroutine",
            || {
                gaggle::run(|| {
                    gaggle::go(|| std::process::abort());
                    gaggle::park();
                });
            },
            End::Signal(libc::SIGABRT, &[]),
        ),
    ]
}

fn panic_and_join() {
    gaggle::run(|| {
        let unlucky = gaggle::Builder::new()
            .name("unlucky")
            .spawn(|| panic!("the goose is cooked"));
        assert!(unlucky.expect("it starts").join().is_err());
    });
}

/// The child's half.
pub fn run(name: &str) {
    let all = cases();
    let case = all.iter().find(|case| case.name == name);
    (case.unwrap_or_else(|| panic!("no case {name}")).child)();
}

/// The parent's half.
pub fn check_all() {
    let mut failed = Vec::new();
    for case in cases() {
        let (status, stderr) = run_child(&case);
        let verdict = judge(&case.end, status, &stderr);
        println!(
            "test {} ... {}",
            case.name,
            if verdict.is_ok() { "ok" } else { "FAILED" }
        );
        if let Err(why) = verdict {
            println!("{why}; it ended with {status} and said:\n{stderr}");
            failed.push(case.name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

fn run_child(case: &Case) -> (ExitStatus, String) {
    let program = std::env::current_exe().expect("a test knows its own binary");
    let mut command = Command::new(program);
    command
        .env("GAGGLE_TEST_CHILD", case.name)
        .env("GAGGLE_BACKEND", "green");
    for variable in ["GAGGLE_TRACEBACK", "GAGGLE_PANIC", "GAGGLE_DEBUG"] {
        command.env_remove(variable);
    }
    command.envs(case.environment.iter().copied());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs again");
    if let Some(signal) = case.signal {
        let mut ready = [0; 6];
        let out = child.stdout.as_mut().expect("it is piped");
        out.read_exact(&mut ready)
            .expect("the child says that it is ready");
        // SAFETY: a signal to a child that has not been waited for.
        unsafe { libc::kill(child.id() as i32, signal) };
    }
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status, stderr)
}

fn judge(end: &End, status: ExitStatus, stderr: &str) -> Result<(), String> {
    let (said, unsaid): (&[&str], &[&str]) = match end {
        End::Code(code, said, unsaid) => {
            if status.code() != Some(*code) {
                return Err(format!("it should have ended with status {code}"));
            }
            (said, unsaid)
        }
        End::Signal(signal, said) => {
            if status.signal() != Some(*signal) {
                return Err(format!("it should have ended by signal {signal}"));
            }
            (said, &[])
        }
    };
    if let Some(missing) = said.iter().find(|text| !stderr.contains(**text)) {
        return Err(format!("it did not say {missing:?}"));
    }
    match unsaid.iter().find(|text| stderr.contains(**text)) {
        Some(surplus) => Err(format!("it said {surplus:?}")),
        None => Ok(()),
    }
}
