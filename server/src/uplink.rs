//! What sensors ask: see [`holdfast_wire::uplink`].

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Extension, Path, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use holdfast_wire::frame::{self, Frame};
use holdfast_wire::uplink::{
    Acknowledgement, Base64, Enrol, Enrolled, Heartbeat, HeartbeatAnswer, MAX_MESSAGE_BYTES,
    Secret, SignedBundle,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::answer::Refused;
use crate::app::App;
use crate::auth::limit::network;
use crate::clock::now;
use crate::fleet::HEARTBEAT;
use crate::secret::{self, Kind};
use crate::serve::{IsCertified, Peer};
use crate::store::events::Sent;
use crate::store::sensors::{self, Enrolment, Known, Offer, Said};
use crate::store::{Connection, StoreError, accounts, bundles};
use crate::{bundle, ingest};

/// How many times as large as its compressed form something may be (zlib's own statement for deflate is 1032).
const MAX_RATIO: u64 = 1032;
/// MiB that the largest frame has.
const MAX_FRAME_MIB: u32 = 16;
/// How long a frame waits until there is memory for it.
const TURN: Duration = Duration::from_secs(5);
/// How long a frame may take to come: 4 MiB at 2 Mbit/s.
const BODY_TIME: Duration = Duration::from_secs(20);
/// Bytes of each text in an enrolment.
const MAX_TEXT: usize = 256;
/// Random bytes of a sensor's id.
const ID_BYTES: usize = 16;

/// The routes below [`holdfast_wire::uplink::PREFIX`].
pub(crate) fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/enrol", post(enrol))
        .route("/heartbeat", post(heartbeat))
        .route("/bundle/{version}", get(signed_bundle))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE_BYTES))
        .route("/frames", post(frames))
        .route_layer(from_fn_with_state(app.clone(), certified))
}

/// Lets a request on whose sender showed a certificate, where one is asked for.
async fn certified(
    State(app): State<Arc<App>>,
    Extension(IsCertified(certified)): Extension<IsCertified>,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    if app.certified_sensors && !certified {
        let reason =
            "this server takes sensors with a certificate alone: uplink.client_certificate";
        return Err(Refused::forbidden(reason));
    }
    Ok(next.run(request).await)
}

async fn enrol(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    body: Bytes,
) -> Result<Json<Enrolled>, Refused> {
    app.limits
        .enrol
        .take(network(peer.ip()))
        .map_err(Refused::too_often)?;
    let message: Enrol = parsed(&body)?;
    let Enrol {
        host_id,
        host_name,
        version,
        architecture,
        kernel,
        ..
    } = &message;
    for text in [host_id, host_name, version, architecture, kernel] {
        if text.len() > MAX_TEXT {
            return Err(Refused::bad(format!(
                "a text has more than {MAX_TEXT} bytes"
            )));
        }
    }
    if host_id.is_empty() {
        return Err(Refused::bad("host_id is empty"));
    }
    let token = secret::new(Kind::Sensor)?;
    let id: [u8; ID_BYTES] = secret::random()?;
    let offer = Offer {
        key: secret::hash(message.installation_key.expose()),
        token: secret::hash(&token),
        void: secret::random()?,
        new_id: secret::hex(&id),
    };
    let host = message.host_name.clone();
    let shared = app.clone();
    let enrolled = move |connection: &Connection| {
        let now = now();
        // A host that is known may get tags by this key.
        let before = sensors::by_host(connection, &message.host_id)?;
        let before = match before {
            Some(row) => bundles::of_sensor(connection, row)?,
            None => None,
        };
        let enrolment = sensors::enrol(connection, &message, &offer, now)?;
        let audit = |actor: &str, action, sensor_id: &str| {
            let detail = format!("{sensor_id}: {}, {}", message.host_name, message.host_id);
            let address = peer.ip().to_string();
            accounts::audit(connection, actor, &address, action, &detail, now)
        };
        match &enrolment {
            Enrolment::Done {
                sensor_id,
                key,
                again,
            } => {
                let action = match again {
                    true => "sensor.enrol-again",
                    false => "sensor.enrol",
                };
                audit(&format!("key:{key}"), action, sensor_id)?;
            }
            // A sensor goes on asking.
            Enrolment::Taken(sensor_id) if shared.limits.refusals_noted.take(sensor_id).is_ok() => {
                audit("", "sensor.enrol-refused", sensor_id)?;
            }
            Enrolment::Taken(_) | Enrolment::NoKey => {}
        }
        if let (Enrolment::Done { .. }, Some(row)) =
            (&enrolment, sensors::by_host(connection, &message.host_id)?)
        {
            bundle::settle(connection, &shared.signer, row, before, "enrolment", now)?;
        }
        Ok(enrolment)
    };
    let refused = |why: &str| {
        tracing::warn!("{host:?} at {} was refused: {why}", peer.ip());
        Err(Refused::forbidden(why))
    };
    match app.store.write(enrolled).await.map_err(later)? {
        Enrolment::Done { sensor_id, .. } => {
            tracing::info!("{host:?} at {} enrolled as {sensor_id}", peer.ip());
            Ok(Json(Enrolled {
                sensor_id,
                token: Secret::new(token),
                bundle_key: Base64(app.signer.public_key()),
            }))
        }
        Enrolment::NoKey => refused("the installation key is unknown, expired or used up"),
        Enrolment::Taken(_) => refused(
            "a host with this id is enrolled, and its token was not shown: an administrator lets it enrol again, \
             on the sensor's page or by `holdfast-server sensor allow-enrol`",
        ),
    }
}

