//! One run of a load: start the child and the receiver, publish, kill and start again, wait for the
//! last, measure.

use super::Failure;
use super::child::{ChildOptions, Server, Usage};
use super::events::Event;
use super::publisher::{PUBLISHERS, Publisher};
use super::receiver::{Manner, PATH, Receiver};
use super::tally::{Tally, percentile};
use crate::domain::signature::Secret;
use gaggle::context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const RETRY_BASE_MS: u64 = 100;
/// How long a slow receiver holds each request.
const HOLD: Duration = Duration::from_secs(5);
/// How often the progress is looked at.
const TICK: Duration = Duration::from_millis(20);
/// How often the child is asked for its metrics.
const MEASURE: Duration = Duration::from_millis(250);
/// After how long without an answer the missing events are asked after.
const STALL: Duration = Duration::from_secs(20);
/// After how long without an answer they are lost.
const GIVE_UP: Duration = Duration::from_secs(60);

/// What is to be run.
#[derive(Clone)]
pub(super) struct Plan {
    events: Arc<Vec<Event>>,
    manner: Manner,
    kill: bool,
}

impl Plan {
    pub(super) fn usual(events: Vec<Event>, kill: bool) -> Self {
        Self {
            events: Arc::new(events),
            manner: Manner::Usual,
            kill,
        }
    }

    /// One event for each of many slow receivers, and no kill: the point is all of them at once.
    pub(super) fn slow(events: Vec<Event>) -> Self {
        Self {
            events: Arc::new(events),
            manner: Manner::Slow(HOLD),
            kill: false,
        }
    }

    pub(super) fn without_kill(&self) -> Self {
        Self {
            kill: false,
            ..self.clone()
        }
    }
}

/// What came of a run.
pub(super) struct Outcome {
    pub(super) published: usize,
    pub(super) delivered: usize,
    pub(super) retried: u64,
    pub(super) dead: usize,
    pub(super) lost: usize,
    pub(super) out_of_order: u64,
    pub(super) bad_signatures: u64,
    pub(super) restarts: u32,
    pub(super) events_per_s: f64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) in_flight_peak: usize,
    pub(super) usage: Usage,
    pub(super) seconds: f64,
}

/// A run that is prepared: the child serves, the receiver listens.
pub(super) struct Load {
    plan: Plan,
    options: ChildOptions,
    database: PathBuf,
    server: Server,
    tally: Arc<Mutex<Tally>>,
    secrets: Vec<Secret>,
    receiver: SocketAddr,
    usage: Usage,
    restarts: u32,
    begun: Instant,
    progress: ProgressBar,
    /// The database's folder; it goes with this.
    _folder: tempfile::TempDir,
    _stop: gaggle::context::Cancel,
}

