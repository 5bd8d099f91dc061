//! How many requests a server answered, and how long they took, by route.
//!
//! A time counts from the request's head to the end of its response. A route is what the program says it is,
//! never the path: paths are as many as clients please.

use http::{Response, StatusCode};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// The upper bounds of the latency histogram in microseconds; one more bucket holds what is slower.
const BOUNDS_MICROSECONDS: [u64; 18] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000,
];
const BUCKETS: usize = BOUNDS_MICROSECONDS.len() + 1;
/// The classes of status codes, and what never got one because the client had gone.
const CLASSES: [&str; 6] = ["aborted", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// Beyond so many routes all others are one.
const ROUTES_MAX: usize = 1_000;
const OTHERS: &str = "(others)";

/// The name under which a request is counted: put into a response's extensions by whoever routes.
///
/// # Examples
/// ```
/// use gaggle_http::Route;
/// use http::Response;
///
/// let mut response = Response::new("a user");
/// response.extensions_mut().insert(Route::new("/users/{id}"));
/// ```
/// For an axum router, as a layer around its routes:
/// ```
/// use axum::extract::{MatchedPath, Request};
/// use axum::middleware::Next;
/// use axum::response::Response;
/// use gaggle_http::Route;
///
/// async fn name_route(path: Option<MatchedPath>, request: Request, next: Next) -> Response {
///     let mut response = next.run(request).await;
///     if let Some(path) = path {
///         response.extensions_mut().insert(Route::new(path.as_str().to_owned()));
///     }
///     response
/// }
/// let router: axum::Router = axum::Router::new()
///     .route("/users/{id}", axum::routing::get(async || "a user"))
///     .route_layer(axum::middleware::from_fn(name_route));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route(Cow<'static, str>);

impl Route {
    /// A route of this name.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Route {
        Route(name.into())
    }
}

/// Counts and times; a clone is the same. One may serve several servers.
///
/// # Examples
/// ```
/// use gaggle_http::{Metrics, Server};
///
/// let metrics = Metrics::new();
/// let server = Server::builder().metrics(metrics.clone()).build();
/// // ... and where /metrics is answered:
/// let text = metrics.to_prometheus();
/// # assert!(text.contains("http_requests_in_flight 0"));
/// # drop(server);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    in_flight: AtomicU64,
    routes: RwLock<BTreeMap<Cow<'static, str>, Arc<Figures>>>,
}

#[derive(Debug, Default)]
struct Figures {
    by_class: [AtomicU64; CLASSES.len()],
    buckets: [AtomicU64; BUCKETS],
    sum_microseconds: AtomicU64,
}

/// What was measured of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteMetrics {
    /// Its name; empty for requests without one.
    pub route: String,
    /// How many requests ended, by the first digit of the status; 0: before there was one.
    pub by_class: [u64; 6],
    /// How many took at most as long as each of [`Metrics::bounds`], and longer than the one before; one
    /// more for those that took longer than all.
    pub buckets: Vec<u64>,
    /// How long all of them took together.
    pub sum: Duration,
}

impl RouteMetrics {
    /// How many requests ended.
    pub fn count(&self) -> u64 {
        self.by_class.iter().sum()
    }

    /// The bound below which the given share (0 to 1) of the requests took; `None`: there were none, or it
    /// lies beyond the last bound.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (share * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, bound) in self.buckets.iter().zip(Metrics::bounds()) {
            seen += bucket;
            if seen >= rank {
                return Some(bound);
            }
        }
        None
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// The upper bounds of the histograms' buckets, ascending.
    pub fn bounds() -> impl Iterator<Item = Duration> {
        BOUNDS_MICROSECONDS.into_iter().map(Duration::from_micros)
    }

    /// How many requests are being answered.
    pub fn in_flight(&self) -> u64 {
        // Relaxed: a figure to report.
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// What was measured so far, by route, in the order of their names.
    pub fn routes(&self) -> Vec<RouteMetrics> {
        let routes = self.0.routes.read().unwrap_or_else(PoisonError::into_inner);
        // Relaxed, for all: figures to report; those of one request may be seen in part.
        let load = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let of = |(route, figures): (&Cow<'static, str>, &Arc<Figures>)| RouteMetrics {
            route: route.to_string(),
            by_class: figures.by_class.each_ref().map(load),
            buckets: figures.buckets.iter().map(load).collect(),
            sum: Duration::from_micros(load(&figures.sum_microseconds)),
        };
        routes.iter().map(of).collect()
    }

    /// The same as text in the format of Prometheus.
    pub fn to_prometheus(&self) -> String {
        let mut text = String::from("# TYPE http_requests_in_flight gauge\n");
        // Writing to a string does not fail.
        let _ = writeln!(text, "http_requests_in_flight {}", self.in_flight());
        let routes = self.routes();
        text.push_str("# TYPE http_requests_total counter\n");
        for route in &routes {
            let name = escaped(&route.route);
            for (class, count) in CLASSES.iter().zip(route.by_class) {
                if count > 0 {
                    let labels = format!("route=\"{name}\",status=\"{class}\"");
                    let _ = writeln!(text, "http_requests_total{{{labels}}} {count}");
                }
            }
        }
        text.push_str("# TYPE http_request_duration_seconds histogram\n");
        for route in &routes {
            let name = escaped(&route.route);
            let mut seen = 0;
            for (bucket, bound) in route.buckets.iter().zip(Self::bounds()) {
                seen += bucket;
                let labels = format!("route=\"{name}\",le=\"{}\"", bound.as_secs_f64());
                let _ = writeln!(
                    text,
                    "http_request_duration_seconds_bucket{{{labels}}} {seen}"
                );
            }
            let (count, sum) = (route.count(), route.sum.as_secs_f64());
            let name_of = |what: &str| format!("http_request_duration_seconds_{what}");
            let _ = writeln!(
                text,
                "{}{{route=\"{name}\",le=\"+Inf\"}} {count}",
                name_of("bucket")
            );
            let _ = writeln!(text, "{}{{route=\"{name}\"}} {sum}", name_of("sum"));
            let _ = writeln!(text, "{}{{route=\"{name}\"}} {count}", name_of("count"));
        }
        text
    }

    fn figures(&self, route: Cow<'static, str>) -> Arc<Figures> {
        let routes = &self.0.routes;
        let known = routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(figures) = known.get(&route) {
            return Arc::clone(figures);
        }
        drop(known);
        let mut known = routes.write().unwrap_or_else(PoisonError::into_inner);
        let is_full = known.len() >= ROUTES_MAX && !known.contains_key(&route);
        let route = if is_full { OTHERS.into() } else { route };
        Arc::clone(known.entry(route).or_default())
    }
}

