//! How late a ticker is while others hog the processors, or block their threads.

use crate::figures;
use crate::options::Options;
use crate::report::{Report, milliseconds};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long one hog computes, and how long one blocking call blocks.
const LOAD: Duration = Duration::from_millis(100);
/// Rounds of the first calibration.
const CALIBRATION_ROUNDS: u64 = 1_000_000;

/// A goroutine that wants to wake at fixed times.
struct Ticker {
    stop: Arc<AtomicBool>,
    task: gaggle::JoinHandle<Ticks>,
}

/// What became of its plan.
struct Ticks {
    /// For every planned tick, how long after it the ticker first woke.
    late: Vec<Duration>,
    woken: u64,
}

impl Ticker {
    fn start(period: Duration) -> Ticker {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = gaggle::go(move || {
            let mut ticks = Ticks {
                late: Vec::with_capacity(100_000),
                woken: 0,
            };
            let mut planned = Instant::now() + period;
            // Relaxed: it carries nothing but itself; the join publishes the result.
            while !stopped.load(Ordering::Relaxed) {
                sleep(planned.saturating_duration_since(Instant::now()));
                let now = Instant::now();
                ticks.woken += 1;
                while planned <= now {
                    ticks.late.push(now - planned);
                    planned += period;
                }
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

impl Ticks {
    fn add_to(mut self, report: Report) -> Report {
        self.late.sort();
        let at = |share: f64| {
            let last = self.late.len() - 1;
            self.late[(last as f64 * share).round() as usize].as_secs_f64() * 1e6
        };
        report
            .with("late_p50_us", at(0.5))
            .with("late_p99_us", at(0.99))
            .with("late_max_us", at(1.0))
            .with("ticks_planned", self.late.len() as f64)
            .with("ticks_woken", self.woken as f64)
    }
}

/// A loop without a call in it.
#[inline(never)]
fn hog(rounds: u64) -> u64 {
    let mut state = black_box(0x2545_F491_4F6C_DD1D_u64);
    for _ in 0..rounds {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}

/// How many rounds take one load when nothing else runs.
fn calibrate() -> u64 {
    // The first run warms the processor up; the best of the next is the least disturbed.
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let begin = Instant::now();
        black_box(hog(CALIBRATION_ROUNDS));
        best = best.min(begin.elapsed());
    }
    (CALIBRATION_ROUNDS as f64 * LOAD.as_secs_f64() / best.as_secs_f64()) as u64
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
    let threads = figures::threads();
    for task in tasks {
        assert_eq!(task.join().expect("no panic"), 0, "the call succeeds");
    }
    let wall = begin.elapsed();
    let report = Report::new(wall)
        .with("ms", milliseconds(wall))
        .with("threads", threads as f64);
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
