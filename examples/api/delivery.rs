//! Users by HTTP: `POST /users` with an address as the body, `GET /users`.

use crate::usecase::{Refusal, UserStore, Users};
use bytes::Bytes;
use gaggle::context::Context;
use http::{Method, Request, Response, StatusCode};

/// Answers one request.
pub fn answer<S: UserStore>(
    users: &Users<S>,
    context: &Context,
    request: &Request<Bytes>,
) -> Response<Bytes> {
    let answered = match (request.method(), request.uri().path()) {
        (&Method::POST, "/users") => {
            let typed = String::from_utf8_lossy(request.body());
            let added = users.register(context, &typed);
            added.map(|user| (StatusCode::CREATED, format!("{}\n", user.number)))
        }
        (&Method::GET, "/users") => users.list(context).map(|users| {
            let lines = users
                .iter()
                .map(|user| format!("{} {}\n", user.number, user.address.as_str()));
            (StatusCode::OK, lines.collect())
        }),
        _ => Ok((StatusCode::NOT_FOUND, String::new())),
    };
    let (status, text) = answered.unwrap_or_else(|refusal| match refusal {
        Refusal::NoAddress => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "that is no address\n".into(),
        ),
        Refusal::Known => (StatusCode::CONFLICT, "somebody has that address\n".into()),
        Refusal::Store(why) => {
            eprintln!("{why}");
            (StatusCode::SERVICE_UNAVAILABLE, "try again\n".into())
        }
    });
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    response
}