/// A label's value as Prometheus wants it.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// One request that is being measured; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Measured {
    metrics: Metrics,
    begun: Instant,
    status: Option<StatusCode>,
    route: Cow<'static, str>,
}

impl Measured {
    pub(crate) fn begin(metrics: &Metrics) -> Measured {
        // Relaxed: a figure to report.
        metrics.0.in_flight.fetch_add(1, Ordering::Relaxed);
        Measured {
            metrics: metrics.clone(),
            begun: Instant::now(),
            status: None,
            route: Cow::Borrowed(""),
        }
    }

    pub(crate) fn answered(&mut self, status: StatusCode, route: Option<Route>) {
        self.status = Some(status);
        if let Some(Route(name)) = route {
            self.route = name;
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let time = self.begun.elapsed().as_micros();
        let time = u64::try_from(time).unwrap_or(u64::MAX);
        let figures = self.metrics.figures(std::mem::take(&mut self.route));
        let class = self
            .status
            .map_or(0, |status| usize::from(status.as_u16() / 100));
        let class = class.min(CLASSES.len() - 1);
        let bucket = BOUNDS_MICROSECONDS.partition_point(|&bound| bound < time);
        // Relaxed, for all: figures to report.
        figures.by_class[class].fetch_add(1, Ordering::Relaxed);
        figures.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        figures.sum_microseconds.fetch_add(time, Ordering::Relaxed);
        self.metrics.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Names the route of a response, for blocking handlers that dispatch by themselves.
///
/// # Examples
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
///
/// fn route(request: &Request<Bytes>) -> Response<Bytes> {
///     match request.uri().path() {
///         "/health" => gaggle_http::named("/health", Response::new(Bytes::from_static(b"fine"))),
///         _ => gaggle_http::named("(unknown)", Response::new(Bytes::new())),
///     }
/// }
/// # assert_eq!(route(&Request::get("/health").body(Bytes::new()).unwrap()).body(), "fine");
/// ```
pub fn named<B>(route: impl Into<Cow<'static, str>>, mut response: Response<B>) -> Response<B> {
    response.extensions_mut().insert(Route::new(route));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(metrics: &Metrics, route: &'static str, status: u16) {
        let mut measured = Measured::begin(metrics);
        let status = StatusCode::from_u16(status).expect("a status");
        measured.answered(status, Some(Route::new(route)));
    }

    #[test]
    fn requests_are_counted_by_route_and_class() {
        let metrics = Metrics::new();
        for status in [200, 204, 404, 503] {
            end(&metrics, "/a", status);
        }
        drop(Measured::begin(&metrics));
        let routes = metrics.routes();
        assert_eq!(routes.len(), 2);
        assert_eq!(
            (routes[0].route.as_str(), routes[0].by_class),
            ("", [1, 0, 0, 0, 0, 0])
        );
        assert_eq!(
            (routes[1].route.as_str(), routes[1].by_class),
            ("/a", [0, 0, 2, 0, 1, 1])
        );
        assert_eq!(routes[1].buckets.iter().sum::<u64>(), 4);
        assert_eq!(metrics.in_flight(), 0);
    }

    #[test]
    fn quantile_is_the_bound_of_the_bucket_it_falls_into() {
        let mut route = RouteMetrics {
            route: String::new(),
            by_class: [0; 6],
            buckets: vec![0; BUCKETS],
            sum: Duration::ZERO,
        };
        assert_eq!(route.quantile(0.5), None);
        route.by_class[2] = 100;
        route.buckets[4] = 99;
        route.buckets[BUCKETS - 1] = 1;
        assert_eq!(route.quantile(0.5), Some(Duration::from_millis(1)));
        assert_eq!(route.quantile(0.99), Some(Duration::from_millis(1)));
        assert_eq!(route.quantile(1.0), None);
    }

    #[test]
    fn routes_beyond_the_limit_are_counted_together() {
        let metrics = Metrics::new();
        for number in 0..ROUTES_MAX + 10 {
            drop(metrics.figures(format!("/{number}").into()));
        }
        assert_eq!(metrics.routes().len(), ROUTES_MAX + 1);
    }

    #[test]
    fn names_are_escaped_in_the_text() {
        let metrics = Metrics::new();
        end(&metrics, "a\"b\\c", 200);
        let text = metrics.to_prometheus();
        assert!(
            text.contains(r#"http_requests_total{route="a\"b\\c",status="2xx"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"_bucket{route="a\"b\\c",le="+Inf"} 1"#),
            "{text}"
        );
    }
}
