//! Supervision: who is started again, when no more, and with which state.

use gaggle::actor::{
    Actor, AskError, Backoff, BoxError, Child, FileStore, Own, Reply, Restart, Store, Strategy,
    Supervisor, SupervisorBuilder,
};
use gaggle::chan::{Receiver, Sender, bounded, unbuffered};
use gaggle::context::{self, Context};
use gaggle::testing::leak_check;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// So long that the number of restarts within it does not depend on the machine.
const HOUR: Duration = Duration::from_secs(3600);

fn builder(strategy: Strategy) -> SupervisorBuilder {
    Supervisor::builder(strategy)
        .backoff(Backoff::none())
        .max_restarts(100, HOUR)
}

fn start(strategy: Strategy) -> Supervisor {
    builder(strategy).start(&context::background())
}

/// A child that reports when it begins and ends, and fails when it is told to.
struct Reporter {
    name: &'static str,
    events: Sender<String>,
    orders: Receiver<&'static str>,
}

impl Reporter {
    fn run(&self, context: &Context) -> Result<(), BoxError> {
        self.events.send(format!("{} begins", self.name))?;
        let result = gaggle::select! {
            recv(self.orders) -> order => match order? {
                "fail" => Err("as it should".into()),
                "panic" => panic!("as it should"),
                _ => Ok(()),
            },
            done(context) => {
                self.events.send(format!("{} is stopped", self.name))?;
                Ok(())
            }
        };
        result
    }
}

struct Three {
    supervisor: Supervisor,
    events: Receiver<String>,
    orders: Vec<Sender<&'static str>>,
}

/// Three children, a, b and c, that run.
fn three(strategy: Strategy, restart: Restart) -> Three {
    let supervisor = start(strategy);
    let (report, events) = bounded(100);
    let mut orders = Vec::new();
    for name in ["a", "b", "c"] {
        let (order, received) = unbuffered();
        orders.push(order);
        let reporter = Reporter {
            name,
            events: report.clone(),
            orders: received,
        };
        supervisor.go(Child::new(name).restart(restart), move |context| {
            reporter.run(context)
        });
        assert_eq!(events.recv().expect("it begins"), format!("{name} begins"));
    }
    Three {
        supervisor,
        events,
        orders,
    }
}

impl Three {
    fn next(&self, count: usize) -> Vec<String> {
        self.events.iter().take(count).collect()
    }

    /// Shuts down; answers what happened since the last look.
    fn end(self) -> Vec<String> {
        self.supervisor.shutdown().expect("it did not give up");
        self.events.try_iter().collect()
    }
}

const STOPPED: [&str; 3] = ["c is stopped", "b is stopped", "a is stopped"];

#[gaggle::test]
fn one_for_one_starts_again_the_one_that_failed() {
    let three = three(Strategy::OneForOne, Restart::OnFailure);
    for order in ["fail", "panic"] {
        three.orders[1].send(order).expect("it runs");
        assert_eq!(three.next(1), ["b begins"]);
    }
    assert_eq!(three.end(), STOPPED);
}

#[gaggle::test]
fn rest_for_one_starts_again_those_after_it_too() {
    let three = three(Strategy::RestForOne, Restart::OnFailure);
    three.orders[1].send("fail").expect("it runs");
    let mut events = three.next(3);
    // They begin in their order, each in a goroutine of its own.
    events[1..].sort();
    assert_eq!(events, ["c is stopped", "b begins", "c begins"]);
    assert_eq!(three.end(), STOPPED);
}

#[gaggle::test]
fn one_for_all_starts_all_again() {
    let three = three(Strategy::OneForAll, Restart::OnFailure);
    three.orders[1].send("panic").expect("it runs");
    let mut events = three.next(5);
    // They begin in their order, each in a goroutine of its own.
    events[2..].sort();
    let expected = [
        "c is stopped",
        "a is stopped",
        "a begins",
        "b begins",
        "c begins",
    ];
    assert_eq!(events, expected);
    assert_eq!(three.end(), STOPPED);
}

#[gaggle::test]
fn child_that_ends_well_is_started_again_only_if_always() {
    let well = three(Strategy::OneForAll, Restart::OnFailure);
    well.orders[1].send("end").expect("it runs");
    assert_eq!(well.end(), ["c is stopped", "a is stopped"]);

    let always = three(Strategy::OneForOne, Restart::Always);
    always.orders[1].send("end").expect("it runs");
    assert_eq!(always.next(1), ["b begins"]);
    assert_eq!(always.end(), STOPPED);
}

#[gaggle::test]
fn child_that_is_never_to_be_started_again_is_not() {
    let three = three(Strategy::OneForAll, Restart::Never);
    three.orders[1].send("fail").expect("it runs");
    assert_eq!(three.end(), ["c is stopped", "a is stopped"]);
}

