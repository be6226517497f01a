//! What each request is answered with.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use holdfast_actors::namespace::{Map, pids};
#[cfg(feature = "fault-injection")]
use holdfast_actors::root::Fault;
use holdfast_actors::root::status::Status;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::{MAX_WINDOW_MINUTES, Request as Wish, Shared};
use crate::metrics;

/// An answer: whole, or streamed.
pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Lines between a follower's lane and its connection: the lane is where they wait.
const STREAM_LINES: usize = 64;

/// The answer to `request`, whose body is not read: no request has one.
pub(crate) async fn answer(request: &Request<Incoming>, shared: &Shared) -> Answer {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/v1/status") => match shared.handle.status().await {
            Ok(status) => ok(&Whole {
                status,
                confinement: &shared.confinement,
            }),
            Err(error) => unavailable(&error),
        },
        (&Method::GET, "/v1/actors") => match shared.handle.status().await {
            Ok(status) => ok(&status.actors),
            Err(error) => unavailable(&error),
        },
        (&Method::GET, "/v1/hooks") => match shared.handle.status().await {
            Ok(status) => ok(&json!({
                "facts": shared.facts, "confinement": shared.confinement, "hooks": status.hooks,
            })),
            Err(error) => unavailable(&error),
        },
        (&Method::GET, "/v1/metrics") => metrics(shared).await,
        (&Method::GET, "/v1/policies") => ok(&shared.policies()),
        (&Method::GET, "/v1/namespaces") => {
            let mounts = request.uri().query() != Some("mounts=no");
            looked(shared, mounts, ok).await
        }
        (&Method::GET, "/v1/processes") => looked(shared, false, |map| ok(&map.processes)).await,
        (&Method::GET, "/v1/pidmap") => looked(shared, false, |map| ok(&pids::table(map))).await,
        (&Method::GET, "/v1/events") => events(shared),
        (&Method::POST, "/v1/reload") => ask(shared, Wish::Reload).await,
        (&Method::POST, "/v1/log") => ask(shared, Wish::Log).await,
        (&Method::POST, "/v1/maintenance") => match window(request.uri().query()) {
            Ok(window) => ask(shared, |reply| Wish::Maintain(window, reply)).await,
            Err(error) => failure(StatusCode::BAD_REQUEST, &json!({"error": error})),
        },
        (&Method::POST, "/v1/stop") => {
            let unload = request.uri().query() == Some("unload");
            match shared.requests.try_send(Wish::Stop { unload }) {
                Ok(()) => ok(&json!({"pid": std::process::id()})),
                Err(error) => unavailable(&error),
            }
        }
        #[cfg(feature = "fault-injection")]
        (&Method::POST, "/v1/debug/fail") => {
            match fault(request.uri().query().unwrap_or_default()) {
                Some((fault, actor)) => match shared.handle.fail_actor(actor, fault).await {
                    Ok(()) => ok(&json!({})),
                    Err(error) => {
                        failure(StatusCode::NOT_FOUND, &json!({"error": error.to_string()}))
                    }
                },
                None => {
                    let error = "expected fault=panic|error|hang|stall&actor=NAME";
                    failure(StatusCode::BAD_REQUEST, &json!({"error": error}))
                }
            }
        }
        (method, path) => {
            let error = format!("there is no {method} {path}");
            failure(StatusCode::NOT_FOUND, &json!({"error": error}))
        }
    }
}

/// How the sensor stands: the tree's status, and what only the process knows.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    status: Status,
    confinement: &'a Value,
}

/// What there is on the host at this moment.
async fn looked(shared: &Shared, mounts: bool, answer: impl FnOnce(&Map) -> Answer) -> Answer {
    match shared.handle.namespaces(mounts).await {
        Ok(map) => answer(&map),
        Err(error) => unavailable(&error),
    }
}

/// The answer to a request from the network, for which there is one path.
pub(crate) async fn scraped(request: &Request<Incoming>, shared: &Shared) -> Answer {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => metrics(shared).await,
        _ => failure(
            StatusCode::NOT_FOUND,
            &json!({"error": "there is only GET /metrics"}),
        ),
    }
}

