//! Blocking calls of std, and of crates that know nothing of goroutines, block no OS thread.
//!
//! Each test runs in a process of its own, with as many processors as it names. The threads backend
//! has an OS thread for each goroutine, so there is nothing to show there.
#![cfg(target_os = "linux")]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Runs `body` on the green backend with this many processors, in a child process.
fn on_processors(count: usize, name: &str, body: impl FnOnce()) {
    if support::is_child(name) {
        assert_eq!(gaggle::runtime::backend_name(), "green");
        body();
    } else if gaggle::runtime::backend_name() == "green" {
        let count = count.to_string();
        let output = support::run_child(name, &[("GAGGLE_MAXPROCS", Some(count.as_str()))]);
        assert!(output.status.success(), "{}", support::said(&output));
    }
}

/// How many OS threads this process has, the test harness's two among them.
fn os_threads() -> usize {
    let all = std::fs::read_dir("/proc/self/task").expect("Linux lists the threads");
    all.count()
}

#[test]
fn ten_thousand_sleep_side_by_side() {
    on_processors(2, "ten_thousand_sleep_side_by_side", || {
        let begun = Instant::now();
        let handles: Vec<_> = (0..10_000)
            .map(|_| gaggle::go(|| std::thread::sleep(Duration::from_secs(1))))
            .collect();
        let threads = os_threads();
        for handle in handles {
            handle.join().expect("sleeping does not panic");
        }
        let took = begun.elapsed();
        println!("10,000 sleeps of 1 s took {took:?} on {threads} OS threads");
        assert!(threads < 12, "{threads} OS threads");
        assert!(took >= Duration::from_secs(1));
        assert!(
            took < Duration::from_secs(60),
            "one after the other would take hours: {took:?}"
        );
    });
}

#[test]
fn a_thousand_tcp_pairs_echo_on_a_few_os_threads() {
    on_processors(2, "a_thousand_tcp_pairs_echo_on_a_few_os_threads", || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let most = Arc::new(Mutex::new(0));
        let clients = 1000;
        let server = gaggle::go(move || {
            let serve = |mut stream: TcpStream| {
                let mut buffer = [0; 256];
                loop {
                    match stream.read(&mut buffer).expect("the peer sends") {
                        0 => return,
                        read => stream.write_all(&buffer[..read]).expect("the peer reads"),
                    }
                }
            };
            let accepted = (0..clients).map(|_| listener.accept().expect("a client").0);
            let handles: Vec<_> = accepted
                .map(|stream| gaggle::go(move || serve(stream)))
                .collect();
            for handle in handles {
                handle.join().expect("no server panics");
            }
        });
        let all_connected = Arc::new(Barrier::new(clients));
        let handles: Vec<_> = (0..clients)
            .map(|client| {
                let (most, all_connected) = (most.clone(), all_connected.clone());
                gaggle::go(move || {
                    let mut stream = TcpStream::connect(address).expect("the server listens");
                    all_connected.wait();
                    for round in 0..20 {
                        let message = format!("{client:06}-{round:03}");
                        stream
                            .write_all(message.as_bytes())
                            .expect("the server reads");
                        let mut answer = [0; 10];
                        stream.read_exact(&mut answer).expect("the server answers");
                        assert_eq!(answer, message.as_bytes());
                    }
                    if client % 100 == 0 {
                        let mut most = most.lock().expect("nobody panics with it");
                        *most = os_threads().max(*most);
                    }
                })
            })
            .collect();
        for handle in handles {
            handle.join().expect("no client panics");
        }
        server.join().expect("the server does not panic");
        let most = *most.lock().expect("nobody panics with it");
        println!(
            "1,000 pairs used {most} OS threads, {} suspensions",
            gaggle::runtime::suspensions()
        );
        assert!(most < 10, "{most} OS threads");
    });
}

#[test]
fn stds_own_primitives_work_on_one_processor() {
    on_processors(1, "stds_own_primitives_work_on_one_processor", || {
        rendezvous();
        barrier();
        condvar();
        park();
    });
}

fn rendezvous() {
    let (sender, receiver) = mpsc::sync_channel::<u64>(0);
    let sum = gaggle::go(move || receiver.iter().sum::<u64>());
    let handles: Vec<_> = (0..10)
        .map(|_| {
            let sender = sender.clone();
            gaggle::go(move || (0..100).for_each(|value| sender.send(value).expect("it receives")))
        })
        .collect();
    drop(sender);
    for handle in handles {
        handle.join().expect("no sender panics");
    }
    assert_eq!(sum.join().expect("the receiver does not panic"), 10 * 4950);
}