#[gaggle::test]
fn too_many_restarts_end_the_supervisor_and_its_children() {
    let begun = Arc::new(AtomicUsize::new(0));
    let told = Arc::new(Mutex::new(Vec::new()));
    let (count, observed) = (Arc::clone(&begun), Arc::clone(&told));
    let supervisor = builder(Strategy::OneForOne)
        .max_restarts(3, HOUR)
        .on_failure(move |failure| {
            let line = format!("{}: {}", failure.child, failure.cause);
            let is_last = failure.restart_in.is_none();
            observed.lock().expect("no panic").push((line, is_last));
        })
        .start(&context::background());
    let (report, stopped) = bounded(1);
    supervisor.go(Child::new("calm"), move |context| {
        let _ = context.done().recv();
        report.send("calm is stopped").map_err(Into::into)
    });
    supervisor.go(Child::new("wild"), move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Err("again".into())
    });
    let gave_up = supervisor.join().expect_err("it gives up");
    assert_eq!(gave_up.child(), "wild");
    assert_eq!(gave_up.cause().to_string(), "again");
    assert_eq!(
        begun.load(Ordering::SeqCst),
        4,
        "once, and three times again"
    );
    assert_eq!(stopped.recv(), Ok("calm is stopped"));
    let line = "wild: again".to_owned();
    let expected = [false, false, false, true].map(|is_last| (line.clone(), is_last));
    assert_eq!(*told.lock().expect("no panic"), expected);
}

#[gaggle::test]
fn restarts_that_lie_back_further_than_the_window_are_forgotten() {
    let (report, begun) = unbuffered();
    let supervisor = builder(Strategy::OneForOne)
        .max_restarts(1, Duration::from_nanos(1))
        .start(&context::background());
    supervisor.go(Child::new("slow"), move |_| {
        report.send(())?;
        gaggle::time::sleep(Duration::from_millis(1));
        Err("again".into())
    });
    for _ in 0..10 {
        begun.recv().expect("it is started again");
    }
    drop(begun); // Its own failures, from here on, are not what this is about.
    let _ = supervisor.shutdown();
}

#[gaggle::test]
fn end_of_the_context_ends_the_supervisor() {
    let (context, cancel) = context::background().with_cancel();
    let supervisor = builder(Strategy::OneForOne).start(&context);
    let (report, events) = bounded(2);
    supervisor.go(Child::new("child"), move |context| {
        report.send("begins")?;
        let _ = context.done().recv();
        report.send("is stopped").map_err(Into::into)
    });
    assert_eq!(events.recv(), Ok("begins"));
    cancel.cancel();
    supervisor.join().expect("it did not give up");
    assert_eq!(events.try_recv(), Ok("is stopped"));
}

#[gaggle::test]
fn join_under_a_context_that_ends_stops_the_children() {
    let supervisor = start(Strategy::OneForOne);
    let (report, events) = bounded(2);
    supervisor.go(Child::new("child"), move |context| {
        report.send("begins")?;
        let _ = context.done().recv();
        report.send("is stopped").map_err(Into::into)
    });
    assert_eq!(events.recv(), Ok("begins"));
    let (context, _cancel) = context::background().with_timeout(Duration::from_millis(1));
    let ended = context.run(|| supervisor.join());
    ended.expect("it did not give up");
    assert_eq!(events.try_recv(), Ok("is stopped"));
}

#[gaggle::test]
fn dropped_supervisor_leaves_no_goroutine() {
    leak_check(|| {
        let supervisor = start(Strategy::OneForAll);
        let (report, events) = bounded(1);
        supervisor.go(Child::new("child"), move |context| {
            report.send("begins")?;
            let _ = context.done().recv();
            Ok(())
        });
        assert_eq!(events.recv(), Ok("begins"));
        drop(supervisor);
    });
}

#[gaggle::test]
fn end_that_comes_during_a_wait_for_a_restart_is_not_held_up() {
    let (report, failed) = bounded(1);
    let supervisor = Supervisor::builder(Strategy::OneForOne)
        .backoff(Backoff::exponential(HOUR, HOUR))
        .on_failure(move |failure| {
            let wait = failure.restart_in.expect("it is started again");
            assert!(wait >= HOUR / 2 && wait <= HOUR, "{wait:?}");
            report.send(()).expect("somebody waits");
        })
        .start(&context::background());
    supervisor.go(Child::new("child"), |_| Err("as it should".into()));
    failed.recv().expect("it fails");
    supervisor.shutdown().expect("it did not give up");
}

