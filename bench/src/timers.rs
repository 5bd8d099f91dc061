//! Timers by the million.

use peer_common::{Lateness, Options, Report, cpu_time, rss_bytes};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// When the timers that are stopped would be due.
const FAR: Duration = Duration::from_secs(3600);
/// When the first timer that fires is due, and over which time they are spread.
const LEAD: Duration = Duration::from_secs(2);
const SPREAD: Duration = Duration::from_secs(1);

/// Arms N timers an hour ahead, then stops them all: functions to be run, or by the variant `newtimer`
/// timers to receive from.
pub fn stop(options: &Options) -> Option<Report> {
    let delay = |index: u64| FAR + Duration::from_micros(index);
    match options.variant.as_str() {
        "default" => Some(arm_and_stop(
            options.size(),
            |index| gaggle::time::after_func(delay(index), || unreachable!("it is stopped before")),
            gaggle::time::AfterFunc::stop,
        )),
        "newtimer" => Some(arm_and_stop(
            options.size(),
            |index| gaggle::time::Timer::new(delay(index)),
            gaggle::time::Timer::stop,
        )),
        _ => None,
    }
}

fn arm_and_stop<T>(count: u64, arm: impl Fn(u64) -> T, stop: fn(&T) -> bool) -> Report {
    let before = rss_bytes();
    let begin = Instant::now();
    let timers: Vec<T> = (0..count).map(arm).collect();
    let created = begin.elapsed();
    let bytes = rss_bytes().saturating_sub(before);
    let begin_stop = Instant::now();
    let stopped: u64 = timers.iter().map(|timer| u64::from(stop(timer))).sum();
    let stop = begin_stop.elapsed();
    assert_eq!(stopped, count, "no timer fired");
    let each = |time: Duration| time.as_secs_f64() * 1e9 / count as f64;
    Report::of_operations(count, created + stop)
        .with("create_ns", each(created))
        .with("stop_ns", each(stop))
        .with("rss_bytes_per_unit", bytes as f64 / count as f64)
}

/// N sleeping tasks, or by the variant `after_func` N timers, all due within one second.
pub fn fire(options: &Options) -> Option<Report> {
    let by_timer = match options.variant.as_str() {
        "default" => false,
        "after_func" => true,
        _ => return None,
    };
    let count = options.size();
    let late = Lateness::leaked();
    let cpu = cpu_time();
    let begin = Instant::now();
    let step = |index: u64| SPREAD.mul_f64(index as f64 / count as f64);
    let mut timers = Vec::new();
    for index in 0..count {
        let due = begin + LEAD + step(index);
        if by_timer {
            let delay = due.saturating_duration_since(Instant::now());
            timers.push(gaggle::time::after_func(delay, move || {
                late.note(due.elapsed())
            }));
        } else {
            drop(gaggle::go(move || {
                sleep(due.saturating_duration_since(Instant::now()));
                late.note(due.elapsed());
            }));
        }
    }
    while late.count() < count {
        sleep(Duration::from_millis(10));
    }
    let (wall, cpu) = (begin.elapsed(), cpu_time() - cpu);
    drop(timers);
    let each = cpu.as_secs_f64() * 1e9 / count as f64;
    Some(late.add_to(Report::new(wall).with("ns_per_op", each)))
}