async fn metrics(shared: &Shared) -> Answer {
    match shared.handle.status().await {
        Ok(status) => {
            let text = Bytes::from(metrics::rendered(status));
            let mut response = Response::new(Full::new(text).boxed_unsync());
            set_type(&mut response, metrics::CONTENT_TYPE);
            response
        }
        Err(error) => unavailable(&error),
    }
}

/// The answer to a client that may not ask.
pub(crate) fn refusal() -> Answer {
    failure(
        StatusCode::FORBIDDEN,
        &json!({"error": "only root may control the sensor"}),
    )
}

/// Has the loop read something again.
async fn ask(
    shared: &Shared,
    wish: impl FnOnce(oneshot::Sender<Result<Value, Vec<String>>>) -> Wish,
) -> Answer {
    let (reply, answer) = oneshot::channel();
    if let Err(error) = shared.requests.try_send(wish(reply)) {
        return unavailable(&error);
    }
    match answer.await {
        Ok(Ok(report)) => ok(&report),
        Ok(Err(errors)) => {
            let error = "what was in force stays in force";
            failure(
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!({"error": error, "errors": errors}),
            )
        }
        Err(error) => unavailable(&error),
    }
}

/// Which fault which actor is to have: `fault=panic&actor=NAME`.
#[cfg(feature = "fault-injection")]
fn fault(query: &str) -> Option<(Fault, &str)> {
    let (fault, actor) = query.strip_prefix("fault=")?.split_once("&actor=")?;
    Some((Fault::from_name(fault)?, actor))
}

/// How long a window is to be: `minutes=N`; `minutes=0` is none.
fn window(query: Option<&str>) -> Result<Option<Duration>, String> {
    let minutes: u32 = query
        .and_then(|query| query.strip_prefix("minutes=")?.parse().ok())
        .filter(|minutes| *minutes <= MAX_WINDOW_MINUTES)
        .ok_or_else(|| format!("expected minutes=N, N from 0 to {MAX_WINDOW_MINUTES}"))?;
    Ok((minutes > 0).then(|| Duration::from_secs(60 * u64::from(minutes))))
}

/// Events from now on. They wait in the follower's bounded lane, which counts what it loses; when
/// there was a loss, a line that says how many follows it.
fn events(shared: &Shared) -> Answer {
    let tail = match shared.handle.tail() {
        Ok(tail) => tail,
        Err(error) => return unavailable(&error),
    };
    let (sender, lines) = mpsc::channel(STREAM_LINES);
    tokio::spawn(async move {
        let mut told = 0;
        loop {
            // A client that went away is noticed at once, not at the next event.
            let line = tokio::select! {
                line = tail.next() => line,
                () = sender.closed() => return,
            };
            let Some(line) = line else { return };
            let lost = tail.lost();
            if lost > told {
                let note = format!("{}\n", json!({"holdfast": {"lost": lost - told}}));
                told = lost;
                if sender.send(Bytes::from(note)).await.is_err() {
                    return;
                }
            }
            if sender.send(line).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(Lines(lines).boxed_unsync());
    set_type(&mut response, "application/x-ndjson");
    response
}

/// A body of lines as they come.
struct Lines(mpsc::Receiver<Bytes>);

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

fn ok(value: &impl Serialize) -> Answer {
    respond(StatusCode::OK, value)
}

fn unavailable(error: &impl ToString) -> Answer {
    failure(
        StatusCode::SERVICE_UNAVAILABLE,
        &json!({"error": error.to_string()}),
    )
}

fn failure(status: StatusCode, value: &serde_json::Value) -> Answer {
    respond(status, value)
}

fn respond(status: StatusCode, value: &impl Serialize) -> Answer {
    // Serializing to memory fails only for maps whose keys are not strings, which none here has.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = status;
    set_type(&mut response, "application/json");
    response
}

fn set_type(response: &mut Answer, value: &'static str) {
    let value = hyper::header::HeaderValue::from_static(value);
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, value);
}