#[gaggle::test]
fn supervisors_nest() {
    let outer = start(Strategy::OneForOne);
    let inner_runs = Arc::new(AtomicUsize::new(0));
    let leaf_runs = Arc::new(AtomicUsize::new(0));
    let (calm, calmed) = bounded(1);
    let (inner_count, leaf_count) = (Arc::clone(&inner_runs), Arc::clone(&leaf_runs));
    outer.go(Child::new("inner"), move |context| {
        inner_count.fetch_add(1, Ordering::SeqCst);
        let inner = builder(Strategy::OneForOne)
            .max_restarts(1, HOUR)
            .start(context);
        let (leaf_count, calm) = (Arc::clone(&leaf_count), calm.clone());
        inner.go(Child::new("leaf"), move |context| {
            if leaf_count.fetch_add(1, Ordering::SeqCst) < 3 {
                return Err("wild".into());
            }
            calm.send(())?;
            let _ = context.done().recv();
            Ok(())
        });
        Ok(inner.join()?)
    });
    calmed.recv().expect("the leaf calms down");
    // Two failures were too many for the first inner supervisor.
    assert_eq!(inner_runs.load(Ordering::SeqCst), 2);
    assert_eq!(leaf_runs.load(Ordering::SeqCst), 4);
    outer.shutdown().expect("it did not give up");
}

/// Counts what it is told, and stores the count before it answers.
struct Ledger<S: Store> {
    count: u64,
    store: Arc<S>,
}

enum Entry {
    Add(Reply<u64>),
    Crash(Reply<u64>),
}

impl<S: Store> Ledger<S> {
    fn restore(store: Arc<S>) -> Result<Self, BoxError> {
        let count = match store.load()? {
            Some(bytes) => u64::from_le_bytes(bytes.as_slice().try_into()?),
            None => 0,
        };
        Ok(Ledger { count, store })
    }
}

impl<S: Store + 'static> Actor for Ledger<S> {
    type Message = Entry;
    fn handle(&mut self, entry: Entry, _: &Own) -> Result<(), BoxError> {
        match entry {
            Entry::Add(reply) => {
                self.count += 1;
                self.store.save(&self.count.to_le_bytes())?;
                reply.send(self.count);
            }
            Entry::Crash(_reply) => {
                self.count += 1000; // and nobody will ever know
                panic!("as it should");
            }
        }
        Ok(())
    }
}

#[gaggle::test]
fn actor_goes_on_with_what_it_stored_and_its_mailbox() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(FileStore::new(folder.path().join("ledger")));
    let supervisor = start(Strategy::OneForOne);
    let restored = Arc::clone(&store);
    let ledger = supervisor.actor(Child::new("ledger").mailbox(8), move || {
        Ledger::restore(Arc::clone(&restored))
    });
    assert_eq!(ledger.ask(Entry::Add), Ok(1));
    assert_eq!(ledger.ask(Entry::Add), Ok(2));
    assert_eq!(ledger.ask(Entry::Crash), Err(AskError::NoReply));
    assert_eq!(ledger.ask(Entry::Add), Ok(3), "what was not stored is gone");
    supervisor.shutdown().expect("it did not give up");
    assert_eq!(ledger.ask(Entry::Add), Err(AskError::Closed));

    // As after a restart of the process.
    let supervisor = start(Strategy::OneForOne);
    let ledger = supervisor.actor(Child::new("ledger"), move || {
        Ledger::restore(Arc::clone(&store))
    });
    assert_eq!(ledger.ask(Entry::Add), Ok(4));
    supervisor.shutdown().expect("it did not give up");
}

/// A store that holds something that no ledger wrote.
struct Broken;

impl Store for Broken {
    fn load(&self) -> std::io::Result<Option<Vec<u8>>> {
        Ok(Some(vec![1]))
    }
    fn save(&self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}

#[gaggle::test]
fn state_that_cannot_be_restored_is_a_failure_and_closes_the_mailbox_at_last() {
    let supervisor = builder(Strategy::OneForOne)
        .max_restarts(2, HOUR)
        .start(&context::background());
    let ledger = supervisor.actor(Child::new("ledger"), || Ledger::restore(Arc::new(Broken)));
    let asked = ledger.ask(Entry::Add);
    assert!(matches!(asked, Err(AskError::Closed | AskError::NoReply)));
    let gave_up = supervisor.join().expect_err("it gives up");
    assert_eq!(gave_up.child(), "ledger");
    assert!(ledger.is_closed());
}

#[gaggle::test]
fn closed_actor_is_not_started_again() {
    let supervisor = start(Strategy::OneForAll);
    let starts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&starts);
    let ledger = supervisor.actor(Child::new("ledger").restart(Restart::Always), move || {
        count.fetch_add(1, Ordering::SeqCst);
        let folder = std::env::temp_dir();
        Ledger::restore(Arc::new(FileStore::new(folder.join("gaggle-no-such-file"))))
    });
    assert!(matches!(ledger.ask(Entry::Crash), Err(AskError::NoReply)));
    ledger.close();
    assert_eq!(ledger.ask(Entry::Add), Err(AskError::Closed));
    supervisor.shutdown().expect("it did not give up");
    assert!(starts.load(Ordering::SeqCst) <= 2);
}
