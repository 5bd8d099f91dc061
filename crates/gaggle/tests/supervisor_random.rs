//! Supervisors under failures by chance: each failure restarts exactly those that the strategy names, no
//! child ever runs twice at once, and none is left.
//!
//! A failure names its seed; `GAGGLE_TEST_SEED` runs that one alone.

mod support;

use gaggle::actor::{Backoff, BoxError, Child, Restart, Strategy, Supervisor};
use gaggle::chan::{Receiver, Sender, unbuffered};
use gaggle::context::{self, Context};
use gaggle::testing::LeakCheck;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const SEEDS: u64 = 20;
const STEPS: u64 = 30;

/// Numbers from a seed. Source: Vigna's `splitmix64`.
struct Chance(u64);

impl Chance {
    /// Below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Fail,
    Panic,
    End,
}

/// What a child and the test both see.
#[derive(Default)]
struct Seen {
    is_running: AtomicBool,
    runs: AtomicU64,
}

fn run(seen: &Seen, orders: &Receiver<Order>, context: &Context) -> Result<(), BoxError> {
    struct Running<'a>(&'a Seen);
    impl Drop for Running<'_> {
        fn drop(&mut self) {
            self.0.is_running.store(false, Ordering::SeqCst);
        }
    }
    let was_running = seen.is_running.swap(true, Ordering::SeqCst);
    if was_running {
        eprintln!("a child runs twice at once");
        std::process::abort(); // a panic would only start it again
    }
    let _running = Running(seen);
    seen.runs.fetch_add(1, Ordering::SeqCst);
    gaggle::select! {
        recv(orders) -> order => match order? {
            Order::Fail => Err("as it should".into()),
            Order::Panic => panic!("as it should"),
            Order::End => Ok(()),
        },
        done(context) => Ok(()),
    }
}

struct Model {
    seen: Arc<Seen>,
    orders: Sender<Order>,
    restart: Restart,
    /// How often it has been started; `None`: it is not started any more.
    runs: Option<u64>,
}

impl Model {
    fn start(supervisor: &Supervisor, restart: Restart) -> Self {
        let (orders, received) = unbuffered();
        let seen = Arc::new(Seen::default());
        let own = Arc::clone(&seen);
        supervisor.go(Child::new("child").restart(restart), move |context| {
            run(&own, &received, context)
        });
        Model {
            seen,
            orders,
            restart,
            runs: Some(1),
        }
    }

    /// The child at which the order went has ended so.
    fn ends(&mut self, order: Order) -> bool {
        let is_failure = matches!(order, Order::Fail | Order::Panic);
        let again = match self.restart {
            Restart::Always => true,
            Restart::OnFailure => is_failure,
            Restart::Never => false,
        };
        self.runs = self.runs.filter(|_| again).map(|runs| runs + 1);
        again
    }

    /// It was stopped because another failed.
    fn is_stopped(&mut self) {
        let again = self.restart != Restart::Never;
        self.runs = self.runs.filter(|_| again).map(|runs| runs + 1);
    }

    /// Waits until it is as it should be.
    fn settle(&self) -> Result<(), String> {
        match self.runs {
            Some(expected) => loop {
                let runs = self.seen.runs.load(Ordering::SeqCst);
                if runs > expected {
                    return Err(format!("started {runs} times instead of {expected}"));
                }
                if runs == expected && self.seen.is_running.load(Ordering::SeqCst) {
                    return Ok(());
                }
                gaggle::yield_now();
            },
            None => {
                while self.seen.is_running.load(Ordering::SeqCst) || !self.orders.is_closed() {
                    gaggle::yield_now();
                }
                Ok(())
            }
        }
    }
}

fn play(supervisor: &Supervisor, strategy: Strategy, chance: &mut Chance) -> Result<(), String> {
    let mut children = Vec::new();
    for _ in 0..2 + chance.below(4) {
        let restart = match chance.below(5) {
            0 => Restart::Always,
            1 => Restart::Never,
            _ => Restart::OnFailure,
        };
        children.push(Model::start(supervisor, restart));
    }
    for step in 0..STEPS {
        for (index, child) in children.iter().enumerate() {
            let settled = child.settle();
            settled.map_err(|what| format!("step {step}, {strategy:?}, child {index}: {what}"))?;
        }
        let living = (0..children.len()).filter(|index| children[*index].runs.is_some());
        let living: Vec<usize> = living.collect();
        if living.is_empty() {
            return Ok(());
        }
        let chosen = living[chance.below(living.len() as u64) as usize];
        let order = match chance.below(8) {
            0 => Order::End,
            1..4 => Order::Panic,
            _ => Order::Fail,
        };
        children[chosen]
            .orders
            .send(order)
            .map_err(|_| format!("step {step}: it does not run"))?;
        if !children[chosen].ends(order) {
            continue;
        }
        let affected = match strategy {
            Strategy::OneForOne => chosen..chosen,
            Strategy::RestForOne => chosen + 1..children.len(),
            Strategy::OneForAll => 0..children.len(),
        };
        for index in affected.filter(|index| *index != chosen) {
            children[index].is_stopped();
        }
    }
    Ok(())
}

fn run_seed(seed: u64) -> Result<(), String> {
    let mut chance = Chance(seed);
    let strategies = [
        Strategy::OneForOne,
        Strategy::RestForOne,
        Strategy::OneForAll,
    ];
    let strategy = strategies[chance.below(3) as usize];
    let (result, leaks) = LeakCheck::new().run(|| {
        let supervisor = Supervisor::builder(strategy)
            .backoff(Backoff::none())
            .max_restarts(usize::MAX, Duration::from_secs(3600))
            .start(&context::background());
        let result = play(&supervisor, strategy, &mut chance);
        supervisor.shutdown().expect("it never gives up");
        result
    });
    result?;
    if leaks.is_empty() {
        Ok(())
    } else {
        Err(leaks.to_string())
    }
}

#[test]
fn each_failure_restarts_exactly_those_that_the_strategy_names() {
    support::random::with_seeds(SEEDS, run_seed);
}