impl Load {
    /// Starts a child, under `backend` if it is to be another than this process's, and a receiver.
    pub(super) fn new(
        plan: &Plan,
        backend: Option<&'static str>,
        show: bool,
    ) -> Result<Self, Failure> {
        let begun = Instant::now();
        let folder = tempfile::Builder::new().prefix("courier-demo-").tempdir()?;
        let database = folder.path().join("courier.db");
        let options = ChildOptions {
            retry_base_ms: RETRY_BASE_MS,
            backend,
        };
        let server = Server::start(&database, ([127, 0, 0, 1], 0).into(), &options)?;
        let tally = Arc::new(Mutex::new(Tally::new(&plan.events)));
        let keys = plan.events.iter().map(|event| event.key + 1).max();
        let secrets: Vec<Secret> = std::iter::repeat_with(Secret::generate)
            .take(keys.unwrap_or(0))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let receiver = Receiver::new(&plan.events, secrets.clone(), plan.manner, tally.clone());
        let (context, stop) = context::background().with_cancel();
        drop(gaggle::go(move || {
            let server = gaggle_http::Server::builder().build();
            let served = server.serve(listener, &context, move |_, request| {
                receiver.answer(&request)
            });
            if let Err(error) = served {
                eprintln!("courier: the demo's receiver: {error}");
            }
        }));
        Ok(Self {
            progress: progress(plan.events.len(), backend, show),
            plan: plan.clone(),
            options,
            database,
            server,
            tally,
            secrets,
            receiver: address,
            usage: Usage::default(),
            restarts: 0,
            begun,
            _folder: folder,
            _stop: stop,
        })
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes everything and waits for the last webhook. Blocks this goroutine.
    pub(super) fn run(mut self) -> Result<Outcome, Failure> {
        self.progress.set_message("creating endpoints");
        let endpoints = Arc::new(self.create_endpoints()?);
        self.progress.set_message("publishing");
        let api = self.server.address;
        let publishing: Vec<_> = (0..PUBLISHERS)
            .map(|share| {
                let (events, tally) = (self.plan.events.clone(), self.tally.clone());
                let endpoints = endpoints.clone();
                gaggle::go(move || publish_share(api, share, &events, &endpoints, &tally))
            })
            .collect();
        let dead = self.watch(&publishing)?;
        let mut deliveries = Vec::new();
        for share in publishing {
            let share = share.join().map_err(|_| "a publisher panicked")?;
            deliveries.extend(share?);
        }
        let dead = match dead {
            Some(dead) => dead,
            None => self.dead(&deliveries)?,
        };
        let _ = self.server.measure(&mut self.usage);
        self.progress.finish_and_clear();
        Ok(self.outcome(dead))
    }

    fn create_endpoints(&self) -> Result<Vec<String>, Failure> {
        let count = self.secrets.len();
        let ids = Mutex::new(vec![String::new(); count]);
        let failure = Mutex::new(None);
        gaggle::scope(|scope| {
            for share in 0..PUBLISHERS.min(count) {
                let (ids, failure) = (&ids, &failure);
                scope.go(move || {
                    let publisher = Publisher::new(self.server.address);
                    for key in (share..count).step_by(PUBLISHERS) {
                        let url = format!("http://{}{PATH}{key}", self.receiver);
                        match publisher.create_endpoint(&url, &self.secrets[key]) {
                            Ok(id) => ids.lock().unwrap_or_else(PoisonError::into_inner)[key] = id,
                            Err(error) => {
                                *failure.lock().unwrap_or_else(PoisonError::into_inner) =
                                    Some(error);
                                return;
                            }
                        }
                    }
                });
            }
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(ids.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Watches until all that was published is delivered, or nothing has come for too long. Kills
    /// and restarts the child half-way, if that is the plan. `Some(0)`: all were delivered.
    fn watch(&mut self, publishing: &[Publishing]) -> Result<Option<usize>, Failure> {
        let total = self.plan.events.len();
        let mut measured = Instant::now();
        let mut progressed = (0, Instant::now());
        loop {
            std::thread::sleep(TICK);
            let (answered, accepted) = {
                let tally = self.tally();
                (tally.answered, tally.accepted)
            };
            self.progress.set_position(answered as u64);
            if self.plan.kill && self.restarts == 0 && answered >= total / 2 {
                self.restart()?;
                measured = Instant::now();
            }
            if measured.elapsed() >= MEASURE {
                measured = Instant::now();
                self.measure();
            }
            let published = publishing.iter().all(gaggle::JoinHandle::is_finished);
            if published && answered >= accepted {
                return Ok((answered >= total).then_some(0));
            }
            if progressed.0 != answered + accepted {
                progressed = (answered + accepted, Instant::now());
            }
            let stalled = progressed.1.elapsed();
            if stalled >= GIVE_UP || (published && stalled >= STALL) {
                return Ok(None);
            }
        }
    }

    fn measure(&mut self) {
        if self.server.measure(&mut self.usage).is_err() {
            return;
        }
        let Usage {
            goroutines,
            threads,
            resident_bytes,
            ..
        } = self.usage;
        self.progress.set_message(format!(
            "{goroutines} goroutines · {threads} OS threads · {} MB RSS",
            resident_bytes / 1_000_000
        ));
    }

    fn restart(&mut self) -> Result<(), Failure> {
        self.measure();
        self.progress.set_message("kill -9, and start again");
        let address = self.server.address;
        self.server.kill();
        self.server = Server::start(&self.database, address, &self.options)?;
        self.restarts += 1;
        Ok(())
    }

    /// How many of the missing events are dead letters: not delivered, and not silently.
    fn dead(&self, deliveries: &[(usize, String)]) -> Result<usize, Failure> {
        let mut dead = 0;
        for event in self.tally().missing() {
            if let Some((_, delivery)) = deliveries.iter().find(|(index, _)| *index == event) {
                dead += usize::from(self.server.state(delivery)? == "dead");
            }
        }
        Ok(dead)
    }

    fn outcome(&self, dead: usize) -> Outcome {
        let tally = self.tally();
        let latencies = tally.latencies();
        let seconds = tally.duration().as_secs_f64();
        Outcome {
            published: tally.accepted,
            delivered: tally.answered,
            retried: tally.arrivals.saturating_sub(tally.answered as u64),
            dead,
            lost: tally.missing().len().saturating_sub(dead),
            out_of_order: tally.out_of_order,
            bad_signatures: tally.bad_signatures,
            restarts: self.restarts,
            events_per_s: if seconds > 0.0 {
                tally.answered as f64 / seconds
            } else {
                0.0
            },
            p50: percentile(&latencies, 50),
            p99: percentile(&latencies, 99),
            in_flight_peak: tally.in_flight_peak,
            usage: self.usage,
            seconds: self.begun.elapsed().as_secs_f64(),
        }
    }
}

type Publishing = gaggle::JoinHandle<Result<Vec<(usize, String)>, Failure>>;

/// Publishes the events of the customers of one share, in order; answers their deliveries.
fn publish_share(
    api: SocketAddr,
    share: usize,
    events: &[Event],
    endpoints: &[String],
    tally: &Mutex<Tally>,
) -> Result<Vec<(usize, String)>, Failure> {
    let publisher = Publisher::new(api);
    let mut deliveries = Vec::new();
    for (index, event) in events.iter().enumerate() {
        if event.key % PUBLISHERS == share {
            let endpoint = &endpoints[event.key];
            let delivery = publisher.publish(event, endpoint, tally, index)?;
            deliveries.push((index, delivery));
        }
    }
    Ok(deliveries)
}

fn progress(total: usize, backend: Option<&str>, show: bool) -> ProgressBar {
    let progress = ProgressBar::with_draw_target(
        Some(total as u64),
        if show {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        },
    );
    let name = match backend {
        Some(backend) => format!("on {backend}"),
        None => "delivering".to_owned(),
    };
    let template = "{prefix:>10} [{bar:30}] {pos}/{len}  {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        progress.set_style(style.progress_chars("=> "));
    }
    progress.with_prefix(name)
}