async fn frames(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Acknowledgement>, Refused> {
    let sensor = known(&app, &headers).await?;
    app.limits
        .frames
        .take_numbered(sensor.row.unsigned_abs())
        .map_err(Refused::too_often)?;
    app.limits
        .event_bytes
        .has_numbered(sensor.row.unsigned_abs())
        .map_err(Refused::too_often)?;
    let _sending = Sending::begin(&app, sensor.row).ok_or_else(Refused::busy)?;
    let received = tokio::time::timeout(BODY_TIME, received(&app.limits.bodies, body)).await;
    let (bytes, _room) = received.map_err(|_| Refused::busy())??;
    // Only what is there takes room: whoever sends slowly keeps nobody waiting.
    let room = app
        .limits
        .frames_at_once
        .acquire_many(most_mib(bytes.len()));
    let turn = tokio::time::timeout(TURN, room).await;
    let Ok(Ok(_turn)) = turn else {
        return Err(Refused::busy());
    };
    let decode = move || Frame::decode(&bytes);
    let decoded = tokio::task::spawn_blocking(decode)
        .await
        .map_err(|_| Refused::busy())?;
    let frame = decoded.map_err(|error| refused(&sensor, &error))?;
    if frame.sensor_id != sensor.sensor_id {
        tracing::warn!(
            "{} sent a frame that names {}",
            sensor.sensor_id,
            frame.sensor_id
        );
        return Err(Refused::conflict("the frame is another sensor's"));
    }
    let bytes: usize = frame.entries.iter().map(|entry| entry.event.len()).sum();
    // A frame's bytes are bounded.
    let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
    app.limits
        .event_bytes
        .charge_numbered(sensor.row.unsigned_abs(), kib);
    // Frames have entries.
    let acknowledged = frame.last_sequence().unwrap_or_default();
    let (stream, priority) = (frame.stream, frame.priority.number());
    let entries = move || ingest::events(frame);
    let entries = tokio::task::spawn_blocking(entries)
        .await
        .map_err(|_| Refused::busy())?;
    let entries = entries.map_err(|error| refused(&sensor, &error))?;
    let sent = Sent {
        sensor: sensor.row,
        stream,
        priority,
        events: entries,
    };
    if app.store.take(sent).await.map_err(later)? > 0 {
        app.news.notify_one();
    }
    Ok(Json(Acknowledgement { acknowledged }))
}

/// A frame of a sensor that is on its way: a sensor sends one after the other, and may not have more room than one takes.
struct Sending<'a> {
    app: &'a App,
    row: i64,
}

impl<'a> Sending<'a> {
    fn begin(app: &'a App, row: i64) -> Option<Self> {
        let is_first = Self::rows(app).insert(row);
        // Not made where it is not: dropping it ends the other's.
        is_first.then(|| Self { app, row })
    }

    fn rows(app: &App) -> MutexGuard<'_, HashSet<i64>> {
        let rows = app.limits.sending.lock();
        rows.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        Self::rows(self.app).remove(&self.row);
    }
}

