//! Timers by the million.

use crate::Running;
use peer_common::{Lateness, Options, Report, cpu_time, rss_bytes};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::time::{Sleep, sleep, sleep_until};

/// When the timers that are stopped would be due.
const FAR: Duration = Duration::from_secs(3600);
/// When the first timer that fires is due, and over which time they are spread.
const LEAD: Duration = Duration::from_secs(2);
const SPREAD: Duration = Duration::from_secs(1);

/// Arms N timers an hour ahead, each a boxed `Sleep` that was polled once, then drops them all.
pub fn stop(options: Options) -> Option<Running> {
    options.default_only()?;
    Some(Box::pin(async move {
        let count = options.size();
        let mut timers: Vec<Pin<Box<Sleep>>> = Vec::with_capacity(count as usize);
        let before = rss_bytes();
        let begin = Instant::now();
        for index in 0..count {
            let mut timer = Box::pin(sleep(FAR + Duration::from_micros(index)));
            let armed = poll_fn(|context| Poll::Ready(timer.as_mut().poll(context).is_pending()));
            assert!(armed.await, "it is an hour ahead");
            timers.push(timer);
        }
        let created = begin.elapsed();
        let bytes = rss_bytes().saturating_sub(before);
        let begin_stop = Instant::now();
        let mut stopped = 0;
        for timer in timers {
            stopped += u64::from(!timer.is_elapsed());
        }
        let stop = begin_stop.elapsed();
        assert_eq!(stopped, count, "no timer fired");
        let each = |time: Duration| time.as_secs_f64() * 1e9 / count as f64;
        Report::of_operations(count, created + stop)
            .with("create_ns", each(created))
            .with("stop_ns", each(stop))
            .with("rss_bytes_per_unit", bytes as f64 / count as f64)
    }))
}

/// N sleeping tasks, all due within one second.
pub fn fire(options: Options) -> Option<Running> {
    options.default_only()?;
    Some(Box::pin(async move {
        let count = options.size();
        let late = Lateness::leaked();
        let cpu = cpu_time();
        let begin = Instant::now();
        for index in 0..count {
            let due = begin + LEAD + SPREAD.mul_f64(index as f64 / count as f64);
            tokio::spawn(async move {
                sleep_until(due.into()).await;
                late.note(due.elapsed());
            });
        }
        while late.count() < count {
            sleep(Duration::from_millis(10)).await;
        }
        let (wall, cpu) = (begin.elapsed(), cpu_time() - cpu);
        let report = Report::new(wall).with("ns_per_op", cpu.as_secs_f64() * 1e9 / count as f64);
        late.add_to(report)
    }))
}
