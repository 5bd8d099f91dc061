//! How late a ticker is while others hog the processors, or block their threads.

use peer_common::{LOAD, Options, Report, Ticks, calibrate, hog, milliseconds, threads};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A goroutine that wants to wake at fixed times.
struct Ticker {
    stop: Arc<AtomicBool>,
    task: gaggle::JoinHandle<Ticks>,
}

impl Ticker {
    fn start(period: Duration) -> Ticker {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = gaggle::go(move || {
            let mut ticks = Ticks::new(period);
            // Relaxed: it carries nothing but itself; the join publishes the result.
            while !stopped.load(Ordering::Relaxed) {
                sleep(ticks.planned().saturating_duration_since(Instant::now()));
                ticks.woke();
            }
            ticks
        });
        Ticker { stop, task }
    }

    fn finish(self) -> Ticks {
        // Relaxed: see the load in `start`.
        self.stop.store(true, Ordering::Relaxed);
        self.task.join().expect("no panic")
    }
}

/// N tasks of 100 ms of computing each, without a call, beside a ticker of 10 ms.
pub fn hogs(options: &Options) -> Option<Report> {
    options.default_only()?;
    let rounds = calibrate();
    let expected = hog(rounds);
    let ticker = Ticker::start(Duration::from_millis(10));
    sleep(Duration::from_millis(100));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..options.size())
        .map(|_| gaggle::go(move || hog(rounds)))
        .collect();
    for task in tasks {
        assert_eq!(task.join().expect("no panic"), expected);
    }
    let wall = begin.elapsed();
    let report = Report::new(wall).with("ms", milliseconds(wall));
    Some(ticker.finish().add_to(report))
}

/// N tasks that block for 100 ms in C's `nanosleep`, or in a system call that nobody can see, beside
/// a ticker of 1 ms.
pub fn blocking(options: &Options) -> Option<Report> {
    let block = match options.variant.as_str() {
        "default" => block_in_libc,
        "inline" => block_in_kernel,
        _ => return None,
    };
    let ticker = Ticker::start(Duration::from_millis(1));
    sleep(Duration::from_millis(50));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..options.size()).map(|_| gaggle::go(block)).collect();
    sleep(LOAD / 2);
    let alive = threads();
    for task in tasks {
        assert_eq!(task.join().expect("no panic"), 0, "the call succeeds");
    }
    let wall = begin.elapsed();
    let report = Report::new(wall)
        .with("ms", milliseconds(wall))
        .with("threads", alive as f64);
    Some(ticker.finish().add_to(report))
}

/// The load as the kernel takes it.
fn load() -> libc::timespec {
    libc::timespec {
        tv_sec: 0,
        tv_nsec: i64::from(LOAD.subsec_nanos()),
    }
}

fn block_in_libc() -> i64 {
    let time = load();
    // SAFETY: `time` is a valid timespec for the length of the call, and a null remainder asks for none.
    i64::from(unsafe { libc::nanosleep(&time, std::ptr::null_mut()) })
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn block_in_kernel() -> i64 {
    let time = load();
    let mut result = libc::SYS_nanosleep;
    // SAFETY: nanosleep reads the timespec in rdi, which outlives the call, and writes through rsi only
    // if it is not null, which it is. The kernel changes rax, rcx and r11 alone, all named here.
    unsafe {
        std::arch::asm!(
            "syscall",
            inout("rax") result,
            in("rdi") &raw const time,
            in("rsi") 0,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn block_in_kernel() -> i64 {
    block_in_libc()
}