/// The bytes of a frame, which take of `room` as they come.
async fn received(
    room: &Semaphore,
    body: Body,
) -> Result<(Vec<u8>, Option<SemaphorePermit<'_>>), Refused> {
    let mut body = Limited::new(body, frame::MAX_BYTES);
    let (mut bytes, mut taken) = (Vec::new(), None::<SemaphorePermit<'_>>);
    while let Some(part) = body.frame().await {
        let Ok(part) = part.map_err(unread)?.into_data() else {
            continue;
        };
        bytes.extend_from_slice(&part);
        let has = taken.as_ref().map_or(0, SemaphorePermit::num_permits);
        let missing = bytes.len().div_ceil(1 << 10).saturating_sub(has);
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        let more = room.try_acquire_many(missing);
        let more = more.map_err(|_| Refused::busy())?;
        match &mut taken {
            Some(taken) => taken.merge(more),
            none => *none = Some(more),
        }
    }
    Ok((bytes, taken))
}

/// MiB that a frame of so many bytes may have in memory: what is compressed is at most some thousand times as large.
fn most_mib(length: usize) -> u32 {
    let most = (length as u64).saturating_mul(MAX_RATIO).div_ceil(1 << 20);
    u32::try_from(most)
        .unwrap_or(MAX_FRAME_MIB)
        .clamp(1, MAX_FRAME_MIB)
}

fn refused(sensor: &Known, error: &dyn std::error::Error) -> Refused {
    tracing::warn!("a frame of {} was refused: {error}", sensor.sensor_id);
    Refused::bad(error.to_string())
}

/// 413 for a body that is too large; for one that ended early nobody reads the answer.
fn unread(error: Box<dyn std::error::Error + Send + Sync>) -> Refused {
    if error.is::<LengthLimitError>() {
        let error = format!("the frame has more than {} bytes", frame::MAX_BYTES);
        return Refused::new(StatusCode::PAYLOAD_TOO_LARGE, error);
    }
    // Not 400, which would have the sensor give its entries up.
    Refused::busy()
}

async fn heartbeat(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<HeartbeatAnswer>, Refused> {
    let sensor = known(&app, &headers).await?;
    app.limits
        .messages
        .take_numbered(sensor.row.unsigned_abs())
        .map_err(Refused::too_often)?;
    let mut message: Heartbeat = parsed(&body)?;
    let text = |error: serde_json::Error| Refused::bad(error.to_string());
    let ledger = message.ledger.take().to_string();
    let containers = message.containers.take();
    let containers = containers.map(|it| serde_json::to_string(&it)).transpose();
    let said = Said {
        heartbeat: serde_json::to_string(&message).map_err(text)?,
        version: message.version,
        ledger,
        containers: containers.map_err(text)?,
    };
    let token = match now() - sensor.token_since > app.token_age {
        true => Some(secret::new(Kind::Sensor)?),
        false => None,
    };
    let hash = token.as_deref().map(secret::hash);
    let heard = move |connection: &Connection| {
        sensors::heard(connection, sensor.row, &said, now())?;
        if let Some(hash) = &hash {
            sensors::promise(connection, sensor.row, hash)?;
        }
        bundles::of_sensor(connection, sensor.row)
    };
    let bundle = app.store.write_beside(heard).await.map_err(later)?;
    Ok(Json(HeartbeatAnswer {
        bundle: bundle.map(i64::unsigned_abs),
        token: token.map(Secret::new),
        heartbeat_seconds: HEARTBEAT,
    }))
}

async fn signed_bundle(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Path(version): Path<i64>,
) -> Result<Json<SignedBundle>, Refused> {
    let sensor = known(&app, &headers).await?;
    app.limits
        .messages
        .take_numbered(sensor.row.unsigned_abs())
        .map_err(Refused::too_often)?;
    let read = move |connection: &Connection| {
        // What others are watched for is not its affair.
        if bundles::of_sensor(connection, sensor.row)? != Some(version) {
            return Ok(None);
        }
        bundles::one(connection, version)
    };
    let stored = app.store.read(read).await.map_err(later)?;
    let stored = stored.ok_or_else(|| Refused::not_found("no such bundle is assigned"))?;
    Ok(Json(SignedBundle {
        payload: Base64(stored.payload),
        signature: Base64(stored.signature),
    }))
}

/// What takes too long now may be tried again: a sensor that is told that its request is wrong gives its entries up.
fn later(error: StoreError) -> Refused {
    match error {
        StoreError::TooSlow => Refused::busy(),
        error => error.into(),
    }
}

/// Who shows this token.
async fn known(app: &App, headers: &HeaderMap) -> Result<Known, Refused> {
    let token = bearer(headers).ok_or_else(|| Refused::unknown("there is no bearer token"))?;
    let hash = secret::hash(token);
    let known = app
        .store
        .identify(move |connection| sensors::by_token(connection, &hash))
        .await
        .map_err(later)?;
    let known = known.ok_or_else(|| Refused::unknown("the token is not known: enrol again"))?;
    if known.is_next {
        app.store
            .write_beside(move |connection| sensors::promote(connection, &hash, now()))
            .await
            .map_err(later)?;
        return Ok(Known {
            token_since: now(),
            is_next: false,
            ..known
        });
    }
    Ok(known)
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750, section 2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refused> {
    // Whoever sent it is told, and nothing of it is logged.
    serde_json::from_slice(body)
        .map_err(|error| Refused::bad(format!("the message is malformed: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_room_that_it_may_need() {
        assert_eq!([0, 300, 2000].map(most_mib), [1, 1, 2]);
        assert_eq!(
            [frame::MAX_BYTES, usize::MAX].map(most_mib),
            [MAX_FRAME_MIB; 2]
        );
        assert_eq!(MAX_FRAME_MIB as usize, frame::MAX_RAW_BYTES >> 20);
    }
}