fn barrier() {
    let barrier = Arc::new(Barrier::new(50));
    let handles: Vec<_> = (0..50)
        .map(|_| {
            let barrier = barrier.clone();
            gaggle::go(move || (0..20).filter(|_| barrier.wait().is_leader()).count())
        })
        .collect();
    let leaders: usize = handles
        .into_iter()
        .map(|handle| handle.join().expect("no goroutine panics"))
        .sum();
    assert_eq!(leaders, 20);
}

fn condvar() {
    let turn = Arc::new((Mutex::new(0), Condvar::new()));
    let handles: Vec<_> = (0..20)
        .rev()
        .map(|own| {
            let turn = turn.clone();
            gaggle::go(move || {
                let (number, changed) = &*turn;
                let number = number.lock().expect("nobody panics with it");
                let mut number = changed
                    .wait_while(number, |number| *number != own)
                    .expect("as above");
                *number += 1;
                changed.notify_all();
                let (number, _) = changed
                    .wait_timeout(number, Duration::from_millis(1))
                    .expect("as above");
                assert!(*number > own);
            })
        })
        .collect();
    for handle in handles {
        handle.join().expect("no goroutine panics");
    }
}

fn park() {
    gaggle::go(|| {
        let parked = std::thread::current();
        let waker = gaggle::go(move || parked.unpark());
        std::thread::park();
        waker.join().expect("the waker does not panic");
        std::thread::park_timeout(Duration::from_millis(1));
    })
    .join()
    .expect("parking does not panic");
}

#[test]
fn goroutines_and_os_threads_share_stds_mutex_and_channels() {
    on_processors(
        2,
        "goroutines_and_os_threads_share_stds_mutex_and_channels",
        || {
            let total = Arc::new(Mutex::new(0u64));
            let add = |total: Arc<Mutex<u64>>| {
                for _ in 0..2_000 {
                    *total.lock().expect("nobody panics with it") += 1;
                    std::thread::yield_now();
                }
            };
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let total = total.clone();
                    std::thread::spawn(move || add(total))
                })
                .collect();
            let goroutines: Vec<_> = (0..16)
                .map(|_| {
                    let total = total.clone();
                    gaggle::go(move || add(total))
                })
                .collect();
            for goroutine in goroutines {
                goroutine.join().expect("no goroutine panics");
            }
            for thread in threads {
                thread.join().expect("no thread panics");
            }
            assert_eq!(*total.lock().expect("nobody panics with it"), 20 * 2_000);
        },
    );
}

#[test]
fn pipes_block_goroutines_only() {
    on_processors(1, "pipes_block_goroutines_only", || {
        let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
        let length = 300_000; // several times what a pipe holds
        let received = gaggle::go(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).expect("it can be read");
            all
        });
        let sent: Vec<u8> = (0..length).map(|index| index as u8).collect();
        let expected = sent.clone();
        gaggle::go(move || writer.write_all(&sent).expect("it is read"))
            .join()
            .expect("writing does not panic");
        assert_eq!(received.join().expect("reading does not panic"), expected);
    });
}

#[test]
fn read_timeout_of_std_ends_the_wait() {
    on_processors(1, "read_timeout_of_std_ends_the_wait", || {
        let kind = gaggle::go(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("it is bound");
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream
                .set_read_timeout(Some(Duration::from_millis(20)))
                .expect("a socket");
            stream.read(&mut [0; 4]).expect_err("nobody writes").kind()
        });
        assert_eq!(
            kind.join().expect("it does not panic"),
            std::io::ErrorKind::WouldBlock
        );
    });
}

#[test]
fn connecting_where_nobody_listens_is_refused() {
    on_processors(1, "connecting_where_nobody_listens_is_refused", || {
        let kind = gaggle::go(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("it is bound");
            drop(listener);
            TcpStream::connect(address)
                .expect_err("nobody listens")
                .kind()
        });
        assert_eq!(
            kind.join().expect("it does not panic"),
            std::io::ErrorKind::ConnectionRefused
        );
    });
}

#[test]
fn descriptor_reused_after_close_is_polled_anew() {
    on_processors(2, "descriptor_reused_after_close_is_polled_anew", || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let rounds = 300;
        let server = gaggle::go(move || {
            for _ in 0..rounds {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("the client writes");
                stream.write_all(&byte).expect("the client reads");
            }
        });
        for round in 0..rounds {
            gaggle::go(move || {
                let mut stream = TcpStream::connect(address).expect("it listens");
                stream.write_all(&[round as u8]).expect("the server reads");
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("the server answers");
                assert_eq!(byte[0], round as u8);
            })
            .join()
            .expect("no client panics");
        }
        server.join().expect("the server does not panic");
    });
}

