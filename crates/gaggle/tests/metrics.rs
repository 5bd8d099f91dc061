//! The runtime's figures by name, on either backend.

use gaggle::runtime::{MetricKind, MetricValue, metric_descriptions, metrics};

fn number(name: &str) -> u64 {
    let all = metrics();
    let found = all.iter().find(|metric| metric.description.name == name);
    match found.unwrap_or_else(|| panic!("no metric {name}")).value {
        MetricValue::Uint64(number) => number,
        ref other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn every_metric_is_described_by_name_and_kind() {
    let descriptions = metric_descriptions();
    let names: Vec<&str> = descriptions.iter().map(|metric| metric.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    for (metric, description) in metrics().iter().zip(&descriptions) {
        assert_eq!(metric.description, *description);
        let kind = match metric.value {
            MetricValue::Uint64(_) => MetricKind::Uint64,
            _ => MetricKind::Histogram,
        };
        assert_eq!(kind, description.kind, "{}", description.name);
        assert!(description.name.contains(':'), "{}", description.name);
    }
}

#[test]
fn goroutines_are_counted_while_they_live_and_when_they_are_made() {
    let created = number("/sched/goroutines-created:goroutines");
    let parked: Vec<_> = (0..10).map(|_| gaggle::go(gaggle::park)).collect();
    assert!(number("/sched/goroutines:goroutines") >= 10);
    assert!(number("/sched/goroutines-created:goroutines") >= created + 10);
    assert!(number("/sched/gomaxprocs:threads") >= 1);
    assert!(number("/sched/threads/total:threads") >= 1);
    for goroutine in parked {
        goroutine.goroutine().unpark();
        goroutine.join().expect("no panic");
    }
}

#[test]
fn waits_for_a_processor_are_sampled_where_the_scheduler_is_ours() {
    let (there, back) = (
        gaggle::chan::unbuffered::<u32>(),
        gaggle::chan::unbuffered::<u32>(),
    );
    let (receiver, sender) = (there.1, back.0);
    let echo = gaggle::go(move || {
        for value in receiver.iter() {
            sender.send(value).expect("the other listens");
        }
    });
    let player = gaggle::go(move || {
        for value in 0..1000 {
            there.0.send(value).expect("the other listens");
            assert_eq!(back.1.recv(), Ok(value));
        }
    });
    player.join().expect("no panic");
    echo.join().expect("no panic");
    let all = metrics();
    let latencies = all
        .iter()
        .find(|metric| metric.description.name == "/sched/latencies:seconds")
        .expect("it is there");
    let MetricValue::Histogram(histogram) = &latencies.value else {
        panic!("it is a histogram");
    };
    let samples: u64 = histogram.counts.iter().sum();
    if gaggle::runtime::backend_name() == "green" {
        assert_eq!(histogram.bounds.len(), histogram.counts.len() + 1);
        assert!(samples >= 10, "{samples}");
    } else {
        assert!(histogram.counts.is_empty() && histogram.bounds.is_empty());
    }
}
