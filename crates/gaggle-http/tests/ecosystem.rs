//! What others made for hyper and `tower` runs as it is: axum, tower-http's layers, tonic.

mod common;

use axum::extract::{Json, MatchedPath, Path, State};
use axum::middleware::{self, Next};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use common::Running;
use gaggle::context::Context;
use gaggle_http::{Metrics, Route, Server, ServerBuilder};
use http::Response;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::trace::TraceLayer;

fn start(builder: ServerBuilder, router: Router) -> Running {
    Running::start(move |listener, context| {
        builder.build().serve_service(listener, context, router)
    })
}

#[test]
fn axum_router_runs_with_handlers_that_block() {
    let hits = Arc::new(Mutex::new(0));
    let router = Router::new()
        .route(
            "/users/{id}",
            get(
                async |Path(id): Path<u32>, State(hits): State<Arc<Mutex<u32>>>| {
                    // As blocking code does: asleep, and then a lock held.
                    std::thread::sleep(Duration::from_millis(1));
                    *hits.lock().expect("no panic") += 1;
                    format!("user {id}")
                },
            ),
        )
        .route(
            "/sum",
            post(async |Json(numbers): Json<Vec<i64>>| Json(numbers.iter().sum::<i64>())),
        )
        .route(
            "/peer",
            get(async |Extension(context): Extension<Context>| {
                format!("{}", context.err().is_none())
            }),
        )
        .with_state(Arc::clone(&hits));
    let server = start(Server::builder(), router);
    let mut client = server.connect();
    for id in 0..10 {
        assert_eq!(
            client.get(&format!("/users/{id}")).body,
            format!("user {id}")
        );
    }
    client.send(
        "POST /sum HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Content-Length: 7\r\n\r\n[1,2,3]",
    );
    assert_eq!(client.answer().body, "6");
    assert_eq!(client.get("/peer").body, "true");
    assert_eq!(client.get("/none").status, 404);
    assert_eq!(client.get("/users/x").status, 400);
    server.stop();
    assert_eq!(*hits.lock().expect("no panic"), 10);
}

#[test]
fn axum_routes_are_measured_by_their_names() {
    async fn name_route(
        path: Option<MatchedPath>,
        request: axum::extract::Request,
        next: Next,
    ) -> axum::response::Response {
        let mut response = next.run(request).await;
        if let Some(path) = path {
            let route = Route::new(path.as_str().to_owned());
            response.extensions_mut().insert(route);
        }
        response
    }
    let router = Router::new()
        .route("/users/{id}", get(async || "a user"))
        .route_layer(middleware::from_fn(name_route));
    let metrics = Metrics::new();
    let server = start(Server::builder().metrics(metrics.clone()), router);
    let mut client = server.connect();
    for path in ["/users/1", "/users/2", "/none"] {
        client.get(path);
    }
    server.stop();
    let counts: Vec<_> = metrics
        .routes()
        .iter()
        .map(|route| (route.route.clone(), route.count()))
        .collect();
    assert_eq!(counts, [(String::new(), 1), ("/users/{id}".to_owned(), 2)]);
}

#[test]
fn layers_of_tower_http_do_their_work() {
    let traced = Arc::new(AtomicUsize::new(0));
    let of_layer = Arc::clone(&traced);
    let router = Router::new()
        .route(
            "/",
            get(async || "a text that is long enough to compress ".repeat(100)),
        )
        .layer(CompressionLayer::new())
        .layer(CorsLayer::new().allow_origin(Any).allow_methods(Any))
        .layer(TraceLayer::new_for_http().on_response(
            move |_: &Response<_>, _: Duration, _: &tracing::Span| {
                of_layer.fetch_add(1, Ordering::Relaxed);
            },
        ));
    let server = start(Server::builder(), router);
    let mut client = server.connect();
    let plain = client.get("/");
    assert_eq!(plain.body.len(), 3900);
    assert_eq!(plain.header("access-control-allow-origin"), Some("*"));
    client.send(
        "OPTIONS / HTTP/1.1\r\nHost: test\r\nOrigin: http://elsewhere\r\n\
         Access-Control-Request-Method: GET\r\n\r\n",
    );
    let preflight = client.answer();
    assert_eq!(preflight.status, 200);
    assert_eq!(preflight.header("access-control-allow-methods"), Some("*"));
    client
        .send("GET / HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n");
    let (head, body) = client.head_and_rest();
    assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
    assert!(
        body.len() < 1000 && !body.is_empty(),
        "{} bytes",
        body.len()
    );
    server.stop();
    assert_eq!(traced.load(Ordering::Relaxed), 3);
}

#[test]
fn tonic_service_answers_calls_and_streams() {
    // The reporter waits for nothing but its lock.
    let (reporter, service) = tonic_health::server::health_reporter();
    gaggle::block_on(reporter.set_service_status("flock", ServingStatus::Serving));
    let server = Running::start(move |listener, context| {
        Server::default().serve_service(listener, context, service)
    });
    let url = format!("http://{}", server.address);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let channel = tonic::transport::Endpoint::from_shared(url)
            .expect("an address")
            .connect()
            .await
            .expect("the server listens");
        let mut client = HealthClient::new(channel);
        let request = |service: &str| HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = client.check(request("flock")).await.expect("an answer");
        assert_eq!(answer.into_inner().status, ServingStatus::Serving as i32);
        let refused = client.check(request("unknown")).await.expect_err("unknown");
        assert_eq!(refused.code(), tonic::Code::NotFound);
        let stream = client.watch(request("flock")).await.expect("a stream");
        let mut stream = stream.into_inner();
        let first = stream.message().await.expect("no failure").expect("one");
        assert_eq!(first.status, ServingStatus::Serving as i32);
        reporter
            .set_service_status("flock", ServingStatus::NotServing)
            .await;
        let second = stream.message().await.expect("no failure").expect("one");
        assert_eq!(second.status, ServingStatus::NotServing as i32);
    });
    drop(runtime);
    server.stop();
}

#[test]
fn body_that_comes_slowly_is_streamed_by_axum() {
    let router = Router::new().route(
        "/",
        post(async |body: axum::body::Body| {
            // Echoed as it comes.
            axum::response::Response::new(body)
        }),
    );
    let server = start(Server::builder(), router);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nabc");
    assert_eq!(client.head_and(3), "abc");
    client.send("def");
    assert_eq!(client.bytes(3), "def");
    assert_eq!(Bytes::from(client.post("/", "again").body), "again");
    server.stop();
}