#[test]
fn unmodified_ureq_calls_wait_side_by_side() {
    on_processors(2, "unmodified_ureq_calls_wait_side_by_side", || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let calls = 200;
        // Nobody is answered before all have asked.
        let all_asked = Arc::new(Barrier::new(calls));
        gaggle::go(move || {
            for stream in listener.incoming() {
                let all_asked = all_asked.clone();
                let mut stream = stream.expect("a client");
                gaggle::go(move || {
                    let read = stream.read(&mut [0; 4096]).expect("the client asks");
                    assert_ne!(read, 0);
                    all_asked.wait();
                    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
                    stream.write_all(head.as_bytes()).expect("the client reads");
                    stream.write_all(b"hello").expect("the client reads");
                });
            }
        });
        let handles: Vec<_> = (0..calls)
            .map(|_| {
                gaggle::go(move || {
                    let mut response = ureq::get(format!("http://{address}/"))
                        .call()
                        .expect("it answers");
                    response.body_mut().read_to_string().expect("a short text")
                })
            })
            .collect();
        for handle in handles {
            assert_eq!(handle.join().expect("no call panics"), "hello");
        }
        assert!(os_threads() < 12, "{} OS threads", os_threads());
    });
}

#[test]
fn child_processes_are_run_from_goroutines() {
    on_processors(2, "child_processes_are_run_from_goroutines", || {
        let handles: Vec<_> = (0..8)
            .map(|number| {
                gaggle::go(move || {
                    let output = std::process::Command::new("sh")
                        .args(["-c", &format!("read line; echo $line {number}")])
                        .stdin(std::process::Stdio::piped())
                        .stdout(std::process::Stdio::piped())
                        .spawn()
                        .and_then(|mut child| {
                            child
                                .stdin
                                .take()
                                .expect("it is piped")
                                .write_all(b"hello\n")?;
                            child.wait_with_output()
                        })
                        .expect("a shell");
                    String::from_utf8(output.stdout).expect("it is text")
                })
            })
            .collect();
        for (number, handle) in handles.into_iter().enumerate() {
            assert_eq!(
                handle.join().expect("it does not panic"),
                format!("hello {number}\n")
            );
        }
    });
}

#[test]
fn names_are_resolved_from_goroutines() {
    use std::net::ToSocketAddrs;
    on_processors(1, "names_are_resolved_from_goroutines", || {
        let handles: Vec<_> = (0..20)
            .map(|_| {
                gaggle::go(|| {
                    let found = ("localhost", 80)
                        .to_socket_addrs()
                        .expect("it is this machine");
                    found.count()
                })
            })
            .collect();
        for handle in handles {
            assert!(handle.join().expect("it does not panic") > 0);
        }
    });
}

/// A mutex of C that goroutines share.
struct SharedMutex(std::cell::UnsafeCell<libc::pthread_mutex_t>);
// SAFETY: a pthread mutex may be used from any thread; it is only used through libc's functions.
unsafe impl Sync for SharedMutex {}

#[test]
fn goroutines_that_wait_for_a_mutex_of_c_park() {
    static MUTEX: SharedMutex =
        SharedMutex(std::cell::UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
    static INSIDE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    use std::sync::atomic::Ordering::SeqCst;
    on_processors(2, "goroutines_that_wait_for_a_mutex_of_c_park", || {
        let rounds = 20;
        let handles: Vec<_> = (0..50)
            .map(|_| {
                gaggle::go(move || {
                    for _ in 0..rounds {
                        // SAFETY: an initialised mutex.
                        assert_eq!(unsafe { libc::pthread_mutex_lock(MUTEX.0.get()) }, 0);
                        assert_eq!(INSIDE.fetch_add(1, SeqCst), 0, "one at a time");
                        // Parks with the mutex held, so that all others come to wait.
                        std::thread::sleep(Duration::from_micros(10));
                        INSIDE.fetch_sub(1, SeqCst);
                        // SAFETY: taken above by this goroutine.
                        assert_eq!(unsafe { libc::pthread_mutex_unlock(MUTEX.0.get()) }, 0);
                    }
                })
            })
            .collect();
        for handle in handles {
            handle.join().expect("no goroutine panics");
        }
        assert!(os_threads() < 12, "{} OS threads", os_threads());
    });
}
